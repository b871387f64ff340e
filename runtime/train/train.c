#include "runtime/train/train.h"

#include "runtime/base/atomic_file.h"
#include "runtime/base/disk.h"
#include "runtime/data/replay.h"
#include "runtime/data/train_source.h"
#include "runtime/data/views.h"
#include "runtime/exec/fault.h"
#include "runtime/state/checkpoint.h"
#include "runtime/state/checkpoint_files.h"
#include "runtime/state/weights.h"
#include "runtime/train/collapse.h"
#include "runtime/train/run_folder.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PREFETCH = 2 };

struct run {
    const struct dg_plan *plan;
    const struct dg_knobs *knobs;
    const struct dg_train_options *options;
    const struct dg_plan_entry *entry;
    struct dg_run_position position;
    struct dg_run_length length;
    struct dg_dataset *dataset;
    struct dg_replay *replay;
    struct dg_loader_config loading;
    struct dg_train_reading reading;
    struct dg_view_spec view[DG_MAX_VIEWS];
    struct dg_loader *loader;
    struct dg_session *session;
    struct dg_run_log *log;
    struct dg_collapse_watch watch;
    char checkpoint[DG_MAX_PATH];
    int lock;           /* of the folder; -1: none */
    int64_t saved_step; /* of checkpoint.safetensors; -1: none, or a damaged one */
    int64_t whole_step; /* of the newest whole checkpoint, whatever its name; -1: none */
};

#define warn(run, ...) dg_log((run)->options->log, DG_LOG_WARNING, DG_LOG_RUN, __VA_ARGS__)

/* --- opening --- */

static enum dg_status check_folder(struct run *run, struct dg_error *err)
{
    const char *out = run->options->out;
    if (strlen(out) > DG_MAX_PATH - 64) return dg_fail(err, DG_ERR_USAGE, "--out: the path is too long");
    snprintf(run->checkpoint, sizeof run->checkpoint, "%s/checkpoint.safetensors", out);
    run->saved_step = run->whole_step = -1;
    char older[DG_MAX_PATH];
    if ((!access(run->checkpoint, F_OK) || dg_older_checkpoint(out, INT64_MAX, older) >= 0) && !run->options->resume)
        return dg_fail(err, DG_ERR_USAGE,
                       "%s holds a run already: add --resume to go on with it, or choose another --out", out);
    return DG_OK;
}

static enum dg_status open_data(struct run *run, struct dg_error *err)
{
    const struct dg_train_options *o = run->options;
    int64_t batch = run->entry->batch;
    if (o->replay) {
        DG_TRY(dg_replay_open(o->replay, run->plan, run->entry, &run->replay, err));
        run->length.steps_per_epoch = dg_replay_steps(run->replay);
        run->position.data_hash = dg_replay_hash(run->replay);
    } else {
        DG_TRY(dg_dataset_open(o->data, &run->dataset, err));
        run->length.steps_per_epoch = dg_dataset_count(run->dataset) / batch;
        run->position.data_hash = dg_dataset_hash(run->dataset);
        if (!run->length.steps_per_epoch)
            return dg_fail(err, DG_ERR_INPUT,
                           "%s has %" PRId64 " images, fewer than one batch of %" PRId64
                           ": compile with --batch %" PRId64 " or less",
                           o->data, dg_dataset_count(run->dataset), batch, dg_dataset_count(run->dataset));
    }
    run->length.epochs = (int64_t)dg_knobs_value(run->knobs, "epochs", 1);
    return dg_knobs_check(run->knobs, run->entry, run->length, err);
}

/* What the loader will need, which is known before it is opened. */
static enum dg_status plan_loader(struct run *run, int64_t *bytes, struct dg_error *err)
{
    *bytes = 0;
    if (run->replay) return DG_OK;
    int views;
    DG_TRY(dg_views_open(run->plan, run->knobs, run->view, &views, err));
    int threads = run->options->loader_threads ? run->options->loader_threads : run->options->threads;
    if (!threads) threads = dg_usable_cpus();
    run->loading = (struct dg_loader_config){
        .batch = (int)run->entry->batch, .threads = threads, .prefetch = PREFETCH, .log = run->options->log};
    run->reading = (struct dg_train_reading){.dataset = run->dataset,
                                             .views = run->view,
                                             .view_count = views,
                                             .seed = run->position.seed,
                                             .steps_per_epoch = run->length.steps_per_epoch,
                                             .max_bad = run->options->max_bad};
    return dg_loader_train_bytes(&run->loading, &run->reading, bytes, err);
}

