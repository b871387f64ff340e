/* dinorun export: writes a checkpoint's weights for other programs. */
#include "tools/dinorun/command.h"

#include "runtime/base/about.h"
#include "runtime/export/checkpoint.h"
#include "runtime/export/onnx.h"
#include "runtime/export/timm.h"
#include "runtime/export/transformers.h"
#include "runtime/train/run.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct {
    const char *from, *out, *backbone, *torch, *onnx, *timm, *transformers;
    bool full;
    struct evaluation evaluation;
} given = {.evaluation.options = {.role = DG_ENTRY_FEATURES,
                                  .choice = {.from = "teacher"},
                                  .ignore_memory = true}}; /* nothing is computed */

/* Where a file lies: "." for one without a folder in its name. */
static enum dg_status folder_of(const char *file, char folder[DG_MAX_PATH], struct dg_error *err)
{
    const char *slash = strrchr(file, '/');
    int length = slash == file ? 1 : (int)(slash - file);
    if (strlen(file) > DG_MAX_PATH - 64) return dg_fail(err, DG_ERR_USAGE, "the path of the checkpoint is too long");
    snprintf(folder, DG_MAX_PATH, "%.*s", slash ? length : 1, slash ? file : ".");
    return DG_OK;
}

/* The plan is --plan, or the run's own: of the folder that was given, or of the checkpoint's. */
static enum dg_status find_network(char folder[DG_MAX_PATH], struct dg_error *err)
{
    struct evaluation *e = &given.evaluation;
    if (!dg_is_folder(given.from)) e->options.weights = given.from;
    if (e->of.path) {
        if (e->options.weights) return DG_OK;
        DG_TRY(dg_run_find_weights(given.from, folder, err));
        e->options.weights = folder;
        return DG_OK;
    }
    e->of.path = given.from;
    if (!e->options.weights || dg_is_bundle(given.from)) return DG_OK;
    char plan[DG_MAX_PATH];
    DG_TRY(folder_of(given.from, folder, err));
    e->of.path = folder;
    dg_run_plan_path(folder, plan);
    if (!access(plan, F_OK)) return DG_OK;
    return dg_fail(err, DG_ERR_USAGE,
                   "there is no run.plan beside %s: --plan PLAN says what its network computes (dinoc makes one)",
                   given.from);
}

/* Opens the network and writes it in the form that was asked for. */
static enum dg_status export_network(struct dg_error *err)
{
    struct evaluation *e = &given.evaluation;
    char folder[DG_MAX_PATH];
    DG_TRY(find_network(folder, err));
    DG_TRY(open_weights_plan(e, err));
    DG_TRY(open_evaluator(e, err));
    const struct dg_export_source source = {.plan = &e->of.plan,
                                            .knobs = &e->of.knobs,
                                            .session = dg_evaluator_session(e->evaluator),
                                            .weights = e->options.weights,
                                            .network = e->options.choice.from,
                                            .version = dg_version(),
                                            .log = &console};
    if (given.onnx) return dg_export_onnx(&source, given.onnx, err);
    if (given.timm) return dg_export_timm(&source, given.timm, err);
    return dg_export_transformers(&source, given.transformers, err);
}

static enum dg_status export_weights(struct dg_error *err)
{
    char newest[DG_MAX_PATH];
    const char *checkpoint = given.from;
    if (dg_is_folder(given.from)) {
        DG_TRY(dg_run_find_weights(given.from, newest, err));
        checkpoint = newest;
    }
    if (given.torch)
        return dg_export_checkpoint(checkpoint, given.torch, given.full ? DG_CHECKPOINT_FULL : DG_CHECKPOINT_TORCH,
                                    given.backbone, &console, err);
    return dg_export_checkpoint(checkpoint, given.out, DG_CHECKPOINT_SAFETENSORS, given.backbone, &console, err);
}

static int export(void)
{
    struct dg_error err = {0};
    if (given.out || given.torch)
        export_weights(&err);
    else
        export_network(&err);
    close_evaluation(&given.evaluation);
    return exit_status(&err);
}

static const struct dg_flag flags[] = {
    {"out", "FILE", "the safetensors file to write", .letter = 'o', .text = &given.out, .required = true,
     .unless = "torch onnx timm transformers"},
    {"torch", "FILE", "the file to write as torch.save does, in the layout of the published code", .text = &given.torch,
     .without = "out onnx timm transformers"},
    {"full", NULL,
     "with --torch: also optimizer, epoch and args, so that the published code goes on with the run (its resuming "
     "reads output_dir/checkpoint.pth)",
     .given = &given.full, .with = "torch", .without = "backbone"},
    {"onnx", "FILE", "the ONNX file to write: images [batch, 3, height, width], normalised, to features",
     .text = &given.onnx, .without = "out timm transformers"},
    {"timm", "DIR", "the folder to write for timm: create_model('local-dir:DIR', pretrained=True)", .text = &given.timm,
     .without = "out transformers"},
    {"transformers", "DIR", "the folder to write for transformers: AutoModel.from_pretrained('DIR')",
     .text = &given.transformers, .without = "out"},
    {"backbone", "NET", "only this network's backbone, under bare names (cls_token, blocks.0...)",
     .text = &given.backbone, .choices = "teacher|student", .without = "onnx timm transformers",
     .unset = "student, teacher and centre"},
    {"plan", "PLAN", "what the network computes", .text = &given.evaluation.of.path, .without = "out torch",
     .unset = "the run's own"},
    {FLAG_WEIGHTS_FROM, .text = &given.evaluation.options.choice.from, .without = "out torch"},
    {FLAG_KEY, .text = &given.evaluation.options.choice.key, .without = "out torch"},
    {FLAG_PREFIX, .text = &given.evaluation.options.choice.prefix, .without = "out torch"},
    {FLAG_POSITIONS, .parsed = given.evaluation.options.choice.positions, .without = "out torch"},
    {FLAG_PARTIAL, .given = &given.evaluation.options.choice.partial, .without = "out torch"},
    {FLAG_ACCEPT_CHANGES, .given = &given.evaluation.options.accept_changes, .without = "out torch"},
    {FLAG_QUIET},
    {0}};

const struct dg_command command_export = {.program = "dinorun",
                                          .name = "export",
                                          .summary = "writes a run's weights for other programs",
                                          .more = "--out and --torch copy tensors of a run's checkpoint. The others "
                                                  "write a network that is ready to run, of any file of\n"
                                                  "weights that --weights of other commands takes.\n",
                                          .file = {.name = "CHECKPOINT|RUN", .value = &given.from},
                                          .flags = flags,
                                          .run = export};
