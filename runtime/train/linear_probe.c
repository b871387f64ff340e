#include "runtime/train/linear_probe.h"

#include "runtime/base/memory.h"
#include "runtime/data/train_source.h"
#include "runtime/data/views.h"
#include "runtime/eval/evaluator.h"
#include "runtime/state/checkpoint.h"
#include "runtime/state/weights.h"
#include "runtime/train/run_folder.h"
#include "runtime/train/run_log.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_PATH = 4096, PREFETCH = 2, TOP = 5 };

struct probe {
    const struct dg_plan *plan;
    const struct dg_knobs *knobs;
    const struct dg_linear_options *options;
    int64_t batch, dim, classes;

    struct dg_dataset *train, *val; /* train: NULL when there is only evaluation */
    int *number;                    /* of val's classes, in the head's order */
    struct dg_evaluator *backbone;
    struct dg_session *head;
    float *input; /* the head's: [batch, dim] */
    int64_t *labels;
    const float *logits; /* [batch, classes] */
    const double *loss, *summary;
    float *kept; /* [val images, dim] */
    int64_t kept_bytes, filled;

    struct dg_loader_config loading;
    struct dg_train_reading reading;
    struct dg_view_spec view;
    struct dg_loader *loader;
    int64_t loader_bytes;
    struct dg_run_position position;
    struct dg_run_length length;
    struct dg_run_log *log;
    int lock; /* of the folder; -1: none */
    char path[MAX_PATH], best_path[MAX_PATH];
    double best;
    int64_t best_epoch;
};

#define warn(p, ...) dg_log((p)->options->log, DG_LOG_WARNING, DG_LOG_RUN, __VA_ARGS__)

static void progress(struct probe *p, int64_t epoch, int64_t images, int64_t all)
{
    if (p->options->events.progress) p->options->events.progress(p->options->events.context, epoch, images, all);
}

/* --- opening --- */

static enum dg_status read_plan(struct probe *p, struct dg_error *err)
{
    const struct dg_plan_entry *entry;
    if (!dg_plan_is_probe(p->plan))
        return dg_fail(
            err, DG_ERR_USAGE,
            "the plan has no linear probe: dinoc graphs/linear.yaml --set backbone=NAME --set classes=N -o PLAN "
            "makes one that has");
    DG_TRY(dg_plan_find_entry(p->plan, "train", &entry, err));
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &p->plan->tensor[t];
        if (strcmp(dg_plan_string(p->plan, tensor->name), "linear.weight") || tensor->ndim != 2) continue;
        p->classes = tensor->dim[0];
        p->dim = tensor->dim[1];
    }
    p->batch = entry->batch;
    return p->dim ? DG_OK : dg_fail(err, DG_ERR_INPUT, "the plan has no linear.weight; compile it again");
}

/* The folder must have as many classes as the head. */
static enum dg_status open_images(struct probe *p, const char *path, struct dg_dataset **dataset, struct dg_error *err)
{
    DG_TRY(dg_dataset_open(path, dataset, err));
    int classes = dg_dataset_classes(*dataset);
    if (!classes) return dg_fail(err, DG_ERR_INPUT, "%s: a probe needs labels: a folder a class", path);
    if (classes == p->classes) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT,
                   "%s has %d classes, and the plan %" PRId64 ": dinoc %s --set classes=%d -o PLAN makes one that fits",
                   path, classes, p->classes, dg_plan_string(p->plan, p->plan->header->source), classes);
}

/* The classes of val are those of train, by name; it may lack some. */
static enum dg_status open_val(struct probe *p, struct dg_error *err)
{
    const char *path = p->options->val;
    if (p->train) {
        DG_TRY(dg_dataset_open(path, &p->val, err));
        if (!dg_dataset_classes(p->val))
            return dg_fail(err, DG_ERR_INPUT, "%s: a probe needs labels: a folder a class", path);
    } else {
        DG_TRY(open_images(p, path, &p->val, err));
    }
    p->number = calloc((size_t)dg_dataset_classes(p->val), sizeof *p->number);
    if (!p->number) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    enum dg_status status = dg_dataset_match_classes(p->val, p->train ? p->train : p->val, p->number, err);
    if (status != DG_OK) dg_error_prefix(err, "%s", path);
    return status;
}

