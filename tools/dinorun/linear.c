#include "runtime/train/linear_probe.h"

#include "tools/dinorun/command.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* What is on the terminal. */
struct screen {
    struct dg_linear_start start;
    bool terminal, line_open;
};

static void clear_line(struct screen *screen)
{
    if (screen->line_open) fputs("\r\033[K", stdout);
    screen->line_open = false;
}

static void on_start(void *context, const struct dg_linear_start *s)
{
    struct screen *screen = context;
    char size[32];
    screen->start = *s;
    printf("the backbone's ");
    print_memory(&s->features, s->loader_bytes);
    printf("besides\n");
    int64_t head = 0;
    for (int r = 0; r < DG_REGIONS; r++) head += s->head.region[r];
    printf("  %-26s %10s\n", "linear layer", dg_format_bytes(size, sizeof size, (double)(head + s->head.scratch)));
    printf("  %-26s %10s\n", "validation features", dg_format_bytes(size, sizeof size, (double)s->kept_bytes));
    if (!s->train_images)
        printf("%" PRId64 " images of %" PRId64 " classes, %" PRId64 " features each; %d threads\n", s->val_images,
               s->classes, s->dim, s->threads);
    else
        printf("%" PRId64 " images of %" PRId64 " classes, %" PRId64 " features each, %" PRId64 " to validate; %" PRId64
               " steps an epoch, %" PRId64 " epochs; seed %" PRIu64 ", %d threads\n",
               s->train_images, s->classes, s->dim, s->val_images, s->steps_per_epoch, s->epochs, s->seed, s->threads);
    if (s->first_epoch && s->first_epoch < s->epochs)
        printf("going on at epoch %" PRId64 " of %" PRId64 "\n", s->first_epoch + 1, s->epochs);
    if (s->train_images && s->first_epoch >= s->epochs) printf("all %" PRId64 " epochs are done\n", s->epochs);
    fflush(stdout);
}

static void on_progress(void *context, int64_t epoch, int64_t images, int64_t all)
{
    struct screen *screen = context;
    if (!screen->terminal) return;
    clear_line(screen);
    if (epoch < 0)
        printf("validation features: %" PRId64 "/%" PRId64 " images", images, all);
    else
        printf("epoch %" PRId64 "/%" PRId64 "  %" PRId64 "/%" PRId64 " images", epoch + 1, screen->start.epochs, images,
               all);
    screen->line_open = true;
    fflush(stdout);
}

static void on_epoch(void *context, const struct dg_linear_report *r)
{
    struct screen *screen = context;
    clear_line(screen);
    printf("epoch %" PRId64 "/%" PRId64 "  loss %.4f  top-1 %.2f %%  top-5 %.2f %%  best %.2f %% (epoch %" PRId64
           ")  %.1f images/s\n",
           r->epoch + 1, screen->start.epochs, r->loss, r->val.top1, r->val.top5, r->best, r->best_epoch + 1,
           r->images_per_s);
    fflush(stdout);
}

static void on_message(void *context, enum dg_log_level level, enum dg_log_topic topic, const char *text)
{
    clear_line(context);
    write_message(NULL, level, topic, text);
}

