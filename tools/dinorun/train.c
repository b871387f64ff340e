/* dinorun train: trains a plan on images; with --resume it finds what the run was begun with. */
#include "runtime/train/train.h"
#include "runtime/train/run.h"

#include "runtime/base/path.h"
#include "tools/dinorun/command.h"
#include "tools/dinorun/stop_signals.h"
#include "tools/dinorun/train_progress.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    struct opened_plan of;
    struct dg_train_options options;
    double time_limit; /* seconds; 0: none */
    struct dg_flag_values data, knn_train, knn_val, segment_data, watch;
    bool measure_every, measure_max_bad, segment_threshold;
    struct image_flags images;
    struct dg_comm_options comm;
    struct sum_flags sums;
} given = {.options = {.steps = -1,
                       .max_bad = {.images = 10},
                       .measure_every = {1, DG_EVERY_EPOCHS},
                       .segment_threshold = DG_ATTENTION_KEEP},
           .comm = {.stall_limit = STALL_LIMIT}};

enum { STOPPED_EARLY = 3 }; /* exit status: the state is saved, --resume goes on */

/* Seconds of "90", "90s", "45m", "12h" or "3d". */
static bool read_duration(const char *text, void *parsed)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    char *end;
    double value = strtod(text, &end), *seconds = parsed;
    if (end == text || !(value > 0) || value > 1e9) return false;
    for (size_t u = 0; u < sizeof units / sizeof *units; u++) {
        if (strcmp(end, units[u].unit)) continue;
        *seconds = value * units[u].seconds;
        return true;
    }
    return false;
}

/* `touch RUN/stop` asks from anywhere that sees the folder; the file is taken away, so that --resume goes on. */
static bool stop_file(void)
{
    char path[DG_MAX_PATH];
    int length = snprintf(path, sizeof path, "%s/stop", given.options.out);
    return length < (int)sizeof path && !unlink(path);
}

static bool on_stop(void *context)
{
    struct train_progress *p = context;
    bool late = given.time_limit > 0 && dg_seconds_now() - p->begin >= given.time_limit;
    if ((dg_comm_rank(given.options.comm) == 0 && stop_file()) || late || stop_is_asked()) p->interrupted = true;
    return p->interrupted;
}

static bool read_interval(const char *text, void *parsed) { return dg_quality_read_interval(text, parsed); }

/* Paths that the run's own files name. */
struct recorded {
    const char **path; /* [count], owned, as are the paths */
    int count;
};

static struct {
    struct recorded data, knn_train, knn_val, segment_data, segment_masks, watch;
    char replay[DG_MAX_PATH], reduce[16], wire[8];
} recorded;

/* All paths of an array of run.json, or of the facts `key`.0, `key`.1, ... of the newest checkpoint. */
static enum dg_status read_paths(struct recorded *r, const char *key, bool facts, struct dg_error *err)
{
    for (;; r->count++) {
        char path[DG_MAX_PATH], fact[48];
        const char *out = given.options.out, **more;
        snprintf(fact, sizeof fact, "%s.%d", key, r->count);
        if (!(facts ? dg_run_find_fact(out, fact, path, sizeof path)
                    : dg_run_record_find(out, key, (size_t)r->count, path, sizeof path)))
            return DG_OK;
        if ((more = realloc(r->path, sizeof *more * (size_t)(r->count + 1)))) r->path = more;
        if (!more || !(more[r->count] = strdup(path))) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    }
}

static void free_paths(struct recorded *r)
{
    for (int i = 0; i < r->count; i++) free((void *)(uintptr_t)r->path[i]);
    free(r->path);
}

