#include "runtime/train/train.h"

#include "runtime/base/disk.h"
#include "runtime/base/memory.h"
#include "runtime/data/replay.h"
#include "runtime/data/views.h"
#include "runtime/exec/cpus.h"
#include "runtime/exec/fault.h"
#include "runtime/state/checkpoint_files.h"
#include "runtime/state/weights.h"
#include "runtime/train/collapse.h"
#include "runtime/train/rank_start.h"
#include "runtime/train/ranks.h"
#include "runtime/train/run.h"
#include "runtime/train/tensorboard.h"
#include "runtime/train/watch.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct training {
    struct dg_training_run run;
    const struct dg_train_options *options;
    const struct dg_plan *plan;
    struct dg_knobs *knobs;
    const struct dg_plan_entry *entry;
    struct dg_dataset *dataset; /* or */
    struct dg_replay *replay;
    struct dg_view_spec view[DG_MAX_VIEWS];
    struct dg_collapse_watch watch;
    struct dg_event_file *events; /* for TensorBoard; NULL: none */
    double saved_at;              /* when rank 0 has saved, or begun */
    struct dg_quality *quality;   /* of rank 0; NULL: none */
    int64_t measure_lent, measure_own;
    double busy;                /* seconds that the last step took here, without those for other processes */
    struct dg_rank_times times; /* of rank 0 */
    void *records;              /* of dg_ranks_before_step */
    struct dg_bad_set *bad;     /* images that any process has found unreadable */
    int threads;
    bool parted; /* this process has failed within a step, and the others cannot know */
    bool apart;  /* the processes' parameters differ */
};

/* --- opening --- */

/* How many processes there are, and how their gradients are added up: one process alone only keeps the latter for
 * later ones. */
static void add_exchange(struct training *t)
{
    const struct dg_train_options *o = t->options;
    dg_facts_add(&t->run.facts, "machine.processes", "%d", dg_comm_ranks(o->comm));
    if (!t->entry->ranks) return;
    dg_facts_add(&t->run.facts, "machine.reduce", "%s", dg_reduce_name(o->sums.reduce));
    dg_facts_add(&t->run.facts, "machine.wire", "%s", o->sums.bf16 ? "bf16" : "f32");
    if (o->comm) dg_facts_add(&t->run.facts, "machine.together", "%d", dg_comm_together(o->comm));
}

static enum dg_status open_data(struct training *t, struct dg_error *err)
{
    const struct dg_train_options *o = t->options;
    int64_t batch = t->entry->batch, *steps = &t->run.length.steps_per_epoch;
    if (o->replay) {
        DG_TRY(dg_replay_open(o->replay, t->plan, t->entry, &t->replay, err));
        *steps = dg_replay_steps(t->replay);
        t->run.position.data_hash = dg_replay_hash(t->replay);
    } else {
        DG_TRY(dg_run_open_images(o->out, &o->data, DG_LABELS_UNUSED, o->log, &t->dataset, err));
        *steps = dg_dataset_count(t->dataset) / batch;
        t->run.position.data_hash = dg_dataset_hash(t->dataset);
        if (!*steps)
            return dg_fail(err, DG_ERR_INPUT,
                           "%s has %" PRId64 " images, fewer than one batch of %" PRId64
                           ": compile with --batch %" PRId64 " or less",
                           o->data.path[0], dg_dataset_count(t->dataset), batch, dg_dataset_count(t->dataset));
    }
    if (o->replay) dg_run_add_path(&t->run, "replay", o->replay);
    for (int i = 0; i < o->data.paths && !o->replay; i++) {
        char key[32];
        snprintf(key, sizeof key, "data.%d", i);
        dg_run_add_path(&t->run, key, o->data.path[i]);
    }
    if (t->dataset) dg_run_add_images(&t->run, t->dataset);
    add_exchange(t);
    t->run.length.epochs = (int64_t)dg_knobs_value(t->knobs, "epochs", 1);
    return dg_knobs_check(t->knobs, t->entry, t->run.length, err);
}

