/* dinorun linear: trains a linear classifier on frozen features, or evaluates one. */
#include "runtime/train/linear_probe.h"

#include "runtime/comm/agree.h"
#include "tools/dinorun/command.h"
#include "tools/dinorun/json.h"
#include "tools/dinorun/probe_plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

static struct {
    struct opened_plan of;
    struct dg_linear_options options;
    struct dg_flag_values train, val;
    struct image_flags images;
    const char *classes_from;
    const char *head; /* to evaluate; NULL: to train one */
    bool max_bad_given;
    struct json_output json;
} given = {.options = {.choice = {.from = "teacher"}, .max_bad = {.images = 10}}};

/* What is on the terminal. */
struct screen {
    struct dg_linear_start start;
    struct dg_linear_report last; /* of the last epoch; epoch -1: there is none */
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
    printf("  %-26s %10s\n", "validation features", dg_format_bytes(size, sizeof size, (double)s->features_bytes));
    if (!s->train_images)
        printf("%" PRId64 " images of %" PRId64 " classes, %" PRId64 " features each; %d threads\n", s->val_images,
               s->classes, s->dim, s->threads);
    else
        printf("%" PRId64 " images of %" PRId64 " classes, %" PRId64 " features each, %" PRId64 " to validate; %" PRId64
               " steps an epoch, %" PRId64 " epochs; seed %" PRIu64 ", %d threads\n",
               s->train_images, s->classes, s->dim, s->val_images, s->steps_per_epoch, s->epochs, s->seed, s->threads);
    printf("the most frequent class alone would get %.2f %%\n", s->most_frequent);
    if (s->first_epoch && s->first_epoch < s->epochs)
        printf("going on at epoch %" PRId64 " of %" PRId64 "\n", s->first_epoch + 1, s->epochs);
    if (s->train_images && s->first_epoch >= s->epochs) printf("all %" PRId64 " epochs are done\n", s->epochs);
    fflush(stdout);
}

/* Of other ranks than 0. */
static void others_start(void *context, const struct dg_linear_start *start)
{
    (void)context, (void)start;
    let_ranks_warn();
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
    screen->last = *r;
    FILE *out = r->epoch + 1 == screen->start.epochs ? results() : stdout;
    fprintf(out,
            "epoch %" PRId64 "/%" PRId64 "  loss %.4f  top-1 %.2f %%  top-5 %.2f %%  best %.2f %% (epoch %" PRId64
            ")  %.1f images/s\n",
            r->epoch + 1, screen->start.epochs, r->loss, r->val.top1, r->val.top5, r->best, r->best_epoch + 1,
            r->images_per_s);
    fflush(out);
}

static void on_message(void *context, enum dg_log_level level, enum dg_log_topic topic, const char *text)
{
    clear_line(context);
    console.write(NULL, level, topic, text);
}

/* `best`: of the best epoch; NaN: there is one score alone. */
static json_t *result_of(const struct screen *screen, const struct dg_linear_score *score, double best)
{
    json_t *result =
        json_pack("{s:o, s:I, s:I, s:I, s:f, s:f, s:f, s:f}", "machine", json_machine(), "train_images",
                  (json_int_t)screen->start.train_images, "val_images", (json_int_t)screen->start.val_images, "classes",
                  (json_int_t)screen->start.classes, "most_frequent", screen->start.most_frequent, "loss", score->loss,
                  "top1", score->top1, "top5", score->top5);
    if (!isnan(best)) {
        json_object_set_new(result, "best_top1", json_real(best));
        json_object_set_new(result, "best_epoch", json_integer(screen->last.best_epoch + 1));
        json_object_set_new(result, "epochs", json_integer(screen->last.epoch + 1));
        json_object_set_new(result, "folder", dg_json_text(given.options.out));
    }
    return result;
}

