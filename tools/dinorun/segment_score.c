#include "tools/dinorun/command.h"

#include "runtime/eval/segment_score.h"
#include "runtime/state/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void print_score(const struct dg_segment_score *score, double keep)
{
    printf("%" PRId64 " images", score->images);
    if (score->unmasked) printf("; %" PRId64 " without a mask left out", score->unmasked);
    if (score->empty) printf("; %" PRId64 " whose mask shows no object left out", score->empty);
    printf("\nJaccard of masks that keep %g %% of the attention\n", 100 * keep);
    for (int h = 0; h < score->heads; h++) printf("  head %-12d %6.2f %%\n", h, 100 * score->head[h]);
    printf("  mean of heads     %6.2f %%\n", 100 * score->mean);
    printf("  everything        %6.2f %%\n", 100 * score->all);
    printf("best head of each image: Jaccard %.2f %%\n", 100 * score->best);
}

static int segment_score(int argc, char **argv)
{
    enum { WEIGHTS = 256, FROM, PARTIAL, DATA, MASKS, THRESHOLD, THREADS };
    static const struct option flags[] = {{"weights", required_argument, NULL, WEIGHTS},
                                          {"weights-from", required_argument, NULL, FROM},
                                          {"partial", no_argument, NULL, PARTIAL},
                                          {"data", required_argument, NULL, DATA},
                                          {"masks", required_argument, NULL, MASKS},
                                          {"threshold", required_argument, NULL, THRESHOLD},
                                          {"threads", required_argument, NULL, THREADS},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    const struct command *me = &command_segment_score;
    struct dg_evaluator_options o = {.entry = "attention", .from = "teacher", .log = &console};
    const char *data = NULL, *masks = NULL;
    double keep = 0.6;
    int64_t threads = 0;
    for (int flag; (flag = next_flag(me, argc, argv, flags)) != -1;) {
        switch (flag) {
        case WEIGHTS: o.weights = optarg; break;
        case FROM: o.from = optarg; break;
        case PARTIAL: o.partial = true; break;
        case DATA: data = optarg; break;
        case MASKS: masks = optarg; break;
        case THRESHOLD:
            if (!flag_share(me, "--threshold", optarg, &keep)) return 2;
            break;
        case THREADS:
            if (!flag_whole(me, "--threads", optarg, 1, 1024, &threads)) return 2;
            break;
        default: return flag == 'h' ? 0 : 2;
        }
    }
    const char *path = plan_argument(me, argc, argv);
    if (!path) return 2;
    if (!o.weights || !data || !masks) return usage_error(me, "--weights FILE, --data DIR and --masks DIR are needed");
    if (!flag_from(me, o.from)) return 2;
    o.threads = (int)threads;

    struct dg_error err = {0};
    struct dg_plan plan;
    struct dg_knobs knobs = {0};
    struct dg_dataset *dataset = NULL;
    struct dg_evaluator *evaluator = NULL;
    struct dg_patches patches;
    struct dg_segment_score score = {0};
    bool terminal = isatty(STDOUT_FILENO);
    enum dg_status status = open_plan(path, NULL, 0, 0, &plan, &knobs, &err);
    if (status == DG_OK) status = dg_patches_open(&plan, o.entry, &patches, &err);
    if (status == DG_OK) status = dg_dataset_open(data, &dataset, &err);
    if (status == DG_OK) status = dg_evaluator_open(&plan, &knobs, &o, &evaluator, &err);
    if (status == DG_OK) {
        status =
            dg_segment_score(evaluator, &patches, dataset, masks, keep, terminal ? show_images : NULL, &score, &err);
        if (terminal) clear_images();
    }
    if (status == DG_OK) print_score(&score, keep);
    dg_segment_free(&score);
    dg_evaluator_close(evaluator);
    dg_dataset_close(dataset);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
    return status == DG_OK ? 0 : fail(&err);
}

const struct command command_segment_score = {
    .name = "segment-score",
    .arguments = "PLAN --weights FILE --data DIR --masks DIR [flags]",
    .summary = "compares what the attention picks out with the true masks of objects",
    .flags =
        "  --weights FILE        checkpoint of a run, or a backbone's safetensors file\n"
        "  --weights-from NET    teacher or student (teacher)\n"
        "  --partial             go on with weights that fit the plan only in part\n"
        "  --data DIR            images, resized to the plan's image size\n"
        "  --masks DIR           their masks, under the same names: of a/b.jpg a/b.png. Gray: the object is 128 or\n"
        "                        brighter; in PASCAL VOC's colours: all but black, (224, 224, 192) is left out\n"
        "  --threshold T         the share of a head's attention that its mask keeps, 0 to 1 (0.6)\n"
        "  --threads N           (all)\n",
    .run = segment_score};
