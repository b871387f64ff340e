#include "runtime/formats/export.h"

#include "runtime/formats/checksum.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *after(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(name, prefix, length) ? NULL : name + length;
}

/* The name of a tensor in the export; NULL if it is left out. */
static const char *exported(const char *name, const char *prefix)
{
    if (prefix) return after(name, prefix);
    return after(name, "student.") || after(name, "teacher.") || !strcmp(name, "center") ? name : NULL;
}

/* An error for a checkpoint of which nothing is exported; `backbone` as dg_export is given it. */
static enum dg_status nothing(const struct dg_safetensors *file, const char *in, const char *backbone,
                              struct dg_error *err)
{
    if (!backbone)
        return dg_fail(err, DG_ERR_INPUT, "%s: no student.* and no teacher.* in it; is it a bare backbone already?",
                       in);
    const char *other = strcmp(backbone, "teacher") ? "teacher" : "student";
    for (int i = 0; i < dg_safetensors_count(file); i++) {
        const char *rest = after(dg_safetensors_at(file, i)->name, other);
        if (rest && after(rest, ".backbone."))
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

/* Takes along what says how the backbone computes and how images were normalised in its training. */
static void see_fact(void *context, const char *key, const char *value)
{
    struct exported_meta *meta = context;
    bool taken = !strcmp(key, "dinoc") || after(key, "network.") || after(key, "computes.") ||
                 after(key, "set.crops.mean.") || after(key, "set.crops.std.");
    if (taken && meta->count < (int)(sizeof meta->item / sizeof *meta->item))
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

enum dg_status dg_export(const char *in, const char *out, const char *backbone, const struct dg_log *log,
                         struct dg_error *err)
{
    struct dg_safetensors *file;
    DG_TRY(dg_safetensors_open(in, &file, err));
    dg_log(log, DG_LOG_TRACE, DG_LOG_LOAD, "weights %s: %d tensors", in, dg_safetensors_count(file));
    char room[32], *prefix = NULL;
    if (backbone) {
        snprintf(room, sizeof room, "%s.backbone.", backbone);
        prefix = room;
    }
    int all = dg_safetensors_count(file), count = 0;
    struct dg_safetensors_item *item = calloc((size_t)all + 1, sizeof *item);
    enum dg_status status = item ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (int i = 0; i < all && status == DG_OK; i++) {
        const struct dg_safetensors_tensor *tensor = dg_safetensors_at(file, i);
        const char *name = exported(tensor->name, prefix);
        if (!name) continue;
        status = check_tensor(file, tensor, in, err);
        item[count] = (struct dg_safetensors_item){
            .name = name, .dtype = tensor->dtype, .ndim = tensor->ndim, .data = tensor->data};
        memcpy(item[count].dim, tensor->dim, sizeof tensor->dim);
        count++;
    }
    if (status == DG_OK && !count) status = nothing(file, in, backbone, err);
    /* Other loaders look for this in files for PyTorch. */
    struct exported_meta meta = {.item = {{"format", "pt"}}, .count = 1};
    dg_safetensors_each_metadata(file, see_fact, &meta);
    if (status == DG_OK) status = dg_safetensors_write(out, item, count, meta.item, meta.count, err);
    if (status == DG_OK)
        dg_log(log, DG_LOG_INFO, DG_LOG_LOAD, "%s: %d tensors, %s%s; %d others of %s left out", out, count,
               backbone ? backbone : "student, teacher and centre", backbone ? "'s backbone" : " as far as there are",
               all - count, in);
    free(item);
    dg_safetensors_close(file);
    return status;
}