/* The next older checkpoint: at first checkpoint.safetensors, then the older ones. False: there is none. */
static bool next_checkpoint(const struct run *run, char path[DG_MAX_PATH], int64_t *below)
{
    bool newest = !*path && !access(run->checkpoint, F_OK);
    if (newest) {
        snprintf(path, DG_MAX_PATH, "%s", run->checkpoint);
        return true;
    }
    *below = dg_older_checkpoint(run->options->out, *below, path);
    return *below >= 0;
}

/* Goes on from the newest checkpoint that is whole: a damaged one is named and passed over. */
static enum dg_status resume(struct run *run, bool *found, struct dg_error *err)
{
    char path[DG_MAX_PATH] = "";
    int64_t below = INT64_MAX;
    struct dg_error why = {0}; /* of the one before */
    const struct dg_resume_rules rules = {run->options->seed_given, run->options->new_data};
    for (*found = false; next_checkpoint(run, path, &below);) {
        if (why.status != DG_OK) warn(run, "%s", why.text);
        why = (struct dg_error){0};
        enum dg_status status =
            dg_checkpoint_load(run->session, run->knobs, &run->position, rules, path, run->options->log, &why);
        *found = status == DG_OK;
        if (err->status == DG_OK) *err = why; /* if none is whole, the newest one's fault is the one to tell */
        if (status == DG_ERR_USAGE) return status;
        if (*found) break;
    }
    if (!*found) {
        if (err->status == DG_ERR_INPUT && dg_older_checkpoint(run->options->out, INT64_MAX, path) < 0) {
            size_t length = strlen(err->text);
            snprintf(err->text + length, sizeof err->text - length,
                     "; no other checkpoint is there: put a copy of it back, or begin anew with another --out");
        }
        return err->status;
    }
    *err = (struct dg_error){0};
    run->whole_step = run->position.step;
    if (!strcmp(path, run->checkpoint)) {
        run->saved_step = run->position.step;
    } else {
        warn(run, "the run goes on from %s", path);
    }
    return DG_OK;
}

static enum dg_status set_state(struct run *run, struct dg_error *err)
{
    const struct dg_train_options *o = run->options;
    if (o->resume) {
        bool found;
        DG_TRY(resume(run, &found, err));
        if (found && o->init) warn(run, "--init is not used: the run goes on from its own checkpoint");
        if (found) return DG_OK;
    }
    if (o->resume) warn(run, "--resume: there is no checkpoint yet, so the run begins at step 0");
    DG_TRY(dg_session_initialize(run->session, run->position.seed, err));
    return o->init ? dg_weights_init(run->session, run->plan, o->init, o->partial, err) : DG_OK;
}

/* The values in force, one --set a line. */
static enum dg_status write_settings(const struct run *run, struct dg_error *err)
{
    char path[DG_MAX_PATH];
    struct dg_atomic_file file;
    snprintf(path, sizeof path, "%s/settings.txt", run->options->out);
    DG_TRY(dg_atomic_open(path, &file, err));
    for (uint32_t k = 0; k < run->plan->num_knobs; k++) {
        char value[64];
        fprintf(file.stream, "%s=%s\n", dg_plan_string(run->plan, run->knobs->knob[k].key),
                dg_knob_text(value, sizeof value, &run->knobs->knob[k], 17, true));
    }
    return dg_atomic_commit(&file, err);
}

static int64_t out_dim(const struct run *run)
{
    for (uint32_t t = 0; t < run->entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &run->plan->tensor[run->entry->first_tensor + t];
        if (!strcmp(dg_plan_string(run->plan, tensor->name), "center")) return tensor->dim[1];
    }
    return 1;
}

static int64_t interval(const struct run *run, const char *key)
{
    const struct dg_plan_knob *knob = dg_knobs_find(run->knobs, key);
    if (!knob || !(knob->value[0] > 0)) return 0;
    double steps = knob->value[0] * (knob->unit == DG_UNIT_EPOCHS ? (double)run->length.steps_per_epoch : 1);
    return steps < 1 ? 1 : (int64_t)llrint(steps);
}

