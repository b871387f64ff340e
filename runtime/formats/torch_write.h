/* Writes what torch.save writes: a zip file of a pickle and of a file for each tensor's numbers, which
 * torch.load(weights_only=True) reads, from version 1.6 on. */
#ifndef DG_RUNTIME_FORMATS_TORCH_WRITE_H
#define DG_RUNTIME_FORMATS_TORCH_WRITE_H

#include "runtime/formats/safetensors.h"

struct dg_torch_dict {
    const char *key;    /* of the dict in the object; NULL of a single one: it is the object */
    const char *prefix; /* before the names of its tensors: "module." */
    const struct dg_safetensors_item *item;
    int count;
};

/* Writes the dicts, or the one, as state dicts. Numbers lie at multiples of 64 bytes. The same arguments give the same
 * bytes, and the file is complete or absent. DG_ERR_UNSUPPORTED: a type that PyTorch has no storage for, or more than 4
 * GiB. */
enum dg_status dg_torch_write(const char *path, const struct dg_torch_dict *dicts, int count, struct dg_error *err);

/* ---- any object ---- */

struct dg_torch_out;

/* Writes the object that `put` puts by the functions below, as dg_torch_write does. */
enum dg_status dg_torch_write_object(const char *path, void (*put)(struct dg_torch_out *out, void *context),
                                     void *context, struct dg_error *err);

/* A dict: keys follow, texts or numbers, each with its value behind it. */
void dg_torch_begin_dict(struct dg_torch_out *out);
void dg_torch_begin_state_dict(struct dg_torch_out *out); /* an OrderedDict */
void dg_torch_end_dict(struct dg_torch_out *out);
void dg_torch_begin_list(struct dg_torch_out *out);
void dg_torch_end_list(struct dg_torch_out *out);
void dg_torch_begin_tuple(struct dg_torch_out *out);
void dg_torch_end_tuple(struct dg_torch_out *out);
void dg_torch_put_text(struct dg_torch_out *out, const char *prefix, const char *text); /* one behind the other */
void dg_torch_put_int(struct dg_torch_out *out, int64_t value);
void dg_torch_put_real(struct dg_torch_out *out, double value);
void dg_torch_put_bool(struct dg_torch_out *out, bool value);
void dg_torch_put_none(struct dg_torch_out *out);
/* Its data must stay until the file is written; its name is for messages. */
void dg_torch_put_tensor(struct dg_torch_out *out, const struct dg_safetensors_item *item);
/* The names and tensors of a state dict. */
void dg_torch_put_state_dict(struct dg_torch_out *out, const struct dg_torch_dict *dict);

#endif