static enum dg_status check_folder(struct probe *p, struct dg_error *err)
{
    const char *out = p->options->out;
    if (strlen(out) > MAX_PATH - 64) return dg_fail(err, DG_ERR_USAGE, "--out: the path is too long");
    snprintf(p->path, sizeof p->path, "%s/linear.safetensors", out);
    snprintf(p->best_path, sizeof p->best_path, "%s/best.safetensors", out);
    if (!access(p->path, F_OK) && !p->options->resume)
        return dg_fail(err, DG_ERR_USAGE,
                       "%s holds a probe already: add --resume to go on with it, or choose another --out", out);
    return DG_OK;
}

static enum dg_status open_backbone(struct probe *p, struct dg_error *err)
{
    const struct dg_linear_options *o = p->options;
    struct dg_evaluator_options options = {.entry = "features",
                                           .weights = o->weights,
                                           .from = o->from,
                                           .threads = o->threads,
                                           .partial = o->partial,
                                           .ignore_memory = o->ignore_memory,
                                           .log = o->log};
    DG_TRY(dg_evaluator_open(p->plan, p->knobs, &options, &p->backbone, err));
    if (dg_evaluator_dim(p->backbone) == p->dim && dg_evaluator_images(p->backbone)->dim[0] == p->batch) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "the plan's features do not fit its classifier; compile it again");
}

static enum dg_status open_head(struct probe *p, struct dg_error *err)
{
    const struct dg_linear_options *o = p->options;
    p->kept_bytes = dg_dataset_count(p->val) * p->dim * (int64_t)sizeof(float);
    struct dg_session_options options = {.threads = o->threads,
                                         .other_bytes = p->loader_bytes + p->kept_bytes,
                                         .ignore_memory = o->ignore_memory,
                                         .log = o->log};
    DG_TRY(dg_session_open(p->plan, "train", &options, &p->head, err));
    p->input = dg_session_input(p->head, "features", NULL);
    p->labels = dg_session_input(p->head, "labels", NULL);
    p->loss = dg_session_output(p->head, "loss", NULL);
    p->logits = dg_session_output(p->head, "logits", NULL);
    p->summary = dg_session_output(p->head, "grad_summary", NULL);
    if (!p->input || !p->labels || !p->loss || !p->logits || !p->summary)
        return dg_fail(err, DG_ERR_INPUT, "the plan's entry train is not a probe's; compile it again");
    void *kept;
    DG_TRY(dg_region_alloc("the validation features", p->kept_bytes, &kept, err));
    p->kept = kept;
    return DG_OK;
}

static enum dg_status plan_training(struct probe *p, struct dg_error *err)
{
    const struct dg_plan_tensor *images = dg_evaluator_images(p->backbone);
    int64_t count = dg_dataset_count(p->train);
    p->length =
        (struct dg_run_length){(count + p->batch - 1) / p->batch, (int64_t)dg_knobs_value(p->knobs, "epochs", 1)};
    const struct dg_plan_entry *entry;
    DG_TRY(dg_plan_find_entry(p->plan, "train", &entry, err));
    DG_TRY(dg_knobs_check(p->knobs, entry, p->length, err));
    DG_TRY(dg_views_probe(p->knobs, (int)images->dim[1], (int)images->dim[2], &p->view, err));
    p->loading = (struct dg_loader_config){.batch = (int)p->batch,
                                           .threads = dg_session_threads(dg_evaluator_session(p->backbone)),
                                           .prefetch = PREFETCH,
                                           .log = p->options->log};
    p->reading = (struct dg_train_reading){.dataset = p->train,
                                           .views = &p->view,
                                           .view_count = 1,
                                           .steps_per_epoch = p->length.steps_per_epoch,
                                           .rest = true,
                                           .max_bad = p->options->max_bad};
    return dg_loader_train_bytes(&p->loading, &p->reading, &p->loader_bytes, err);
}

static enum dg_status keep_rows(void *context, const float *output, int64_t rows, int64_t done, int64_t all,
                                struct dg_error *err)
{
    struct probe *p = context;
    (void)err;
    memcpy(p->kept + p->filled * p->dim, output, sizeof(float) * (size_t)(rows * p->dim));
    p->filled += rows;
    progress(p, -1, done, all);
    return DG_OK;
}

static void tell_start(struct probe *p)
{
    struct dg_linear_start start = {.features = dg_session_memory(dg_evaluator_session(p->backbone)),
                                    .head = dg_session_memory(p->head),
                                    .loader_bytes = p->loader_bytes,
                                    .kept_bytes = p->kept_bytes,
                                    .train_images = p->train ? dg_dataset_count(p->train) : 0,
                                    .val_images = dg_dataset_count(p->val),
                                    .dim = p->dim,
                                    .classes = p->classes,
                                    .batch = p->batch,
                                    .steps_per_epoch = p->length.steps_per_epoch,
                                    .epochs = p->length.epochs,
                                    .first_epoch = p->train ? p->position.step / p->length.steps_per_epoch : 0,
                                    .seed = p->position.seed,
                                    .threads = dg_session_threads(p->head)};
    if (p->options->events.start) p->options->events.start(p->options->events.context, &start);
}