/* Sets what the loader will read, and the bytes that it will take. */
static enum dg_status plan_loader(struct training *t, struct dg_error *err)
{
    const struct dg_train_options *o = t->options;
    if (t->replay) return DG_OK;
    struct dg_train_reading reading = {
        .dataset = t->dataset, .views = t->view, .max_bad = dg_bad_limit_of(o->max_bad, dg_dataset_count(t->dataset))};
    DG_TRY(dg_views_init(t->plan, t->knobs, t->view, &reading.view_count, err));
    DG_TRY(dg_bad_set_open(dg_dataset_count(t->dataset), &t->bad, err));
    reading.bad = t->bad;
    int threads = o->loader_threads ? o->loader_threads : o->threads;
    int64_t batch = t->entry->batch / dg_comm_ranks(o->comm);
    reading.whole = t->entry->batch;
    reading.first = batch * dg_comm_rank(o->comm);
    return dg_run_plan_loader(&t->run, &reading, batch, threads ? threads : t->threads, err);
}

/* Initial values, weights or a checkpoint: rank 0's. */
static enum dg_status set_own_state(struct training *t, struct dg_error *err)
{
    const struct dg_train_options *o = t->options;
    if (o->resume) {
        bool found;
        DG_TRY(dg_run_resume(&t->run, &found, err));
        if (found && o->init)
            dg_log(t->options->log, DG_LOG_WARNING, DG_LOG_RUN,
                   "--init is not used: the run goes on from its own checkpoint");
        if (found) return DG_OK;
        dg_log(t->options->log, DG_LOG_WARNING, DG_LOG_RUN,
               "--resume: there is no checkpoint yet, so the run begins at step 0");
    }
    DG_TRY(dg_session_initialize(t->run.session, t->run.position.seed, err));
    if (!o->init) return DG_OK;
    DG_TRY(dg_weights_init(t->run.session, t->plan, o->init, &o->choice, err));
    return dg_facts_check_init(o->init, t->knobs, o->accept_changes, o->log, err);
}

/* Rank 0 owns the run: it reads and writes all files but the images. */
static bool leads(const struct training *t) { return dg_comm_rank(t->options->comm) == 0; }

static enum dg_status set_state(struct training *t, struct dg_error *err)
{
    struct dg_comm *comm = t->options->comm;
    struct dg_progress *position = &t->run.position, own = *position;
    enum dg_status status = DG_OK;
    if (leads(t)) status = set_own_state(t, err);
    DG_TRY(dg_comm_agree(comm, status, err));
    DG_TRY(dg_comm_broadcast(comm, position, sizeof *position, err));
    if (leads(t)) own = *position;
    position->threads = own.threads; /* and this process's copy of the facts */
    position->facts = own.facts;
    return dg_session_broadcast(t->run.session, comm, err);
}

static int64_t images_of(const struct training *t)
{
    return t->dataset ? dg_dataset_count(t->dataset) : t->run.length.steps_per_epoch * t->entry->batch;
}

static int64_t out_dim(const struct training *t) { return dg_plan_slot(t->plan, t->entry, DG_SLOT_CENTER)->dim[1]; }

static int64_t interval(const struct training *t, const char *key)
{
    const struct dg_plan_knob *knob = dg_knobs_find(t->knobs, key);
    if (!knob || !(knob->value[0] > 0)) return 0;
    double steps = knob->value[0] * (knob->unit == DG_UNIT_EPOCHS ? (double)t->run.length.steps_per_epoch : 1);
    return steps < 1 ? 1 : (int64_t)llrint(steps);
}

/* The step count at which the run ends. */
static int64_t end_of(const struct training *t)
{
    int64_t end = t->run.length.epochs * t->run.length.steps_per_epoch, steps = t->options->steps;
    return steps >= 0 && steps < end ? steps : end;
}

