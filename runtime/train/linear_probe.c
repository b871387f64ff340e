#include "runtime/train/linear_probe.h"

#include "runtime/base/finite.h"
#include "runtime/base/memory.h"
#include "runtime/comm/agree.h"
#include "runtime/comm/gather.h"
#include "runtime/data/views.h"
#include "runtime/eval/evaluator.h"
#include "runtime/eval/labelled.h"
#include "runtime/eval/most_frequent.h"
#include "runtime/exec/replica.h"
#include "runtime/train/rank_start.h"
#include "runtime/train/run.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEST "best" /* OUT/best.safetensors */

/* What a process says of the batch whose features it has made; behind it lie item [batch], i64: the image of each
 * row, and features [batch, dim]. */
struct made {
    int64_t rows;
    struct dg_bad_news bad;
};

/* Batches that follow each other, of which each process has made one. */
struct round {
    int64_t bytes;     /* of a struct made with all behind it */
    char *mine, *all;  /* [bytes]; [ranks, bytes] */
    int64_t at, count; /* the next batch, and how many there are */
};

struct probe {
    struct dg_training_run run; /* its session is the head's */
    const struct dg_plan *plan;
    struct dg_knobs *knobs;
    const struct dg_linear_options *options;
    struct dg_linear_head head;

    struct dg_dataset *train, *val; /* train: NULL when there is only evaluation */
    int *label;                     /* [val images], in the head's order */
    struct dg_evaluator *backbone;
    float *features; /* [val images, dim] of the backbone */
    int64_t features_bytes, filled;
    struct dg_view_spec view;
    struct dg_bad_set *bad; /* training images that any process has found unreadable */
    struct round round;
    double best; /* the highest top-1 so far; -1: none */
    int64_t best_epoch;
};

/* Rank 0 owns the folder. */
static bool leads(const struct probe *p) { return dg_comm_rank(p->options->comm) == 0; }

static void progress(struct probe *p, int64_t epoch, int64_t images, int64_t all)
{
    if (p->options->events.progress) p->options->events.progress(p->options->events.context, epoch, images, all);
}

/* --- opening --- */

/* Opens a data set, which must have as many classes as the head. `folder`: the run's, if it is to have an index of
 * archives. */
static enum dg_status open_images(struct probe *p, const char *folder, const struct dg_data *data,
                                  struct dg_dataset **dataset, struct dg_error *err)
{
    const char *path = data->path[0];
    DG_TRY(dg_run_open_images(folder, data, DG_LABELS_NEEDED, p->options->log, dataset, err));
    int classes = dg_dataset_classes(*dataset);
    if (classes == p->head.classes) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT,
                   "%s has %d classes, and the plan %" PRId64 ": dinoc %s --set classes=%d -o PLAN makes one that fits",
                   path, classes, p->head.classes, dg_plan_string(p->plan, p->plan->header->source), classes);
}

/* Sets the labels of val as the head numbers them, which is by train's classes. */
static enum dg_status number_labels(struct probe *p, const struct dg_log *log, struct dg_error *err)
{
    enum dg_status status = dg_labels_read(p->val, p->train ? p->train : p->val, log, &p->label, err);
    if (status != DG_OK) dg_error_prefix(err, "%s", p->options->val.path[0]);
    return status;
}

/* Opens val. If there is train, val may lack some of its classes. */
static enum dg_status open_val(struct probe *p, struct dg_error *err)
{
    const struct dg_data *data = &p->options->val;
    DG_TRY(p->train ? dg_dataset_open(data, DG_LABELS_NEEDED, p->options->log, &p->val, err)
                    : open_images(p, NULL, data, &p->val, err));
    return number_labels(p, p->options->log, err);
}

static enum dg_status init_run(struct probe *p, struct dg_error *err)
{
    const struct dg_linear_options *o = p->options;
    const struct dg_run_setup setup = {.folder = leads(p) ? o->out : NULL,
                                       .name = "linear",
                                       .what = "probe",
                                       .resume = o->resume,
                                       .new_data = o->new_data,
                                       .accept_changes = o->accept_changes,
                                       .seed = o->seed,
                                       .seed_given = o->seed_given,
                                       .threads = o->threads,
                                       .ignore_memory = o->ignore_memory,
                                       .command = o->command,
                                       .log = o->log};
    return dg_run_init(&p->run, &setup, p->knobs, err);
}

