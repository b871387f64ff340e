#include "runtime/model/bundle.h"

#include "runtime/export/checkpoint.h"
#include "runtime/export/weights.h"
#include "runtime/formats/checksum.h"
#include "runtime/state/facts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define OWN "dinograph."
#define VERSION "1"

enum { MAX_KEY = 512, HEAD = 4096 };

struct dg_bundle {
    struct dg_safetensors *file;
    char *path;
};

/* ---- reading ---- */

bool dg_is_bundle(const char *path)
{
    static const char sign[] = "\"" OWN "bundle\"";
    char head[HEAD] = "";
    struct stat info;
    FILE *file = !stat(path, &info) && S_ISREG(info.st_mode) ? fopen(path, "re") : NULL;
    size_t size = file ? fread(head, 1, sizeof head, file) : 0;
    if (file) fclose(file);
    return size > 8 && head[8] == '{' && memmem(head, size, sign, sizeof sign - 1);
}

static enum dg_status check(const struct dg_bundle *b, struct dg_error *err)
{
    const char *version = dg_safetensors_metadata(b->file, OWN "bundle");
    if (!version) return dg_fail(err, DG_ERR_INPUT, "%s: this is not a bundle (dinorun bundle makes one)", b->path);
    if (strcmp(version, VERSION))
        return dg_fail(err, DG_ERR_INPUT,
                       "%s: a bundle of version %.32s, this program reads version " VERSION
                       ": make it again with dinorun bundle",
                       b->path, version);
    return dg_checksum_check_meta(b->file, b->path, err);
}

enum dg_status dg_bundle_open(const char *path, struct dg_bundle **result, struct dg_error *err)
{
    *result = NULL;
    struct dg_bundle *b = calloc(1, sizeof *b);
    if (!b) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    b->path = strdup(path);
    enum dg_status status = b->path ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (status == DG_OK) status = dg_safetensors_open(path, &b->file, err);
    if (status == DG_OK) status = check(b, err);
    if (status == DG_OK)
        *result = b;
    else
        dg_bundle_close(b);
    return status;
}

void dg_bundle_close(struct dg_bundle *bundle)
{
    if (!bundle) return;
    dg_safetensors_close(bundle->file);
    free(bundle->path);
    free(bundle);
}

const char *dg_bundle_fact(const struct dg_bundle *bundle, const char *key)
{
    return dg_safetensors_metadata(bundle->file, key);
}

enum dg_status dg_bundle_open_plan(const struct dg_bundle *b, enum dg_bundle_plan which, struct dg_plan *plan,
                                   struct dg_error *err)
{
    *plan = (struct dg_plan){0};
    const struct dg_safetensors_tensor *head = dg_safetensors_find(b->file, OWN "head.plan"),
                                       *found = dg_safetensors_find(b->file, OWN "plan");
    if (which == DG_BUNDLE_HEAD && !dg_safetensors_find(b->file, OWN "head.weight"))
        return dg_fail(err, DG_ERR_INPUT, "%s has no classifier", b->path);
    if (which == DG_BUNDLE_HEAD && head) found = head;
    if (!found || found->dtype != DG_SAFETENSORS_U8 || (uintptr_t)found->data % 8)
        return dg_fail(err, DG_ERR_INPUT, "%s: a damaged bundle: it has no plan that can be used", b->path);
    enum dg_status status = dg_plan_open_bytes(found->data, found->bytes, plan, err);
    if (status != DG_OK) dg_error_prefix(err, "%s", b->path);
    return status;
}

enum dg_status dg_bundle_read_classifier(const struct dg_bundle *b, struct dg_classifier *classifier,
                                         struct dg_error *err)
{
    *classifier = (struct dg_classifier){0};
    const struct dg_safetensors_tensor *weight = dg_safetensors_find(b->file, OWN "head.weight"),
                                       *bias = dg_safetensors_find(b->file, OWN "head.bias");
    if (!weight && !bias) return DG_OK;
    if (!weight || !bias)
        return dg_fail(err, DG_ERR_INPUT, "%s: a damaged bundle: its classifier has no %s", b->path,
                       weight ? "bias" : "weight");
    DG_TRY(dg_checksum_check_tensor(b->file, weight, b->path, err));
    DG_TRY(dg_checksum_check_tensor(b->file, bias, b->path, err));
    enum dg_status status =
        dg_classifier_init(classifier, weight, bias, dg_safetensors_metadata(b->file, OWN "head.classes"),
                           dg_safetensors_metadata(b->file, OWN "head.resize"), err);
    if (status != DG_OK) dg_error_prefix(err, "%s", b->path);
    return status;
}

/* ---- writing ---- */

struct writing {
    const struct dg_bundle_parts *parts;
    struct dg_export_weights weights;
    struct dg_safetensors_item *item; /* [weights.count + 4] */
    int count;
    struct dg_facts meta;
};

static bool is_taken(const char *key)
{
    return dg_export_takes_fact(key) || !strcmp(key, "set.entries.features.resize");
}

static const struct dg_safetensors_item *find(const struct dg_export_weights *weights, const char *name)
{
    for (int i = 0; i < weights->count; i++)
        if (!strcmp(weights->item[i].name, name)) return &weights->item[i];
    return NULL;
}

