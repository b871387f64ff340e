#include "runtime/model/source.h"

#include "runtime/state/checkpoint_files.h"
#include "runtime/train/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool dg_is_folder(const char *path)
{
    struct stat info;
    return !stat(path, &info) && S_ISDIR(info.st_mode);
}

/* ---- a run's folder ---- */

static bool is_there(const char *folder, const char *name)
{
    char path[DG_MAX_PATH];
    return dg_path_join(path, folder, name, NULL) == DG_OK && !access(path, F_OK);
}

enum dg_status dg_run_find_plan(const char *run, char path[DG_MAX_PATH], struct dg_error *err)
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

enum dg_status dg_run_find_weights(const char *run, char path[DG_MAX_PATH], struct dg_error *err)
{
    if (snprintf(path, DG_MAX_PATH, "%s/checkpoint.safetensors", run) >= DG_MAX_PATH - 64)
        return dg_fail(err, DG_ERR_USAGE, "the path of the run is too long");
    if (!access(path, F_OK) || dg_older_checkpoint(run, INT64_MAX, path) >= 0) return DG_OK;
    return dg_fail(err, DG_ERR_USAGE, "%s has no checkpoint yet", run);
}

/* ---- any source ---- */

enum dg_status dg_model_source_open(const char *path, struct dg_model_source *source, struct dg_error *err)
{
    *source = (struct dg_model_source){.path = path};
    if (dg_is_folder(path))
        source->kind = DG_MODEL_RUN;
    else if (dg_is_bundle(path))
        source->kind = DG_MODEL_BUNDLE;
    return source->kind == DG_MODEL_BUNDLE ? dg_bundle_open(path, &source->bundle, err) : DG_OK;
}

void dg_model_source_close(struct dg_model_source *source)
{
    dg_bundle_close(source->bundle);
    *source = (struct dg_model_source){0};
}

enum dg_status dg_model_open_plan(const struct dg_model_source *source, struct dg_plan *plan, struct dg_error *err)
{
    char copy[DG_MAX_PATH];
    if (source->kind == DG_MODEL_BUNDLE) return dg_bundle_open_plan(source->bundle, DG_BUNDLE_NETWORK, plan, err);
    if (source->kind == DG_MODEL_PLAN) return dg_plan_open(source->path, plan, err);
    *plan = (struct dg_plan){0};
    DG_TRY(dg_run_find_plan(source->path, copy, err));
    return dg_plan_open(copy, plan, err);
}

enum dg_status dg_model_find_weights(const struct dg_model_source *source, char path[DG_MAX_PATH], struct dg_error *err)
{
    if (source->kind == DG_MODEL_RUN) return dg_run_find_weights(source->path, path, err);
    if (source->kind == DG_MODEL_PLAN)
        return dg_fail(err, DG_ERR_USAGE, "%s is a plan, which has no weights: give a file of them", source->path);
    if (snprintf(path, DG_MAX_PATH, "%s", source->path) < DG_MAX_PATH) return DG_OK;
    return dg_fail(err, DG_ERR_USAGE, "the path of the bundle is too long");
}

/* A fact of a run's newest checkpoint, or of a bundle. */
static bool find_fact(const struct dg_model_source *source, const char *key, char *value, size_t size)
{
    if (source->kind == DG_MODEL_RUN) return dg_run_find_fact(source->path, key, value, size);
    const char *found = source->bundle ? dg_bundle_fact(source->bundle, key) : NULL;
    return found && snprintf(value, size, "%s", found) < (int)size;
}

bool dg_model_find_rules(const struct dg_model_source *source, struct dg_image_rules *rules)
{
    char exif[8], pillow[8];
    *rules = (struct dg_image_rules){.pillow = 13};
    bool says_exif = find_fact(source, "images.exif", exif, sizeof exif);
    bool says_pillow = find_fact(source, "images.pillow", pillow, sizeof pillow);
    if (says_exif) rules->exif = !strcmp(exif, "true");
    if (says_pillow && !strcmp(pillow, "12")) rules->pillow = 12;
    return says_exif || says_pillow;
}

void dg_model_take_resize(const char *weights, struct dg_knobs *knobs)
{
    struct dg_safetensors *file;
    if (dg_safetensors_open(weights, &file, NULL) != DG_OK) return;
    const char *value = dg_safetensors_metadata(file, "set.entries.features.resize");
    if (value) dg_knobs_restore_key(knobs, "entries.features.resize", value);
    dg_safetensors_close(file);
}