/* Of a run's folder, to its results.csv. `best`: of the best epoch; NaN: there is one score alone. */
static enum dg_status write_results(const struct screen *screen, const struct dg_linear_score *score, double best,
                                    struct dg_error *err)
{
    double most = screen->start.most_frequent;
    const struct dg_result result[] = {{"linear.top1", score->top1, most},
                                       {"linear.top5", score->top5, NAN},
                                       {"linear.loss", score->loss, NAN},
                                       {"linear.best_top1", best, most}};
    const struct dg_evaluator_options of = {.weights = given.options.weights, .choice = given.options.choice};
    struct dg_results results = {.by = "linear",
                                 .train = given.head ? NULL : &given.options.train,
                                 .val = &given.options.val,
                                 .images = screen->start.val_images,
                                 .result = result,
                                 .count = isnan(best) ? 3 : 4};
    return add_results(&given.of, &of, &results, err);
}

/* Of a run's folder: weights, images and classes are its own, and the probe's plan is made of its recipe, or is that
 * of the probe that goes on. */
static enum dg_status open_probe(struct dg_error *err)
{
    static char weights[DG_MAX_PATH], out[DG_MAX_PATH];
    struct dg_linear_options *o = &given.options;
    char newest[DG_MAX_PATH + 32], plan[DG_MAX_PATH];
    int64_t classes;
    bool run = dg_is_folder(given.of.path);
    if (run) take_images(&(struct dg_model_source){.kind = DG_MODEL_RUN, .path = given.of.path}, &given.images);
    o->train = data_of(&given.train, given.classes_from, &given.images);
    o->val = data_of(&given.val, given.classes_from, &given.images);
    if (!run) {
        DG_TRY(open_plan(&given.of, err));
        if (!o->weights) o->weights = given.of.path; /* a bundle */
        return DG_OK;
    }
    if (!o->weights) DG_TRY(dg_run_find_weights(given.of.path, weights, err));
    if (!o->weights) o->weights = weights;
    if (!o->out && !given.head && snprintf(out, sizeof out, "%s/linear", given.of.path) >= DG_MAX_PATH - 64)
        return dg_fail(err, DG_ERR_USAGE, "the path of the run is too long");
    if (!o->out && !given.head) o->out = out;
    given.of.run = given.of.path;
    if (o->resume) snprintf(newest, sizeof newest, "%s/linear.safetensors", o->out);
    if ((given.head || o->resume) && dg_classifier_find_plan(given.head ? given.head : newest, plan)) {
        DG_TRY(open_plan_file(&given.of, plan, err));
    } else {
        DG_TRY(count_classes(&o->train, given.head, &classes, err));
        DG_TRY(open_probe_plan(&given.of, classes, err));
    }
    dg_model_take_resize(o->weights, &given.of.knobs);
    return DG_OK;
}

static enum dg_status train_layer(struct screen *screen, struct dg_error *err)
{
    DG_TRY(dg_linear_train(&given.of.plan, &given.of.knobs, &given.options, err));
    if (!leads(given.options.comm)) return DG_OK;
    clear_line(screen);
    if (screen->last.epoch >= 0) {
        DG_TRY(write_results(screen, &screen->last.val, screen->last.best, err));
        DG_TRY(json_write(&given.json, result_of(screen, &screen->last.val, screen->last.best), err));
    }
    printf("%s/linear.safetensors is the last epoch's layer, %s/best.safetensors the best one's\n", given.options.out,
           given.options.out);
    return DG_OK;
}

static enum dg_status train_or_evaluate(struct screen *screen, struct dg_error *err)
{
    struct opened_plan *of = &given.of;
    DG_TRY(open_ranks(&given.options.comm, &given.options.threads, err));
    if (!leads(given.options.comm)) given.options.events = (struct dg_linear_events){.start = others_start};
    DG_TRY(dg_comm_agree(given.options.comm, open_probe(err), err));
    if (!given.head) return train_layer(screen, err);
    struct dg_linear_score score;
    DG_TRY(dg_linear_evaluate(&of->plan, &of->knobs, &given.options, given.head, &score, err));
    if (!leads(given.options.comm)) return DG_OK;
    clear_line(screen);
    fprintf(results(), "loss %.4f  top-1 %.2f %%  top-5 %.2f %%\n", score.loss, score.top1, score.top5);
    DG_TRY(json_write(&given.json, result_of(screen, &score, NAN), err));
    return write_results(screen, &score, NAN, err);
}