/* How many of the checkpoints before the newest stay; plans of before the key have one, too. */
static int64_t last(const struct run *run) { return (int64_t)dg_knobs_value(run->knobs, "checkpoint.last", 1); }

/* The step count at which the run ends. */
static int64_t end_of(const struct run *run)
{
    int64_t end = run->length.epochs * run->length.steps_per_epoch, steps = run->options->steps;
    return steps >= 0 && steps < end ? steps : end;
}

/* A run that will fill the disk is found out before its first step. */
static enum dg_status check_disk(const struct run *run, struct dg_error *err)
{
    struct stat info;
    struct dg_disk_run disk = {.checkpoint_bytes = dg_checkpoint_bytes(run->plan, run->entry),
                               .log_bytes = DG_RUN_LOG_LINE,
                               .first = run->position.step,
                               .end = end_of(run),
                               .every = interval(run, "checkpoint.every"),
                               .keep = interval(run, "checkpoint.keep"),
                               .last = last(run),
                               .present = !stat(run->checkpoint, &info) && info.st_nlink == 1};
    disk.present += dg_previous_count(run->options->out);
    char text[256], one[32];
    snprintf(text, sizeof text,
             "free some, keep fewer checkpoints (one is %s; --set checkpoint.keep=0 keeps none for good, --set "
             "checkpoint.last=0 none but the newest), or --ignore-disk",
             dg_format_bytes(one, sizeof one, (double)disk.checkpoint_bytes));
    if (run->options->ignore_disk) return DG_OK;
    return dg_disk_check(run->options->out, dg_disk_need(&disk), text, err);
}

static enum dg_status open_run(struct run *run, int64_t *loader_bytes, struct dg_error *err)
{
    const struct dg_train_options *o = run->options;
    if (dg_plan_is_probe(run->plan))
        return dg_fail(err, DG_ERR_USAGE, "the plan is a linear probe's: dinorun linear trains it");
    DG_TRY(dg_plan_find_entry(run->plan, "train", &run->entry, err));
    DG_TRY(check_folder(run, err));
    DG_TRY(open_data(run, err));
    DG_TRY(plan_loader(run, loader_bytes, err));
    DG_TRY(
        dg_run_folder_open(o->out, &run->lock, err)); /* a call that asks for what is not there leaves nothing behind */
    struct dg_session_options session = {
        .threads = o->threads, .other_bytes = *loader_bytes, .ignore_memory = o->ignore_memory, .log = o->log};
    DG_TRY(dg_session_open(run->plan, "train", &session, &run->session, err));
    run->position.threads = dg_session_threads(run->session);
    run->position.steps_per_epoch = run->length.steps_per_epoch;
    run->position.epochs = run->length.epochs;
    dg_knobs_trace(run->knobs, o->log);
    DG_TRY(set_state(run, err));
    DG_TRY(check_disk(run, err));
    run->watch.log_out_dim = log((double)out_dim(run));
    DG_TRY(write_settings(run, err));
    char path[DG_MAX_PATH];
    snprintf(path, sizeof path, "%s/log.jsonl", o->out);
    return dg_run_log_open(path, run->position.step, &run->log, err);
}

static enum dg_status open_loader(struct run *run, int64_t end, struct dg_error *err)
{
    if (run->replay || run->position.step >= end) return DG_OK;
    run->reading.seed = run->position.seed; /* a resumed run's own */
    run->reading.epoch = run->position.step / run->length.steps_per_epoch;
    run->reading.step = run->position.step % run->length.steps_per_epoch;
    run->reading.batches = end - run->position.step;
    return dg_loader_open_train(&run->loading, &run->reading, &run->loader, err);
}

/* --- checkpoints --- */

static enum dg_status save(struct run *run, struct dg_error *err)
{
    DG_TRY(dg_run_log_sync(run->log, err)); /* a checkpoint that lasts has its lines */
    const char *out = run->options->out;
    if (last(run) && run->saved_step >= 0) DG_TRY(dg_previous_keep(out, run->checkpoint, run->saved_step, err));
    DG_TRY(dg_checkpoint_save(run->session, run->knobs, &run->position, run->checkpoint, err));
    dg_previous_remove(out, run->whole_step, last(run));
    run->saved_step = run->whole_step = run->position.step;
    return DG_OK;
}