static enum dg_status open_backbone(struct probe *p, struct dg_error *err)
{
    const struct dg_linear_options *o = p->options;
    struct dg_evaluator_options options = {.role = DG_ENTRY_FEATURES,
                                           .weights = o->weights,
                                           .choice = o->choice,
                                           .threads = o->threads,
                                           .max_bad = o->max_bad_val,
                                           .accept_changes = o->accept_changes,
                                           .ignore_memory = o->ignore_memory,
                                           .comm = o->comm,
                                           .log = o->log};
    DG_TRY(dg_evaluator_open(p->plan, p->knobs, &options, &p->backbone, err));
    if (dg_evaluator_dim(p->backbone) == p->head.dim && dg_evaluator_images(p->backbone)->dim[0] == p->head.batch)
        return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "the plan's features do not fit its classifier; compile it again");
}

static enum dg_status open_head(struct probe *p, struct dg_error *err)
{
    p->features_bytes = dg_dataset_count(p->val) * p->head.dim * (int64_t)sizeof(float);
    DG_TRY(dg_run_open(&p->run, p->run.loader_bytes + p->features_bytes, err));
    dg_linear_head_bind(&p->head, p->run.session);
    char text[32];
    void *features;
    dg_log(p->options->log, DG_LOG_TRACE, DG_LOG_MEM, "validation features: %s",
           dg_format_bytes(text, sizeof text, (double)p->features_bytes));
    DG_TRY(dg_region_alloc("the validation features", p->features_bytes, &features, err));
    p->features = features;
    return DG_OK;
}

static enum dg_status open_round(struct probe *p, struct dg_error *err)
{
    struct round *round = &p->round;
    int64_t row = (int64_t)sizeof(int64_t) + p->head.dim * (int64_t)sizeof(float);
    round->bytes = dg_round_up((int64_t)sizeof(struct made) + p->head.batch * row, (int64_t)sizeof(int64_t));
    round->mine = calloc(1, (size_t)round->bytes);
    round->all = calloc((size_t)dg_comm_ranks(p->options->comm), (size_t)round->bytes);
    return round->mine && round->all ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "no memory for the features of a batch");
}

static enum dg_status plan_training(struct probe *p, struct dg_error *err)
{
    const struct dg_plan_tensor *images = dg_evaluator_images(p->backbone);
    int64_t count = dg_dataset_count(p->train);
    p->run.length = (struct dg_run_length){(count + p->head.batch - 1) / p->head.batch,
                                           (int64_t)dg_knobs_value(p->knobs, "epochs", 1)};
    const struct dg_plan_entry *entry;
    DG_TRY(dg_plan_find_role(p->plan, DG_ENTRY_TRAIN, &entry, err));
    DG_TRY(dg_knobs_check(p->knobs, entry, p->run.length, err));
    DG_TRY(dg_views_probe(p->knobs, (int)images->dim[1], (int)images->dim[2], &p->view, err));
    DG_TRY(dg_bad_set_open(count, &p->bad, err));
    p->run.ahead = dg_comm_rank(p->options->comm);
    const struct dg_train_reading reading = {.dataset = p->train,
                                             .bad = p->bad,
                                             .stride = dg_comm_ranks(p->options->comm),
                                             .views = &p->view,
                                             .view_count = 1,
                                             .rest = true,
                                             .max_bad = dg_bad_limit_of(p->options->max_bad, count)};
    return dg_run_plan_loader(&p->run, &reading, p->head.batch, dg_session_threads(dg_evaluator_session(p->backbone)),
                              err);
}

static enum dg_status add_features(void *context, const float *output, int64_t rows, int64_t done, int64_t all,
                                   struct dg_error *err)
{
    struct probe *p = context;
    (void)err;
    memcpy(p->features + p->filled * p->head.dim, output, sizeof(float) * (size_t)(rows * p->head.dim));
    p->filled += rows;
    progress(p, -1, done, all);
    return DG_OK;
}

