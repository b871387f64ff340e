/* dinorun train: trains a plan on images, prints its progress, and stops and saves on signals. */
#include "runtime/train/train.h"
#include "runtime/train/run.h"

#include "runtime/base/path.h"
#include "tools/dinorun/command.h"

#include "ops/kernels/rates.h"
#include "runtime/base/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static struct {
    struct opened_plan of;
    struct dg_train_options options;
    double time_limit; /* seconds; 0: none */
    struct dg_flag_values data, knn_train, knn_val, segment_data, watch;
    bool measure_every, measure_max_bad;
    struct image_flags images;
    struct dg_comm_options comm;
    struct sum_flags sums;
} given = {.options = {.steps = -1, .max_bad = {.images = 10}, .measure_every = {1, DG_EVERY_EPOCHS}},
           .comm = {.stall_limit = STALL_LIMIT}};

/* A thread of its own waits for signals. A signal handler would run on the stack of whatever thread the signal
 * interrupts, and oneDNN's generated code was seen to lose values that it stores there. */
static sigset_t stop_signals;
static atomic_bool stop_asked;
static bool interrupted;    /* what on_stop returned last */
enum { STOPPED_EARLY = 3 }; /* exit status: the state is saved, --resume goes on */

/* Any of the signals asks the run to stop. A second Ctrl-C or SIGTERM ends the program at once, in the middle of a
 * step. The others do not: a closed terminal sends SIGHUP twice (its shell and the system), a limit of CPU time
 * SIGXCPU every second, and a batch system SIGTERM some time after SIGUSR1. */
static void *wait_for_signals(void *unused)
{
    int signal;
    (void)unused;
    for (int urgent = 0; urgent < 2;) {
        if (sigwait(&stop_signals, &signal)) continue;
        atomic_store(&stop_asked, true);
        urgent += signal == SIGINT || signal == SIGTERM;
    }
    struct sigaction plain = {.sa_handler = SIG_DFL}; /* a shell starts its background jobs with SIGINT ignored */
    sigaction(signal, &plain, NULL);
    pthread_sigmask(SIG_UNBLOCK, &stop_signals, NULL);
    raise(signal);
    return NULL;
}

static void watch_signals(void)
{
    pthread_t watcher;
    static const int asking[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGXCPU};
    sigemptyset(&stop_signals);
    for (size_t s = 0; s < sizeof asking / sizeof *asking; s++) sigaddset(&stop_signals, asking[s]);
    signal(SIGPIPE, SIG_IGN);                        /* on_step sees the error instead */
    pthread_sigmask(SIG_BLOCK, &stop_signals, NULL); /* before there are other threads: they inherit it */
    if (pthread_create(&watcher, NULL, wait_for_signals, NULL))
        pthread_sigmask(SIG_UNBLOCK, &stop_signals, NULL); /* then they end the program, as they do without us */
    else
        pthread_detach(watcher);
}

/* What is on the terminal. */
struct progress {
    struct dg_train_start start;
    bool terminal, line_open;
    double seconds, waited; /* of all steps so far */
    double recent;          /* seconds a step, smoothed */
    int64_t steps;
    double begin; /* of the program, for --time-limit */
    struct dg_step_report last;
    double said;   /* when the last line was written off a terminal */
    int64_t saved; /* step of the newest checkpoint that this program wrote; -1: none */
};

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

static void end_line(struct progress *p)
{
    if (p->line_open) fputc('\n', stdout);
    p->line_open = false;
}

/* What a line off a terminal begins with. */
static const char *time_of_day(const struct progress *p, char *text, size_t size)
{
    time_t now = time(NULL);
    struct tm local;
    if (p->terminal || !localtime_r(&now, &local) || !strftime(text, size, "%F %T  ", &local)) *text = 0;
    return text;
}

static void on_measured(void *context, const struct dg_quality_report *r)
{
    struct progress *p = context;
    char when[32];
    end_line(p);
    printf("%sstep %" PRId64 "/%" PRId64, time_of_day(p, when, sizeof when), r->step, p->start.end_step);
    for (int i = 0; i < r->num_k; i++) printf("%s %d-NN %.2f %%", i ? "," : "  top-1", r->k[i], r->result[i].top1);
    if (r->num_k) printf("; most frequent class %.2f %%", r->most_frequent);
    if (r->objects.images)
        printf("%sJaccard %.2f %%, mean of heads %.2f %%; everything %.2f %%", r->num_k ? "; " : "  ",
               100 * r->objects.best, 100 * r->objects.mean, 100 * r->objects.all);
    printf("; %.1f s\n", r->seconds);
    fflush(stdout);
}

