/* The keys of a recipe, and what the table cannot say of them. */
#include "compiler/language/recipe.h"
#include "compiler/language/shared_keys.h"

#include <stdlib.h>

#define FIELD(member) .field = offsetof(struct dg_train_recipe, member)

static const struct dg_key_choice buffers_choices[] = {
    {"own", "the teacher's running statistics come from its own crops"},
    {"copy", "they are the student's"},
    {"ema", "they are averaged like weights"},
    {0},
};
static const struct dg_key_choice no_decay_choices[] = {
    {"bias", "names ending in .bias"},
    {"1d", "tensors of one dimension"},
    {0},
};

static const struct dg_key_choice update_choices[] = {
    {"momentum", "an average of the student, a step at a time"},
    {"epoch", "the student as it was at the end of the last epoch"},
    {"iteration", "the student as it was a step ago"},
    {"student", "a copy of the student"},
    {0},
};
static const struct dg_key_choice clip_choices[] = {
    {"parameter", "that of each parameter's gradient"},
    {"all", "that over all gradients"},
    {0},
};
static const struct dg_key_choice loss_choices[] = {
    {"cross_entropy", "of softmaxes"},
    {"mse", "the mean squared error of outputs of length one"},
    {"infonce", "an image's output against those of the batch, of length one"},
    {0},
};
static const struct dg_key_choice targets_choices[] = {
    {"center", "a softmax of centred outputs"},
    {"sinkhorn", "three iterations of Sinkhorn-Knopp"},
    {"softmax_batch", "a softmax over the images of the batch"},
    {0},
};

/* The augmentation of a group of views; the defaults are the paper's and BYOL's. */
#define AUGMENTATION(PREFIX, SCALE, BLUR)                                                                              \
    DG_CUT_KEYS(PREFIX, SCALE), PROBABILITY(PREFIX, "jitter", "0.8", "Probability of colour jitter."),                 \
        STRENGTH(PREFIX, "brightness", "0.4", 10, "Strength of the brightness jitter."),                               \
        STRENGTH(PREFIX, "contrast", "0.4", 10, "Strength of the contrast jitter."),                                   \
        STRENGTH(PREFIX, "saturation", "0.2", 10, "Strength of the saturation jitter."),                               \
        STRENGTH(PREFIX, "hue", "0.1", 0.5, "Strength of the hue jitter, in turns of the colour circle."),             \
        PROBABILITY(PREFIX, "gray", "0.2", "Probability of conversion to gray."),                                      \
        PROBABILITY(PREFIX, "blur", BLUR, "Probability of a Gaussian blur."),                                          \
        {.path = PREFIX "blur_sigma",                                                                                  \
         .kind = DG_KEY_PAIR,                                                                                          \
         .value = "[0.1, 2]",                                                                                          \
         .min = 0.001,                                                                                                 \
         .max = 1000,                                                                                                  \
         .doc = "Standard deviation of the blur, in pixels: [low, high]."},                                            \
        PROBABILITY(PREFIX, "solarize", "0", "Probability of solarisation."),                                          \
        PROBABILITY(PREFIX, "vertical_flip", NULL, "Probability of a vertical flip; 0 without this key."),             \
        PROBABILITY(PREFIX, "turn", NULL,                                                                              \
                    "Probability of a turn by 90, 180 or 270 degrees, each as likely; 0 without this key."),           \
    {                                                                                                                  \
        .path = PREFIX "solarize_threshold", .kind = DG_KEY_INT, .value = "128", .min = 0, .max = 256, .knob = true,   \
        .doc = "Level, of 255, from which solarisation inverts."                                                       \
    }
#define STRENGTH(PREFIX, NAME, VALUE, MAX, DOC)                                                                        \
    {                                                                                                                  \
        .path = PREFIX NAME, .kind = DG_KEY_FLOAT, .value = VALUE, .min = 0, .max = MAX, .doc = DOC                    \
    }
#define PROBABILITY(PREFIX, NAME, VALUE, DOC) STRENGTH(PREFIX, NAME, VALUE, 1, DOC)