/* What is measured and drawn goes on as in the run so far, unless flags say otherwise. */
static enum dg_status find_quality(struct dg_error *err)
{
    struct dg_train_options *o = &given.options;
    char every[64];
    if (!o->watched) {
        DG_TRY(read_paths(&recorded.watch, "watch", false, err));
        o->watched = recorded.watch.count;
        o->watch = recorded.watch.path;
    }
    o->knn_train.rules = o->knn_val.rules = image_rules(&given.images);
    if (!given.measure_every && dg_run_record_find(o->out, "measure_every", 0, every, sizeof every))
        dg_quality_read_interval(every, &o->measure_every);
    if (!given.measure_max_bad && dg_run_record_find(o->out, "measure_max_bad", 0, every, sizeof every))
        read_bad_limit(every, &o->measure_max_bad);
    if (!given.segment_threshold && dg_run_record_find(o->out, "segment_threshold", 0, every, sizeof every))
        o->segment_threshold = strtod(every, NULL);
    o->segment_data.rules = image_rules(&given.images);
    if (!o->segment_data.paths) {
        DG_TRY(read_paths(&recorded.segment_data, "segment_data", false, err));
        DG_TRY(read_paths(&recorded.segment_masks, "segment_masks", false, err));
        o->segment_data.path = recorded.segment_data.path;
        o->segment_data.paths = recorded.segment_masks.count ? recorded.segment_data.count : 0;
        o->segment_masks = recorded.segment_masks.count ? *recorded.segment_masks.path : NULL;
    }
    if (o->knn_train.paths) return DG_OK;
    DG_TRY(read_paths(&recorded.knn_train, "knn_train", false, err));
    DG_TRY(read_paths(&recorded.knn_val, "knn_val", false, err));
    o->knn_train.path = recorded.knn_train.path;
    o->knn_train.paths = recorded.knn_train.count;
    o->knn_val.path = recorded.knn_val.path;
    o->knn_val.paths = recorded.knn_val.count;
    return DG_OK;
}

/* The images of the newest checkpoint. */
static enum dg_status find_images(struct dg_error *err)
{
    struct dg_train_options *o = &given.options;
    DG_TRY(read_paths(&recorded.data, "data", true, err));
    if (recorded.data.count) {
        o->data.path = recorded.data.path;
        o->data.paths = recorded.data.count;
        return DG_OK;
    }
    if (dg_run_find_fact(o->out, "replay", recorded.replay, sizeof recorded.replay)) {
        o->replay = recorded.replay;
        return DG_OK;
    }
    return dg_fail(err, DG_ERR_USAGE, "--data DIR is needed: %s has no checkpoint that names its images", o->out);
}

/* With --resume alone the run is the folder in the place of PLAN, which has a copy of its plan. */
static enum dg_status find_run(struct dg_error *err)
{
    char plan[DG_MAX_PATH];
    struct dg_train_options *o = &given.options;
    bool folder = dg_is_folder(given.of.path);
    if (folder && !o->resume)
        return dg_fail(err, DG_ERR_USAGE, "%s is a folder: --resume goes on with a run; a new one needs a plan",
                       given.of.path);
    if (!folder && dg_is_bundle(given.of.path))
        return dg_fail(err, DG_ERR_USAGE, "%s is a bundle, which is not trained: a plan with --init %s begins with it",
                       given.of.path, given.of.path);
    if (!o->resume) return DG_OK;
    if (folder) {
        if (o->out) return dg_fail(err, DG_ERR_USAGE, "--out goes with a PLAN; %s is a folder", given.of.path);
        o->out = given.of.path;
        if (strlen(o->out) < DG_MAX_PATH - 64) dg_run_plan_path(o->out, plan);
        if (strlen(o->out) < DG_MAX_PATH - 64 && access(plan, F_OK))
            return dg_fail(err, DG_ERR_USAGE,
                           "%s has no run.plan: is it a run? One of an older version goes on with dinorun train PLAN "
                           "--data DIR --out %s --resume",
                           o->out, o->out);
    }
    if (!o->out) return dg_fail(err, DG_ERR_USAGE, "--resume wants --out RUN, or RUN in the place of PLAN");
    take_images(&(struct dg_model_source){.kind = DG_MODEL_RUN, .path = o->out}, &given.images);
    o->data.rules = image_rules(&given.images);
    DG_TRY(find_quality(err));
    if (!given.sums.reduce && dg_run_find_fact(o->out, "machine.reduce", recorded.reduce, sizeof recorded.reduce))
        given.sums.reduce = recorded.reduce;
    if (!given.sums.wire && dg_run_find_fact(o->out, "machine.wire", recorded.wire, sizeof recorded.wire))
        given.sums.wire = recorded.wire;
    return o->data.paths || o->replay ? DG_OK : find_images(err);
}

