/* The keys of a probe, and what the table cannot say of them. */
#include "compiler/language/recipe.h"
#include "compiler/language/shared_keys.h"

#include <string.h>

#define FIELD(member) .field = offsetof(struct dg_probe_recipe, member)

static void read_backbone(struct dg_reader *r)
{
    struct dg_probe_recipe *probe = r->recipe;
    struct dg_yaml *with = dg_read_map(r, "with");
    dg_program_read_args(r->program, with, r->scope, &probe->model.args);
    dg_read_show_arguments(r, with, dg_read_path(r, "backbone"), probe->model.args);
}

static void check_avgpool(struct dg_reader *r)
{
    const struct dg_probe_recipe *probe = r->recipe;
    if (probe->avgpool && probe->blocks > 1)
        dg_diag_error(r->program->diag, &dg_read_path(r, "avgpool")->origin,
                      "avgpool goes with blocks: 1, and blocks is %lld", (long long)probe->blocks);
}

static void derive_features_size(struct dg_reader *r, struct dg_key *key)
{
    const struct dg_recipe_crops *crops = &((struct dg_probe_recipe *)r->recipe)->crops;
    if (!crops->height) return; /* reported */
    key->value = dg_size_text(r, crops);
}

static void check_features_size(struct dg_reader *r)
{
    const struct dg_probe_recipe *probe = r->recipe;
    const struct dg_recipe_crops *crops = &probe->crops, *image = &probe->model.image;
    if (image->height != crops->height || image->width != crops->width)
        dg_diag_error(r->program->diag, &image->size_origin,
                      "entries.features.size must be that of crops.size: one network sees both");
}

static void derive_resize(struct dg_reader *r, struct dg_key *key)
{
    dg_set_resize(r, key, &((struct dg_probe_recipe *)r->recipe)->model.image);
}

static const char default_lr[] = "{curve: cosine, from: 0.001 * batch / 256, to: 0, per: epoch}";

const struct dg_key dg_probe_keys[] = {
    {.path = "batch",
     .kind = DG_KEY_INT,
     .value = "128",
     .min = 1,
     .max = DG_MAX_BATCH,
     .named = true,
     FIELD(model.batch),
     .doc = "Images a step."},
    DG_EPOCHS_KEY,
    DG_DTYPE_KEY(struct dg_probe_recipe),
    {.path = "backbone",
     .kind = DG_KEY_WORD,
     .required = true,
     FIELD(model.backbone),
     .doc = "Module of the backbone."},
    {.path = "with", .kind = DG_KEY_ARGUMENTS, .then = read_backbone, .doc = "Arguments of the backbone."},
    {.path = "classes",
     .kind = DG_KEY_INT,
     .value = "1000",
     .min = 1,
     .max = 1 << 24,
     FIELD(classes),
     .doc = "Classes: folders of the training images."},
    {.path = "blocks",
     .kind = DG_KEY_INT,
     .value = "4",
     .min = 1,
     .max = 4096,
     FIELD(blocks),
     .doc = "Last blocks whose [CLS] tokens are the features; 1 for the backbone's own features."},
    {.path = "avgpool",
     .kind = DG_KEY_BOOL,
     .value = "false",
     FIELD(avgpool),
     .then = check_avgpool,
     .doc = "With one block: the mean of the patch tokens too, a column of each in turn."},

    /* torchvision's RandomResizedCrop and a flip: no other augmentation. */
    {.path = "crops",
     .kind = DG_KEY_MAP,
     .doc = "What training sees of an image: a random part, resized (bilinear), and its mirror image."},
    {.path = "crops.size",
     .kind = DG_KEY_SIZE,
     .value = "224",
     .min = 1,
     .max = DG_MAX_PIXELS,
     FIELD(crops),
     .doc = "Pixels: one number, or [height, width]."},
    DG_CUT_KEYS("crops.", "[0.08, 1]"),
    DG_PIXEL_KEYS,

    {.path = "optim", .kind = DG_KEY_MAP, .doc = "The optimiser."},
    {.path = "optim.kind",
     .kind = DG_KEY_OPTIMIZER,
     .value = "sgd",
     .only = "sgd",
     FIELD(optimizer),
     .doc = "Its name."},
    {.path = "optim.clip",
     .kind = DG_KEY_FLOAT,
     .value = "0",
     .min = 0,
     .max = 1e9,
     .doc = "Largest norm of each parameter's gradient; 0 for no limit."},
    {.path = "lr", .kind = DG_KEY_SCHEDULE, .value = default_lr, .min = 0, .max = 1000, .doc = "Learning rate."},
    {.path = "weight_decay", .kind = DG_KEY_SCHEDULE, .value = "0", .min = 0, .max = 1000, .doc = "Weight decay."},
    {.path = "entries", .kind = DG_KEY_MAP, .doc = "How images are seen besides training."},
    {.path = "entries.features", .kind = DG_KEY_MAP, .then = check_features_size, .doc = "Validation."},
    {.path = "entries.features.size",
     .kind = DG_KEY_SIZE,
     .min = 1,
     .max = DG_MAX_PIXELS,
     FIELD(model.image),
     .derive = derive_features_size,
     .derived = "`crops.size`",
     .doc = "Pixels: one number, or [height, width]; the crops' size."},
    DG_RESIZE_KEY,
    {0},
};

