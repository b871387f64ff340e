#include "runtime/train/quality.h"

#include "runtime/eval/labelled.h"
#include "runtime/eval/most_frequent.h"
#include "runtime/eval/nearest.h"
#include "runtime/train/objects.h"
#include "runtime/train/results.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dg_quality {
    struct dg_quality_setup setup;
    struct dg_labelled train, val; /* of k-NN; no images: there is none */
    struct dg_objects *objects;    /* NULL: none */
    struct dg_log unread;          /* which images cannot be read, and nothing else of an evaluation */
    struct dg_lent lent;
    int threads;
    int64_t dim;     /* numbers an image */
    double measured; /* when; of the opening at first */
};

static const char *const units[] = {" epochs", " steps", " minutes"}; /* of enum dg_every */

bool dg_quality_read_interval(const char *text, struct dg_quality_interval *interval)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || !(value > 0) || value > 1e9) return false;
    size_t length = strlen(end);
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        size_t whole = strlen(units[u]);
        if (length && strcmp(end, units[u]) && (length + 1 != whole || strncmp(end, units[u], length))) continue;
        *interval = (struct dg_quality_interval){value, (enum dg_every)u};
        return true;
    }
    return false;
}

const char *dg_quality_interval_text(struct dg_quality_interval interval, char *text, size_t size)
{
    snprintf(text, size, "%g%s", interval.value, units[interval.unit]);
    return text;
}

static int64_t feature_bytes(const struct dg_quality *q)
{
    return dg_round_up((q->train.count + q->val.count) * q->dim * (int64_t)sizeof(float), DG_PLAN_ALIGN);
}

static void write_unread(void *context, enum dg_log_level level, enum dg_log_topic topic, const char *text)
{
    const struct dg_quality *q = context;
    if (level == DG_LOG_WARNING && topic == DG_LOG_LOAD) dg_log(q->setup.log, level, topic, "%s", text);
}

enum dg_status dg_quality_open(const struct dg_quality_setup *setup, struct dg_quality **result, struct dg_error *err)
{
    struct dg_quality *q = calloc(1, sizeof *q);
    *result = q;
    if (!q) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    q->setup = *setup;
    q->measured = dg_seconds_now();
    q->unread = (struct dg_log){.write = write_unread, .context = q};
    const struct dg_objects_setup objects = {.plan = setup->plan,
                                             .knobs = setup->knobs,
                                             .data = setup->objects,
                                             .masks = setup->masks,
                                             .keep = setup->keep,
                                             .max_bad = setup->max_bad,
                                             .unread = &q->unread,
                                             .log = setup->log};
    if (setup->objects.paths) DG_TRY(dg_objects_open(&objects, &q->objects, err));
    if (!setup->train.paths) return DG_OK;
    DG_TRY(dg_labelled_open(&q->train, &setup->train, NULL, setup->log, err));
    DG_TRY(dg_labelled_open(&q->val, &setup->val, &q->train, setup->log, err));
    if (q->train.classes < 2)
        return dg_fail(err, DG_ERR_INPUT, "%s: k-NN needs images of at least two classes to choose from",
                       setup->train.path[0]);
    return DG_OK;
}