/* DG_ERR_IO if the run will fill the disk; to be called before the first step. */
static enum dg_status check_disk(const struct training *t, struct dg_error *err)
{
    const struct dg_training_run *run = &t->run;
    struct stat info;
    struct dg_disk_run disk = {.checkpoint_bytes = dg_checkpoint_bytes(t->plan, t->entry),
                               .log_bytes = DG_RUN_LOG_LINE,
                               .first = run->position.step,
                               .end = end_of(t),
                               .every = interval(t, "checkpoint.every"),
                               .keep = interval(t, "checkpoint.keep"),
                               .last = run->setup.last,
                               .present = !stat(run->newest, &info) && info.st_nlink == 1};
    disk.present += dg_previous_count(t->options->out);
    char text[256], one[32];
    snprintf(text, sizeof text,
             "free some, keep fewer checkpoints (one is %s; --set checkpoint.keep=0 keeps none for good, --set "
             "checkpoint.last=0 none but the newest), or --ignore-disk",
             dg_format_bytes(one, sizeof one, (double)disk.checkpoint_bytes));
    if (t->options->ignore_disk) return DG_OK;
    return dg_disk_check(t->options->out, dg_disk_need(&disk), text, err);
}

/* That all processes run the same: to be asked before the first of them writes anything. The settings are those that
 * were given to each; of the images it is asked once they are open. */
static enum dg_status check_ranks(struct training *t, struct dg_error *err)
{
    struct dg_rank_facts facts = {
        .plan = t->plan->header->checksum, .rules = t->options->data.rules, .knobs = t->knobs, .images_from = ""};
    if (t->dataset || t->replay) {
        facts.data = t->run.position.data_hash;
        facts.images = images_of(t);
        facts.images_from = t->dataset ? t->options->data.path[0] : t->options->replay;
    }
    return t->options->comm ? dg_ranks_check(t->options->comm, &facts, err) : DG_OK;
}

/* The run, and its settings: those of rank 0, who has the folder. */
static enum dg_status init_run(struct training *t, struct dg_error *err)
{
    const struct dg_train_options *o = t->options;
    if (t->plan->header->kind == DG_PLAN_PROBE)
        return dg_fail(err, DG_ERR_USAGE, "the plan is a linear probe's: dinorun linear trains it");
    DG_TRY(dg_plan_find_role(t->plan, DG_ENTRY_TRAIN, &t->entry, err));
    const struct dg_run_setup setup = {
        .folder = leads(t) ? o->out : NULL,
        .name = "checkpoint",
        .what = "run",
        .has_older = true,
        .last =
            (int64_t)dg_knobs_value(t->knobs, "checkpoint.last", 1), /* 1 for plans compiled before the knob existed */
        .resume = o->resume,
        .new_data = o->new_data,
        .accept_changes = o->accept_changes,
        .seed = o->seed,
        .seed_given = o->seed_given,
        .threads = t->threads,
        .comm = o->comm,
        .ignore_memory = o->ignore_memory,
        .command = o->command,
        .log = o->log};
    DG_TRY(dg_exchange_check(t->plan, t->entry, o->comm, err));
    return dg_run_init(&t->run, &setup, t->knobs, err);
}

static struct dg_watch watch_of(const struct training *t)
{
    const struct dg_train_options *o = t->options;
    return (struct dg_watch){.plan = t->plan,
                             .knobs = t->knobs,
                             .image = o->watch,
                             .count = o->watched,
                             .rules = o->data.rules,
                             .run = o->out};
}

static enum dg_status open_quality(struct training *t, struct dg_error *err)
{
    const struct dg_train_options *o = t->options;
    const struct dg_quality_setup setup = {.plan = t->plan,
                                           .knobs = t->knobs,
                                           .train = o->knn_train,
                                           .val = o->knn_val,
                                           .objects = o->segment_data,
                                           .masks = o->segment_masks,
                                           .keep = o->segment_threshold,
                                           .every = o->measure_every,
                                           .max_bad = o->measure_max_bad,
                                           .steps_per_epoch = t->run.length.steps_per_epoch,
                                           .end_step = end_of(t),
                                           .log = o->log};
    bool asked = o->knn_train.paths || o->segment_data.paths;
    return leads(t) && asked ? dg_quality_open(&setup, &t->quality, err) : DG_OK;
}

static enum dg_status open_images(struct training *t, struct dg_error *err)
{
    DG_TRY(open_data(t, err));
    const struct dg_watch watch = watch_of(t);
    DG_TRY(open_quality(t, err));
    if (leads(t)) DG_TRY(dg_watch_check(&watch, err));
    return plan_loader(t, err);
}