static size_t bytes_of(const struct dg_safetensors_item *item) { return (size_t)dg_safetensors_item_bytes(item); }

/* The classifier's features are of the weights that the bundle has. */
static enum dg_status check_head(const struct writing *w, struct dg_error *err)
{
    struct dg_export_weights head;
    enum dg_status status = dg_export_weights_list(w->parts->head, &head, err);
    for (int i = 0; i < head.count && status == DG_OK; i++) {
        const struct dg_safetensors_item *own = &head.item[i], *same = find(&w->weights, own->name);
        if (same && bytes_of(same) == bytes_of(own) && !memcmp(same->data, own->data, bytes_of(own))) continue;
        status = dg_fail(err, DG_ERR_UNSUPPORTED,
                         "the classifier's plan has another %s than the network's: compile both for one image size",
                         own->name);
    }
    dg_export_weights_free(&head);
    return status;
}

/* All entries that evaluate have parameters of the entry features alone. */
static enum dg_status check_entries(const struct writing *w, struct dg_error *err)
{
    const struct dg_plan *plan = dg_session_plan(w->parts->session);
    for (uint32_t e = 0; e < plan->num_entries; e++) {
        const struct dg_plan_entry *entry = &plan->entry[e];
        if (entry->first_commit != entry->num_ops) continue; /* train */
        for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
            const char *name = dg_plan_string(plan, plan->tensor[t].name);
            if (plan->tensor[t].region != DG_REGION_PARAM || find(&w->weights, name)) continue;
            return dg_fail(err, DG_ERR_UNSUPPORTED, "entry %s has a parameter %s that features has not",
                           dg_plan_string(plan, entry->name), name);
        }
    }
    return DG_OK;
}

static void add_plan(struct writing *w, const char *name, const struct dg_plan *plan)
{
    w->item[w->count++] = (struct dg_safetensors_item){.name = name,
                                                       .dtype = DG_SAFETENSORS_U8,
                                                       .ndim = 1,
                                                       .dim = {(int64_t)plan->header->size},
                                                       .data = plan->header};
}

static enum dg_status add_items(struct writing *w, struct dg_error *err)
{
    const struct dg_bundle_parts *parts = w->parts;
    const struct dg_classifier *c = parts->classifier;
    DG_TRY(dg_export_weights_list(parts->session, &w->weights, err));
    DG_TRY(check_entries(w, err));
    w->item = calloc((size_t)w->weights.count + 4, sizeof *w->item);
    if (!w->item) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    add_plan(w, OWN "plan", dg_session_plan(parts->session));
    if (c && parts->head != parts->session) {
        DG_TRY(check_head(w, err));
        add_plan(w, OWN "head.plan", dg_session_plan(parts->head));
    }
    for (int i = 0; i < w->weights.count; i++) w->item[w->count++] = w->weights.item[i];
    if (!c) return DG_OK;
    w->item[w->count++] =
        (struct dg_safetensors_item){OWN "head.weight", DG_SAFETENSORS_F32, 2, {c->classes, c->dim}, c->weight};
    w->item[w->count++] = (struct dg_safetensors_item){OWN "head.bias", DG_SAFETENSORS_F32, 1, {c->classes}, c->bias};
    return DG_OK;
}

static enum dg_status add_meta(struct writing *w, struct dg_error *err)
{
    const struct dg_classifier *c = w->parts->classifier;
    struct dg_facts all = {0}, *meta = &w->meta;
    char key[MAX_KEY];
    dg_facts_add_plan(&all, w->parts->knobs);
    dg_facts_add(meta, "format", "pt"); /* other loaders look for this */
    dg_facts_add(meta, OWN "bundle", VERSION);
    for (int i = 0; i < all.count; i++)
        if (is_taken(all.fact[i].key)) dg_facts_add(meta, all.fact[i].key, "%s", all.fact[i].value);
    dg_facts_add_reading(meta, w->parts->rules.exif, dg_image_rules_pillow(w->parts->rules));
    if (c && c->names) dg_facts_add(meta, OWN "head.classes", "%s", c->names);
    if (c && c->resize) dg_facts_add(meta, OWN "head.resize", "%d", c->resize);
    for (int i = 0; i < w->count; i++) {
        if (snprintf(key, sizeof key, DG_CHECKSUM ".%s", w->item[i].name) >= MAX_KEY) continue;
        dg_facts_add(meta, key, "%08" PRIx32, dg_checksum(w->item[i].data, bytes_of(&w->item[i])));
    }
    bool lost = all.lost;
    dg_facts_free(&all);
    if (!lost) dg_facts_add(meta, DG_CHECKSUM, "%08" PRIx32, dg_checksum_meta(meta->fact, meta->count));
    return lost || meta->lost ? dg_fail(err, DG_ERR_MEMORY, "out of memory") : DG_OK;
}

enum dg_status dg_bundle_write(const char *path, const struct dg_bundle_parts *parts, struct dg_error *err)
{
    struct writing w = {.parts = parts};
    enum dg_status status = add_items(&w, err);
    if (status == DG_OK) status = add_meta(&w, err);
    if (status == DG_OK) status = dg_safetensors_write(path, w.item, w.count, w.meta.fact, w.meta.count, err);
    dg_facts_free(&w.meta);
    dg_export_weights_free(&w.weights);
    free(w.item);
    return status;
}
