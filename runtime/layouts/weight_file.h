/* The tensors of a file of weights under the official names, whatever its format and whatever library it is from. */
#ifndef DG_RUNTIME_LAYOUTS_WEIGHT_FILE_H
#define DG_RUNTIME_LAYOUTS_WEIGHT_FILE_H

#include "runtime/layouts/networks.h"

struct dg_weight_file;

/* Opens `path` (dg_tensor_file_open) and finds its network (dg_networks_find). The tensors are then called
 *
 *   cls_token, layer1.0.conv1.weight, ...       those of a single network; head.* its head, if that is beside it
 *   teacher.backbone.*, teacher.head.*          those of a full checkpoint, likewise the student's
 *   center                                      its centre
 *
 * Query, key and value become one. Others of the file are left out, and counted by dg_weight_file_beside. DG_ERR_INPUT: what
 * is wrong with the file, or with the choice (may be NULL: none). */
enum dg_status dg_weight_file_open(const char *path, const struct dg_network_choice *choice,
                                   struct dg_weight_file **file, struct dg_error *err);
/* The same of a file of torch.save that is open, and which is closed with this one (also on failure). */
enum dg_status dg_weight_file_of_torch(struct dg_torch_file *torch, const struct dg_network_choice *choice,
                                       struct dg_weight_file **file, struct dg_error *err);
void dg_weight_file_close(struct dg_weight_file *file); /* NULL is fine */

int dg_weight_file_count(const struct dg_weight_file *file);
/* 0 <= index < count; its data is NULL: see dg_weight_file_read. */
const struct dg_safetensors_tensor *dg_weight_file_at(const struct dg_weight_file *file, int index);
int dg_weight_file_find(const struct dg_weight_file *file, const char *name); /* -1: none */
/* Reads a tensor. Its data are the file's, until the next call. */
enum dg_status dg_weight_file_read(struct dg_weight_file *file, int index, struct dg_safetensors_tensor *tensor,
                                   struct dg_error *err);

/* What was recognised, in a line: "a Vision Transformer (transformers' names) under vit., safetensors". */
const char *dg_weight_file_what(const struct dg_weight_file *file);
/* True if names or format are others than those of our files: what was recognised should be said. */
bool dg_weight_file_is_foreign(const struct dg_weight_file *file);
/* Tensors of the file that belong to no network that was taken, by group: "decoder (48), queue (2)"; "" if there are none. */
const char *dg_weight_file_beside(const struct dg_weight_file *file);
int dg_weight_file_beside_count(const struct dg_weight_file *file);
/* Of the layer norms: what a config.json beside the file says, else the library's default; 0: not known. */
double dg_weight_file_eps(const struct dg_weight_file *file);
/* Everything else that the file says: see dg_tensor_file_metadata, dg_tensor_file_left_out, dg_tensor_file_object. */
const struct dg_tensor_file *dg_weight_file_tensors(const struct dg_weight_file *file);

/* Adds a number, as an i64 of no dimensions, or a tensor of the object of torch.save, under that name: for the optimiser's
 * state. dg_weight_file_find does not find them. */
enum dg_status dg_weight_file_add_number(struct dg_weight_file *file, const char *name, int64_t number,
                                         struct dg_error *err);
enum dg_status dg_weight_file_add_tensor(struct dg_weight_file *file, const char *name,
                                         const struct dg_pickle_tensor *tensor, struct dg_error *err);
/* Puts a number in place of an entry that was added. */
void dg_weight_file_set_number(struct dg_weight_file *file, int index, int64_t number);

#endif