static int train(void)
{
    struct dg_error err = {0};
    struct train_progress progress = train_progress_of(&given.options);
    struct opened_plan *of = &given.of;
    const struct dg_log log = {train_progress_message, &progress, console.trace};
    given.options.log = &log;
    given.options.command = command_line;
    given.options.data = data_of(&given.data, NULL, &given.images);
    given.options.knn_train = data_of(&given.knn_train, NULL, &given.images);
    given.options.knn_val = data_of(&given.knn_val, NULL, &given.images);
    given.options.segment_data = data_of(&given.segment_data, NULL, &given.images);
    given.options.watch = given.watch.value;
    given.options.watched = given.watch.count;
    given.options.events = train_progress_events(&progress);
    given.options.events.stop = on_stop;
    if (find_run(&err) == DG_OK && given.segment_threshold && !given.options.segment_data.paths)
        dg_fail(&err, DG_ERR_USAGE, "--segment-threshold goes with --segment-data DIR");
    if (err.status == DG_OK) open_plan(of, &err);
    watch_stop_signals();
    given.comm.log = &log;
    given.comm.sums = given.options.sums = sums_of(&given.sums);
    if (err.status == DG_OK) join_ranks(&given.comm, &given.options.comm, &err);
    if (dg_comm_failed(given.options.comm)) dg_comm_abort(given.options.comm, exit_status(&err));
    bool leads = dg_comm_rank(given.options.comm) == 0;
    if (!leads) given.options.events = (struct dg_train_events){.context = &progress, .stop = on_stop};
    if (err.status == DG_OK) dg_train(&of->plan, &of->knobs, &given.options, &err);
    /* Another process was asked to stop. */
    progress.interrupted |= err.status == DG_OK && given.options.comm &&
                            train_progress_steps(&progress) < progress.start.end_step &&
                            progress.saved < progress.start.end_step;
    train_progress_end_line(&progress);
    if (leads) train_progress_end(&progress);
    close_plan(of);
    free_paths(&recorded.data);
    free_paths(&recorded.knn_train);
    free_paths(&recorded.knn_val);
    free_paths(&recorded.segment_data);
    free_paths(&recorded.segment_masks);
    free_paths(&recorded.watch);
    int status = 0; /* of other ranks, too: what fails is rank 0's to tell, and its status is the launcher's */
    if (leads && err.status != DG_OK)
        status = exit_status(&err);
    else if (leads && progress.interrupted && train_progress_steps(&progress) < progress.start.end_step)
        status = STOPPED_EARLY;
    dg_comm_close(given.options.comm);
    return status;
}