/* Opens the session once, as a measurement will: it fails if the memory is not there. */
static enum dg_status prepare_knn(struct dg_quality *q, const struct dg_session *training, int64_t *lent, int64_t *own,
                                  struct dg_error *err)
{
    const struct dg_quality_setup *s = &q->setup;
    const struct dg_plan_entry *entry;
    DG_TRY(dg_plan_find_role(s->plan, DG_ENTRY_FEATURES, &entry, err));
    const struct dg_plan_tensor *images = dg_plan_slot(s->plan, entry, DG_SLOT_IMAGES);
    q->dim = dg_plan_slot(s->plan, entry, DG_SLOT_OUTPUT)->dim[1];
    q->threads = dg_session_threads(training);
    q->lent = dg_session_lend(training);
    struct dg_loader_config config = dg_loader_config_make(images->dim[0], q->threads, NULL);
    struct dg_eval_crop crop = dg_evaluate_crop(s->knobs, images);
    int64_t loader;
    DG_TRY(dg_loader_eval_bytes(&config, &crop, &loader, err));
    struct dg_lent rest = q->lent;
    struct dg_session *session;
    const struct dg_session_options options = {
        .threads = q->threads, .other_bytes = loader + feature_bytes(q), .lent = &rest};
    DG_TRY(dg_session_open(s->plan, dg_entry_name(DG_ENTRY_FEATURES), &options, &session, err));
    struct dg_session_memory memory = dg_session_memory(session);
    dg_session_close(session);
    int64_t features = rest.bytes >= feature_bytes(q) ? feature_bytes(q) : 0; /* there is room left for them */
    *lent = memory.borrowed + features;
    *own = memory.total - features;
    return DG_OK;
}

/* One after the other: they take the memory of the larger one. */
enum dg_status dg_quality_prepare(struct dg_quality *q, const struct dg_session *training, int64_t *lent, int64_t *own,
                                  struct dg_error *err)
{
    int64_t other_lent = 0, other_own = 0;
    *lent = *own = 0;
    if (q->train.images) DG_TRY(prepare_knn(q, training, lent, own, err));
    if (q->objects) DG_TRY(dg_objects_prepare(q->objects, training, &other_lent, &other_own, err));
    *lent = dg_max_i64(*lent, other_lent);
    *own = dg_max_i64(*own, other_own);
    return DG_OK;
}

void dg_quality_close(struct dg_quality *q)
{
    if (!q) return;
    dg_objects_close(q->objects);
    dg_labelled_close(&q->train);
    dg_labelled_close(&q->val);
    free(q);
}

bool dg_quality_due(const struct dg_quality *q, int64_t step)
{
    if (!q) return false;
    const struct dg_quality_interval *every = &q->setup.every;
    if (step >= q->setup.end_step || !step) return true;
    if (every->unit == DG_EVERY_MINUTES) return dg_seconds_now() - q->measured >= 60 * every->value;
    double steps = every->value * (every->unit == DG_EVERY_EPOCHS ? (double)q->setup.steps_per_epoch : 1);
    return step % dg_max_i64(1, llrint(steps)) == 0;
}

/* Of 10, 20, 100 and 200 those that there are votes for. */
static void choose_k(struct dg_quality_report *report, int64_t votes)
{
    static const int published[DG_QUALITY_K] = {10, 20, 100, 200};
    for (int i = 0; i < DG_QUALITY_K && published[i] <= votes; i++) report->k[report->num_k++] = published[i];
    if (!report->num_k) report->k[report->num_k++] = (int)votes;
}

static enum dg_status classify(const struct dg_quality *q, struct dg_quality_report *report, struct dg_error *err)
{
    int threads = q->threads;
    dg_features_normalize(q->train.features, q->train.count, q->dim, threads);
    dg_features_normalize(q->val.features, q->val.count, q->dim, threads);
    choose_k(report, q->train.count);
    const struct dg_knn_question question = {.train = {q->train.features, q->train.label, q->train.count},
                                             .test = {q->val.features, q->val.label, q->val.count},
                                             .dim = q->dim,
                                             .classes = q->train.classes,
                                             .k = report->k,
                                             .num_k = report->num_k,
                                             .temperature = 0.07,
                                             .threads = threads};
    report->images = q->val.count;
    report->most_frequent = dg_most_frequent(q->val.label, q->val.count, q->train.classes);
    return dg_knn(&question, report->result, NULL, err);
}

