#include "runtime/layouts/import.h"

#include "runtime/base/name.h"
#include "runtime/layouts/groups.h"
#include "runtime/layouts/published_options.h"
#include "runtime/layouts/torch_optimizer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FACTS = 40, VALUE = 64 };

/* The metadata of what is written. */
struct facts {
    struct dg_safetensors_meta meta[MAX_FACTS];
    char key[MAX_FACTS][VALUE], value[MAX_FACTS][VALUE];
    int count;
};

struct import {
    struct dg_weight_file *file;
    const char *from;
    int *entry; /* of the file, that is written */
    int count;
    const struct dg_log *log;
    struct dg_error *err;
};

#define say(im, ...) dg_log((im)->log, DG_LOG_INFO, DG_LOG_LOAD, __VA_ARGS__)

/* True for the classifier of a bare network, which has no last_layer as a DINO head does. */
static bool is_classifier(const char *name)
{
    static const char *const of[] = {"fc.", "head.weight", "head.bias", "head.head.", "head_dist."};
    for (size_t o = 0; o < sizeof of / sizeof *of; o++)
        if (dg_name_after(name, of[o])) return true;
    return false;
}

/* True if the file has a backbone, in whose file a classifier would be out of place. */
static bool has_backbone(const struct dg_weight_file *file)
{
    return dg_weight_file_find(file, "patch_embed.proj.weight") >= 0 ||
           dg_weight_file_find(file, "layer1.0.conv1.weight") >= 0;
}

/* Chooses what is written, and counts it by network. */
static void choose(struct import *im)
{
    struct dg_groups taken = {0}, classifier = {0};
    bool bare = has_backbone(im->file);
    for (int e = 0; e < dg_weight_file_count(im->file); e++) {
        const char *name = dg_weight_file_at(im->file, e)->name;
        if (bare && is_classifier(name)) {
            dg_groups_add(&classifier, name, 1);
            continue;
        }
        bool full = dg_name_after(name, "student.") || dg_name_after(name, "teacher.");
        if (full || !strcmp(name, "center")) dg_groups_add(&taken, name, 2);
        im->entry[im->count++] = e;
    }
    say(im, "%s: %s", im->from, dg_weight_file_what(im->file));
    if (taken.all)
        say(im, "taken: %s", dg_groups_text(&taken));
    else
        say(im, "taken: %d tensors", im->count);
    if (classifier.all) say(im, "left out: %s, a classifier: the backbone ends before it", dg_groups_text(&classifier));
    if (dg_weight_file_beside_count(im->file))
        say(im, "left out, not of the network: %s", dg_weight_file_beside(im->file));
}

static enum dg_status add_optimizer(struct import *im)
{
    const char *why, *epoch = dg_tensor_file_metadata(dg_weight_file_tensors(im->file), "epoch");
    int added = 0, before = dg_weight_file_count(im->file);
    DG_TRY(dg_torch_optimizer_add(im->file, &added, &why, im->err));
    int *entry = realloc(im->entry, ((size_t)dg_weight_file_count(im->file) + 1) * sizeof *entry);
    if (!entry) return dg_fail(im->err, DG_ERR_MEMORY, "out of memory");
    im->entry = entry;
    for (int e = before; e < dg_weight_file_count(im->file); e++) im->entry[im->count++] = e;
    if (added) say(im, "optimizer: %d tensors of its state", added);
    if (why) say(im, "optimizer: left out, %s", why);
    if (epoch) say(im, "epochs done: %s", epoch);
    return DG_OK;
}

/* ---- what a full checkpoint says of its recipe ---- */

static double real_of(const struct dg_pickle_value *value, double otherwise)
{
    if (value && value->kind == DG_PICKLE_FLOAT) return value->f;
    return value && (value->kind == DG_PICKLE_INT || value->kind == DG_PICKLE_BOOL) ? (double)value->i : otherwise;
}

/* The value as a recipe says it; false: it is of another kind. `batch`: the whole one; 0: it is not known. */
static bool fact_of(const struct dg_pickle_value *value, enum dg_published_type type, double batch, char text[VALUE])
{
    const char *own = dg_pickle_text(value);
    double real = real_of(value, NAN);
    if (type == DG_PUBLISHED_TEXT) return own && snprintf(text, VALUE, "%s", own) < VALUE;
    if (!isfinite(real)) return false;
    if (type == DG_PUBLISHED_TRUTH) return snprintf(text, VALUE, "%s", real != 0 ? "true" : "false") > 0;
    if (type == DG_PUBLISHED_EPOCHS) return snprintf(text, VALUE, "%.17g epochs", real) > 0;
    if (type == DG_PUBLISHED_RATE) real = real * batch / 256; /* in the published order */
    return (type != DG_PUBLISHED_RATE || batch > 0) && snprintf(text, VALUE, "%.17g", real) > 0;
}