/* A copy that stays: another name for the file just written, or a file of its own where there are no links. */
static enum dg_status keep(struct run *run, struct dg_error *err)
{
    char path[DG_MAX_PATH];
    dg_kept_path(run->options->out, run->position.step, path);
    unlink(path);
    if (!link(run->checkpoint, path)) {
        dg_sync_folder_of(path);
        return DG_OK;
    }
    return dg_checkpoint_save(run->session, run->knobs, &run->position, path, err);
}

static bool due(int64_t every, int64_t step) { return every && step % every == 0; }

/* --- the loop --- */

static enum dg_status next_crops(struct run *run, const struct dg_batch **batch, struct dg_error *err)
{
    if (run->replay) {
        dg_replay_read(run->replay, run->position.step, run->session);
        return DG_OK;
    }
    enum dg_status status = dg_loader_next(run->loader, batch, err);
    if (status != DG_OK) return status;
    if (!*batch) return dg_fail(err, DG_ERR_INTERNAL, "the loader ended early; please report this");
    int64_t view = 0;
    for (uint32_t i = 0; i < run->entry->num_inputs; i++) {
        const struct dg_plan_tensor *tensor = &run->plan->tensor[run->plan->operand[run->entry->first_input + i]];
        dg_session_bind(run->session, tensor, (void *)(uintptr_t)(*batch)->part[view]);
        view += tensor->dim[0] / run->entry->batch;
    }
    return DG_OK;
}

static double scalar_output(const struct run *run, const char *name)
{
    return *(const double *)dg_session_output(run->session, name, NULL);
}

/* "; its images: a.jpg, b.jpg and 6 more". */
static void name_images(const struct run *run, const struct dg_batch *batch, char *text, size_t size)
{
    enum { NAMED = 4 };
    size_t at = 0;
    *text = 0;
    for (int r = 0; batch && r < batch->rows && r < NAMED && at < size; r++)
        at += (size_t)snprintf(text + at, size - at, "%s%s",
                               r ? ", " : "; its images: ", dg_dataset_path(run->dataset, batch->item[r]));
    if (batch && batch->rows > NAMED && at < size) snprintf(text + at, size - at, " and %d more", batch->rows - NAMED);
}

/* A step that is not finite: says what went wrong first. */
static enum dg_status bad_step(struct run *run, const struct dg_step_info *info, const struct dg_step_report *report,
                               const struct dg_batch *batch, struct dg_error *err)
{
    char first[1024], images[512];
    DG_TRY(dg_fault_find(run->session, run->plan, info, first, sizeof first, err));
    name_images(run, batch, images, sizeof images);
    return dg_fail(err, DG_ERR_NUMERIC,
                   "step %" PRId64 ": the loss is %g and the gradient's norm %g; nothing of this step was kept; %s%s",
                   info->step, report->loss, report->grad_norm, first, images);
}

static enum dg_status run_step(struct run *run, const struct dg_batch *batch, struct dg_step_report *report,
                               struct dg_error *err)
{
    int64_t step = run->position.step;
    struct dg_step_info info = {.seed = run->position.seed, .step = step};
    dg_session_set_controls(run->session, run->knobs, step, run->length);
    DG_TRY(dg_session_compute(run->session, &info, err));
    const double *summary = dg_session_output(run->session, "grad_summary", NULL);
    *report = (struct dg_step_report){
        .step = step,
        .epoch = step / run->length.steps_per_epoch,
        .loss = scalar_output(run, "loss"),
        .teacher_entropy = scalar_output(run, "teacher_entropy"),
        .lr = dg_control_value(run->knobs, "lr", step, run->length),
        .weight_decay = dg_control_value(run->knobs, "weight_decay", step, run->length),
        .momentum = dg_control_value(run->knobs, "teacher.momentum", step, run->length),
        .teacher_temp = dg_control_value(run->knobs, "loss.teacher_temp", step, run->length),
        .grad_norm = summary[0],
    };
    report->kl = report->loss - report->teacher_entropy;
    if (summary[1] != 1 || !isfinite(report->loss)) return bad_step(run, &info, report, batch, err);
    return dg_session_commit(run->session, &info, err);
}

/* Whether a step that is not finite may be left out; then it is counted, and *err is told instead of returned. Otherwise *err
 * says what to do, too. */
