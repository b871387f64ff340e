/* Tensors by name, of a file in any format: safetensors, what torch.save writes, and the index of a model in several such
 * files (model.safetensors.index.json, pytorch_model.bin.index.json). */
#ifndef DG_RUNTIME_FORMATS_TENSOR_FILE_H
#define DG_RUNTIME_FORMATS_TENSOR_FILE_H

#include "runtime/formats/torch_file.h"

enum { DG_TENSOR_FILE_MAX = 1 << 14 }; /* tensors of a file of torch.save */

struct dg_named_tensor {
    const char
        *key; /* path of the dicts around a state dict of torch.save: "state_dict", "teacher"; "" if there is none */
    const char *name; /* in its state dict */
    enum dg_safetensors_dtype dtype;
    int ndim;
    int64_t dim[DG_SAFETENSORS_MAX_DIMS];
};

struct dg_tensor_file;

/* Opens the file, whose format its first bytes say. DG_ERR_INPUT says what it is if it has no tensors. */
enum dg_status dg_tensor_file_open(const char *path, struct dg_tensor_file **file, struct dg_error *err);
/* The same of a file of torch.save that is open, and which is closed with this one (also on failure). */
enum dg_status dg_tensor_file_of_torch(struct dg_torch_file *torch, struct dg_tensor_file **file, struct dg_error *err);
void dg_tensor_file_close(struct dg_tensor_file *file); /* NULL is fine */

int dg_tensor_file_count(const struct dg_tensor_file *file);
const struct dg_named_tensor *dg_tensor_file_at(const struct dg_tensor_file *file, int index);
int64_t dg_tensor_file_bytes(const struct dg_tensor_file *file, int index);

/* Copies all elements of a tensor, in row-major order, to `out` (dg_tensor_file_bytes). In a file of torch.save, what several
 * tensors share stays in memory until the last of them was read. */
enum dg_status dg_tensor_file_read(struct dg_tensor_file *file, int index, void *out, struct dg_error *err);

const char *dg_tensor_file_format(const struct dg_tensor_file *file); /* "safetensors", "torch.save, zip form", ... */
/* Entries of the outermost dict without tensors, with what class they are: "args (argparse.Namespace), epoch"; "" if all have
 * some. */
const char *dg_tensor_file_left_out(const struct dg_tensor_file *file);
/* The metadata of a safetensors file; of one of torch.save "epoch", if it has it. NULL: there is none. */
const char *dg_tensor_file_metadata(const struct dg_tensor_file *file, const char *key);

/* The outermost dict of a file of torch.save; NULL for other formats. */
const struct dg_pickle_value *dg_tensor_file_object(const struct dg_tensor_file *file);
/* Adds a tensor of that object to the list, for example of the optimiser's state. */
enum dg_status dg_tensor_file_add(struct dg_tensor_file *file, const char *key, const char *name,
                                  const struct dg_pickle_tensor *tensor, struct dg_error *err);

#endif