static enum dg_status open_files(struct training *t, struct dg_error *err)
{
    if (t->dataset) dg_run_write_index(&t->run, t->dataset);
    if (t->options->comm && !(t->records = malloc((size_t)dg_ranks_records_bytes(t->options->comm))))
        return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (!leads(t)) return DG_OK;
    if (t->options->comm) t->times.busy = calloc((size_t)dg_comm_ranks(t->options->comm), sizeof *t->times.busy);
    DG_TRY(check_disk(t, err));
    if (t->quality) DG_TRY(dg_quality_prepare(t->quality, t->run.session, &t->measure_lent, &t->measure_own, err));
    DG_TRY(dg_run_write_settings(&t->run, err));
    dg_run_write_plan(&t->run);
    DG_TRY(dg_run_open_log(&t->run, err));
    DG_TRY(dg_tensorboard_open(t->options->out, t->run.position.step, t->options->tensorboard, &t->events, err));
    char every[64], max_bad[64];
    dg_quality_interval_text(t->options->measure_every, every, sizeof every);
    dg_bad_limit_text(t->options->measure_max_bad, max_bad, sizeof max_bad);
    dg_run_open_record(&t->run, (struct dg_run_about){
                                    .kind = "train",
                                    .knn_train = &t->options->knn_train,
                                    .knn_val = &t->options->knn_val,
                                    .segment_data = &t->options->segment_data,
                                    .segment_masks = t->options->segment_masks,
                                    .segment_threshold = t->options->segment_threshold,
                                    .measure_every = t->quality ? every : NULL,
                                    .measure_max_bad = t->quality ? max_bad : NULL,
                                    .watch = &(struct dg_data){.path = t->options->watch, .paths = t->options->watched},
                                    .data = &t->options->data,
                                    .replay = t->options->replay,
                                    .batch = t->entry->batch,
                                    .images = images_of(t),
                                    .processes = dg_comm_ranks(t->options->comm),
                                    .out_dim = out_dim(t)});
    return DG_OK;
}

static enum dg_status open_training(struct training *t, struct dg_error *err)
{
    struct dg_comm *comm = t->options->comm;
    t->threads = t->options->threads;
    DG_TRY(dg_ranks_threads(comm, &t->threads, err));
    DG_TRY(check_ranks(t, err));
    DG_TRY(dg_comm_agree(comm, init_run(t, err), err));
    int64_t settings = t->plan->num_knobs * (int64_t)sizeof *t->knobs->knob;
    DG_TRY(dg_comm_broadcast(comm, t->knobs->knob, settings, err));
    DG_TRY(dg_comm_agree(comm, open_images(t, err), err));
    DG_TRY(check_ranks(t, err));
    DG_TRY(dg_comm_agree(comm, dg_run_open(&t->run, t->run.loader_bytes, err), err));
    dg_threads_check(dg_session_threads(t->run.session), t->options->log);
    dg_knobs_trace(t->knobs, t->options->log);
    DG_TRY(set_state(t, err));
    t->watch.log_out_dim = log((double)out_dim(t));
    return dg_comm_agree(comm, open_files(t, err), err);
}

/* Of the checkpoint that was just saved. A failure is logged, and the run goes on. */
static void draw(struct training *t)
{
    struct dg_error err = {0};
    const struct dg_watch watch = watch_of(t);
    if (dg_watch_draw(&watch, t->run.session, t->run.newest, t->run.position.step, &err) != DG_OK)
        dg_log(t->options->log, DG_LOG_WARNING, DG_LOG_RUN, "step %" PRId64 " is not drawn: %s", t->run.position.step,
               err.text);
}

/* Of the checkpoint that was just saved. A failure is logged, and the run goes on. */
static void measure(struct training *t)
{
    struct dg_error err = {0};
    struct dg_quality_report report;
    const struct dg_train_events *events = &t->options->events;
    enum dg_status status = dg_quality_measure(t->quality, t->run.newest, t->run.position.step, &report, &err);
    if (status == DG_OK) status = dg_quality_write(t->quality, &report, t->run.lines, t->options->out, &err);
    if (status != DG_OK)
        dg_log(t->options->log, DG_LOG_WARNING, DG_LOG_RUN, "step %" PRId64 " is not measured: %s",
               t->run.position.step, err.text);
    else if (events->measured)
        events->measured(events->context, &report);
}

