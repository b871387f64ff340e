/* dinorun crops: draws the views of the first images of a training run. */
#include "tools/dinorun/command.h"

#include "runtime/data/views.h"
#include "runtime/draw/crops_sheet.h"

#include <inttypes.h>
#include <stdio.h>

static struct {
    struct opened_plan of;
    struct dg_flag_values data;
    struct image_flags reading;
    const char *out;
    int images;
    uint64_t seed;
} given = {.images = 8};

static enum dg_status draw(struct dg_dataset **dataset, struct dg_error *err)
{
    struct dg_view_spec view[DG_MAX_VIEWS];
    int count = 0;
    DG_TRY(check_png_name(given.out, err));
    DG_TRY(open_plan(&given.of, err));
    DG_TRY(dg_views_init(&given.of.plan, &given.of.knobs, view, &count, err));
    const struct dg_data data = data_of(&given.data, NULL, &given.reading);
    DG_TRY(dg_dataset_open(&data, DG_LABELS_UNUSED, &console, dataset, err));
    DG_TRY(dg_crops_sheet(*dataset, view, count, given.images, given.seed, given.out, &console, err));
    printf("%s: %d views each of the first images of epoch 0 with seed %" PRIu64 ", the image itself at the left\n",
           given.out, count, given.seed);
    return DG_OK;
}

static int crops(void)
{
    struct dg_error err = {0};
    struct dg_dataset *dataset = NULL;
    draw(&dataset, &err);
    dg_dataset_close(dataset);
    close_plan(&given.of);
    return exit_status(&err);
}

static const struct dg_flag flags[] = {{FLAG_DATA, .texts = &given.data, .required = true},
                                       ROWS_IMAGE_RULES(given.reading),
                                       {"out", "FILE.png",
                                        "the sheet to draw: one row per image, first the image, then its views",
                                        .text = &given.out, .required = true},
                                       {"images", "N", "rows", .count = &given.images, .min = 1, .max = 1000},
                                       {FLAG_SEED, "the training run's", .seed = &given.seed},
                                       {FLAG_SET, .texts = &given.of.set},
                                       {FLAG_QUIET},
                                       {0}};

const struct dg_command command_crops = {.program = "dinorun",
                                         .name = "crops",
                                         .summary = "draws what the network will be shown in training",
                                         .file = {.name = PLAN_OR_RUN, .value = &given.of.path},
                                         .flags = flags,
                                         .run = crops};