/* A group of local views; OFFSET is that of its struct dg_recipe_crops. */
#define LOCAL_KEYS(PREFIX, OFFSET)                                                                                     \
    {.path = PREFIX "count",                                                                                           \
     .kind = DG_KEY_INT,                                                                                               \
     .value = "8",                                                                                                     \
     .min = 0,                                                                                                         \
     .max = 62,                                                                                                        \
     .field = (OFFSET) + offsetof(struct dg_recipe_crops, count),                                                      \
     .doc = "Crops an image; 0 for none."},                                                                            \
        {.path = PREFIX "size",                                                                                        \
         .kind = DG_KEY_SIZE,                                                                                          \
         .value = "96",                                                                                                \
         .min = 1,                                                                                                     \
         .max = DG_MAX_PIXELS,                                                                                         \
         .field = (OFFSET),                                                                                            \
         .doc = "Pixels: one number, or [height, width]."},                                                            \
        AUGMENTATION(PREFIX, "[0.05, 0.4]", "0.5")

static const struct dg_key view_keys[] = {AUGMENTATION("", NULL, NULL), {0}};
static const struct dg_key local_keys[] = {LOCAL_KEYS("", 0), {0}};

/* One of several sizes of local views. */
static void read_local_item(struct dg_reader *r, struct dg_yaml *item, const char *path, int index)
{
    struct dg_train_recipe *recipe = r->recipe;
    if (index >= DG_LOCAL_GROUPS) {
        dg_diag_error(r->program->diag, &item->origin, "crops.local: a list of up to %d sizes", DG_LOCAL_GROUPS);
        return;
    }
    recipe->local[index].name = path;
    r->recipe = &recipe->local[index]; /* what the fields of local_keys are in */
    dg_read_item(r, item, local_keys, path);
    r->recipe = recipe;
}

/* The arguments of student, teacher and head. What the teacher is not given itself is the student's. */
static void read_networks(struct dg_reader *r)
{
    struct dg_train_recipe *recipe = r->recipe;
    struct dg_yaml *student = dg_read_map(r, "student.with"), *teacher = dg_read_map(r, "teacher.with"),
                   *head = dg_read_map(r, "head.with");
    dg_program_read_args(r->program, student, r->scope, &recipe->student_args);
    dg_program_read_args(r->program, teacher, r->scope, &recipe->model.args);
    dg_program_read_args(r->program, student, r->scope, &recipe->model.args);
    dg_program_read_args(r->program, head, r->scope, &recipe->head_args);
    dg_read_show_arguments(r, student, dg_read_path(r, "student.backbone"), recipe->student_args);
    dg_read_show_arguments(r, head, dg_read_path(r, "head.module"), recipe->head_args);
}

static void read_predictor(struct dg_reader *r)
{
    struct dg_train_recipe *recipe = r->recipe;
    struct dg_yaml *with = dg_read_map(r, "predictor.with");
    if (!recipe->predictor) return;
    recipe->predictor_origin = dg_read_map(r, "predictor")->origin;
    dg_program_read_args(r->program, with, r->scope, &recipe->predictor_args);
    dg_read_show_arguments(r, with, dg_read_path(r, "predictor.module"), recipe->predictor_args);
}

/* A key that goes with another choice has no default then, and is an error where it is given. */
static void leave_out(struct dg_reader *r, struct dg_key *key, const char *why)
{
    const struct dg_yaml *given = dg_read_path(r, key->path);
    if (given) dg_diag_error(r->program->diag, &given->origin, "%s: %s", key->path, why);
    key->value = NULL;
}

/* Teachers that are no average have a momentum that is 0 at the steps at which they are copied, and 1 at the others. */
static void derive_momentum(struct dg_reader *r, struct dg_key *key)
{
    const struct dg_train_recipe *recipe = r->recipe;
    const struct dg_yaml *update = dg_read_path(r, "teacher.update");
    if (recipe->update == DG_UPDATE_MOMENTUM) return;
    leave_out(r, key, "goes with `update: momentum`; other teachers are copies of the student");
    dg_knob_list_add_schedule(r->program->arena, r->knobs, key->path,
                              recipe->update == DG_UPDATE_EPOCH ? DG_CURVE_EPOCH : DG_CURVE_CONSTANT, false,
                              &update->origin);
}