/* The features of val, and the labels of the images that could be read. */
static enum dg_status compute_features(struct probe *p, struct dg_error *err)
{
    int64_t count = dg_dataset_count(p->val);
    DG_TRY(dg_evaluate(p->backbone, p->val, add_features, p, err));
    return dg_dataset_count(p->val) < count ? number_labels(p, NULL, err) : DG_OK;
}

static void tell_start(struct probe *p)
{
    struct dg_linear_start start = {.features = dg_session_memory(dg_evaluator_session(p->backbone)),
                                    .head = dg_session_memory(p->run.session),
                                    .loader_bytes = p->run.loader_bytes,
                                    .features_bytes = p->features_bytes,
                                    .train_images = p->train ? dg_dataset_count(p->train) : 0,
                                    .val_images = dg_dataset_count(p->val),
                                    .most_frequent =
                                        dg_most_frequent(p->label, dg_dataset_count(p->val), (int)p->head.classes),
                                    .dim = p->head.dim,
                                    .classes = p->head.classes,
                                    .batch = p->head.batch,
                                    .steps_per_epoch = p->run.length.steps_per_epoch,
                                    .epochs = p->run.length.epochs,
                                    .first_epoch = p->train ? p->run.position.step / p->run.length.steps_per_epoch : 0,
                                    .seed = p->run.position.seed,
                                    .threads = dg_session_threads(p->run.session)};
    if (p->options->events.start) p->options->events.start(p->options->events.context, &start);
}

static void close_probe(struct probe *p)
{
    dg_run_close(&p->run);
    dg_evaluator_close(p->backbone);
    dg_region_free(p->features, p->features_bytes);
    dg_bad_set_close(p->bad);
    free(p->round.mine);
    free(p->round.all);
    if (p->train) dg_dataset_say_notes(p->train, p->options->log);
    dg_dataset_close(p->train);
    dg_dataset_close(p->val);
    free(p->label);
    free(p);
}

static enum dg_status score(struct probe *p, struct dg_linear_score *result, struct dg_error *err)
{
    return dg_linear_head_score(&p->head, p->features, p->label, dg_dataset_count(p->val), result, err);
}

/* --- training --- */

/* What the head depends on besides the plan: its classes in the order of its outputs, those of `dataset`; the
 * backbone. */
static enum dg_status add_facts(struct probe *p, const struct dg_dataset *dataset, struct dg_error *err)
{
    int count = dg_dataset_classes(dataset);
    const char **name = calloc((size_t)count + 1, sizeof *name);
    for (int c = 0; name && c < count; c++) name[c] = dg_dataset_class_name(dataset, c);
    char *classes = name ? dg_facts_join(name, count) : NULL;
    if (classes) dg_facts_add(&p->run.facts, "classes", "%s", classes);
    dg_facts_add(&p->run.facts, "weights", "%016" PRIx64,
                 dg_weights_hash(dg_evaluator_session(p->backbone), DG_FNV_BASIS));
    dg_run_add_images(&p->run, dataset);
    free(name);
    if (!classes) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    free(classes);
    return DG_OK;
}

/* Sets the score and epoch of the best head so far from its file. Leaves another state in the session. */
static enum dg_status restore_best(struct probe *p, struct dg_error *err)
{
    char path[DG_MAX_PATH];
    struct dg_progress position = p->run.position;
    struct dg_error lost = {0};
    const struct dg_resume_rules rules = {.new_data = true,
                                          .accept_changes = true}; /* dg_run_resume has compared them */
    snprintf(path, sizeof path, "%s/" BEST ".safetensors", p->options->out);
    if (dg_checkpoint_load(p->run.session, p->knobs, &position, rules, path, NULL, &lost) != DG_OK) {
        dg_log(p->options->log, DG_LOG_WARNING, DG_LOG_RUN, "%s", lost.text);
        return DG_OK; /* the best of the epochs to come */
    }
    struct dg_linear_score best;
    DG_TRY(score(p, &best, err));
    p->best = best.top1;
    p->best_epoch = position.step / p->run.length.steps_per_epoch - 1;
    return DG_OK;
}