static bool due(int64_t every, int64_t step) { return every && step % every == 0; }

/* --- the loop --- */

static enum dg_status next_crops(struct training *t, const struct dg_batch **batch, struct dg_error *err)
{
    if (t->replay) {
        dg_replay_read(t->replay, t->run.position.step, t->run.session);
        return DG_OK;
    }
    if (t->options->comm) DG_TRY(dg_bad_set_check(t->bad, t->run.reading.max_bad, err)); /* of all processes */
    DG_TRY(dg_run_next_batch(&t->run, batch, err));
    int64_t view = 0;
    for (uint32_t i = 0; i < t->entry->num_inputs; i++) {
        const struct dg_plan_tensor *tensor = &t->plan->tensor[t->plan->operand[t->entry->first_input + i]];
        dg_session_bind(t->run.session, tensor, (void *)(uintptr_t)(*batch)->part[view]);
        view += tensor->dim[0] / t->entry->batch;
    }
    return DG_OK;
}

static double scalar_output(const struct training *t, enum dg_slot slot)
{
    return *(const double *)dg_session_slot(t->run.session, slot);
}

/* "; its images: a.jpg, b.jpg and 6 more". */
static void name_images(const struct training *t, const struct dg_batch *batch, char *text, size_t size)
{
    enum { NAMED = 4 };
    size_t at = 0;
    *text = 0;
    for (int r = 0; batch && r < batch->rows && r < NAMED && at < size; r++)
        at += (size_t)snprintf(text + at, size - at, "%s%s",
                               r ? ", " : "; its images: ", dg_dataset_path(t->dataset, batch->item[r]));
    if (batch && batch->rows > NAMED && at < size) snprintf(text + at, size - at, " and %d more", batch->rows - NAMED);
}

/* Fails with the first operation of the step whose result is not finite. */
static enum dg_status bad_step(struct training *t, const struct dg_step_info *info, const struct dg_step_report *report,
                               const struct dg_batch *batch, struct dg_error *err)
{
    char first[1536];
    int64_t place;
    DG_TRY(dg_fault_find(t->run.session, t->plan, info, &place, first, sizeof first / 2, err));
    size_t length = strlen(first);
    name_images(t, batch, first + length, sizeof first - length);
    DG_TRY(dg_ranks_fault(t->options->comm, place, first, sizeof first, err));
    return dg_fail(err, DG_ERR_NUMERIC,
                   "step %" PRId64 ": the loss is %g and the gradient's norm %g; nothing of this step was kept; %s",
                   info->step, report->loss, report->grad_norm, first);
}

static enum dg_status run_step(struct training *t, const struct dg_batch *batch, struct dg_step_report *report,
                               struct dg_error *err)
{
    int64_t step = t->run.position.step;
    struct dg_step_info info = {.seed = t->run.position.seed, .step = step};
    if (!t->replay) { /* the loader's batch has this process's images only */
        const struct dg_exchange *exchange = dg_session_exchange(t->run.session);
        info.input_slices = exchange->slices;
        info.input_first = exchange->first_slice;
    }
    dg_session_set_controls(t->run.session, t->knobs, step, t->run.length);
    DG_TRY(dg_session_compute(t->run.session, &info, err));
    const double *summary = dg_session_slot(t->run.session, DG_SLOT_GRAD_SUMMARY);
    *report = (struct dg_step_report){
        .step = step,
        .epoch = step / t->run.length.steps_per_epoch,
        .loss = scalar_output(t, DG_SLOT_LOSS),
        .teacher_entropy = scalar_output(t, DG_SLOT_ENTROPY),
        .lr = dg_control_value(t->knobs, "lr", step, t->run.length),
        .weight_decay = dg_control_value(t->knobs, "weight_decay", step, t->run.length),
        .momentum = dg_control_value(t->knobs, "teacher.momentum", step, t->run.length),
        .teacher_temp = dg_control_value(t->knobs, "loss.teacher_temp", step, t->run.length),
        .grad_norm = summary[0],
    };
    report->kl = report->loss - report->teacher_entropy;
    if (summary[1] != 1 || !isfinite(report->loss)) return bad_step(t, &info, report, batch, err);
    return dg_session_commit(t->run.session, &info, err);
}