static void derive_targets(struct dg_reader *r, struct dg_key *key)
{
    if (((struct dg_train_recipe *)r->recipe)->loss != DG_LOSS_CROSS_ENTROPY)
        leave_out(r, key, "makes probabilities, which go with `kind: cross_entropy`");
}

static void derive_student_temp(struct dg_reader *r, struct dg_key *key)
{
    if (((struct dg_train_recipe *)r->recipe)->loss == DG_LOSS_MSE)
        leave_out(r, key, "`kind: mse` has no temperature: outputs have length one");
}

/* Zero is a choice of the graph, and no knob may come to it or leave it. */
static void derive_teacher_temp(struct dg_reader *r, struct dg_key *key)
{
    struct dg_train_recipe *recipe = r->recipe;
    const struct dg_yaml *given = dg_read_path(r, key->path);
    char *end = NULL;
    if (recipe->loss != DG_LOSS_CROSS_ENTROPY) {
        leave_out(r, key, "goes with `kind: cross_entropy`; outputs of length one are not sharpened");
        return;
    }
    if (!given || given->kind != DG_YAML_SCALAR || strtod(given->text, &end) != 0 || end == given->text || *end) return;
    recipe->hard = true;
    key->min = key->max = 0;
    if (recipe->targets != DG_TARGETS_CENTER)
        dg_diag_error(r->program->diag, &given->origin, "%s: 0, the largest output, goes with `targets: center`",
                      key->path);
}

static void derive_center_momentum(struct dg_reader *r, struct dg_key *key)
{
    if (((struct dg_train_recipe *)r->recipe)->targets != DG_TARGETS_CENTER)
        leave_out(r, key, "goes with `targets: center`; the other targets have no centre");
}

/* A view of the teacher has something to teach to. */
static void check_views(struct dg_reader *r)
{
    const struct dg_train_recipe *recipe = r->recipe;
    int64_t local = 0, views = recipe->global.count;
    for (int g = 0; g < DG_LOCAL_GROUPS; g++) local += recipe->local[g].count;
    if (views + local > 64)
        dg_diag_error(r->program->diag, &dg_read_path(r, "crops")->origin, "crops: %lld views are more than 64",
                      (long long)(views + local));
    if (views != 1 || local) return;
    dg_diag_error(r->program->diag, &dg_read_path(r, "crops.global.views")->origin,
                  "crops: one global view and no local crops leave no other view to teach: add either");
}

/* One of `optim.freeze`. Where a freeze that meets no parameter is reported: at the default there is nothing to report. */
static void add_freeze(struct dg_reader *r, const struct dg_yaml *map, const struct dg_yaml *params,
                       const char *control)
{
    struct dg_train_recipe *recipe = r->recipe;
    if (!params || params->kind != DG_YAML_SCALAR) return; /* reported */
    recipe->freeze[recipe->freezes++] = (struct dg_recipe_freeze){
        .params = params->text, .control = control, .origin = params->origin.line > 0 ? params->origin : map->origin};
}

static void read_freeze(struct dg_reader *r)
{
    const struct dg_yaml *freeze = dg_read_map(r, "optim.freeze");
    if (freeze) add_freeze(r, freeze, dg_read_path(r, "optim.freeze.params"), "optim.freeze");
}