static void close_probe(struct probe *p)
{
    dg_loader_close(p->loader);
    dg_run_log_close(p->log);
    dg_session_close(p->head);
    dg_evaluator_close(p->backbone);
    dg_region_free(p->kept, p->kept_bytes);
    dg_dataset_close(p->train);
    dg_dataset_close(p->val);
    dg_run_folder_close(p->lock);
    free(p->number);
    free(p);
}

/* --- scores --- */

/* Features of `rows` images into the head; its other rows do not count, and are zero, so that nothing can come of them. */
static void put_features(struct probe *p, const float *features, int64_t rows)
{
    size_t row = sizeof(float) * (size_t)p->dim;
    memcpy(p->input, features, row * (size_t)rows);
    memset(p->input + rows * p->dim, 0, row * (size_t)(p->batch - rows));
    for (int64_t r = rows; r < p->batch; r++) p->labels[r] = -1;
}

/* How many classes come before the label; a logit that is no number puts it last. Of equal ones the first is taken. */
static int64_t rank_of(const float *logits, int64_t classes, int64_t label)
{
    int64_t before = 0;
    for (int64_t c = 0; c < classes; c++)
        before += !(logits[c] < logits[label]) && (c < label || !(logits[c] == logits[label])) && c != label;
    return isfinite(logits[label]) ? before : classes;
}

static enum dg_status score(struct probe *p, struct dg_linear_score *score, struct dg_error *err)
{
    int64_t count = dg_dataset_count(p->val), hits[2] = {0, 0};
    double sum = 0;
    for (int64_t first = 0; first < count; first += p->batch) {
        int64_t rows = dg_min_i64(p->batch, count - first);
        put_features(p, p->kept + first * p->dim, rows);
        for (int64_t r = 0; r < rows; r++) p->labels[r] = p->number[dg_dataset_label(p->val, first + r)];
        DG_TRY(dg_session_compute(p->head, &(struct dg_step_info){0}, err));
        sum += *p->loss * (double)rows;
        for (int64_t r = 0; r < rows; r++) {
            int64_t rank = rank_of(p->logits + r * p->classes, p->classes, p->labels[r]);
            hits[0] += rank < 1;
            hits[1] += rank < TOP;
        }
    }
    double n = (double)count;
    *score = (struct dg_linear_score){sum / n, 100 * (double)hits[0] / n, 100 * (double)hits[1] / n};
    return DG_OK;
}

/* --- training --- */

/* What the head's numbers depend on besides knobs: the images and the backbone's weights. */
static uint64_t hash_data(const struct probe *p)
{
    const struct dg_session *session = dg_evaluator_session(p->backbone);
    const struct dg_plan_entry *entry = dg_session_entry(session);
    uint64_t hash = dg_dataset_hash(p->train);
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++)
        if (p->plan->tensor[t].region == DG_REGION_PARAM)
            hash = dg_fnv1a(hash, dg_session_data(session, t), p->plan->tensor[t].bytes);
    return hash;
}

/* The best head so far is its own record: what it scores, and its epoch. */
static enum dg_status restore_best(struct probe *p, struct dg_error *err)
{
    struct dg_run_position position = p->position;
    struct dg_error lost = {0};
    const struct dg_resume_rules again = {.new_data = true}; /* that was judged when the run was resumed */
    if (dg_checkpoint_load(p->head, p->knobs, &position, again, p->best_path, NULL, &lost) != DG_OK) {
        warn(p, "%s", lost.text);
        return DG_OK; /* the best of what is to come, then */
    }
    struct dg_linear_score best;
    DG_TRY(score(p, &best, err));
    p->best = best.top1;
    p->best_epoch = position.step / p->length.steps_per_epoch - 1;
    return DG_OK;
}

