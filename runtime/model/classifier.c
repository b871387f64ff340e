#include "runtime/model/classifier.h"

#include "runtime/base/finite.h"
#include "runtime/base/name.h"
#include "runtime/layouts/weight_file.h"
#include "runtime/state/facts.h"
#include "runtime/state/weights.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Sets one name a class. */
static enum dg_status read_names(struct dg_classifier *c, const char *names, struct dg_error *err)
{
    c->names = strdup(names);
    c->name = calloc((size_t)c->classes, sizeof *c->name);
    if (!c->names || !c->name) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    const char *at = names;
    for (int64_t i = 0; i < c->classes; i++) {
        size_t length = strcspn(at, "\t");
        bool last = i == c->classes - 1;
        c->name[i] = strndup(at, length);
        if (!c->name[i]) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
        if (!dg_name_unescape(c->name[i]) || (at[length] == 0) != last)
            return dg_fail(err, DG_ERR_INPUT, "the names of its %" PRId64 " classes are damaged", c->classes);
        at += length + 1;
    }
    return DG_OK;
}

static enum dg_status take(const struct dg_safetensors_tensor *tensor, float **to, struct dg_error *err)
{
    int64_t count = dg_safetensors_elements(tensor);
    *to = malloc((size_t)count * sizeof **to + 1);
    if (!*to) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (dg_safetensors_read_f32(tensor, *to) != DG_OK)
        return dg_fail(err, DG_ERR_INPUT, "%.200s is of type %s, which no layer has", tensor->name,
                       dg_safetensors_dtype_name(tensor->dtype));
    int64_t bad = dg_first_not_finite(*to, count);
    if (bad < 0) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "%.200s is %g at number %" PRId64 " of %" PRId64 ": such a layer has no result",
                   tensor->name, (double)(*to)[bad], bad, count);
}

enum dg_status dg_classifier_init(struct dg_classifier *c, const struct dg_safetensors_tensor *weight,
                                  const struct dg_safetensors_tensor *bias, const char *names, const char *resize,
                                  struct dg_error *err)
{
    *c = (struct dg_classifier){0};
    if (weight->ndim != 2 || bias->ndim != 1 || weight->dim[0] < 1 || weight->dim[1] < 1 ||
        bias->dim[0] != weight->dim[0])
        return dg_fail(err, DG_ERR_INPUT, "%.200s and %.200s are no linear layer: [classes, dim] and [classes]",
                       weight->name, bias->name);
    c->classes = weight->dim[0];
    c->dim = weight->dim[1];
    if (resize) c->resize = (int)strtol(resize, NULL, 10);
    DG_TRY(take(weight, &c->weight, err));
    DG_TRY(take(bias, &c->bias, err));
    return names ? read_names(c, names, err) : DG_OK;
}

void dg_classifier_free(struct dg_classifier *c)
{
    for (int64_t i = 0; c->name && i < c->classes; i++) free(c->name[i]);
    free(c->name);
    free(c->names);
    free(c->weight);
    free(c->bias);
    *c = (struct dg_classifier){0};
}

/* Reads tensor `name` into memory of its own, which the caller frees. */
static enum dg_status read_tensor(struct dg_weight_file *file, const char *name, struct dg_safetensors_tensor *tensor,
                                  struct dg_error *err)
{
    int index = dg_weight_file_find(file, name);
    if (index < 0)
        return dg_fail(err, DG_ERR_INPUT, "it has no %s: a head is what dinorun linear leaves, or a published one",
                       name);
    DG_TRY(dg_weight_file_read(file, index, tensor, err));
    void *copy = malloc((size_t)tensor->bytes + 1);
    if (!copy) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    tensor->data = memcpy(copy, tensor->data, (size_t)tensor->bytes);
    return DG_OK;
}