static enum dg_status set_own_state(struct probe *p, struct dg_error *err)
{
    bool found = false;
    if (p->options->resume) DG_TRY(dg_run_resume(&p->run, &found, err));
    if (!found) {
        if (p->options->resume)
            dg_log(p->options->log, DG_LOG_WARNING, DG_LOG_RUN,
                   "--resume: there is no probe yet, so it begins at epoch 0");
        return dg_session_initialize(p->run.session, p->run.position.seed, err);
    }
    if (p->run.position.step % p->run.length.steps_per_epoch)
        return dg_fail(err, DG_ERR_INPUT,
                       "%s was left between epochs of %" PRId64 " steps: it was trained on other images", p->run.newest,
                       p->run.length.steps_per_epoch);
    return DG_OK;
}

/* All processes have rank 0's position and layer. `status` is what rank 0 has come to. */
static enum dg_status share_state(struct probe *p, enum dg_status status, struct dg_error *err)
{
    struct dg_comm *comm = p->options->comm;
    struct dg_progress *position = &p->run.position, own = *position;
    DG_TRY(dg_comm_agree(comm, status, err));
    DG_TRY(dg_comm_broadcast(comm, position, sizeof *position, err));
    position->threads = own.threads; /* and this process's copy of the facts */
    position->facts = own.facts;
    return dg_session_broadcast(p->run.session, comm, err);
}

static enum dg_status set_state(struct probe *p, struct dg_error *err)
{
    p->run.position.data_hash = dg_weights_hash(dg_evaluator_session(p->backbone), dg_dataset_hash(p->train));
    p->best = -1;
    enum dg_status status = add_facts(p, p->train, err);
    if (status == DG_OK && leads(p)) status = set_own_state(p, err);
    return share_state(p, status, err);
}

/* Restores the best head's score, then the run's state. */
static enum dg_status resume_own_best(struct probe *p, struct dg_error *err)
{
    DG_TRY(restore_best(p, err));
    const struct dg_resume_rules rules = {.new_data = true, .accept_changes = true};
    return dg_checkpoint_load(p->run.session, p->knobs, &p->run.position, rules, p->run.newest, NULL, err);
}

/* To be called when the validation features are computed. */
static enum dg_status resume_best(struct probe *p, struct dg_error *err)
{
    struct dg_comm *comm = p->options->comm;
    if (!p->run.position.step) return DG_OK;
    DG_TRY(share_state(p, leads(p) ? resume_own_best(p, err) : DG_OK, err));
    DG_TRY(dg_comm_broadcast(comm, &p->best, sizeof p->best, err));
    return dg_comm_broadcast(comm, &p->best_epoch, sizeof p->best_epoch, err);
}

static enum dg_status bad_step(const struct probe *p, struct dg_error *err)
{
    return dg_fail(err, DG_ERR_NUMERIC,
                   "step %" PRId64 ": the loss is %g and the gradient's norm %g; lower lr with --set, and --resume",
                   p->run.position.step, *p->head.loss, p->head.summary[0]);
}

/* A batch of the round, with its features. */
struct step_batch {
    int64_t rows;
    const int64_t *item;   /* [rows] */
    const float *features; /* [rows, dim] */
};

static struct step_batch batch_of(const struct probe *p, const char *made)
{
    const int64_t *item = (const int64_t *)(const void *)(made + sizeof(struct made));
    return (struct step_batch){((const struct made *)(const void *)made)->rows, item,
                               (const float *)(const void *)(item + p->head.batch)};
}

/* This process's batch of a round: the step that comes so many after the next one. */
static enum dg_status make_own(struct probe *p, struct dg_error *err)
{
    const struct dg_batch *batch;
    const float *features;
    struct made *made = (struct made *)(void *)p->round.mine;
    int64_t step = p->run.position.step + p->run.ahead;
    *made = (struct made){0};
    if (step >= p->run.length.epochs * p->run.length.steps_per_epoch) return DG_OK;
    if (p->options->comm) DG_TRY(dg_bad_set_check(p->bad, p->run.reading.max_bad, err));
    DG_TRY(dg_run_next_batch(&p->run, &batch, err));
    enum dg_status status = dg_evaluate_batch(p->backbone, batch->data, &features, err);
    made->rows = batch->rows;
    const struct step_batch own = batch_of(p, p->round.mine);
    memcpy((void *)(uintptr_t)own.item, batch->item, sizeof *own.item * (size_t)batch->rows);
    if (status == DG_OK)
        memcpy((void *)(uintptr_t)own.features, features, sizeof(float) * (size_t)(batch->rows * p->head.dim));
    dg_loader_release(p->run.loader, batch);
    for (int64_t r = 0; r < own.rows && status == DG_OK; r++)
        if (dg_first_not_finite(own.features + r * p->head.dim, p->head.dim) >= 0)
            status = dg_fail(err, DG_ERR_NUMERIC, "step %" PRId64 ": the backbone's features of %s are not finite",
                             step, dg_dataset_path(p->train, own.item[r]));
    made->bad = dg_bad_set_take_news(p->bad);
    return status;
}