static void read_freeze_item(struct dg_reader *r, struct dg_yaml *item, const char *path, int index)
{
    struct dg_arena *arena = r->program->arena;
    if (item->kind != DG_YAML_MAP || index >= DG_MAX_FREEZES) {
        dg_diag_error(r->program->diag, &item->origin,
                      "optim.freeze: a list of up to %d mappings, as in {params: last_layer, for: 1 epoch}",
                      DG_MAX_FREEZES);
        return;
    }
    const struct dg_yaml *params = dg_yaml_get(arena, item, "params"), *length = dg_yaml_get(arena, item, "for");
    if (!params || !length) dg_diag_error(r->program->diag, &item->origin, "%s needs params and for", path);
    if (params && dg_read_word(r, params, dg_arena_printf(arena, "%s.params", path))) add_freeze(r, item, params, path);
    if (length) dg_read_until(r, item, length, dg_arena_printf(arena, "%s.for", path));
    dg_yaml_check_used(r->program->diag, item, path);
}

static void read_layer_decay(struct dg_reader *r)
{
    ((struct dg_train_recipe *)r->recipe)->layer_decay = dg_read_path(r, "optim.layer_decay") != NULL;
}

static void derive_features_size(struct dg_reader *r, struct dg_key *key)
{
    const struct dg_recipe_crops *global = &((struct dg_train_recipe *)r->recipe)->global;
    if (!global->height) return; /* reported */
    key->value = dg_size_text(r, global);
}

static void derive_resize(struct dg_reader *r, struct dg_key *key)
{
    dg_set_resize(r, key, &((struct dg_train_recipe *)r->recipe)->model.image);
}