static int linear(int argc, char **argv)
{
    enum {
        WEIGHTS = 256,
        FROM,
        PARTIAL,
        TRAIN,
        VAL,
        OUT,
        RESUME,
        NEW_DATA,
        EVALUATE,
        EPOCHS,
        SEED,
        THREADS,
        SET,
        MAX_BAD,
        ANYWAY
    };
    static const struct option flags[] = {{"weights", required_argument, NULL, WEIGHTS},
                                          {"weights-from", required_argument, NULL, FROM},
                                          {"partial", no_argument, NULL, PARTIAL},
                                          {"train", required_argument, NULL, TRAIN},
                                          {"val", required_argument, NULL, VAL},
                                          {"out", required_argument, NULL, OUT},
                                          {"resume", no_argument, NULL, RESUME},
                                          {"new-data", no_argument, NULL, NEW_DATA},
                                          {"evaluate", required_argument, NULL, EVALUATE},
                                          {"epochs", required_argument, NULL, EPOCHS},
                                          {"seed", required_argument, NULL, SEED},
                                          {"threads", required_argument, NULL, THREADS},
                                          {"set", required_argument, NULL, SET},
                                          {"max-bad-images", required_argument, NULL, MAX_BAD},
                                          {"ignore-memory", no_argument, NULL, ANYWAY},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    const struct command *me = &command_linear;
    struct screen screen = {.terminal = isatty(STDOUT_FILENO)};
    const struct dg_log log = {on_message, &screen, console.trace};
    struct dg_linear_options o = {
        .from = "teacher",
        .max_bad = 10,
        .log = &log,
        .events = {.context = &screen, .start = on_start, .progress = on_progress, .epoch = on_epoch}};
    const char *head = NULL, **set = flag_values(argc);
    int num_sets = 0;
    int64_t epochs = 0, value;
    if (!set) return 1;
    for (int flag; (flag = next_flag(me, argc, argv, flags)) != -1;) {
        bool ok = true;
        switch (flag) {
        case WEIGHTS: o.weights = optarg; break;
        case FROM: o.from = optarg; break;
        case PARTIAL: o.partial = true; break;
        case TRAIN: o.train = optarg; break;
        case VAL: o.val = optarg; break;
        case OUT: o.out = optarg; break;
        case RESUME: o.resume = true; break;
        case NEW_DATA: o.new_data = true; break;
        case EVALUATE: head = optarg; break;
        case SET: set[num_sets++] = optarg; break;
        case ANYWAY: o.ignore_memory = true; break;
        case EPOCHS: ok = flag_whole(me, "--epochs", optarg, 1, 1000000, &epochs); break;
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
        default: return flag == 'h' ? 0 : 2;
        }
        if (!ok) return 2;
    }
    const char *path = plan_argument(me, argc, argv);
    if (!path) return 2;
    if (head && (o.train || o.out || o.resume))
        return usage_error(me, "--evaluate trains nothing: it goes without --train, --out and --resume");
    if (!o.weights || !o.val || (!head && (!o.train || !o.out)))
        return usage_error(me, head ? "--weights FILE and --val DIR are needed"
                                    : "--weights FILE, --train DIR, --val DIR and --out DIR are needed");
    if (!flag_from(me, o.from)) return 2;

    struct dg_error err = {0};
    struct dg_plan plan;
    struct dg_knobs knobs = {0};
    struct dg_linear_score score;
    enum dg_status status = open_plan(path, set, num_sets, epochs, &plan, &knobs, &err);
    if (status == DG_OK)
        status =
            head ? dg_linear_evaluate(&plan, &knobs, &o, head, &score, &err) : dg_linear_train(&plan, &knobs, &o, &err);
    clear_line(&screen);
    if (status == DG_OK && head)
        printf("loss %.4f  top-1 %.2f %%  top-5 %.2f %%\n", score.loss, score.top1, score.top5);
    else if (status == DG_OK)
        printf("%s/linear.safetensors is the last epoch's layer, %s/best.safetensors the best one's\n", o.out, o.out);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
    return status == DG_OK ? 0 : fail(&err);
}

const struct command command_linear = {
    .name = "linear",
    .arguments = "PLAN --weights FILE --train DIR --val DIR --out DIR [flags]",
    .summary = "trains a linear classifier on the frozen features, and counts how often it is right",
    .flags =
        "  --weights FILE        checkpoint of a run, or a backbone's safetensors file\n"
        "  --weights-from NET    teacher or student (teacher)\n"
        "  --partial             go on with weights that fit the plan only in part\n"
        "  --train DIR           labelled images to learn from: a folder a class\n"
        "  --val DIR             labelled images to count on, after every epoch\n"
        "  --out DIR             folder for log.jsonl, linear.safetensors and best.safetensors\n"
        "  --resume              go on from DIR/linear.safetensors\n"
        "  --new-data            with --resume: go on, although images or backbone are not those of before\n"
        "  --evaluate HEAD       only count, on --val, what a layer gets right: one of this command's, or a\n"
        "                        published one that dinorun import has read\n"
        "  --epochs N            length of the run and of its schedules\n"
        "  --set key=value       change a knob, as in --set lr.from=0.1 (dinorun info PLAN lists them)\n"
        "  --seed N              of initial values, order and crops (0)\n"
        "  --threads N           threads to compute and to read images with (all)\n"
        "  --max-bad-images N    unreadable training images to replace by others before giving up (10)\n"
        "  --ignore-memory       start even if the machine seems to have too little memory\n"
        "\n"
        "The plan is one of graphs/linear.yaml. It may be interrupted at any time: --resume goes on after the last\n"
        "whole epoch.\n",
    .run = linear};
