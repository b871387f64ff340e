#include "runtime/train/objects.h"

#include <stdlib.h>

struct dg_objects {
    struct dg_objects_setup setup;
    struct dg_dataset *images;
    struct dg_patches patches;
    int64_t count; /* images that have a mask */
    struct dg_lent lent;
    int threads;
};

enum dg_status dg_objects_open(const struct dg_objects_setup *setup, struct dg_objects **result, struct dg_error *err)
{
    struct dg_objects *o = calloc(1, sizeof *o);
    *result = o;
    if (!o) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    o->setup = *setup;
    DG_TRY(dg_patches_init(setup->plan, DG_ENTRY_ATTENTION, &o->patches, err));
    DG_TRY(dg_dataset_open(&setup->data, DG_LABELS_UNUSED, setup->log, &o->images, err));
    return dg_segment_count(o->images, setup->masks, &o->count, err);
}

void dg_objects_close(struct dg_objects *o)
{
    if (o) dg_dataset_close(o->images);
    free(o);
}

/* Opens the session once, as a measurement will: it fails if the memory is not there. */
enum dg_status dg_objects_prepare(struct dg_objects *o, const struct dg_session *training, int64_t *lent, int64_t *own,
                                  struct dg_error *err)
{
    const struct dg_plan_entry *entry;
    DG_TRY(dg_plan_find_role(o->setup.plan, DG_ENTRY_ATTENTION, &entry, err));
    int64_t heads = dg_plan_slot(o->setup.plan, entry, DG_SLOT_OUTPUT)->dim[1];
    o->threads = dg_session_threads(training);
    o->lent = dg_session_lend(training);
    struct dg_lent rest = o->lent;
    struct dg_session *session;
    const struct dg_session_options options = {
        .threads = o->threads, .other_bytes = dg_segment_bytes(o->count, heads), .lent = &rest};
    DG_TRY(dg_session_open(o->setup.plan, dg_entry_name(DG_ENTRY_ATTENTION), &options, &session, err));
    struct dg_session_memory memory = dg_session_memory(session);
    dg_session_close(session);
    *lent = memory.borrowed;
    *own = memory.total;
    return DG_OK;
}

enum dg_status dg_objects_measure(const struct dg_objects *o, const char *path, struct dg_segment_score *score,
                                  struct dg_error *err)
{
    struct dg_lent lent = o->lent;
    struct dg_evaluator *evaluator;
    const struct dg_evaluator_options options = {.role = DG_ENTRY_ATTENTION,
                                                 .weights = path,
                                                 .choice = {.from = "teacher"},
                                                 .threads = o->threads,
                                                 .max_bad = o->setup.max_bad,
                                                 .log = o->setup.unread,
                                                 .rules = o->setup.data.rules,
                                                 .ignore_memory = true,
                                                 .lent = &lent};
    DG_TRY(dg_evaluator_open(o->setup.plan, o->setup.knobs, &options, &evaluator, err));
    const struct dg_segment_options how = {.patches = &o->patches,
                                           .masks = o->setup.masks,
                                           .keep = o->setup.keep,
                                           .max_bad = o->setup.max_bad,
                                           .rules = o->setup.data.rules};
    enum dg_status status = dg_segment_score(evaluator, o->images, &how, score, err);
    dg_evaluator_close(evaluator);
    return status;
}