static enum dg_status measure_knn(struct dg_quality *q, const char *path, struct dg_quality_report *report,
                                  struct dg_error *err)
{
    struct dg_lent lent = q->lent;
    struct dg_evaluator *evaluator;
    const struct dg_evaluator_options options = {.role = DG_ENTRY_FEATURES,
                                                 .weights = path,
                                                 .choice = {.from = "teacher"},
                                                 .threads = q->threads,
                                                 .max_bad = q->setup.max_bad,
                                                 .log = &q->unread,
                                                 .ignore_memory = true,
                                                 .lent = &lent};
    DG_TRY(dg_evaluator_open(q->setup.plan, q->setup.knobs, &options, &evaluator, err));
    void *own = lent.bytes >= feature_bytes(q) ? NULL : malloc((size_t)feature_bytes(q));
    q->train.features = lent.bytes >= feature_bytes(q) ? (void *)lent.memory : own;
    enum dg_status status = DG_OK;
    if (!q->train.features) status = dg_fail(err, DG_ERR_MEMORY, "no memory for the features");
    if (status == DG_OK) status = dg_labelled_compute(&q->train, &q->train, evaluator, err);
    q->val.features = q->train.features + q->train.count * q->dim;
    if (status == DG_OK) status = dg_labelled_compute(&q->val, &q->train, evaluator, err);
    dg_evaluator_close(evaluator);
    if (status == DG_OK) status = classify(q, report, err);
    free(own);
    return status;
}

enum dg_status dg_quality_measure(struct dg_quality *q, const char *path, int64_t step,
                                  struct dg_quality_report *report, struct dg_error *err)
{
    *report = (struct dg_quality_report){.step = step};
    q->measured = dg_seconds_now();
    enum dg_status status = q->train.images ? measure_knn(q, path, report, err) : DG_OK;
    if (status == DG_OK && q->objects) {
        status = dg_objects_measure(q->objects, path, &report->objects, err);
        free(report->objects.head);
        report->objects.head = NULL;
    }
    report->seconds = dg_seconds_now() - q->measured;
    return status;
}

/* To log.jsonl; its line belongs to the last step that the weights have seen. */
static enum dg_status log_report(const struct dg_quality_report *r, const struct dg_result *best,
                                 struct dg_run_log *lines, struct dg_error *err)
{
    char text[640] = "";
    size_t at = 0;
    for (int i = 0; i < r->num_k; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "\"knn%d_top1\": %.6g, \"knn%d_top5\": %.6g, ", r->k[i],
                               r->result[i].top1, r->k[i], r->result[i].top5);
    if (r->num_k) at += (size_t)snprintf(text + at, sizeof text - at, "\"most_frequent\": %.6g, ", r->most_frequent);
    if (r->objects.images)
        snprintf(text + at, sizeof text - at, "\"%.*s_best\": %.6g, ", (int)strcspn(best->measure, "."), best->measure,
                 best->value);
    return dg_run_log_line(lines, err, "{\"step\": %" PRId64 ", \"measured\": %" PRId64 ", %s\"seconds\": %.4g",
                           dg_max_i64(r->step - 1, 0), r->step, text, r->seconds);
}

enum dg_status dg_quality_write(const struct dg_quality *q, const struct dg_quality_report *r, struct dg_run_log *lines,
                                const char *folder, struct dg_error *err)
{
    struct dg_result result[2 * DG_QUALITY_K], jaccard[DG_JACCARD_RESULTS];
    dg_results_set_knn(result, r->k, r->num_k, r->result, r->most_frequent);
    dg_results_set_jaccard(jaccard, &r->objects, q->setup.keep);
    DG_TRY(log_report(r, &jaccard[0], lines, err));
    struct dg_results results = {.by = "train",
                                 .step = r->step,
                                 .network = "teacher",
                                 .weights = "checkpoint.safetensors",
                                 .train = &q->setup.train,
                                 .val = &q->setup.val,
                                 .images = r->images,
                                 .result = result,
                                 .count = 2 * r->num_k};
    if (r->num_k) DG_TRY(dg_results_add(folder, &results, err));
    results.train = NULL;
    results.val = &q->setup.objects;
    results.images = r->objects.images;
    results.result = jaccard;
    results.count = DG_JACCARD_RESULTS;
    return r->objects.images ? dg_results_add(folder, &results, err) : DG_OK;
}
