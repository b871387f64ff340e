/* Weights of other programs as a safetensors file with the official names. */
#ifndef DG_RUNTIME_LAYOUTS_IMPORT_H
#define DG_RUNTIME_LAYOUTS_IMPORT_H

#include "runtime/base/log.h"
#include "runtime/layouts/weight_file.h"

/* Writes the tensors of `in` (dg_weight_file_open) to `out`, every bit as it was:
 *
 *   full checkpoint  {student, teacher, dino_loss, optimizer, epoch, ...}: student.backbone.*, student.head.*,
 *                    teacher.*, center, optim.{exp_avg,exp_avg_sq,momentum,step}.student.*; also when the head was
 *                    still a part of the backbone (the first published revision); metadata "epoch"
 *   a network alone  its names, bare; without the classifier of a ViT (head) or a ResNet (fc)
 *   anything else    under its own names, without wrappers: linear.weight, linear.bias of a linear probe
 *
 * `log` (may be NULL) receives what was recognised, and what was left out (level info). Memory: a tensor at a time, and
 * what tensors share. Nothing is written on failure. DG_ERR_INPUT for whatever is wrong with `in`. */
enum dg_status dg_import(const char *in, const struct dg_network_choice *choice, const char *out,
                         const struct dg_log *log, struct dg_error *err);

/* The same from a file that is open; `from` is its name, for messages and metadata; a NULL `out` reads everything and writes
 * nothing. */
enum dg_status dg_import_open(struct dg_weight_file *file, const char *from, const char *out, const struct dg_log *log,
                              struct dg_error *err);

#endif
