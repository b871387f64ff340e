#include "runtime/export/checkpoint.h"

#include "runtime/base/name.h"
#include "runtime/export/full_checkpoint.h"
#include "runtime/export/published.h"
#include "runtime/formats/checksum.h"
#include "runtime/formats/torch_write.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The name of a tensor in the export; NULL if it is left out. */
static const char *exported(const char *name, const char *prefix)
{
    if (prefix) return dg_name_after(name, prefix);
    return dg_name_after(name, "student.") || dg_name_after(name, "teacher.") || !strcmp(name, "center") ? name : NULL;
}

/* An error for a checkpoint of which nothing is exported; `backbone` as dg_export_checkpoint is given it. */
static enum dg_status nothing(const struct dg_safetensors *file, const char *in, const char *backbone,
                              struct dg_error *err)
{
    if (!backbone)
        return dg_fail(err, DG_ERR_INPUT, "%s: no student.* and no teacher.* in it; is it a bare backbone already?",
                       in);
    const char *other = strcmp(backbone, "teacher") ? "teacher" : "student";
    for (int i = 0; i < dg_safetensors_count(file); i++) {
        const char *rest = dg_name_after(dg_safetensors_at(file, i)->name, other);
        if (rest && dg_name_after(rest, ".backbone."))
            return dg_fail(err, DG_ERR_INPUT, "%s: no %s.backbone.* in it, but %s.backbone.*: --backbone %s", in,
                           backbone, other, other);
    }
    return dg_fail(err, DG_ERR_INPUT, "%s: no %s.backbone.* in it; is it a bare backbone already?", in, backbone);
}

/* The metadata of an export. */
struct exported_meta {
    struct dg_safetensors_meta item[64];
    int count;
};

bool dg_export_takes_fact(const char *key)
{
    return !strcmp(key, "dinoc") || dg_name_after(key, "network.") || dg_name_after(key, "computes.") ||
           dg_name_after(key, "set.crops.mean.") || dg_name_after(key, "set.crops.std.");
}

static void see_fact(void *context, const char *key, const char *value)
{
    struct exported_meta *meta = context;
    if (dg_export_takes_fact(key) && meta->count < (int)(sizeof meta->item / sizeof *meta->item))
        meta->item[meta->count++] = (struct dg_safetensors_meta){key, value};
}

/* Damaged weights and numbers that are none do not leave. */
static enum dg_status check_tensor(const struct dg_safetensors *file, const struct dg_safetensors_tensor *tensor,
                                   const char *in, struct dg_error *err)
{
    DG_TRY(dg_checksum_check_tensor(file, tensor, in, err));
    int64_t bad = dg_safetensors_first_not_finite(tensor);
    if (bad < 0) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "%s: %.200s is NaN or infinite at number %" PRId64 " of %" PRId64, in,
                   tensor->name, bad, dg_safetensors_elements(tensor));
}

/* Lists the tensors that go. */
static enum dg_status collect(const struct dg_safetensors *file, const char *in, const char *backbone,
                              struct dg_safetensors_item *item, int *count, struct dg_error *err)
{
    char room[32], *prefix = NULL;
    if (backbone) {
        snprintf(room, sizeof room, "%s.backbone.", backbone);
        prefix = room;
    }
    for (int i = 0; i < dg_safetensors_count(file); i++) {
        const struct dg_safetensors_tensor *tensor = dg_safetensors_at(file, i);
        const char *name = exported(tensor->name, prefix);
        if (!name) continue;
        DG_TRY(check_tensor(file, tensor, in, err));
        item[*count] = (struct dg_safetensors_item){
            .name = name, .dtype = tensor->dtype, .ndim = tensor->ndim, .data = tensor->data};
        memcpy(item[*count].dim, tensor->dim, sizeof tensor->dim);
        ++*count;
    }
    return *count ? DG_OK : nothing(file, in, backbone, err);
}