const struct dg_key dg_train_keys[] = {
    {.path = "batch",
     .kind = DG_KEY_INT,
     .required = true,
     .min = 1,
     .max = DG_MAX_BATCH,
     .named = true,
     FIELD(batch),
     .doc = "Images a step."},
    DG_EPOCHS_KEY,
    DG_DTYPE_KEY(struct dg_train_recipe),

    {.path = "student", .kind = DG_KEY_MAP, .doc = "The network that learns."},
    {.path = "student.backbone",
     .kind = DG_KEY_WORD,
     .required = true,
     FIELD(model.backbone),
     .doc = "Module of the backbone."},
    {.path = "student.with", .kind = DG_KEY_ARGUMENTS, .doc = "Arguments of the backbone."},
    {.path = "head", .kind = DG_KEY_MAP, .doc = "The projection head."},
    {.path = "head.module", .kind = DG_KEY_WORD, .value = "dino_head", FIELD(head), .doc = "Module of the head."},
    {.path = "head.with", .kind = DG_KEY_ARGUMENTS, .doc = "Arguments of the head."},
    {.path = "predictor",
     .kind = DG_KEY_MAP,
     .optional = true,
     .then = read_predictor,
     .doc = "A network on the student's outputs, which the teacher has not; none without this key."},
    {.path = "predictor.module",
     .kind = DG_KEY_WORD,
     .value = "predictor",
     FIELD(predictor),
     .doc = "Module of the predictor."},
    {.path = "predictor.with", .kind = DG_KEY_ARGUMENTS, .doc = "Arguments of the predictor."},
    {.path = "teacher", .kind = DG_KEY_MAP, .then = read_networks, .doc = "The average of the student."},
    {.path = "teacher.with",
     .kind = DG_KEY_ARGUMENTS,
     .doc = "Arguments of the backbone that differ from the student's."},
    {.path = "teacher.with.drop_path",
     .kind = DG_KEY_ARGUMENT,
     .value = "0",
     .needs = "student.with.drop_path",
     .doc = "Only the student drops paths: 0 where `student.with` gives a backbone this argument."},
    {.path = "teacher.update",
     .kind = DG_KEY_CHOICE,
     .choice = update_choices,
     .derived = "`momentum`",
     FIELD(update),
     .doc = "What the teacher is: an average of the student, the student of the previous epoch or of the previous "
            "iteration, or the student itself."},
    {.path = "teacher.momentum",
     .derive = derive_momentum,
     .derived = "none of other teachers than averages",
     .kind = DG_KEY_SCHEDULE,
     .value = "{curve: cosine, from: 0.996, to: 1}",
     .min = 0,
     .max = 1,
     .doc = "Share of the old teacher that a step keeps."},
    {.path = "teacher.buffers",
     .kind = DG_KEY_CHOICE,
     .value = "own",
     .choice = buffers_choices,
     FIELD(buffers),
     .doc = "Running statistics of batch norm: the teacher's own, a copy of the student's, or averaged like weights."},

    {.path = "crops", .kind = DG_KEY_MAP, .then = check_views, .doc = "The views of an image."},
    {.path = "crops.global", .kind = DG_KEY_MAP, .doc = "Large crops, which the teacher sees too."},
    {.path = "crops.global.size",
     .kind = DG_KEY_SIZE,
     .value = "224",
     .min = 1,
     .max = DG_MAX_PIXELS,
     FIELD(global),
     .doc = "Pixels: one number, or [height, width]."},
    {.path = "crops.global.views",
     .kind = DG_KEY_ITEMS,
     .value = "[{blur: 1}, {blur: 0.1, solarize: 0.2}]",
     .item = view_keys,
     .count = 16,
     .must = "must be a list of one to sixteen: the teacher sees all of them, and each teaches the others",
     FIELD(global.count),
     .doc = "The views, two as published, each with what it does differently."},
    AUGMENTATION("crops.global.", "[0.4, 1]", "0"),
    {.path = "crops.local",
     .kind = DG_KEY_MAP,
     .item_of = read_local_item,
     .doc = "Small crops, for the student only; or a list of up to three such, each of its size."},
    LOCAL_KEYS("crops.local.", offsetof(struct dg_train_recipe, local)),
    DG_PIXEL_KEYS,

    {.path = "loss", .kind = DG_KEY_MAP, .doc = "The loss between teacher and student."},
    {.path = "loss.kind",
     .kind = DG_KEY_CHOICE,
     .choice = loss_choices,
     .derived = "`cross_entropy`",
     FIELD(loss),
     .doc = "What a view of the student costs beside one of the teacher."},
    {.path = "loss.targets",
     .kind = DG_KEY_CHOICE,
     .choice = targets_choices,
     .derive = derive_targets,
     .derived = "`center`",
     FIELD(targets),
     .doc = "How the teacher's outputs become probabilities."},
    {.path = "loss.student_temp",
     .kind = DG_KEY_FLOAT_OR_SCHEDULE,
     .value = "0.1",
     .min = 1e-6,
     .max = 1000,
     .derive = derive_student_temp,
     .derived = "none with `kind: mse`",
     .doc = "Temperature of the student's softmax."},
    {.path = "loss.teacher_temp",
     .kind = DG_KEY_SCHEDULE,
     .value = "0.04",
     .min = 1e-6,
     .max = 1000,
     .derive = derive_teacher_temp,
     .derived = "none with `kind: mse` and `infonce`",
     .doc = "Temperature of the teacher's softmax; 0 for its largest output."},
    {.path = "loss.center_momentum",
     .derive = derive_center_momentum,
     .derived = "none of other targets than centred ones",
     .kind = DG_KEY_FLOAT,
     .value = "0.9",
     .min = 0,
     .max = 1,
     .doc = "Share of the old centre that a step keeps."},

    {.path = "optim", .kind = DG_KEY_MAP, .then = read_layer_decay, .doc = "The optimiser."},
    {.path = "optim.kind", .kind = DG_KEY_OPTIMIZER, .value = "adamw", FIELD(optimizer), .doc = "Its name."},
    {.path = "optim.clip",
     .kind = DG_KEY_FLOAT,
     .value = "3",
     .min = 0,
     .max = 1e9,
     .doc = "Largest norm of each parameter's gradient; 0 for no limit."},
    {.path = "optim.clip_norm",
     .kind = DG_KEY_CHOICE,
     .choice = clip_choices,
     .derived = "`parameter`",
     FIELD(clip_norm),
     .doc = "Whose norm `optim.clip` limits."},
    {.path = "optim.layer_decay",
     .kind = DG_KEY_FLOAT,
     .derived = "1",
     .min = 0,
     .max = 1,
     .doc = "Learning rate of a layer of the backbone, as a share of that of the layer behind it."},
    {.path = "optim.no_decay",
     .kind = DG_KEY_FLAGS,
     .value = "[bias, 1d]",
     .choice = no_decay_choices,
     FIELD(no_decay),
     .doc = "Parameters without weight decay: bias (names ending in .bias), 1d (of one dimension)."},
    {.path = "optim.freeze",
     .kind = DG_KEY_MAP,
     .value = "{params: last_layer, for: 1 epoch}",
     .then = read_freeze,
     .item_of = read_freeze_item,
     .doc = "Parameters that stand still at first; or a list of such."},
    {.path = "optim.freeze.params",
     .kind = DG_KEY_WORD,
     .value = "last_layer",
     FIELD(freeze[0].params),
     .doc = "Part of their names."},
    {.path = "optim.freeze.for", .kind = DG_KEY_UNTIL, .value = "1 epoch", .doc = "For how long."},

    {.path = "lr",
     .kind = DG_KEY_SCHEDULE,
     .value = "{curve: cosine, peak: 5e-4 * batch / 256, to: 1e-6, warmup: 10 epochs}",
     .min = 0,
     .max = 1000,
     .doc = "Learning rate."},
    {.path = "weight_decay",
     .kind = DG_KEY_SCHEDULE,
     .value = "{curve: cosine, from: 0.04, to: 0.4}",
     .min = 0,
     .max = 1000,
     .doc = "Weight decay."},

    {.path = "entries", .kind = DG_KEY_MAP, .doc = "What a plan can do besides training."},
    {.path = "entries.features", .kind = DG_KEY_MAP, .doc = "Evaluation by the teacher."},
    {.path = "entries.features.batch",
     .kind = DG_KEY_INT,
     .value = "32",
     .min = 1,
     .max = DG_MAX_BATCH,
     FIELD(model.batch),
     .doc = "Images a batch."},
    {.path = "entries.features.size",
     .kind = DG_KEY_SIZE,
     .min = 1,
     .max = DG_MAX_PIXELS,
     FIELD(model.image),
     .derive = derive_features_size,
     .derived = "`crops.global.size`",
     .doc = "Pixels: one number, or [height, width]; the global crops' by default."},
    DG_RESIZE_KEY,

    {.path = "skip_bad_steps",
     .kind = DG_KEY_INT,
     .value = "0",
     .min = 0,
     .max = 1e9,
     .knob = true,
     .doc = "How many steps whose loss or gradient is not finite a run leaves out before it stops."},
    {.path = "checkpoint", .kind = DG_KEY_MAP, .doc = "Checkpoints of the run."},
    {.path = "checkpoint.every",
     .kind = DG_KEY_INTERVAL,
     .value = "1 epoch or 15 minutes",
     .doc = "How often the last one is replaced: whichever comes first. Its minutes are the knob checkpoint.minutes."},
    {.path = "checkpoint.keep",
     .kind = DG_KEY_DURATION,
     .value = "20 epochs",
     .doc = "How often one is kept for good; 0 epochs for never."},
    {.path = "checkpoint.last",
     .kind = DG_KEY_INT,
     .value = "1",
     .min = 0,
     .max = 1000,
     .knob = true,
     .doc = "How many before the newest are there besides, to go on from if it is damaged."},
    {0},
};

bool dg_recipe_read(struct dg_program *program, const char *name, struct dg_train_recipe *recipe)
{
    *recipe = (struct dg_train_recipe){.global.name = "crops.global", .local[0].name = "crops.local"};
    return dg_read_definition(program, DG_DEFINITION_RECIPE, name, dg_train_keys, &recipe->model, recipe);
}

void dg_recipe_read_pixels(struct dg_program *program, struct dg_model_recipe *model)
{
    static const struct dg_key keys[] = {DG_PIXEL_KEYS, {0}};
    struct dg_yaml none = {.kind = DG_YAML_MAP};
    struct dg_reader r = {.program = program,
                          .kind = "module",
                          .name = model->name,
                          .map = &none,
                          .recipe = model,
                          .knobs = &model->knobs};
    dg_read_keys(&r, keys);
}
