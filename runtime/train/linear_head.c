#include "runtime/train/linear_head.h"

#include "runtime/exec/fault.h"
#include "runtime/layouts/weight_file.h"
#include "runtime/state/weights.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { TOP = 5 };

enum dg_status dg_linear_head_read_plan(struct dg_linear_head *head, const struct dg_plan *plan, struct dg_error *err)
{
    const struct dg_plan_entry *entry;
    if (plan->header->kind != DG_PLAN_PROBE)
        return dg_fail(
            err, DG_ERR_USAGE,
            "the plan has no linear probe: dinoc graphs/linear.yaml --set backbone=NAME --set classes=N -o PLAN "
            "makes one that has");
    DG_TRY(dg_plan_find_role(plan, DG_ENTRY_TRAIN, &entry, err));
    const struct dg_plan_tensor *weight = dg_plan_slot(plan, entry, DG_SLOT_WEIGHT);
    head->classes = weight->dim[0];
    head->dim = weight->dim[1];
    head->batch = entry->batch;
    return DG_OK;
}

void dg_linear_head_bind(struct dg_linear_head *head, struct dg_session *session)
{
    head->session = session;
    head->input = dg_session_slot(session, DG_SLOT_FEATURES);
    head->labels = dg_session_slot(session, DG_SLOT_LABELS);
    head->loss = dg_session_slot(session, DG_SLOT_LOSS);
    head->logits = dg_session_slot(session, DG_SLOT_LOGITS);
    head->summary = dg_session_slot(session, DG_SLOT_GRAD_SUMMARY);
}

void dg_linear_head_put(struct dg_linear_head *head, const float *features, int64_t rows)
{
    size_t row = sizeof(float) * (size_t)head->dim;
    memcpy(head->input, features, row * (size_t)rows);
    memset(head->input + rows * head->dim, 0, row * (size_t)(head->batch - rows));
    for (int64_t r = rows; r < head->batch; r++) head->labels[r] = -1;
}

/* How many classes come before the label; a logit that is no number puts it last. Of equal ones the first is taken. */
static int64_t rank_of(const float *logits, int64_t classes, int64_t label)
{
    int64_t before = 0;
    for (int64_t c = 0; c < classes; c++)
        before += !(logits[c] < logits[label]) && (c < label || !(logits[c] == logits[label])) && c != label;
    return isfinite(logits[label]) ? before : classes;
}

enum dg_status dg_linear_head_score(struct dg_linear_head *head, const float *features, const int *label, int64_t count,
                                    struct dg_linear_score *score, struct dg_error *err)
{
    int64_t hits[2] = {0, 0};
    double sum = 0;
    for (int64_t first = 0; first < count; first += head->batch) {
        int64_t rows = dg_min_i64(head->batch, count - first);
        dg_linear_head_put(head, features + first * head->dim, rows);
        for (int64_t r = 0; r < rows; r++) head->labels[r] = label[first + r];
        DG_TRY(dg_session_compute(head->session, &(struct dg_step_info){0}, err));
        if (!isfinite(*head->loss))
            return dg_fail(err, DG_ERR_NUMERIC,
                           "the loss of images %" PRId64 " to %" PRId64 " is %g: the layer has no score", first,
                           first + rows - 1, *head->loss);
        sum += *head->loss * (double)rows;
        for (int64_t r = 0; r < rows; r++) {
            int64_t rank = rank_of(head->logits + r * head->classes, head->classes, head->labels[r]);
            hits[0] += rank < 1;
            hits[1] += rank < TOP;
        }
    }
    double n = (double)count;
    *score = (struct dg_linear_score){sum / n, 100 * (double)hits[0] / n, 100 * (double)hits[1] / n};
    return DG_OK;
}

enum dg_status dg_linear_head_load(struct dg_linear_head *head, const struct dg_plan *plan, const char *path,
                                   struct dg_error *err)
{
    static const enum dg_slot slots[] = {DG_SLOT_WEIGHT, DG_SLOT_BIAS};
    const struct dg_plan_entry *entry = dg_session_entry(head->session);
    struct dg_weight_file *file;
    DG_TRY(dg_weight_file_open(path, NULL, &file, err));
    dg_log(dg_session_log(head->session), DG_LOG_TRACE, DG_LOG_LOAD, "weights %s: %d tensors", path,
           dg_weight_file_count(file));
    enum dg_status status = DG_OK;
    for (int s = 0; s < 2 && status == DG_OK; s++) {
        uint32_t t = entry->slot[slots[s]];
        const char *name = dg_plan_string(plan, plan->tensor[t].name);
        struct dg_safetensors_tensor source;
        int index = dg_weight_file_find(file, name);
        status = index < 0
                     ? dg_fail(err, DG_ERR_INPUT,
                               "%s has no %s: a head is what dinorun linear leaves, or a published one", path, name)
                     : dg_weight_file_read(file, index, &source, err);
        if (status == DG_OK) status = dg_weights_copy(head->session, plan, t, &source, path, err);
    }
    dg_weight_file_close(file);
    char bad[512];
    if (status == DG_OK && dg_fault_in_stored(head->session, plan, bad, sizeof bad))
        return dg_fail(err, DG_ERR_INPUT, "%s: %s: such a layer has no score", path, bad);
    return status;
}
