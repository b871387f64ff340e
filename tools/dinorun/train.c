#include "runtime/train/train.h"

#include "tools/dinorun/command.h"

#include "runtime/base/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Ctrl-C is not handled but waited for by a thread of its own: a handler would run on the stack of whatever thread the signal
 * meets, and oneDNN's generated code was seen to lose values it keeps there. */
static sigset_t stop_signals;
static atomic_bool stop_asked;
static bool interrupted;    /* what on_stop has said */
static double time_limit;   /* seconds; 0: none */
enum { STOPPED_EARLY = 3 }; /* exit status: the state is saved, --resume goes on */

/* The first signal asks the run to stop; the second ends the program at once, in the middle of a step. */
static void *wait_for_signals(void *unused)
{
    int signal;
    (void)unused;
    while (sigwait(&stop_signals, &signal)) {
    }
    atomic_store(&stop_asked, true);
    while (sigwait(&stop_signals, &signal)) {
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
    sigemptyset(&stop_signals);
    sigaddset(&stop_signals, SIGINT);
    sigaddset(&stop_signals, SIGTERM);
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
};

/* "90", "90s", "45m", "12h", "3d"; seconds, or 0 when it is none of them. */
static double duration_flag(const char *text)
{
    static const struct {
        char unit;
        double seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    char *end;
    double value = strtod(text, &end);
    if (end == text || !(value > 0) || value > 1e9) return 0;
    for (size_t u = 0; u < sizeof units / sizeof *units; u++)
        if (end[0] == units[u].unit && !end[1]) return value * units[u].seconds;
    return *end ? 0 : value;
}

static void end_line(struct progress *p)
{
    if (p->line_open) fputc('\n', stdout);
    p->line_open = false;
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

static void on_start(void *context, const struct dg_train_start *start)
{
    struct progress *p = context;
    p->start = *start;
    print_memory(&start->memory, start->loader_bytes);
    printf("%" PRId64 " images, %" PRId64 " steps an epoch, %" PRId64 " epochs; seed %" PRIu64 ", %d threads\n",
           start->images, start->steps_per_epoch, start->epochs, start->seed, start->threads);
    if (start->first_step) printf("going on at step %" PRId64 " of %" PRId64 "\n", start->first_step, start->end_step);
    if (start->first_step >= start->end_step) printf("all %" PRId64 " steps are done\n", start->end_step);
    fflush(stdout);
}

static void on_step(void *context, const struct dg_step_report *r, double seconds, double waited)
{
    struct progress *p = context;
    p->seconds += seconds;
    p->waited += waited;
    p->recent = p->steps++ ? p->recent + 0.05 * (seconds - p->recent) : seconds;
    p->last = *r;
    bool last = r->step + 1 == p->start.end_step;
    /* Off a terminal: a line at the end of each epoch, and of the run. */
    if (!p->terminal && !last && (r->step + 1) % p->start.steps_per_epoch) return;
    char left[32];
    printf("%sstep %" PRId64 "/%" PRId64 "  epoch %" PRId64 "/%" PRId64 "  loss %.4f  kl %.4f  %.1f images/s  %s left",
           p->terminal ? "\r\033[K" : "", r->step + 1, p->start.end_step, r->epoch + 1, p->start.epochs, r->loss, r->kl,
           r->images_per_s * seconds / p->recent,
           duration(left, sizeof left, p->recent * (double)(p->start.end_step - r->step - 1)));
    p->line_open = p->terminal;
    if (!p->terminal) fputc('\n', stdout);
    fflush(stdout);
}

static void on_message(void *context, enum dg_log_level level, enum dg_log_topic topic, const char *text)
{
    end_line(context);
    write_to_stderr(level, topic, text);
}

static bool on_stop(void *context)
{
    const struct progress *p = context;
    if (time_limit > 0 && dg_seconds_now() - p->begin >= time_limit) return interrupted = true;
    if (atomic_load(&stop_asked)) interrupted = true;
    return interrupted;
}

static int train(int argc, char **argv)
{
    enum {
        DATA = 256,
        REPLAY,
        OUT,
        EPOCHS,
        STEPS,
        INIT,
        PARTIAL,
        RESUME,
        NEW_DATA,
        SEED,
        THREADS,
        LOADERS,
        SET,
        MAX_BAD,
        ANYWAY,
        ANY_DISK,
        LIMIT
    };
    static const struct option flags[] = {{"data", required_argument, NULL, DATA},
                                          {"replay", required_argument, NULL, REPLAY},
                                          {"out", required_argument, NULL, OUT},
                                          {"epochs", required_argument, NULL, EPOCHS},
                                          {"steps", required_argument, NULL, STEPS},
                                          {"init", required_argument, NULL, INIT},
                                          {"partial", no_argument, NULL, PARTIAL},
                                          {"resume", no_argument, NULL, RESUME},
                                          {"new-data", no_argument, NULL, NEW_DATA},
                                          {"seed", required_argument, NULL, SEED},
                                          {"threads", required_argument, NULL, THREADS},
                                          {"loader-threads", required_argument, NULL, LOADERS},
                                          {"set", required_argument, NULL, SET},
                                          {"max-bad-images", required_argument, NULL, MAX_BAD},
                                          {"ignore-memory", no_argument, NULL, ANYWAY},
                                          {"ignore-disk", no_argument, NULL, ANY_DISK},
                                          {"time-limit", required_argument, NULL, LIMIT},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    const struct command *me = &command_train;
    struct progress progress = {.terminal = isatty(STDOUT_FILENO), .begin = dg_seconds_now()};
    const struct dg_log log = {on_message, &progress, console.trace};
    struct dg_train_options o = {.steps = -1,
                                 .max_bad = 10,
                                 .log = &log,
                                 .events = {.context = &progress, .start = on_start, .step = on_step, .stop = on_stop}};
    const char **set = flag_values(argc);
    int num_sets = 0;
    int64_t epochs = 0, value;
    if (!set) return 1;
    for (int flag; (flag = next_flag(me, argc, argv, flags)) != -1;) {
        bool ok = true;
        switch (flag) {
        case DATA: o.data = optarg; break;
        case REPLAY: o.replay = optarg; break;
        case OUT: o.out = optarg; break;
        case INIT: o.init = optarg; break;
        case PARTIAL: o.partial = true; break;
        case RESUME: o.resume = true; break;
        case NEW_DATA: o.new_data = true; break;
        case SET: set[num_sets++] = optarg; break;
        case ANYWAY: o.ignore_memory = true; break;
        case ANY_DISK: o.ignore_disk = true; break;
        case LIMIT:
            time_limit = duration_flag(optarg);
            if (!(time_limit > 0))
                usage_error(me, "--time-limit %s: expected a time, as in 90s, 45m, 12h or 3d", optarg);
            ok = time_limit > 0;
            break;
        case EPOCHS: ok = flag_whole(me, "--epochs", optarg, 1, 1000000, &epochs); break;
        case STEPS: ok = flag_whole(me, "--steps", optarg, 0, INT64_MAX, &o.steps); break;
        case MAX_BAD: ok = flag_whole(me, "--max-bad-images", optarg, 0, INT32_MAX, &o.max_bad); break;
        case SEED:
            ok = flag_whole(me, "--seed", optarg, 0, INT64_MAX, &value);
            o.seed = (uint64_t)value;
            o.seed_given = true;
            break;
        case THREADS:
            ok = flag_whole(me, "--threads", optarg, 1, 1024, &value);
            o.threads = (int)value;
            break;
        case LOADERS:
            ok = flag_whole(me, "--loader-threads", optarg, 1, 256, &value);
            o.loader_threads = (int)value;
            break;
        default: return flag == 'h' ? 0 : 2;
        }
        if (!ok) return 2;
    }
    const char *path = plan_argument(me, argc, argv);
    if (!path) return 2;
    if (!o.data == !o.replay) return usage_error(me, "images come from --data DIR or from --replay FILE");
    if (!o.out) return usage_error(me, "--out RUN says where log and checkpoints go");

    struct dg_error err = {0};
    struct dg_plan plan;
    struct dg_knobs knobs = {0};
    enum dg_status status = open_plan(path, set, num_sets, epochs, &plan, &knobs, &err);
    watch_signals();
    if (status == DG_OK) status = dg_train(&plan, &knobs, &o, &err);
    end_line(&progress);
    if (progress.steps) {
        char peak[32];
        printf("%s at step %" PRId64 ": %s/checkpoint.safetensors\n", interrupted ? "stopped" : "ended",
               progress.last.step + 1, o.out);
        printf("%.3f s a step, %.1f %% of it waiting for images; most memory in use %s\n",
               progress.seconds / (double)progress.steps, 100 * progress.waited / progress.seconds,
               dg_format_bytes(peak, sizeof peak, (double)dg_memory_peak()));
    }
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
    if (status != DG_OK) return fail(&err);
    return interrupted && progress.last.step + 1 < progress.start.end_step ? STOPPED_EARLY : 0;
}

const struct command command_train = {
    .name = "train",
    .arguments = "PLAN (--data DIR | --replay FILE) --out RUN [flags]",
    .summary = "trains, and leaves log and checkpoints in a folder",
    .flags =
        "  --data DIR            images: a folder of them, or a folder a class\n"
        "  --replay FILE         recorded crops (safetensors: step{S}.crop{V}) in place of images\n"
        "  --out RUN             folder for log.jsonl, settings.txt and checkpoint.safetensors\n"
        "  --resume              go on from RUN/checkpoint.safetensors, or from the one before it if it is damaged\n"
        "  --new-data            with --resume: go on, although the images are not those of before\n"
        "  --init FILE           begin with the weights of a safetensors file\n"
        "  --partial             with --init: go on with weights that fit the plan only in part\n"
        "  --epochs N            length of the run and of all its schedules\n"
        "  --steps N             stop once N steps of the run are done; 0 writes the untrained checkpoint\n"
        "  --set key=value       change a knob of the recipe (dinorun info PLAN lists them); may be given again\n"
        "  --seed N              of initial values, order, crops and drop path (0)\n"
        "  --threads N           threads to compute with (all)\n"
        "  --loader-threads N    threads to read images with (as many)\n"
        "  --max-bad-images N    unreadable images to replace by others before giving up (10)\n"
        "  --time-limit T        finish the step, save and stop after T: 90s, 45m, 12h, 3d\n"
        "  --ignore-memory       start even if the machine seems to have too little memory\n"
        "  --ignore-disk         start even if the disk seems to have too little room\n"
        "\n"
        "Ctrl-C, SIGTERM and --time-limit finish the step, save, and exit with status 3: --resume goes on. A second\n"
        "signal ends the program at once; the newest checkpoint is then that of the recipe's checkpoint.every.\n",
    .run = train};
