#include "runtime/state/weights_text.h"

#include "runtime/base/name.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static size_t put_lines(const struct dg_weights_lines *lines, const char *more, char *text, size_t size)
{
    size_t used = 0;
    for (int64_t l = 0; l < dg_min_i64(lines->count, DG_WEIGHTS_SHOWN) && used < size; l++)
        used += (size_t)snprintf(text + used, size - used, "\n  %s", lines->line[l]);
    if (lines->count > DG_WEIGHTS_SHOWN && used < size)
        used += (size_t)snprintf(text + used, size - used, "\n  and %" PRId64 " more %s",
                                 lines->count - DG_WEIGHTS_SHOWN, more);
    return used < size ? used : size - 1;
}

static void put_differences(const struct dg_weights_fit *fit, char *text, size_t size)
{
    *text = 0;
    size_t used = put_lines(&fit->missing, "that are missing", text, size);
    used += put_lines(&fit->extra, "that the plan does not have", text + used, size - used);
    used += put_lines(&fit->unknown, "that the plan does not have", text + used, size - used);
    put_lines(&fit->shape, "of another shape", text + used, size - used);
}

enum dg_status dg_weights_check(const struct dg_weights_fit *fit, bool partial, bool may_begin, struct dg_error *err)
{
    char text[1200];
    bool foreign = dg_weight_file_is_foreign(fit->file);
    put_differences(fit, text, sizeof text);
    if (fit->on_path && !(partial && may_begin))
        return dg_fail(err, DG_ERR_INPUT,
                       "%s%s%.120s%s is of another network than the plan: %" PRId64 " of the plan's %" PRId64
                       " tensors fit; compile a description that fits the weights%s",
                       fit->path, foreign ? " (" : "", foreign ? dg_weight_file_what(fit->file) : "",
                       foreign ? ")" : "", fit->count, fit->wanted, text);
    if (partial || !fit->differences) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT,
                   "%s has what the plan does not know, or in another shape; compile a description that fits the "
                   "weights, or take the rest (%" PRId64 " of the plan's %" PRId64 " tensors) with --partial%s",
                   fit->path, fit->count, fit->wanted, text);
}

static bool is_taken(const struct dg_weights_fit *fit, int index)
{
    for (int64_t t = 0; t < fit->count; t++)
        if (fit->taken[t].source == index || fit->taken[t].scale == index) return true;
    return false;
}

const char *dg_weights_not_needed(struct dg_weights_fit *fit, char *text, size_t size)
{
    int64_t all = dg_weight_file_beside_count(fit->file);
    for (int i = 0; i < dg_weight_file_count(fit->file); i++) all += !is_taken(fit, i);
    const char *of = dg_groups_text(&fit->beside), *others = dg_weight_file_beside(fit->file);
    size_t used = (size_t)snprintf(text, size, "%" PRId64 " others in the file were not needed", all);
    if ((*of || *others) && used < size)
        snprintf(text + used, size - used, ": %s%s%s, none of which changes the features", of,
                 *of && *others ? ", " : "", others);
    return text;
}

void dg_weights_say_anew(const struct dg_session *session, const struct dg_weights_fit *fit)
{
    const struct dg_tensor_file *tensors = dg_weight_file_tensors(fit->file);
    const struct dg_pickle_value *object = dg_tensor_file_object(tensors);
    const char *epoch = dg_tensor_file_metadata(tensors, "epoch");
    bool optimizer = object && dg_pickle_get(object, "optimizer");
    for (int i = 0; i < dg_tensor_file_count(tensors) && !optimizer; i++)
        optimizer = dg_name_after(dg_tensor_file_at(tensors, i)->name, "optim.") != NULL;
    if (!optimizer && !epoch) return;
    dg_log(dg_session_log(session), DG_LOG_INFO, DG_LOG_LOAD,
           "%s: the optimiser's state%s%s%s is not used: the run begins at its first step (dinorun import FILE "
           "-o OUT/checkpoint.safetensors, and train --resume, go on from it)",
           fit->path, epoch ? " (after epoch " : "", epoch ? epoch : "", epoch ? ")" : "");
}

const char *dg_weights_taken_differently(const struct dg_weights_fit *fit, char *text, size_t size)
{
    *text = 0;
    size_t used = put_lines(&fit->resized, "tables resized", text, size);
    if (fit->scaled && used < size)
        used += (size_t)snprintf(
            text + used, size - used,
            "\n  LayerScale, which the plan has no op for, is multiplied into attn.proj and mlp.fc2 (%" PRId64
            " tensors): the same network",
            fit->scaled);
    if (fit->zero && used < size)
        used += (size_t)snprintf(text + used, size - used,
                                 "\n  query, key and value have no bias in the file: it is zero (%" PRId64 " tensors)",
                                 fit->zero);
    if (fit->count < fit->wanted && used < size)
        used += (size_t)snprintf(text + used, size - used,
                                 "\n  %" PRId64 " of %" PRId64 " parameters keep their initial values",
                                 fit->wanted - fit->count, fit->wanted);
    if (used < size) put_differences(fit, text + used, size - used);
    return text;
}

void dg_weights_say_what(const struct dg_session *session, const struct dg_weights_fit *fit)
{
    if (dg_weight_file_is_foreign(fit->file))
        dg_log(dg_session_log(session), DG_LOG_INFO, DG_LOG_LOAD, "%s: %s", fit->path, dg_weight_file_what(fit->file));
}

void dg_weights_compare_eps(const struct dg_session *session, const struct dg_weights_fit *fit)
{
    double theirs = dg_weight_file_eps(fit->file), ours = dg_plan_layer_norm_eps(fit->plan, fit->entry);
    if (theirs <= 0 || ours <= 0 || (theirs > 0.99 * ours && theirs < 1.01 * ours)) return;
    dg_log(
        dg_session_log(session), DG_LOG_WARNING, DG_LOG_LOAD,
        "note: the layer norms of these weights have eps %g where they are from, the plan's have %g: features differ "
        "by some 1e-4 of their size; for theirs compile the plan with --set eps=%g (of a recipe: student.with.eps)",
        theirs, ours, theirs);
}

enum dg_status dg_weights_no_backbone(const struct dg_weights_fit *fit, const char *from, struct dg_error *err)
{
    const char *other = strcmp(from, "teacher") ? "teacher" : "student";
    char prefix[32];
    struct dg_groups groups = {0};
    snprintf(prefix, sizeof prefix, "%s.backbone.", other);
    if (dg_weights_fit_has(fit, prefix))
        return dg_fail(err, DG_ERR_INPUT, "%s holds the %s's backbone, not the %s's: --weights-from %s", fit->path,
                       other, from, other);
    if (!dg_weight_file_count(fit->file)) return dg_fail(err, DG_ERR_INPUT, "%s holds no tensors", fit->path);
    for (int i = 0; i < dg_weight_file_count(fit->file); i++)
        dg_groups_add(&groups, dg_weight_file_at(fit->file, i)->name, 1);
    bool unknown = !strncmp(dg_weight_file_what(fit->file), "weights", 7);
    return dg_fail(err, DG_ERR_INPUT,
                   "%s (%.200s) holds none of the plan's parameters%s; its first tensor is %.100s, its tensors are: %s",
                   fit->path, dg_weight_file_what(fit->file),
                   unknown ? ", nor the names of a library that is known" : "", dg_weight_file_at(fit->file, 0)->name,
                   dg_groups_text(&groups));
}