/* The next batch; the processes make as many at once as they are. `own`: what this process has come to. */
static enum dg_status next_batch(struct probe *p, enum dg_status own, struct step_batch *batch, struct dg_error *err)
{
    struct round *round = &p->round;
    struct dg_comm *comm = p->options->comm;
    if (round->at == round->count) {
        DG_TRY(dg_comm_agree(comm, own == DG_OK ? make_own(p, err) : own, err));
        DG_TRY(dg_comm_gather_long(comm, round->mine, round->bytes, round->all, err));
        round->at = 0;
        round->count = dg_comm_ranks(comm);
        for (int64_t r = 0; r < round->count; r++)
            dg_bad_set_add_news(p->bad, &((struct made *)(void *)(round->all + r * round->bytes))->bad);
    }
    *batch = batch_of(p, round->all + round->at++ * round->bytes);
    return DG_OK;
}

static enum dg_status train_step(struct probe *p, const struct step_batch *batch, double *loss, struct dg_error *err)
{
    struct dg_step_info info = {.seed = p->run.position.seed, .step = p->run.position.step};
    dg_linear_head_put(&p->head, batch->features, batch->rows);
    for (int64_t r = 0; r < batch->rows; r++) p->head.labels[r] = dg_dataset_label(p->train, batch->item[r]);
    dg_session_set_controls(p->run.session, p->knobs, p->run.position.step, p->run.length);
    DG_TRY(dg_session_compute(p->run.session, &info, err));
    *loss = *p->head.loss;
    if (p->head.summary[1] != 1 || !isfinite(*loss)) return bad_step(p, err);
    DG_TRY(dg_session_commit(p->run.session, &info, err));
    p->run.position.step++;
    return DG_OK;
}

/* *own receives what this process alone fails at: the others are told when the next batches are made, or after the
 * epoch. */
static enum dg_status train_epoch(struct probe *p, struct dg_linear_report *report, enum dg_status *own,
                                  struct dg_error *err)
{
    int64_t all = dg_dataset_count(p->train), done = 0;
    double sum = 0, begin = dg_seconds_now();
    for (int64_t s = 0; s < p->run.length.steps_per_epoch; s++) {
        struct step_batch batch;
        double loss = 0;
        DG_TRY(next_batch(p, *own, &batch, err));
        if (*own == DG_OK) *own = train_step(p, &batch, &loss, err);
        if (*own != DG_OK) continue;
        sum += loss * (double)batch.rows;
        done += batch.rows;
        progress(p, report->epoch, done, all);
    }
    report->loss = sum / (double)all;
    report->images_per_s = (double)all / (dg_seconds_now() - begin);
    return DG_OK;
}

/* Saves the best head first: a run that is stopped between the two files repeats the epoch and finds the best head
 * there. */
static enum dg_status save(struct probe *p, bool best, struct dg_error *err)
{
    if (best) DG_TRY(dg_run_save_as(&p->run, BEST, err));
    return dg_run_save(&p->run, err);
}

/* Scores the head after an epoch, and notes whether it is the best so far. */
static enum dg_status score_epoch(struct probe *p, struct dg_linear_report *report, bool *best, struct dg_error *err)
{
    DG_TRY(score(p, &report->val, err));
    *best = report->val.top1 > p->best;
    if (*best) {
        p->best = report->val.top1;
        p->best_epoch = report->epoch;
    }
    report->best = p->best;
    report->best_epoch = p->best_epoch;
    return DG_OK;
}