static void add_fact(struct facts *facts, const char *of, const char *key, const char *value)
{
    int n = facts->count;
    if (n == MAX_FACTS) return;
    snprintf(facts->key[n], VALUE, "%s%s", of, key);
    snprintf(facts->value[n], VALUE, "%s", value);
    facts->meta[n] = (struct dg_safetensors_meta){facts->key[n], facts->value[n]};
    facts->count++;
}

/* The options that the run was started with, as facts that a run which goes on is compared with. */
static void add_options(const struct import *im, struct facts *facts)
{
    const struct dg_pickle_value *object = dg_tensor_file_object(dg_weight_file_tensors(im->file)),
                                 *args = object ? dg_pickle_get(object, "args") : NULL;
    double batch =
        real_of(dg_pickle_get(args, "batch_size_per_gpu"), 0) * real_of(dg_pickle_get(args, "world_size"), 0);
    bool warms = real_of(dg_pickle_get(args, "warmup_teacher_temp_epochs"), 0) > 0;
    char text[VALUE];
    int before = facts->count;
    if (batch > 0) {
        snprintf(text, sizeof text, "%.17g", batch);
        add_fact(facts, "recipe.", "batch", text);
    }
    for (const struct dg_published_option *o = dg_published_options; o->option; o++) {
        if (!fact_of(dg_pickle_get(args, o->option), o->type, batch, text)) continue;
        if (warms && !strcmp(o->key, "loss.teacher_temp")) snprintf(text, sizeof text, "a warm-up");
        add_fact(facts, o->knob ? "plan." : "recipe.", o->key, text);
    }
    if (facts->count == before) return;
    add_fact(facts, "", DG_PUBLISHED_ARGS, "compared");
    say(im, "args: the options of its training, which a run that goes on is compared with");
}

static enum dg_status source(void *context, int index, const void **data, struct dg_error *err)
{
    struct import *im = context;
    struct dg_safetensors_tensor tensor;
    DG_TRY(dg_weight_file_read(im->file, im->entry[index], &tensor, err));
    *data = tensor.data;
    return DG_OK;
}

static enum dg_status write_file(struct import *im, const char *out)
{
    struct dg_safetensors_item *item = calloc((size_t)im->count + 1, sizeof *item);
    if (!item) return dg_fail(im->err, DG_ERR_MEMORY, "out of memory");
    for (int i = 0; i < im->count; i++) {
        const struct dg_safetensors_tensor *tensor = dg_weight_file_at(im->file, im->entry[i]);
        item[i] = (struct dg_safetensors_item){.name = tensor->name, .dtype = tensor->dtype, .ndim = tensor->ndim};
        memcpy(item[i].dim, tensor->dim, sizeof tensor->dim);
    }
    const char *slash = strrchr(im->from, '/'),
               *epoch = dg_tensor_file_metadata(dg_weight_file_tensors(im->file), "epoch");
    struct facts facts = {.meta = {{"format", "pt"}, {"imported_from", slash ? slash + 1 : im->from}, {"epoch", epoch}},
                          .count = epoch ? 3 : 2};
    if (epoch) add_options(im, &facts);
    enum dg_status status = DG_OK;
    if (out) status = dg_safetensors_write_from(out, item, im->count, facts.meta, facts.count, source, im, im->err);
    for (int i = 0; i < im->count && status == DG_OK && !out; i++) {
        const void *data;
        status = source(im, i, &data, im->err);
    }
    free(item);
    return status;
}

enum dg_status dg_import_open(struct dg_weight_file *file, const char *from, const char *out, const struct dg_log *log,
                              struct dg_error *err)
{
    struct import im = {.file = file, .from = from, .log = log, .err = err};
    im.entry = calloc((size_t)dg_weight_file_count(file) + 1, sizeof *im.entry);
    enum dg_status status = im.entry ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (status == DG_OK) choose(&im);
    if (status == DG_OK) status = add_optimizer(&im);
    if (status == DG_OK) status = write_file(&im, out);
    if (status != DG_OK) dg_error_prefix(err, "%s", from);
    free(im.entry);
    return status;
}

enum dg_status dg_import(const char *in, const struct dg_network_choice *choice, const char *out,
                         const struct dg_log *log, struct dg_error *err)
{
    struct dg_weight_file *file;
    DG_TRY(dg_weight_file_open(in, choice, &file, err));
    enum dg_status status = dg_import_open(file, in, out, log, err);
    dg_weight_file_close(file);
    return status;
}