static const char *duration(char *text, size_t size, double seconds)
{
    int64_t s = (int64_t)(seconds + 0.5);
    if (s >= 86400)
        snprintf(text, size, "%" PRId64 "d %02" PRId64 "h", s / 86400, s / 3600 % 24);
    else if (s >= 3600)
        snprintf(text, size, "%" PRId64 "h %02" PRId64 "m", s / 3600, s / 60 % 60);
    else
        snprintf(text, size, "%" PRId64 "m %02" PRId64 "s", s / 60, s % 60);
    return text;
}

/* "4 processes on 2 machines: a (2), b (2); ..." */
static void print_ranks(struct dg_comm *comm, const struct dg_train_start *start)
{
    int ranks = dg_comm_ranks(comm), machines = 0;
    char hosts[256] = "";
    size_t at = 0;
    for (int r = 0; r < ranks; r++) {
        int here = 0, before = 0;
        for (int o = 0; o < ranks; o++) {
            bool same = !strcmp(dg_comm_host(comm, o), dg_comm_host(comm, r));
            here += same;
            before += same && o < r;
        }
        if (before) continue;
        machines++;
        if (at + 80 < sizeof hosts)
            at += (size_t)snprintf(hosts + at, sizeof hosts - at, "%s%s (%d)", at ? ", " : "", dg_comm_host(comm, r),
                                   here);
    }
    char sums[160];
    printf("%d processes on %d machine%s: %s; each computes %" PRId64 " slice%s of a batch; %s; sums %s\n", ranks,
           machines, machines == 1 ? "" : "s", hosts, start->slices, start->slices == 1 ? "" : "s",
           dg_comm_library(comm), dg_comm_sums_text(comm, sums, sizeof sums));
    printf("to stop and save: kill -USR1 of mpirun or of any process; Ctrl-C ends mpirun before the run is saved\n");
}

static const char *plural(int64_t count) { return count == 1 ? "" : "s"; }

static void on_start(void *context, const struct dg_train_start *start)
{
    struct progress *p = context;
    p->start = *start;
    struct dg_comm *comm = given.options.comm;
    if (comm) print_ranks(comm, start);
    print_memory(&start->memory, start->loader_bytes);
    if (start->measure_lent + start->measure_own) {
        char lent[32], own[32];
        printf("measuring while training works in %s of the activations' memory, and %s beside it\n",
               dg_format_bytes(lent, sizeof lent, (double)start->measure_lent),
               dg_format_bytes(own, sizeof own, (double)start->measure_own));
    }
    printf("%" PRId64 " image%s, %" PRId64 " step%s an epoch, %" PRId64 " epoch%s; seed %" PRIu64
           ", %d thread%s, kernels %s\n",
           start->images, plural(start->images), start->steps_per_epoch, plural(start->steps_per_epoch), start->epochs,
           plural(start->epochs), start->seed, start->threads, start->threads == 1 ? "" : "s", dg_kernels_name().text);
    if (start->first_step > start->end_step)
        printf("the run is at step %" PRId64 " already: nothing is left to do up to step %" PRId64 "\n",
               start->first_step, start->end_step);
    else if (start->first_step == start->end_step)
        printf("all steps are done: %" PRId64 "\n", start->end_step);
    else if (start->first_step)
        printf("going on at step %" PRId64 " of %" PRId64 "\n", start->first_step, start->end_step);
    fflush(stdout);
}

/* Off a terminal: after the first step, then so often. */
enum { LINE_SECONDS = 60 };

/* On a terminal in place of the line before, no wider than that is; off one with the time of day. */
static void print_step(struct progress *p, const struct dg_step_report *r, double seconds)
{
    char left[32], line[256], when[32];
    struct winsize window = {0};
    snprintf(line, sizeof line,
             "%sstep %" PRId64 "/%" PRId64 "  epoch %" PRId64 "/%" PRId64
             "  loss %.4f  kl %.4f  entropy %.1f %%  %.1f images/s  %s left",
             time_of_day(p, when, sizeof when), r->step + 1, p->start.end_step, r->epoch + 1, p->start.epochs, r->loss,
             r->kl, 100 * r->teacher_entropy / p->start.log_out_dim, r->images_per_s * seconds / p->recent,
             duration(left, sizeof left, p->recent * (double)(p->start.end_step - r->step - 1)));
    int width = (int)sizeof line;
    if (p->terminal && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) && window.ws_col) width = window.ws_col - 1;
    printf("%s%.*s%s", p->terminal ? "\r\033[K" : "", width, line, p->terminal ? "" : "\n");
    p->line_open = p->terminal;
}