/* Handles a step that is not finite. Returns true if the knob skip_bad_steps allows one more: the step is counted, *err
 * logged and cleared. Otherwise false, and *err also says what to do. */
static bool leave_out(struct training *t, struct dg_error *err)
{
    int64_t most = (int64_t)dg_knobs_value(t->knobs, "skip_bad_steps", 0);
    if (t->run.position.skipped >= most) {
        size_t length = strlen(err->text);
        snprintf(
            err->text + length, sizeof err->text - length,
            "; lower lr or optim.clip, or lengthen lr.warmup, with --set and --resume; or --resume and leave out such "
            "steps with --set skip_bad_steps=%" PRId64 " or more (%" PRId64 " were left out so far)",
            t->run.position.skipped + 1, t->run.position.skipped);
        return false;
    }
    t->run.position.skipped++;
    dg_log(t->options->log, DG_LOG_WARNING, DG_LOG_RUN, "left out (%" PRId64 " of at most %" PRId64 "): %s",
           t->run.position.skipped, most, err->text);
    *err = (struct dg_error){0};
    return true;
}

static enum dg_status tell(struct training *t, const struct dg_step_report *report, double seconds, double waited,
                           struct dg_error *err)
{
    const struct dg_train_events *events = &t->options->events;
    if (leads(t)) DG_TRY(dg_run_log_write(t->run.lines, report, err));
    DG_TRY(dg_tensorboard_write(t->events, report, err));
    if (events->step) events->step(events->context, report, seconds, waited);
    const char *warning = dg_collapse_step(&t->watch, report);
    if (warning) dg_log(t->options->log, DG_LOG_WARNING, DG_LOG_RUN, "%s", warning);
    return DG_OK;
}

/* Steps between two checkpoints, and between two that stay. */
struct intervals {
    int64_t save, keep;
};

static enum dg_status save(struct training *t, struct dg_error *err)
{
    const struct dg_train_events *events = &t->options->events;
    DG_TRY(dg_run_save(&t->run, err));
    t->saved_at = dg_seconds_now();
    draw(t);
    if (events->saved) events->saved(events->context, t->run.position.step);
    return DG_OK;
}

/* The processes have the same to save: a checkpoint is made of rank 0's. */
static enum dg_status compare_ranks(struct training *t, struct dg_error *err)
{
    enum dg_status status = dg_ranks_compare(t->options->comm, t->run.session, err);
    t->apart |= status == DG_ERR_NUMERIC;
    return status;
}

/* What rank 0 does after a step, while the others wait. */
struct saving {
    struct training *t;
    bool copy;             /* it stays */
    enum dg_status status; /* of this process so far: a step that has failed to be told is not saved */
    struct dg_error *err;
};

static enum dg_status save_and_measure(struct training *t, bool copy, struct dg_error *err)
{
    DG_TRY(save(t, err));
    if (copy) DG_TRY(dg_run_retain(&t->run, err));
    if (dg_quality_due(t->quality, t->run.position.step)) measure(t);
    return DG_OK;
}

static void save_held(void *context)
{
    struct saving *s = context;
    if (s->status == DG_OK) s->status = save_and_measure(s->t, s->copy, s->err);
}

/* The checkpoints that are due after a step, unless something has failed already in this process. `asked`: rank 0
 * wants one. */
static enum dg_status save_due(struct training *t, const struct intervals *every, bool asked, enum dg_status status,
                               struct dg_error *err)
{
    int64_t step = t->run.position.step;
    bool copy = due(every->keep, step);
    if (!copy && !asked && !due(every->save, step)) return status;
    DG_TRY(compare_ranks(t, err));
    struct saving saving = {t, copy, status, err};
    DG_TRY(dg_ranks_hold(t->options->comm, save_held, &saving, err));
    return saving.status;
}