static const struct dg_flag flags[] = {
    {FLAG_DATA, .texts = &given.data, .required = true, .unless = "replay"},
    {"replay", "FILE", "recorded crops (safetensors: step{S}.crop{V}) in place of images",
     .text = &given.options.replay, .without = "data", .sharing = DG_FLAG_OWN_VALUE},
    {"out", "RUN", "folder for log.jsonl, settings.txt and checkpoint.safetensors", .text = &given.options.out,
     .required = true, .sharing = DG_FLAG_OWN_VALUE},
    {"resume", NULL,
     "go on from RUN/checkpoint.safetensors, or from the one before it if it is damaged, with the run's own settings "
     "and images "
     "unless flags say otherwise; `dinorun train --resume RUN` is enough",
     .given = &given.options.resume},
    {"new-data", NULL, "go on, although the images are not those of before", .given = &given.options.new_data,
     .with = "resume"},
    {"accept-changes", NULL,
     "go on, or begin with --init, although recipe or network are not those of the checkpoint; what differs is listed",
     .given = &given.options.accept_changes},
    {"init", "FILE", "begin with the weights of a file, as of --weights elsewhere", .text = &given.options.init,
     .unset = "the recipe's initial values", .sharing = DG_FLAG_OWN_VALUE},
    {FLAG_KEY, .text = &given.options.choice.key, .with = "init"},
    {FLAG_PREFIX, .text = &given.options.choice.prefix, .with = "init"},
    {FLAG_POSITIONS, .parsed = given.options.choice.positions, .with = "init"},
    {FLAG_PARTIAL, .given = &given.options.choice.partial, .with = "init"},
    {"knn-train", "DIR",
     "with --knn-val: measure the newest checkpoint by k-NN, as dinorun knn does; it is saved for that. These images "
     "vote: one folder per class, or @LIST with classes",
     .texts = &given.knn_train, .with = "knn-val", .sharing = DG_FLAG_OWN_VALUE},
    {"knn-val", "DIR", "the images to classify", .texts = &given.knn_val, .with = "knn-train",
     .sharing = DG_FLAG_OWN_VALUE},
    {"segment-data", "DIR",
     "with --segment-masks: measure how well the attention of the newest checkpoint finds objects in these images, as "
     "dinorun segment-score does; may be given beside --knn-train",
     .texts = &given.segment_data, .with = "segment-masks", .sharing = DG_FLAG_OWN_VALUE},
    {"segment-masks", "DIR", "their masks, under the same names and of the same size",
     .text = &given.options.segment_masks, .with = "segment-data", .sharing = DG_FLAG_OWN_VALUE},
    {"segment-threshold", "T",
     "the share of a head's attention that its mask holds; other shares than 0.6 are written as jaccard80.best and so "
     "on",
     .number = &given.options.segment_threshold, .given = &given.segment_threshold, .max = 1, .unset = "0.6"},
    {"measure-every", "N",
     "how often that is measured: epochs, or '500 steps', or '30 minutes'; also before the first step, and at the end",
     .parse = read_interval, .parsed = &given.options.measure_every, .given = &given.measure_every,
     .expected = "epochs, or steps or minutes, as in 2, '500 steps' or '30 minutes'", .unset = "1 epoch"},
    {"measure-max-bad", "N|P%",
     "unreadable images to leave out of what is measured; with more of them it is not measured, which is said",
     .parse = read_bad_limit, .parsed = &given.options.measure_max_bad, .given = &given.measure_max_bad,
     .expected = "a whole number, or percent as in 0.1%", .unset = "0"},
    {"watch", "IMAGE",
     "draw this image into RUN/watch/ before the first step and at each checkpoint: what the heads of the last block "
     "attend to, and principal components of the patches",
     .texts = &given.watch, .sharing = DG_FLAG_OWN_VALUE},
    {FLAG_EPOCHS, .integer = &given.of.epochs},
    {"steps", "N", "stop once N steps of the run are done; 0 writes the untrained checkpoint",
     .integer = &given.options.steps, .unset = "the end of the run"},
    {FLAG_SET, .texts = &given.of.set},
    {FLAG_SEED, "of initial values, order, crops and drop path", .seed = &given.options.seed,
     .given = &given.options.seed_given},
    {"threads", "N", "threads to compute with", .count = &given.options.threads, .min = 1, .max = 1024,
     .unset = DEFAULT_THREADS, .sharing = DG_FLAG_OWN},
    {"loader-threads", "N", "threads to read images with", .count = &given.options.loader_threads, .min = 1, .max = 256,
     .unset = "as many as --threads", .sharing = DG_FLAG_OWN},
    {FLAG_EXIF, .given = &given.images.exif, .unless = "replay"},
    {FLAG_PILLOW, .text = &given.images.pillow, .unless = "replay"},
    {FLAG_MAX_BAD_IMAGES("unreadable images to replace by others before giving up"), .parsed = &given.options.max_bad,
     .unset = "10"},
    {"time-limit", "T", "finish the step, save and stop after this time: 90s, 45m, 12h, 3d", .parse = read_duration,
     .parsed = &given.time_limit, .expected = "a time, as in 90s, 45m, 12h or 3d", .unset = "none"},
    {"stall-limit", "T", "with several processes: how long to wait for the others before giving up",
     .parse = read_duration, .parsed = &given.comm.stall_limit, .expected = "a time, as in 90s or 10m", .unset = "10m"},
    ROWS_SUMS(given.sums, ", or with --resume the run's own"),
    {"tensorboard", NULL,
     "write the log's numbers for TensorBoard, too, into RUN/tensorboard; --resume goes on with it",
     .given = &given.options.tensorboard},
    {FLAG_IGNORE_MEMORY, .given = &given.options.ignore_memory},
    {"ignore-disk", NULL, "start even if the disk seems to have too little room", .given = &given.options.ignore_disk},
    {FLAG_QUIET},
    {0}};

const struct dg_command command_train = {
    .program = "dinorun",
    .name = "train",
    .summary = "trains, and leaves log and checkpoints in a folder",
    .more = "Ctrl-C, SIGTERM, SIGHUP (a closed terminal), SIGUSR1, SIGXCPU, the end of whoever reads its output,\n"
            "a file RUN/stop, and --time-limit finish the step, save, and exit with status 3: --resume goes on. A "
            "second Ctrl-C or SIGTERM ends the program at once; the newest checkpoint\n"
            "is then that of the recipe's checkpoint.every.\n",
    .file = {.name = "PLAN", .value = &given.of.path},
    .lifts = "resume",
    .flags = flags,
    .run = train};