static bool leave_out(struct run *run, struct dg_error *err)
{
    int64_t most = (int64_t)dg_knobs_value(run->knobs, "skip_bad_steps", 0);
    if (run->position.skipped >= most) {
        size_t length = strlen(err->text);
        snprintf(
            err->text + length, sizeof err->text - length,
            "; lower lr or optim.clip, or lengthen lr.warmup, with --set and --resume; or --resume and leave out such "
            "steps with --set skip_bad_steps=%" PRId64 " or more (%" PRId64 " were left out so far)",
            run->position.skipped + 1, run->position.skipped);
        return false;
    }
    warn(run, "left out (%" PRId64 " of at most %" PRId64 "): %s", ++run->position.skipped, most, err->text);
    *err = (struct dg_error){0};
    return true;
}

static enum dg_status tell(struct run *run, const struct dg_step_report *report, double seconds, double waited,
                           struct dg_error *err)
{
    const struct dg_train_events *events = &run->options->events;
    DG_TRY(dg_run_log_write(run->log, report, err));
    if (events->step) events->step(events->context, report, seconds, waited);
    const char *warning = dg_collapse_step(&run->watch, report);
    if (warning) warn(run, "%s", warning);
    return DG_OK;
}

static enum dg_status loop(struct run *run, int64_t end, struct dg_error *err)
{
    const struct dg_train_events *events = &run->options->events;
    int64_t every = interval(run, "checkpoint.every"), kept = interval(run, "checkpoint.keep");
    while (run->position.step < end && !(events->stop && events->stop(events->context))) {
        const struct dg_batch *batch = NULL;
        double begin = dg_seconds_now();
        DG_TRY(next_crops(run, &batch, err));
        double loaded = dg_seconds_now();
        struct dg_step_report report;
        enum dg_status status = run_step(run, batch, &report, err);
        if (batch) dg_loader_release(run->loader, batch);
        bool skip = status == DG_ERR_NUMERIC && leave_out(run, err);
        if (!skip) DG_TRY(status);
        run->position.step++;
        double seconds = dg_seconds_now() - begin;
        report.images_per_s = (double)run->entry->batch / seconds;
        if (!skip) DG_TRY(tell(run, &report, seconds, loaded - begin, err));
        bool copy = due(kept, run->position.step);
        if (copy || due(every, run->position.step)) DG_TRY(save(run, err));
        if (copy) DG_TRY(keep(run, err));
    }
    return DG_OK;
}

static void close_run(struct run *run)
{
    dg_loader_close(run->loader);
    dg_session_close(run->session);
    dg_run_log_close(run->log);
    dg_replay_close(run->replay);
    dg_dataset_close(run->dataset);
    dg_run_folder_close(run->lock);
}

enum dg_status dg_train(const struct dg_plan *plan, const struct dg_knobs *knobs,
                        const struct dg_train_options *options, struct dg_error *err)
{
    struct run *run = calloc(1, sizeof *run);
    if (!run) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    run->plan = plan;
    run->knobs = knobs;
    run->options = options;
    run->position.seed = options->seed;
    run->lock = -1;
    int64_t loader_bytes;
    enum dg_status status = open_run(run, &loader_bytes, err);
    if (status == DG_OK) {
        int64_t end = end_of(run);
        struct dg_train_start start = {.memory = dg_session_memory(run->session),
                                       .loader_bytes = loader_bytes,
                                       .images = run->dataset ? dg_dataset_count(run->dataset)
                                                              : run->length.steps_per_epoch * run->entry->batch,
                                       .steps_per_epoch = run->length.steps_per_epoch,
                                       .epochs = run->length.epochs,
                                       .first_step = run->position.step,
                                       .end_step = end,
                                       .seed = run->position.seed,
                                       .threads = run->position.threads,
                                       .loader_threads = run->loading.threads};
        if (options->events.start) options->events.start(options->events.context, &start);
        status = open_loader(run, end, err);
        if (status == DG_OK) status = loop(run, end, err);
        /* Whatever ended the loop, the session holds the state after the last whole step. */
        if (run->saved_step != run->position.step && (status == DG_OK || run->position.step > start.first_step)) {
            struct dg_error second = {0};
            enum dg_status saved = save(run, status == DG_OK ? err : &second);
            if (status == DG_OK) status = saved;
        }
    }
    close_run(run);
    free(run);
    return status;
}
