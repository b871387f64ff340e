/* The models of dinograph.h: what is at a path, with its weights. */
#include "runtime/sessions.h"

#include <stdlib.h>
#include <string.h>

#define CLASSIFIER "classifier"

static enum dg_status copy_text(const char *text, char **copy, struct dg_error *err)
{
    *copy = text ? strdup(text) : NULL;
    return *copy || !text ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
}

/* What can be said of the options before anything is opened. */
static enum dg_status check_options(const struct dg_model_source *source, const dinograph_model_options *options,
                                    struct dg_error *err)
{
    static const dinograph_model_options usual;
    if (memcmp(options->reserved, usual.reserved, sizeof usual.reserved))
        return dg_fail(err, DG_ERR_USAGE, "dinograph_model_options: what is reserved must be NULL");
    DG_TRY(dg_library_check_from(options->from, err));
    if (source->kind == DG_MODEL_BUNDLE && (options->weights || options->from || options->head))
        return dg_fail(err, DG_ERR_USAGE,
                       "%s is a bundle, which has its weights and its classifier: it takes no others", source->path);
    return DG_OK;
}

static enum dg_status find_weights(struct dinograph_model *model, const char *given, struct dg_error *err)
{
    char path[DG_MAX_PATH];
    if (given) return copy_text(given, &model->weights, err);
    DG_TRY(dg_model_find_weights(&model->source, path, err));
    return copy_text(path, &model->weights, err);
}

/* Opens the plan of the classifier's features, unless it is the network's. */
static enum dg_status open_head_plan(struct dinograph_model *model, struct dg_error *err)
{
    char path[DG_MAX_PATH];
    const struct dg_plan *network = &model->network.plan;
    DG_TRY(dg_library_plan_begin(&model->head, err));
    if (model->source.bundle) {
        DG_TRY(dg_bundle_open_plan(model->source.bundle, DG_BUNDLE_HEAD, &model->head.plan, err));
    } else {
        if (network->header->kind == DG_PLAN_PROBE || !dg_classifier_find_plan(model->head_file, path)) return DG_OK;
        DG_TRY(dg_plan_open(path, &model->head.plan, err));
    }
    return dg_library_plan_complete(&model->head, err);
}

static const struct dinograph_plan *head_plan(const struct dinograph_model *model)
{
    return model->head.plan.header ? &model->head : &model->network;
}

static enum dg_status open_head(struct dinograph_model *model, const char *file, struct dg_error *err)
{
    if (file) {
        DG_TRY(copy_text(file, &model->head_file, err));
        DG_TRY(dg_classifier_read(file, &model->classifier, err));
    } else if (model->source.bundle) {
        DG_TRY(dg_bundle_read_classifier(model->source.bundle, &model->classifier, err));
    }
    if (!model->classifier.classes) return DG_OK;
    DG_TRY(open_head_plan(model, err));
    return dg_classifier_check_dim(&model->classifier, &head_plan(model)->plan, err);
}

static enum dg_status open_all(struct dinograph_model *model, const char *path, const dinograph_model_options *options,
                               struct dg_error *err)
{
    DG_TRY(copy_text(path, &model->path, err));
    DG_TRY(dg_model_source_open(model->path, &model->source, err));
    DG_TRY(check_options(&model->source, options, err));
    DG_TRY(copy_text(options->from, &model->from, err));
    dg_model_find_rules(&model->source, &model->rules);
    DG_TRY(dg_library_plan_begin(&model->network, err));
    DG_TRY(dg_model_open_plan(&model->source, &model->network.plan, err));
    DG_TRY(dg_library_plan_complete(&model->network, err));
    DG_TRY(find_weights(model, options->weights, err));
    return open_head(model, options->head, err);
}

dinograph_status dinograph_model_open(const char *path, const dinograph_model_options *options,
                                      dinograph_model **result)
{
    static const dinograph_model_options usual;
    struct dg_error err = {0};
    *result = NULL;
    struct dinograph_model *model = calloc(1, sizeof *model);
    if (!model) FAIL(DG_ERR_MEMORY, "out of memory");
    enum dg_status status = open_all(model, path, options ? options : &usual, &err);
    if (status == DG_OK)
        *result = model;
    else
        dinograph_model_close(model);
    return dg_told(status, &err);
}

void dinograph_model_close(dinograph_model *model)
{
    if (!model) return;
    dg_library_plan_clear(&model->head);
    dg_library_plan_clear(&model->network);
    dg_model_source_close(&model->source);
    dg_classifier_free(&model->classifier);
    free(model->head_file);
    free(model->weights);
    free(model->from);
    free(model->path);
    free(model);
}

/* The entries that do not change weights. */
const char *dinograph_model_entry(const dinograph_model *model, int index)
{
    const struct dg_plan *plan = &model->network.plan;
    for (uint32_t e = 0; index >= 0 && e < plan->num_entries; e++)
        if (plan->entry[e].first_commit == plan->entry[e].num_ops && !index--)
            return dg_plan_string(plan, plan->entry[e].name);
    return index == 0 && model->classifier.classes ? CLASSIFIER : NULL;
}

int dinograph_model_entries(const dinograph_model *model)
{
    int count = 0;
    while (dinograph_model_entry(model, count)) count++;
    return count;
}

dinograph_status dinograph_model_session(const dinograph_model *model, const char *entry,
                                         const dinograph_options *options, dinograph_session **session)
{
    struct dg_library_purpose purpose = {.plan = &model->network, .entry = entry, .model = model};
    *session = NULL;
    if (!strcmp(entry, CLASSIFIER)) {
        if (!model->classifier.classes) FAIL(DG_ERR_USAGE, "%s has no classifier", model->path);
        purpose.plan = head_plan(model);
        purpose.entry = dg_entry_name(DG_ENTRY_FEATURES);
        purpose.classifier = &model->classifier;
    }
    dinograph_status status = dg_library_session_open(&purpose, options, session);
    if (status == DINOGRAPH_OK) status = dinograph_load_weights(*session, model->weights, model->from);
    if (status == DINOGRAPH_OK) return status;
    dinograph_session_close(*session);
    *session = NULL;
    return status;
}

dinograph_status dinograph_open(const char *path, const char *entry, const dinograph_options *options,
                                dinograph_session **session)
{
    dinograph_model *model;
    *session = NULL;
    dinograph_status status = dinograph_model_open(path, NULL, &model);
    if (status == DINOGRAPH_OK) status = dinograph_model_session(model, entry, options, session);
    if (status == DINOGRAPH_OK)
        (*session)->own_model = model;
    else
        dinograph_model_close(model);
    return status;
}