static int linear(void)
{
    struct dg_error err = {0};
    struct screen screen = {.last.epoch = -1, .terminal = isatty(STDOUT_FILENO)};
    const struct dg_log log = {on_message, &screen, console.trace};
    given.options.log = &log;
    given.options.command = command_line;
    if (given.max_bad_given) given.options.max_bad_val = given.options.max_bad;
    given.options.events =
        (struct dg_linear_events){.context = &screen, .start = on_start, .progress = on_progress, .epoch = on_epoch};
    if (json_open(&given.json, &err) == DG_OK) train_or_evaluate(&screen, &err);
    clear_line(&screen);
    close_plan(&given.of);
    json_close(&given.json);
    return end_ranks(given.options.comm, &err);
}

static const struct dg_flag flags[] = {
    {FLAG_WEIGHTS, .text = &given.options.weights},
    ROWS_CHOOSE_WEIGHTS(given.options),
    {"train", "DIR", "labelled images to learn from: one folder per class, or @LIST with classes",
     .texts = &given.train, .required = true, .unless = "evaluate", .sharing = DG_FLAG_OWN_VALUE},
    {"val", "DIR", "labelled images to count on, after every epoch", .texts = &given.val, .required = true,
     .sharing = DG_FLAG_OWN_VALUE},
    {FLAG_CLASSES_FROM, .text = &given.classes_from},
    {"out", "DIR", "folder for log.jsonl, linear.safetensors and best.safetensors", .text = &given.options.out,
     .required = true, .in_folder = "RUN/linear", .unless = "evaluate", .sharing = DG_FLAG_OWN_VALUE},
    {"resume", NULL, "go on from DIR/linear.safetensors", .given = &given.options.resume},
    {"new-data", NULL, "go on, although images or backbone are not those of before", .given = &given.options.new_data,
     .with = "resume"},
    {"evaluate", "HEAD",
     "only count, on --val, what a layer gets right: one of this command's, or a published one that dinorun import has "
     "read",
     .text = &given.head, .without = "train out resume epochs seed", .sharing = DG_FLAG_OWN_VALUE},
    {FLAG_EPOCHS, .integer = &given.of.epochs},
    {FLAG_SET, .texts = &given.of.set},
    {FLAG_SEED, "of initial values, order and crops", .seed = &given.options.seed, .given = &given.options.seed_given},
    {FLAG_THREADS, .count = &given.options.threads},
    ROWS_IMAGE_RULES(given.images),
    {FLAG_MAX_BAD_IMAGES("unreadable images before giving up, of --train to replace, of --val to leave out"),
     .parsed = &given.options.max_bad, .given = &given.max_bad_given, .unset = "10 of --train, 0 of --val"},
    {FLAG_IGNORE_MEMORY, .given = &given.options.ignore_memory},
    {FLAG_JSON, .given = &given.json.asked},
    {FLAG_QUIET},
    {0}};

const struct dg_command command_linear = {
    .program = "dinorun",
    .name = "linear",
    .summary = "trains a linear classifier on the frozen features, and counts how often it is right",
    .more =
        "Of a run's folder dinoc makes the probe's plan, with its backbone and the classes of --train; --set sets keys "
        "of the\nprobe. Another plan is one of graphs/linear.yaml, or of dinoc RECIPE --probe. The work may be "
        "interrupted at any time: --resume goes on after the last\n"
        "whole epoch.\n",
    .file = {.name = PLAN_OR_RUN, .value = &given.of.path},
    .flags = flags,
    .run = linear};
