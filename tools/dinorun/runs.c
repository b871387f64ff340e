/* A run's folder in the place of a plan, of weights or of a checkpoint. */
#include "tools/dinorun/command.h"

#include "runtime/base/path.h"
#include "runtime/state/checkpoint_files.h"
#include "runtime/state/facts.h"
#include "runtime/train/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool is_folder(const char *path)
{
    struct stat info;
    return !stat(path, &info) && S_ISDIR(info.st_mode);
}

static bool is_there(const char *folder, const char *name)
{
    char path[DG_MAX_PATH];
    return dg_path_join(path, folder, name, NULL) == DG_OK && !access(path, F_OK);
}

enum dg_status find_run_plan(const char *run, char path[DG_MAX_PATH], struct dg_error *err)
{
    if (strlen(run) > DG_MAX_PATH - 64) return dg_fail(err, DG_ERR_USAGE, "the path of the run is too long");
    if (is_there(run, "linear.safetensors"))
        return dg_fail(err, DG_ERR_USAGE,
                       "%s is a linear probe's folder: give the run that it was trained on, or a plan", run);
    dg_run_plan_path(run, path);
    if (!access(path, F_OK)) return DG_OK;
    if (is_there(run, "checkpoint.safetensors"))
        return dg_fail(err, DG_ERR_USAGE,
                       "%s has no run.plan, as runs of 0.1: give its plan, and --weights %s/checkpoint.safetensors",
                       run, run);
    return dg_fail(err, DG_ERR_USAGE, "%s is a folder without run.plan: is it a run's folder?", run);
}

enum dg_status find_run_weights(const char *run, char path[DG_MAX_PATH], struct dg_error *err)
{
    if (snprintf(path, DG_MAX_PATH, "%s/checkpoint.safetensors", run) >= DG_MAX_PATH - 64)
        return dg_fail(err, DG_ERR_USAGE, "the path of the run is too long");
    if (!access(path, F_OK) || dg_older_checkpoint(run, INT64_MAX, path) >= 0) return DG_OK;
    return dg_fail(err, DG_ERR_USAGE, "%s has no checkpoint yet", run);
}

void take_run_images(const char *run, struct image_flags *images)
{
    char value[8];
    if (dg_run_find_fact(run, "images.exif", value, sizeof value)) images->exif |= !strcmp(value, "true");
    if (!images->pillow && dg_run_find_fact(run, "images.pillow", value, sizeof value))
        images->pillow = strcmp(value, "12") ? "13" : "12";
}

void take_run_resize(const char *weights, struct dg_knobs *knobs)
{
    static const char key[] = "entries.features.resize";
    struct dg_safetensors *file;
    const struct dg_plan_knob *knob = dg_knobs_find(knobs, key);
    if (!knob || knobs->given[knob - knobs->knob] || dg_safetensors_open(weights, &file, NULL) != DG_OK) return;
    const char *value = dg_safetensors_metadata(file, "set.entries.features.resize");
    if (value) dg_knobs_restore(knobs, (uint32_t)(knob - knobs->knob), value);
    dg_safetensors_close(file);
}

enum dg_status open_weights_plan(struct evaluation *e, struct dg_error *err)
{
    DG_TRY(open_plan(&e->of, err));
    if (!e->of.run) return DG_OK;
    if (!e->options.weights) {
        DG_TRY(find_run_weights(e->of.run, e->found, err));
        e->options.weights = e->found;
    }
    take_run_images(e->of.run, &e->images);
    take_run_resize(e->options.weights, &e->of.knobs);
    return DG_OK;
}

/* Steps of the weights; -1: the file does not say. */
static int64_t step_of(const char *weights)
{
    struct dg_safetensors *file;
    if (dg_safetensors_open(weights, &file, NULL) != DG_OK) return -1;
    const char *step = dg_safetensors_metadata(file, "step");
    int64_t done = step ? strtoll(step, NULL, 10) : -1;
    dg_safetensors_close(file);
    return done;
}

enum dg_status add_results(const struct opened_plan *of, const struct dg_evaluator_options *options,
                           struct dg_results *results, struct dg_error *err)
{
    if (!of->run) return DG_OK;
    results->step = step_of(options->weights);
    results->network = options->choice.from;
    results->weights = options->weights;
    return dg_results_add(of->run, results, err);
}