bool dg_probe_read(struct dg_program *program, const char *name, struct dg_probe_recipe *probe)
{
    *probe = (struct dg_probe_recipe){0};
    return dg_read_definition(program, DG_DEFINITION_PROBE, name, dg_probe_keys, &probe->model, probe);
}

/* ---- the probe of a recipe ---- */

static struct dg_yaml *node_at(struct dg_arena *arena, struct dg_yaml *map, const char *path)
{
    while (map && *path) {
        size_t length = strcspn(path, ".");
        map = dg_yaml_get(arena, map, dg_arena_printf(arena, "%.*s", (int)length, path));
        path += length + (path[length] == '.');
    }
    return map;
}

static struct dg_yaml *add_map(struct dg_program *program, struct dg_yaml *in, const char *key)
{
    struct dg_yaml *map = dg_arena_alloc(program->arena, sizeof *map);
    *map = (struct dg_yaml){.kind = DG_YAML_MAP, .origin = in->origin};
    dg_yaml_put(program->arena, in, key, map);
    return map;
}

static void add_scalar(struct dg_program *program, struct dg_yaml *in, const char *key, const char *text)
{
    struct dg_yaml *scalar = dg_arena_alloc(program->arena, sizeof *scalar);
    *scalar = (struct dg_yaml){.kind = DG_YAML_SCALAR, .origin = in->origin, .text = text};
    dg_yaml_put(program->arena, in, key, scalar);
}

/* The recipe's node at `path`, if it has one. */
static void take(struct dg_program *program, struct dg_yaml *in, const char *key, struct dg_yaml *recipe,
                 const char *path)
{
    struct dg_yaml *node = node_at(program->arena, recipe, path);
    if (node) dg_yaml_put(program->arena, in, key, node);
}

struct dg_definition *dg_probe_of_recipe(struct dg_program *program, const struct dg_definition *recipe, int64_t blocks)
{
    struct dg_arena *arena = program->arena;
    struct dg_yaml *map = dg_arena_alloc(arena, sizeof *map);
    *map = (struct dg_yaml){.kind = DG_YAML_MAP, .origin = recipe->map->origin};
    add_scalar(program, map, "probe", recipe->name);
    take(program, map, "backbone", recipe->map, "student.backbone");
    struct dg_yaml *with = add_map(program, map, "with");
    for (int network = 0; network < 2; network++) { /* the teacher's arguments are the student's but for its own */
        struct dg_yaml *own = node_at(arena, recipe->map, network ? "teacher.with" : "student.with");
        for (size_t i = 0; own && i < own->count; i++) dg_yaml_put(arena, with, own->item[i].key, own->item[i].value);
    }
    add_scalar(program, map, "blocks",
               dg_arena_printf(arena, "%lld", (long long)(blocks > 4 ? 4 : dg_max_i64(blocks, 1))));
    struct dg_yaml *crops = add_map(program, map, "crops"),
                   *features = add_map(program, add_map(program, map, "entries"), "features");
    take(program, crops, "size", recipe->map, "entries.features.size");
    take(program, crops, "mean", recipe->map, "crops.mean");
    take(program, crops, "std", recipe->map, "crops.std");
    take(program, features, "resize", recipe->map, "entries.features.resize");
    take(program, map, "dtype", recipe->map, "dtype");
    dg_put_default(program, map, "lr", default_lr); /* as it is written, so that --set can change a part of it */
    if (!dg_program_add(program, map, DG_DEFINITION_PROBE, dg_yaml_get(arena, map, "probe"))) return NULL;
    return dg_program_definition(program, DG_DEFINITION_PROBE, recipe->name);
}