static void on_step(void *context, const struct dg_step_report *r, double seconds, double waited)
{
    struct progress *p = context;
    p->seconds += seconds;
    p->waited += waited;
    p->recent = p->steps++ ? p->recent + 0.05 * (seconds - p->recent) : seconds;
    p->last = *r;
    bool last = r->step + 1 == p->start.end_step;
    double now = dg_seconds_now();
    struct pollfd reader = {.fd = STDOUT_FILENO};
    if (p->terminal || last || p->steps == 1 || now - p->said >= LINE_SECONDS) {
        p->said = now;
        print_step(p, r, seconds);
    }
    /* Whoever read the output is gone: a closed terminal, the other end of a pipe. */
    if (fflush(stdout) && (errno == EPIPE || errno == EIO)) atomic_store(&stop_asked, true);
    if (!p->terminal && poll(&reader, 1, 0) > 0 && reader.revents & POLLERR) atomic_store(&stop_asked, true);
}

static void on_saved(void *context, int64_t step)
{
    struct progress *p = context;
    p->saved = step;
}

static void on_message(void *context, enum dg_log_level level, enum dg_log_topic topic, const char *text)
{
    char line[2048];
    int rank = dg_comm_rank(given.options.comm);
    if (rank) snprintf(line, sizeof line, "rank %d (%s): %s", rank, dg_comm_host(given.options.comm, rank), text);
    end_line(context);
    write_to_stderr(level, topic, rank ? line : text);
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
    const struct progress *p = context;
    if (dg_comm_rank(given.options.comm) == 0 && stop_file()) return interrupted = true;
    if (given.time_limit > 0 && dg_seconds_now() - p->begin >= given.time_limit) return interrupted = true;
    if (atomic_load(&stop_asked)) interrupted = true;
    return interrupted;
}

static int64_t steps_done(const struct progress *p) { return p->steps ? p->last.step + 1 : p->start.first_step; }

static void print_end(const struct progress *p)
{
    char peak[32];
    const char *how = interrupted ? "stopped" : "ended";
    int64_t done = steps_done(p), saved = p->saved < 0 && p->start.first_step ? p->start.first_step : p->saved;
    if (!p->steps && !interrupted) return;
    if (saved >= done)
        printf("%s at step %" PRId64 ": %s/checkpoint.safetensors\n", how, done, given.options.out);
    else if (saved >= 0)
        printf("%s at step %" PRId64 ", which is not saved: the newest checkpoint is of step %" PRId64 "\n", how, done,
               saved);
    else
        printf("%s at step %" PRId64 ", which is not saved\n", how, done);
    if (interrupted && done < p->start.end_step && saved >= done)
        printf("dinorun train --resume %s goes on from there\n", given.options.out);
    if (saved >= 0) printf("dinorun report %s -o report.html shows how it went\n", given.options.out);
    if (!p->steps) return;
    printf("%.3f s a step, %.1f %% of it waiting for images; most memory in use %s\n", p->seconds / (double)p->steps,
           100 * p->waited / p->seconds, dg_format_bytes(peak, sizeof peak, (double)dg_memory_peak()));
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
    struct progress progress = {.terminal = isatty(STDOUT_FILENO), .begin = dg_seconds_now(), .saved = -1};
    struct opened_plan *of = &given.of;
    const struct dg_log log = {on_message, &progress, console.trace};
    given.options.log = &log;
    given.options.command = command_line;
    given.options.data = data_of(&given.data, NULL, &given.images);
    given.options.knn_train = data_of(&given.knn_train, NULL, &given.images);
    given.options.knn_val = data_of(&given.knn_val, NULL, &given.images);
    given.options.segment_data = data_of(&given.segment_data, NULL, &given.images);
    given.options.watch = given.watch.value;
    given.options.watched = given.watch.count;
    given.options.events = (struct dg_train_events){.context = &progress,
                                                    .start = on_start,
                                                    .step = on_step,
                                                    .saved = on_saved,
                                                    .measured = on_measured,
                                                    .stop = on_stop};
    if (find_run(&err) == DG_OK) open_plan(of, &err);
    watch_signals();
    given.comm.log = &log;
    given.comm.sums = given.options.sums = sums_of(&given.sums);
    if (err.status == DG_OK) join_ranks(&given.comm, &given.options.comm, &err);
    if (dg_comm_failed(given.options.comm)) dg_comm_abort(given.options.comm, exit_status(&err));
    bool leads = dg_comm_rank(given.options.comm) == 0;
    if (!leads) given.options.events = (struct dg_train_events){.context = &progress, .stop = on_stop};
    if (err.status == DG_OK) dg_train(&of->plan, &of->knobs, &given.options, &err);
    /* Another process was asked to stop. */
    interrupted |= err.status == DG_OK && given.options.comm && steps_done(&progress) < progress.start.end_step &&
                   progress.saved < progress.start.end_step;
    end_line(&progress);
    if (leads) print_end(&progress);
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
    else if (leads && interrupted && steps_done(&progress) < progress.start.end_step)
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