static enum dg_status read_layer(struct dg_weight_file *file, struct dg_classifier *c, struct dg_error *err)
{
    const struct dg_tensor_file *all = dg_weight_file_tensors(file);
    struct dg_safetensors_tensor weight = {0}, bias = {0};
    enum dg_status status = read_tensor(file, "linear.weight", &weight, err);
    if (status != DG_OK) weight.data = NULL; /* of the file, or none */
    if (status == DG_OK) {
        status = read_tensor(file, "linear.bias", &bias, err);
        if (status != DG_OK) bias.data = NULL;
    }
    if (status == DG_OK)
        status = dg_classifier_init(c, &weight, &bias, dg_tensor_file_metadata(all, "classes"),
                                    dg_tensor_file_metadata(all, "set.entries.features.resize"), err);
    free((void *)(uintptr_t)weight.data);
    free((void *)(uintptr_t)bias.data);
    return status;
}

enum dg_status dg_classifier_read(const char *path, struct dg_classifier *c, struct dg_error *err)
{
    *c = (struct dg_classifier){0};
    struct dg_weight_file *file;
    DG_TRY(dg_weight_file_open(path, NULL, &file, err));
    enum dg_status status = read_layer(file, c, err);
    if (status != DG_OK) dg_error_prefix(err, "%s", path);
    dg_weight_file_close(file);
    return status;
}

bool dg_classifier_find_plan(const char *head, char path[DG_MAX_PATH])
{
    const char *slash = strrchr(head, '/');
    int folder = slash ? (int)(slash - head) : 1;
    return snprintf(path, DG_MAX_PATH, "%.*s/run.plan", folder, slash ? head : ".") < DG_MAX_PATH &&
           !access(path, F_OK);
}

enum dg_status dg_classifier_check_dim(const struct dg_classifier *c, const struct dg_plan *plan, struct dg_error *err)
{
    const struct dg_plan_entry *entry;
    DG_TRY(dg_plan_find_role(plan, DG_ENTRY_FEATURES, &entry, err));
    const struct dg_plan_tensor *features = dg_plan_slot(plan, entry, DG_SLOT_OUTPUT);
    int64_t dim = features->ndim == 2 ? features->dim[1] : 0;
    if (dim == c->dim) return DG_OK;
    return dg_fail(err, DG_ERR_USAGE,
                   "the classifier is for %" PRId64 " features an image, and the plan has %" PRId64
                   ": give the plan of its probe, or leave its run.plan beside it",
                   c->dim, dim);
}

enum dg_status dg_classifier_check(const char *path, const struct dg_session *session, const struct dg_knobs *knobs,
                                   struct dg_image_rules rules, const struct dg_log *log, struct dg_error *err)
{
    struct dg_facts now = {0};
    dg_facts_add(&now, "weights", "%016" PRIx64, dg_weights_hash(session, DG_FNV_BASIS));
    dg_facts_add_reading(&now, rules.exif, dg_image_rules_pillow(rules));
    dg_facts_add_plan(&now, knobs);
    enum dg_status status = dg_facts_check_head(path, &now, knobs, false, log, err);
    dg_facts_free(&now);
    return status;
}

void dg_classifier_take_resize(const struct dg_classifier *c, struct dg_knobs *knobs)
{
    char text[32];
    if (c->resize < 1) return;
    snprintf(text, sizeof text, "%d", c->resize);
    dg_knobs_restore_key(knobs, "entries.features.resize", text);
}

/* Sums in f64, in order. */
static float logit(const struct dg_classifier *c, const float *features, int64_t class)
{
    const float *weight = c->weight + class * c->dim;
    double sum = c->bias[class];
    for (int64_t d = 0; d < c->dim; d++) sum += (double)weight[d] * features[d];
    return (float)sum;
}

static void softmax(const float *logits, int64_t count, float *probabilities)
{
    double most = -INFINITY, sum = 0;
    for (int64_t i = 0; i < count; i++) most = fmax(most, logits[i]);
    for (int64_t i = 0; i < count; i++) sum += exp(logits[i] - most);
    for (int64_t i = 0; i < count; i++) probabilities[i] = (float)(exp(logits[i] - most) / sum);
}

void dg_classifier_run(const struct dg_classifier *c, const float *features, int64_t rows, int threads, float *logits,
                       float *probabilities)
{
#pragma omp parallel for collapse(2) num_threads(threads)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = 0; i < c->classes; i++) logits[r * c->classes + i] = logit(c, features + r * c->dim, i);
    for (int64_t r = 0; r < rows; r++) softmax(logits + r * c->classes, c->classes, probabilities + r * c->classes);
}
