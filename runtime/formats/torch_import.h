/* Checkpoints of PyTorch's DINO, and backbones of torchvision and timm, as safetensors files with the official
 * names. */
#ifndef DG_RUNTIME_FORMATS_TORCH_IMPORT_H
#define DG_RUNTIME_FORMATS_TORCH_IMPORT_H

#include "runtime/base/log.h"
#include "runtime/formats/torch_file.h"

enum { DG_IMPORT_MAX_TENSORS = 1 << 14 };

/* Writes the tensors of `in` to `out`, every bit as it was:
 *
 *   full checkpoint  {student, teacher, dino_loss, optimizer, epoch, ...}: student.backbone.*, student.head.*,
 *                    teacher.*, center, optim.{exp_avg,exp_avg_sq,momentum,step}.student.*; also when the head was
 *                    still a part of the backbone (the first published revision); metadata "epoch"
 *   a network alone  {cls_token: ...}, also under state_dict or model: names stay bare. Prefixes module. and backbone.
 *                    are removed; so is a classifier (fc of ResNets, head of timm's ViTs)
 *   linear probe     {state_dict: {module.linear.weight, ...}}: linear.weight, linear.bias
 *
 * `log` (may be NULL) receives what kind of file it is, and what was taken, renamed or left out (level info).
 *
 * Memory: a storage at a time where tensors do not share storages. Nothing is written on failure. DG_ERR_INPUT for
 * whatever is wrong with `in`. */
enum dg_status dg_torch_import(const char *in, const char *out, const struct dg_log *log, struct dg_error *err);

/* The same from an open file; `from` is its name, for messages and metadata; a NULL `out` reads everything and writes
 * nothing. */
enum dg_status dg_torch_import_file(struct dg_torch_file *file, const char *from, const char *out,
                                    const struct dg_log *log, struct dg_error *err);

#endif
