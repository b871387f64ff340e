/* The keys of a probe, and what the table cannot say of them. */
#include "compiler/language/recipe.h"
#include "compiler/language/shared_keys.h"

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
    {.path = "lr",
     .kind = DG_KEY_SCHEDULE,
     .value = "{curve: cosine, from: 0.001 * batch / 256, to: 0, per: epoch}",
     .min = 0,
     .max = 1000,
     .doc = "Learning rate."},
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