static enum dg_status set_state(struct probe *p, struct dg_error *err)
{
    const struct dg_linear_options *o = p->options;
    p->position = (struct dg_run_position){.seed = o->seed,
                                           .steps_per_epoch = p->length.steps_per_epoch,
                                           .epochs = p->length.epochs,
                                           .data_hash = hash_data(p),
                                           .threads = dg_session_threads(p->head)};
    p->best = -1;
    if (!o->resume || access(p->path, F_OK)) {
        if (o->resume) warn(p, "--resume: there is no probe yet, so it begins at epoch 0");
        return dg_session_initialize(p->head, p->position.seed, err);
    }
    const struct dg_resume_rules rules = {o->seed_given, o->new_data};
    DG_TRY(dg_checkpoint_load(p->head, p->knobs, &p->position, rules, p->path, o->log, err));
    if (p->position.step % p->length.steps_per_epoch)
        return dg_fail(err, DG_ERR_INPUT,
                       "%s was left between epochs of %" PRId64 " steps: it was trained on other images", p->path,
                       p->length.steps_per_epoch);
    return DG_OK;
}

/* Best, then the state again: after the validation features are there. */
static enum dg_status resume_best(struct probe *p, struct dg_error *err)
{
    if (!p->position.step) return DG_OK;
    DG_TRY(restore_best(p, err));
    const struct dg_resume_rules again = {.new_data = true};
    return dg_checkpoint_load(p->head, p->knobs, &p->position, again, p->path, NULL, err);
}

static enum dg_status bad_step(const struct probe *p, struct dg_error *err)
{
    for (int64_t i = 0; i < p->batch * p->dim; i++)
        if (!isfinite(p->input[i]))
            return dg_fail(err, DG_ERR_NUMERIC,
                           "step %" PRId64 ": the backbone's features are not finite: are its weights sound?",
                           p->position.step);
    return dg_fail(err, DG_ERR_NUMERIC,
                   "step %" PRId64 ": the loss is %g and the gradient's norm %g; lower lr with --set, and --resume",
                   p->position.step, *p->loss, p->summary[0]);
}

static enum dg_status train_step(struct probe *p, const struct dg_batch *batch, double *loss, struct dg_error *err)
{
    const float *features;
    struct dg_step_info info = {.seed = p->position.seed, .step = p->position.step};
    DG_TRY(dg_evaluate_batch(p->backbone, batch->data, &features, err));
    put_features(p, features, batch->rows);
    for (int r = 0; r < batch->rows; r++) p->labels[r] = dg_dataset_label(p->train, batch->item[r]);
    dg_session_set_controls(p->head, p->knobs, p->position.step, p->length);
    DG_TRY(dg_session_compute(p->head, &info, err));
    *loss = *p->loss;
    if (p->summary[1] != 1 || !isfinite(*loss)) return bad_step(p, err);
    DG_TRY(dg_session_commit(p->head, &info, err));
    p->position.step++;
    return DG_OK;
}

static enum dg_status train_epoch(struct probe *p, struct dg_linear_report *report, struct dg_error *err)
{
    int64_t all = dg_dataset_count(p->train), done = 0;
    double sum = 0, begin = dg_seconds_now();
    for (int64_t s = 0; s < p->length.steps_per_epoch; s++) {
        const struct dg_batch *batch;
        double loss;
        enum dg_status status = dg_loader_next(p->loader, &batch, err);
        DG_TRY(status);
        if (!batch) return dg_fail(err, DG_ERR_INTERNAL, "the loader ended early; please report this");
        int rows = batch->rows;
        status = train_step(p, batch, &loss, err);
        dg_loader_release(p->loader, batch);
        DG_TRY(status);
        sum += loss * rows;
        done += rows;
        progress(p, report->epoch, done, all);
    }
    report->loss = sum / (double)all;
    report->images_per_s = (double)all / (dg_seconds_now() - begin);
    return DG_OK;
}

/* The best head first: whoever is stopped between the two files does the epoch again, and finds it there. */
static enum dg_status save(struct probe *p, bool best, struct dg_error *err)
{
    if (best) DG_TRY(dg_checkpoint_save(p->head, p->knobs, &p->position, p->best_path, err));
    return dg_checkpoint_save(p->head, p->knobs, &p->position, p->path, err);
}

