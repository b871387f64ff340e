/* Writes what torch.save writes: a zip file of a pickle and of a file for each tensor's numbers, which torch.load(weights_only=True)
 * reads, from version 1.6 on. */
#ifndef DG_RUNTIME_FORMATS_TORCH_WRITE_H
#define DG_RUNTIME_FORMATS_TORCH_WRITE_H

#include "runtime/formats/safetensors.h"

struct dg_torch_dict {
    const char *key;    /* of the dict in the object; NULL of a single one: it is the object */
    const char *prefix; /* before the names of its tensors: "module." */
    const struct dg_safetensors_item *item;
    int count;
};

/* Writes the dicts, or the one, as state dicts. Numbers lie at multiples of 64 bytes. The same arguments give the same bytes, and the
 * file is complete or absent. DG_ERR_UNSUPPORTED: a type that PyTorch has no storage for, or more than 4 GiB. */
enum dg_status dg_torch_write(const char *path, const struct dg_torch_dict *dicts, int count, struct dg_error *err);

#endif