/* A step that all processes have agreed to take. *told receives what this process alone fails at afterwards. */
static enum dg_status take_step(struct training *t, const struct dg_batch *batch, double begin, enum dg_status *told,
                                struct dg_error *err)
{
    struct dg_step_report report;
    double loaded = dg_seconds_now();
    enum dg_status status = run_step(t, batch, &report, err);
    t->busy += dg_seconds_now() - loaded - dg_session_waited(t->run.session);
    report.waited = t->options->comm ? dg_session_waited(t->run.session) : -1;
    bool skip = status == DG_ERR_NUMERIC && leave_out(t, err);
    if (!skip) DG_TRY(status);
    t->run.position.step++;
    double seconds = dg_seconds_now() - begin;
    report.images_per_s = (double)t->entry->batch / seconds;
    if (!skip) *told = tell(t, &report, seconds, loaded - begin, err);
    return DG_OK;
}

/* Whether so many minutes have passed without a checkpoint. */
static bool due_by_clock(const struct training *t)
{
    double minutes = dg_knobs_value(t->knobs, "checkpoint.minutes", 0);
    return minutes > 0 && dg_seconds_now() - t->saved_at >= 60 * minutes;
}

/* Whether the processes take the next step, of which this one has its part if `status` is DG_OK. */
static enum dg_status agree_on_step(struct training *t, enum dg_status status, struct dg_rank_step *agreed,
                                    struct dg_error *err)
{
    agreed->step = t->run.position.step;
    agreed->bad = t->bad;
    agreed->busy = t->busy;
    agreed->times = t->times.busy ? &t->times : NULL;
    agreed->records = t->records;
    agreed->save = leads(t) && (due_by_clock(t) || dg_quality_due(t->quality, agreed->step + 1));
    status = dg_ranks_before_step(t->options->comm, t->run.session, agreed, status, err);
    t->apart |= agreed->apart;
    if (agreed->times) dg_ranks_find_slow(t->options->comm, agreed->times, t->options->log);
    return status;
}

static enum dg_status loop(struct training *t, int64_t end, struct dg_error *err)
{
    const struct dg_train_events *events = &t->options->events;
    const struct intervals every = {interval(t, "checkpoint.every"), interval(t, "checkpoint.keep")};
    int64_t done = 0;
    enum dg_status status = DG_OK; /* of what this process does without the others */
    while (t->run.position.step < end) {
        const struct dg_batch *batch = NULL;
        struct dg_rank_step step = {.stop = status == DG_OK && events->stop && events->stop(events->context)};
        double begin = dg_seconds_now();
        if (status == DG_OK && !step.stop) status = next_crops(t, &batch, err);
        double loaded = dg_seconds_now() - begin;
        status = agree_on_step(t, status, &step, err);
        t->busy = loaded;
        bool agreed = status == DG_OK && !step.stop;
        enum dg_status told = DG_OK;
        if (agreed) status = take_step(t, batch, begin, &told, err);
        t->parted = t->options->comm && agreed && status != DG_OK && status != DG_ERR_NUMERIC;
        if (batch) dg_loader_release(t->run.loader, batch);
        if (status != DG_OK || step.stop) return status;
        status = save_due(t, &every, step.save, told, err);
        if (t->apart) return status;
        if (t->dataset && (++done == 1 || due(t->run.length.steps_per_epoch, t->run.position.step)))
            dg_dataset_say_notes(t->dataset, t->options->log);
    }
    return dg_comm_agree(t->options->comm, status, err);
}

static void close_training(struct training *t)
{
    dg_quality_close(t->quality);
    dg_run_close(&t->run);
    dg_bad_set_close(t->bad);
    free(t->times.busy);
    free(t->records);
    dg_event_file_close(t->events);
    dg_replay_close(t->replay);
    dg_dataset_close(t->dataset);
    free(t);
}