static enum dg_status run_epochs(struct probe *p, struct dg_error *err)
{
    const struct dg_linear_events *events = &p->options->events;
    int64_t epoch = p->position.step / p->length.steps_per_epoch;
    if (epoch >= p->length.epochs) return DG_OK;
    p->reading.seed = p->position.seed; /* a resumed run's own */
    p->reading.epoch = epoch;
    p->reading.batches = (p->length.epochs - epoch) * p->length.steps_per_epoch;
    DG_TRY(dg_loader_open_train(&p->loading, &p->reading, &p->loader, err));
    for (; epoch < p->length.epochs; epoch++) {
        int64_t first = p->position.step;
        struct dg_linear_report report = {.epoch = epoch, .lr = dg_control_value(p->knobs, "lr", first, p->length)};
        DG_TRY(train_epoch(p, &report, err));
        DG_TRY(score(p, &report.val, err));
        bool best = report.val.top1 > p->best;
        if (best) {
            p->best = report.val.top1;
            p->best_epoch = epoch;
        }
        report.best = p->best;
        report.best_epoch = p->best_epoch;
        DG_TRY(dg_run_log_line(p->log, err,
                               "{\"step\": %" PRId64 ", \"epoch\": %" PRId64 ", \"loss\": %.9g, \"lr\": %.17g, "
                               "\"val_loss\": %.9g, \"top1\": %.6g, \"top5\": %.6g, \"best_top1\": %.6g, "
                               "\"images_per_s\": %.4g}",
                               first, epoch, report.loss, report.lr, report.val.loss, report.val.top1, report.val.top5,
                               report.best, report.images_per_s));
        DG_TRY(save(p, best, err));
        if (events->epoch) events->epoch(events->context, &report);
    }
    return DG_OK;
}

static enum dg_status train(struct probe *p, struct dg_error *err)
{
    const struct dg_linear_options *o = p->options;
    DG_TRY(read_plan(p, err));
    DG_TRY(check_folder(p, err));
    DG_TRY(open_images(p, o->train, &p->train, err));
    DG_TRY(open_val(p, err));
    DG_TRY(open_backbone(p, err));
    DG_TRY(plan_training(p, err));
    DG_TRY(
        dg_run_folder_open(o->out, &p->lock, err)); /* a call that asks for what is not there leaves nothing behind */
    DG_TRY(open_head(p, err));
    DG_TRY(set_state(p, err));
    char path[MAX_PATH];
    snprintf(path, sizeof path, "%s/log.jsonl", o->out);
    DG_TRY(dg_run_log_open(path, p->position.step, &p->log, err));
    tell_start(p);
    if (p->position.step >= p->length.epochs * p->length.steps_per_epoch) return DG_OK; /* it is done */
    DG_TRY(dg_evaluate(p->backbone, p->val, keep_rows, p, err));
    DG_TRY(resume_best(p, err));
    return run_epochs(p, err);
}

static struct probe *open_probe(const struct dg_plan *plan, const struct dg_knobs *knobs,
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
    p->lock = -1;
    return p;
}

enum dg_status dg_linear_train(const struct dg_plan *plan, const struct dg_knobs *knobs,
                               const struct dg_linear_options *options, struct dg_error *err)
{
    struct probe *p = open_probe(plan, knobs, options, err);
    if (!p) return err->status;
    enum dg_status status = train(p, err);
    close_probe(p);
    return status;
}

/* --- a head from a file --- */

static enum dg_status load_head(struct probe *p, const char *path, struct dg_error *err)
{
    static const char *const names[] = {"linear.weight", "linear.bias"};
    const struct dg_plan_entry *entry = dg_session_entry(p->head);
    struct dg_safetensors *file;
    DG_TRY(dg_safetensors_open(path, &file, err));
    enum dg_status status = DG_OK;
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors && status == DG_OK; t++) {
        const char *name = dg_plan_string(p->plan, p->plan->tensor[t].name);
        if (strcmp(name, names[0]) && strcmp(name, names[1])) continue;
        const struct dg_safetensors_tensor *source = dg_safetensors_find(file, name);
        status = source
                     ? dg_weights_copy(p->head, p->plan, t, source, path, err)
                     : dg_fail(err, DG_ERR_INPUT,
                               "%s has no %s: a head is what dinorun linear leaves, or what dinorun import makes of a "
                               "published one",
                               path, name);
    }
    dg_safetensors_close(file);
    return status;
}

static enum dg_status evaluate(struct probe *p, const char *head, struct dg_linear_score *result, struct dg_error *err)
{
    DG_TRY(read_plan(p, err));
    DG_TRY(open_val(p, err));
    DG_TRY(open_backbone(p, err));
    DG_TRY(open_head(p, err));
    DG_TRY(load_head(p, head, err));
    tell_start(p);
    DG_TRY(dg_evaluate(p->backbone, p->val, keep_rows, p, err));
    return score(p, result, err);
}

enum dg_status dg_linear_evaluate(const struct dg_plan *plan, const struct dg_knobs *knobs,
                                  const struct dg_linear_options *options, const char *head,
                                  struct dg_linear_score *result, struct dg_error *err)
{
    struct probe *p = open_probe(plan, knobs, options, err);
    if (!p) return err->status;
    enum dg_status status = evaluate(p, head, result, err);
    close_probe(p);
    return status;
}
