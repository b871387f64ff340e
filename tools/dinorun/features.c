#include "tools/dinorun/command.h"

#include "runtime/base/atomic_file.h"
#include "runtime/eval/evaluator.h"
#include "runtime/formats/npy.h"
#include "runtime/state/weights.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct sink {
    struct dg_npy npy;
    bool terminal;
};

static enum dg_status on_rows(void *context, const float *output, int64_t rows, int64_t done, int64_t all,
                              struct dg_error *err)
{
    struct sink *sink = context;
    if (sink->terminal) show_images(done, all);
    return dg_npy_append(&sink->npy, output, rows, err);
}

/* FILE.tsv: path, tab, label; the label of a flat folder's images is empty. Left to be committed. */
static enum dg_status write_list(const struct dg_dataset *dataset, const char *out, struct dg_atomic_file *file,
                                 struct dg_error *err)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s.tsv", out) >= (int)sizeof path)
        return dg_fail(err, DG_ERR_USAGE, "--out: the path is too long");
    DG_TRY(dg_atomic_open(path, file, err));
    for (int64_t i = 0; i < dg_dataset_count(dataset); i++) {
        int label = dg_dataset_label(dataset, i);
        fprintf(file->stream, "%s\t%s\n", dg_dataset_relative(dataset, i),
                label < 0 ? "" : dg_dataset_class_name(dataset, label));
    }
    if (!fflush(file->stream) && !ferror(file->stream)) return DG_OK;
    return dg_fail(err, DG_ERR_IO, "cannot write %s: %s", path, strerror(errno));
}

static int features(int argc, char **argv)
{
    enum { WEIGHTS = 256, FROM, PARTIAL, DATA, OUT, THREADS };
    static const struct option flags[] = {{"weights", required_argument, NULL, WEIGHTS},
                                          {"weights-from", required_argument, NULL, FROM},
                                          {"partial", no_argument, NULL, PARTIAL},
                                          {"data", required_argument, NULL, DATA},
                                          {"out", required_argument, NULL, OUT},
                                          {"threads", required_argument, NULL, THREADS},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    const struct command *me = &command_features;
    struct dg_evaluator_options o = {.entry = "features", .from = "teacher", .log = &console};
    const char *data = NULL, *out = NULL;
    int64_t threads = 0;
    for (int flag; (flag = next_flag(me, argc, argv, flags)) != -1;) {
        switch (flag) {
        case WEIGHTS: o.weights = optarg; break;
        case FROM: o.from = optarg; break;
        case PARTIAL: o.partial = true; break;
        case DATA: data = optarg; break;
        case OUT: out = optarg; break;
        case THREADS:
            if (!flag_whole(me, "--threads", optarg, 1, 1024, &threads)) return 2;
            break;
        default: return flag == 'h' ? 0 : 2;
        }
    }
    const char *path = plan_argument(me, argc, argv);
    if (!path) return 2;
    if (!o.weights || !data || !out) return usage_error(me, "--weights FILE, --data DIR and --out FILE.npy are needed");
    if (!flag_from(me, o.from)) return 2;
    o.threads = (int)threads;

    struct dg_error err = {0};
    struct dg_plan plan;
    struct dg_knobs knobs = {0};
    struct dg_dataset *dataset = NULL;
    struct dg_evaluator *evaluator = NULL;
    struct sink sink = {.terminal = isatty(STDOUT_FILENO)};
    enum dg_status status = open_plan(path, NULL, 0, 0, &plan, &knobs, &err);
    if (status == DG_OK) status = dg_dataset_open(data, &dataset, &err);
    if (status == DG_OK) status = dg_evaluator_open(&plan, &knobs, &o, &evaluator, &err);
    if (status == DG_OK) {
        int64_t dim = dg_evaluator_dim(evaluator), count = dg_dataset_count(dataset);
        status = dg_npy_open(out, count, dim, &sink.npy, &err);
        if (status == DG_OK) {
            status = dg_evaluate(evaluator, dataset, on_rows, &sink, &err);
            if (sink.terminal) clear_images();
            /* All of the list is written before the array takes its place, so that both are there or neither. */
            struct dg_atomic_file list = {0};
            if (status == DG_OK) status = write_list(dataset, out, &list, &err);
            if (status == DG_OK) status = dg_npy_commit(&sink.npy, &err);
            if (status == DG_OK) status = dg_atomic_commit(&list, &err);
            dg_npy_abandon(&sink.npy);
            dg_atomic_abandon(&list);
        }
        if (status == DG_OK) printf("%s: [%" PRId64 ", %" PRId64 "] f32; %s.tsv: path, label\n", out, count, dim, out);
    }
    dg_evaluator_close(evaluator);
    dg_dataset_close(dataset);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
    return status == DG_OK ? 0 : fail(&err);
}

const struct command command_features = {
    .name = "features",
    .arguments = "PLAN --weights FILE --data DIR --out FILE.npy [flags]",
    .summary = "writes the backbone's features of images as a NumPy array",
    .flags = "  --weights FILE        checkpoint of a run, or a backbone's safetensors file\n"
             "  --weights-from NET    teacher or student (teacher)\n"
             "  --partial             go on with weights that fit the plan only in part\n"
             "  --data DIR            images: a folder of them, or a folder a class\n"
             "  --out FILE.npy        [images, dim] f32 in the order of the paths; FILE.npy.tsv has path and label\n"
             "  --threads N           (all)\n",
    .run = features};