static enum dg_status log_epoch(struct probe *p, int64_t first_step, const struct dg_linear_report *r,
                                struct dg_error *err)
{
    return dg_run_log_line(p->run.lines, err,
                           "{\"step\": %" PRId64 ", \"epoch\": %" PRId64 ", \"loss\": %.9g, \"lr\": %.17g, "
                           "\"val_loss\": %.9g, \"top1\": %.6g, \"top5\": %.6g, \"best_top1\": %.6g, "
                           "\"images_per_s\": %.4g",
                           first_step, r->epoch, r->loss, r->lr, r->val.loss, r->val.top1, r->val.top5, r->best,
                           r->images_per_s);
}

static enum dg_status save_epoch(struct probe *p, int64_t first_step, const struct dg_linear_report *report, bool best,
                                 struct dg_error *err)
{
    DG_TRY(log_epoch(p, first_step, report, err));
    return save(p, best, err);
}

static enum dg_status run_epochs(struct probe *p, struct dg_error *err)
{
    const struct dg_linear_events *events = &p->options->events;
    const struct dg_run_length length = p->run.length;
    int64_t end = length.epochs * length.steps_per_epoch;
    DG_TRY(dg_comm_agree(p->options->comm, dg_run_open_loader(&p->run, end, err), err));
    for (int64_t epoch = p->run.position.step / length.steps_per_epoch; epoch < length.epochs; epoch++) {
        int64_t first = p->run.position.step;
        struct dg_linear_report report = {.epoch = epoch, .lr = dg_control_value(p->knobs, "lr", first, length)};
        bool best = false;
        enum dg_status own = DG_OK;
        DG_TRY(train_epoch(p, &report, &own, err));
        if (own == DG_OK) own = score_epoch(p, &report, &best, err);
        if (own == DG_OK && leads(p)) own = save_epoch(p, first, &report, best, err);
        DG_TRY(dg_comm_agree(p->options->comm, own, err));
        if (events->epoch) events->epoch(events->context, &report);
    }
    return DG_OK;
}

static enum dg_status train_and_score(struct probe *p, struct dg_error *err)
{
    if (p->run.position.step >= p->run.length.epochs * p->run.length.steps_per_epoch) return DG_OK; /* it is done */
    DG_TRY(compute_features(p, err));
    DG_TRY(resume_best(p, err));
    return run_epochs(p, err);
}

/* That all processes do the same with the same. The settings are those that were given to each; of weights and
 * images it is asked once they are open. */
static enum dg_status check_ranks(struct probe *p, const struct dg_dataset *dataset, const char *path,
                                  struct dg_error *err)
{
    struct dg_rank_facts facts = {
        .plan = p->plan->header->checksum, .rules = p->options->val.rules, .knobs = p->knobs, .images_from = path};
    if (!p->options->comm) return DG_OK;
    if (dataset) {
        facts.data = dg_dataset_hash(dataset);
        facts.images = dg_dataset_count(dataset);
        facts.weights = dg_replica_hash(dg_evaluator_session(p->backbone), 0, 1);
        facts.weights_from = p->options->weights;
    }
    return dg_ranks_check(p->options->comm, &facts, err);
}

/* The run, and its settings: those of rank 0, who has the folder. */
static enum dg_status share_settings(struct probe *p, struct dg_error *err)
{
    struct dg_comm *comm = p->options->comm;
    DG_TRY(check_ranks(p, NULL, "", err));
    DG_TRY(dg_comm_agree(comm, init_run(p, err), err));
    return dg_comm_broadcast(comm, p->knobs->knob, p->plan->num_knobs * (int64_t)sizeof *p->knobs->knob, err);
}

/* All inputs are opened before the folder is made, so that a call that fails for one of them leaves no folder. */
static enum dg_status open_training(struct probe *p, struct dg_error *err)
{
    DG_TRY(open_images(p, leads(p) ? p->options->out : NULL, &p->options->train, &p->train, err));
    DG_TRY(open_val(p, err));
    DG_TRY(open_backbone(p, err));
    DG_TRY(plan_training(p, err));
    DG_TRY(open_round(p, err));
    return open_head(p, err);
}