static enum dg_status write_safetensors(const struct dg_safetensors *file, const char *out,
                                        const struct dg_safetensors_item *item, int count, struct dg_error *err)
{
    /* Other loaders look for this in files for PyTorch. */
    struct exported_meta meta = {.item = {{"format", "pt"}}, .count = 1};
    dg_safetensors_each_metadata(file, see_fact, &meta);
    return dg_safetensors_write(out, item, count, meta.item, meta.count, err);
}

/* Moves the tensors whose names begin with `prefix`, without it, to `part`; returns how many. */
static int take(const struct dg_safetensors_item *item, int count, const char *prefix, struct dg_safetensors_item *part)
{
    int taken = 0;
    for (int i = 0; i < count; i++) {
        const char *rest = dg_name_after(item[i].name, prefix);
        if (!rest) continue;
        part[taken] = item[i];
        part[taken++].name = rest;
    }
    return taken;
}

/* `full`: in the layout of the published code. */
static enum dg_status write_torch(const struct dg_safetensors *file, const char *out, bool full,
                                  const struct dg_safetensors_item *item, int count, struct dg_error *err)
{
    if (!full) return dg_torch_write(out, &(struct dg_torch_dict){NULL, "", item, count}, 1, err);
    struct dg_safetensors_item *part = calloc((size_t)count, sizeof *part);
    if (!part) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    struct dg_torch_dict dict[3];
    int dicts = 0, used = take(item, count, "student.", part);
    if (used) dict[dicts++] = (struct dg_torch_dict){"student", dg_published_prefix(file, false), part, used};
    int more = take(item, count, "teacher.", part + used);
    if (more) dict[dicts++] = (struct dg_torch_dict){"teacher", dg_published_prefix(file, true), part + used, more};
    for (int i = 0; i < count; i++)
        if (!strcmp(item[i].name, "center")) dict[dicts++] = (struct dg_torch_dict){"dino_loss", "", &item[i], 1};
    enum dg_status status = dg_torch_write(out, dict, dicts, err);
    free(part);
    return status;
}

static enum dg_status write_full(const struct dg_safetensors *file, const char *in, const char *out,
                                 const struct dg_log *log, struct dg_error *err)
{
    for (int i = 0; i < dg_safetensors_count(file); i++)
        DG_TRY(check_tensor(file, dg_safetensors_at(file, i), in, err));
    return dg_export_full_checkpoint(file, in, out, log, err);
}

/* As dg_export_checkpoint. */
static enum dg_status write_networks(const struct dg_safetensors *file, const char *in, const char *out,
                                     enum dg_checkpoint_form form, const char *backbone, const struct dg_log *log,
                                     struct dg_error *err)
{
    int all = dg_safetensors_count(file), count = 0;
    struct dg_safetensors_item *item = calloc((size_t)all + 1, sizeof *item);
    enum dg_status status = item ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (status == DG_OK) status = collect(file, in, backbone, item, &count, err);
    if (status == DG_OK)
        status = form == DG_CHECKPOINT_TORCH ? write_torch(file, out, !backbone, item, count, err)
                                             : write_safetensors(file, out, item, count, err);
    if (status == DG_OK)
        dg_log(log, DG_LOG_INFO, DG_LOG_LOAD, "%s: %d tensors, %s%s; %d others of %s left out", out, count,
               backbone ? backbone : "what it has of student, teacher and centre", backbone ? "'s backbone" : "",
               all - count, in);
    free(item);
    return status;
}

enum dg_status dg_export_checkpoint(const char *in, const char *out, enum dg_checkpoint_form form, const char *backbone,
                                    const struct dg_log *log, struct dg_error *err)
{
    struct dg_safetensors *file;
    DG_TRY(dg_safetensors_open(in, &file, err));
    dg_log(log, DG_LOG_TRACE, DG_LOG_LOAD, "weights %s: %d tensors", in, dg_safetensors_count(file));
    enum dg_status status = form == DG_CHECKPOINT_FULL ? write_full(file, in, out, log, err)
                                                       : write_networks(file, in, out, form, backbone, log, err);
    dg_safetensors_close(file);
    return status;
}
