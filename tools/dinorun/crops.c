#include "tools/dinorun/command.h"

#include "runtime/data/views.h"
#include "runtime/draw/crops_sheet.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int crops(int argc, char **argv)
{
    enum { DATA = 256, OUT, IMAGES, SEED, SET };
    static const struct option flags[] = {{"data", required_argument, NULL, DATA},
                                          {"out", required_argument, NULL, OUT},
                                          {"images", required_argument, NULL, IMAGES},
                                          {"seed", required_argument, NULL, SEED},
                                          {"set", required_argument, NULL, SET},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    const struct command *me = &command_crops;
    const char *data = NULL, *out = NULL, **set = flag_values(argc);
    int64_t images = 8, seed = 0;
    int num_sets = 0;
    if (!set) return 1;
    for (int flag; (flag = next_flag(me, argc, argv, flags)) != -1;) {
        switch (flag) {
        case DATA: data = optarg; break;
        case OUT: out = optarg; break;
        case SET: set[num_sets++] = optarg; break;
        case IMAGES:
            if (!flag_whole(me, "--images", optarg, 1, 1000, &images)) return 2;
            break;
        case SEED:
            if (!flag_whole(me, "--seed", optarg, 0, INT64_MAX, &seed)) return 2;
            break;
        default: return flag == 'h' ? 0 : 2;
        }
    }
    const char *path = plan_argument(me, argc, argv);
    if (!path) return 2;
    if (!data || !out) return usage_error(me, "--data DIR and --out FILE.png are needed");
    struct dg_error err = {0};
    struct dg_plan plan;
    struct dg_knobs knobs = {0};
    struct dg_dataset *dataset = NULL;
    struct dg_view_spec view[DG_MAX_VIEWS];
    int count = 0;
    enum dg_status status = open_plan(path, set, num_sets, 0, &plan, &knobs, &err);
    if (status == DG_OK) status = dg_views_open(&plan, &knobs, view, &count, &err);
    if (status == DG_OK) status = dg_dataset_open(data, &dataset, &err);
    if (status == DG_OK) status = dg_crops_sheet(dataset, view, count, (int)images, (uint64_t)seed, out, &err);
    if (status == DG_OK)
        printf("%s: %d views each of the first images of epoch 0 with seed %" PRId64 ", the image itself at the left\n",
               out, count, seed);
    dg_dataset_close(dataset);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
    return status == DG_OK ? 0 : fail(&err);
}

const struct command command_crops = {.name = "crops",
                                      .arguments = "PLAN --data DIR --out FILE.png [flags]",
                                      .summary = "draws what the network will be shown in training",
                                      .flags = "  --data DIR            images\n"
                                               "  --out FILE.png        a row an image: the image, then its views\n"
                                               "  --images N            rows (8)\n"
                                               "  --seed N              the training run's (0)\n"
                                               "  --set key=value       change a knob of the recipe\n",
                                      .run = crops};