static enum dg_status open_files(struct probe *p, struct dg_error *err)
{
    if (!leads(p)) return DG_OK;
    dg_run_write_plan(&p->run);
    dg_run_write_index(&p->run, p->train);
    DG_TRY(dg_run_open_log(&p->run, err));
    dg_run_open_record(&p->run, (struct dg_run_about){.kind = "linear",
                                                      .data = &p->options->train,
                                                      .val = &p->options->val,
                                                      .batch = p->head.batch,
                                                      .images = dg_dataset_count(p->train),
                                                      .processes = dg_comm_ranks(p->options->comm),
                                                      .out_dim = p->head.classes});
    return DG_OK;
}

static enum dg_status train(struct probe *p, struct dg_error *err)
{
    struct dg_comm *comm = p->options->comm;
    DG_TRY(dg_comm_agree(comm, dg_linear_head_read_plan(&p->head, p->plan, err), err));
    DG_TRY(share_settings(p, err));
    DG_TRY(dg_comm_agree(comm, open_training(p, err), err));
    DG_TRY(check_ranks(p, p->train, p->options->train.path[0], err));
    DG_TRY(check_ranks(p, p->val, p->options->val.path[0], err));
    DG_TRY(set_state(p, err));
    DG_TRY(dg_comm_agree(comm, open_files(p, err), err));
    tell_start(p);
    enum dg_status status = train_and_score(p, err);
    dg_run_end_record(&p->run, status == DG_OK ? "finished" : "failed", status == DG_OK ? NULL : err->text);
    return status;
}

static struct probe *open_probe(const struct dg_plan *plan, struct dg_knobs *knobs,
                                const struct dg_linear_options *options, struct dg_error *err)
{
    struct probe *p = calloc(1, sizeof *p);
    if (!p) {
        dg_fail(err, DG_ERR_MEMORY, "out of memory");
        return NULL;
    }
    p->plan = plan;
    p->knobs = knobs;
    p->options = options;
    p->run.lock = -1;
    return p;
}

enum dg_status dg_linear_train(const struct dg_plan *plan, struct dg_knobs *knobs,
                               const struct dg_linear_options *options, struct dg_error *err)
{
    struct probe *p = open_probe(plan, knobs, options, err);
    if (!p) return err->status;
    enum dg_status status = train(p, err);
    close_probe(p);
    return status;
}

/* --- a head from a file --- */

/* Is the head scored on what it was trained on? Heads of other programs do not say. */
static enum dg_status compare_head(struct probe *p, const char *path, struct dg_error *err)
{
    struct dg_facts *now = &p->run.facts;
    DG_TRY(add_facts(p, p->val, err));
    dg_facts_add_plan(now, p->knobs);
    return dg_facts_check_head(path, now, p->knobs, p->options->accept_changes, p->options->log, err);
}

static enum dg_status open_evaluation(struct probe *p, const char *head, struct dg_error *err)
{
    DG_TRY(dg_linear_head_read_plan(&p->head, p->plan, err));
    DG_TRY(init_run(p, err));
    DG_TRY(open_val(p, err));
    DG_TRY(open_backbone(p, err));
    DG_TRY(open_head(p, err));
    DG_TRY(dg_linear_head_load(&p->head, p->plan, head, err));
    return compare_head(p, head, err);
}

static enum dg_status evaluate(struct probe *p, const char *head, struct dg_linear_score *result, struct dg_error *err)
{
    DG_TRY(dg_comm_agree(p->options->comm, open_evaluation(p, head, err), err));
    DG_TRY(check_ranks(p, p->val, p->options->val.path[0], err));
    tell_start(p);
    DG_TRY(compute_features(p, err));
    return score(p, result, err);
}

enum dg_status dg_linear_evaluate(const struct dg_plan *plan, struct dg_knobs *knobs,
                                  const struct dg_linear_options *options, const char *head,
                                  struct dg_linear_score *result, struct dg_error *err)
{
    struct probe *p = open_probe(plan, knobs, options, err);
    if (!p) return err->status;
    enum dg_status status = evaluate(p, head, result, err);
    close_probe(p);
    return status;
}