static void tell_start(const struct training *t)
{
    const struct dg_training_run *run = &t->run;
    const struct dg_train_events *events = &t->options->events;
    struct dg_train_start start = {.memory = dg_session_memory(run->session),
                                   .loader_bytes = run->loader_bytes,
                                   .images = images_of(t),
                                   .steps_per_epoch = run->length.steps_per_epoch,
                                   .epochs = run->length.epochs,
                                   .first_step = run->position.step,
                                   .end_step = end_of(t),
                                   .log_out_dim = t->watch.log_out_dim,
                                   .seed = run->position.seed,
                                   .threads = run->position.threads,
                                   .loader_threads = run->loading.threads,
                                   .slices = dg_session_exchange(run->session)->slices,
                                   .measure_lent = t->measure_lent,
                                   .measure_own = t->measure_own};
    if (events->start) events->start(events->context, &start);
}

/* Saves what the last step left. Where the others cannot be asked, rank 0's is what there is. */
static enum dg_status save_end(struct training *t, struct dg_error *err)
{
    if (!t->parted && !dg_comm_failed(t->options->comm)) DG_TRY(compare_ranks(t, err));
    return leads(t) && t->run.saved_step != t->run.position.step ? save(t, err) : DG_OK;
}

/* What the untrained network is worth, to compare. */
static enum dg_status measure_first(struct training *t, struct dg_error *err)
{
    if (!t->quality && !t->options->watched) return DG_OK;
    DG_TRY(save(t, err));
    if (t->quality) measure(t);
    return DG_OK;
}

static void measure_held(void *context)
{
    struct saving *s = context;
    s->status = measure_first(s->t, s->err);
}

/* Before the first step, as after those that are measured. */
static enum dg_status hold_first(struct training *t, struct dg_error *err)
{
    struct saving first = {.t = t, .err = err};
    if (t->run.position.step) return DG_OK;
    DG_TRY(dg_ranks_hold(t->options->comm, measure_held, &first, err));
    return first.status;
}

static enum dg_status run_and_save(struct training *t, struct dg_error *err)
{
    struct dg_training_run *run = &t->run;
    int64_t first = run->position.step, end = end_of(t);
    tell_start(t);
    t->saved_at = dg_seconds_now();
    bool reads = !t->replay && first < end;
    enum dg_status status = dg_comm_agree(t->options->comm, reads ? dg_run_open_loader(run, end, err) : DG_OK, err);
    if (status == DG_OK) status = dg_comm_agree(t->options->comm, hold_first(t, err), err);
    if (status == DG_OK) status = loop(t, end, err);
    if (t->dataset) dg_dataset_say_notes(t->dataset, t->options->log);
    if (t->apart || (status != DG_OK && run->position.step == first)) return status;
    struct dg_error second = {0};
    enum dg_status saved = save_end(t, status == DG_OK ? err : &second);
    if (second.status != DG_OK) dg_log(t->options->log, DG_LOG_WARNING, DG_LOG_RUN, "%s", second.text);
    return status == DG_OK ? saved : status;
}

/* Runs to the end and saves. If the loop fails, the session still holds the state after the last step committed. */
static enum dg_status run_training(struct training *t, struct dg_error *err)
{
    enum dg_status status = run_and_save(t, err);
    bool all = t->run.position.step >= t->run.length.epochs * t->run.length.steps_per_epoch;
    if (status != DG_OK)
        dg_run_end_record(&t->run, "failed", err->text);
    else
        dg_run_end_record(&t->run, all ? "finished" : "stopped", NULL);
    return status;
}

enum dg_status dg_train(const struct dg_plan *plan, struct dg_knobs *knobs, const struct dg_train_options *options,
                        struct dg_error *err)
{
    struct training *t = calloc(1, sizeof *t);
    if (!t) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    t->plan = plan;
    t->knobs = knobs;
    t->options = options;
    t->run.lock = -1;
    enum dg_status status = open_training(t, err);
    if (status == DG_OK) status = run_training(t, err);
    if (t->parted || dg_comm_failed(options->comm)) {
        dg_log(options->log, DG_LOG_WARNING, DG_LOG_RUN, "%s", err->text);
        dg_comm_abort(options->comm, 1);
    }
    close_training(t);
    return status;
}
