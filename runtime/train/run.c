#include "runtime/train/run.h"

#include "runtime/base/atomic_file.h"
#include "runtime/base/name.h"
#include "runtime/formats/checksum.h"
#include "runtime/state/checkpoint_files.h"
#include "runtime/train/results.h"
#include "runtime/train/run_folder.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXACT = 17 }; /* digits that lose nothing of an f64 */

static void path_in(const struct dg_training_run *run, const char *name, const char *ending, char path[DG_MAX_PATH])
{
    snprintf(path, DG_MAX_PATH, "%s/%s%s", run->setup.folder, name, ending);
}

/* The next older checkpoint, to be called with an empty path first: the newest one, then the older ones. False: there
 * is none. */
static bool next_checkpoint(const struct dg_training_run *run, char path[DG_MAX_PATH], int64_t *below)
{
    if (!*path && !access(run->newest, F_OK)) {
        memcpy(path, run->newest, DG_MAX_PATH);
        return true;
    }
    if (!run->setup.has_older) return false;
    *below = dg_older_checkpoint(run->setup.folder, *below, path);
    return *below >= 0;
}

/* The newest checkpoint that can be read; NULL: there is none. */
static struct dg_safetensors *open_newest(const struct dg_training_run *run)
{
    char path[DG_MAX_PATH] = "";
    int64_t below = INT64_MAX;
    struct dg_safetensors *file = NULL;
    while (!file && next_checkpoint(run, path, &below)) {
        if (dg_safetensors_open(path, &file, NULL) != DG_OK || dg_checksum_check_meta(file, path, NULL) == DG_OK)
            continue;
        dg_safetensors_close(file);
        file = NULL;
    }
    return file;
}

/* The knobs become those of the newest checkpoint. */
static void take_settings(struct dg_training_run *run)
{
    struct dg_safetensors *file = open_newest(run);
    if (file) dg_facts_take_settings(file, run->knobs, run->setup.log);
    dg_safetensors_close(file);
}

enum dg_status dg_run_init(struct dg_training_run *run, const struct dg_run_setup *setup, struct dg_knobs *knobs,
                           struct dg_error *err)
{
    *run = (struct dg_training_run){.setup = *setup, .knobs = knobs, .saved_step = -1, .intact_step = -1, .lock = -1};
    run->position.seed = setup->seed;
    run->position.step_before = -1;
    run->position.facts = &run->facts;
    if (!setup->folder) return DG_OK;
    if (strlen(setup->folder) > DG_MAX_PATH - 64) return dg_fail(err, DG_ERR_USAGE, "--out: the path is too long");
    path_in(run, setup->name, ".safetensors", run->newest);
    char older[DG_MAX_PATH];
    bool there =
        !access(run->newest, F_OK) || (setup->has_older && dg_older_checkpoint(setup->folder, INT64_MAX, older) >= 0);
    if (setup->resume) take_settings(run);
    if (!there || setup->resume) return DG_OK;
    return dg_fail(err, DG_ERR_USAGE, "%s holds a %s already: add --resume to go on with it, or choose another --out",
                   setup->folder, setup->what);
}

void dg_run_add_path(struct dg_training_run *run, const char *key, const char *path)
{
    char *absolute = dg_data_absolute_path(path), *text = absolute ? dg_name_escaped(absolute) : NULL;
    if (text) dg_facts_add(&run->facts, key, "%s", text);
    free(text);
    free(absolute);
}

static const char *index_path(const char *folder, char path[DG_MAX_PATH])
{
    return snprintf(path, DG_MAX_PATH, "%s/archives.index", folder) < DG_MAX_PATH ? path : NULL;
}

enum dg_status dg_run_open_images(const char *folder, const struct dg_data *data, enum dg_labels labels,
                                  const struct dg_log *log, struct dg_dataset **dataset, struct dg_error *err)
{
    char path[DG_MAX_PATH];
    struct dg_data indexed = *data;
    indexed.index = folder ? index_path(folder, path) : NULL;
    return dg_dataset_open(&indexed, labels, log, dataset, err);
}

void dg_run_write_index(const struct dg_training_run *run, struct dg_dataset *dataset)
{
    char path[DG_MAX_PATH];
    struct dg_error err = {0};
    const char *folder = run->setup.folder;
    if (dg_dataset_save_index(dataset, folder ? index_path(folder, path) : NULL, &err) != DG_OK)
        dg_log(run->setup.log, DG_LOG_WARNING, DG_LOG_RUN, "%s; --resume will read through the archives again",
               err.text);
}

void dg_run_add_images(struct dg_training_run *run, const struct dg_dataset *dataset)
{
    struct dg_image_rules rules = dg_dataset_rules(dataset);
    dg_facts_add(&run->facts, "images", "%" PRId64, dg_dataset_count(dataset));
    dg_facts_add_reading(&run->facts, rules.exif, dg_image_rules_pillow(rules));
}

enum dg_status dg_run_plan_loader(struct dg_training_run *run, const struct dg_train_reading *reading, int64_t batch,
                                  int threads, struct dg_error *err)
{
    run->loading = dg_loader_config_make(batch, threads, run->setup.log);
    run->reading = *reading;
    run->reading.seed = run->position.seed;
    run->reading.steps_per_epoch = run->length.steps_per_epoch;
    return dg_loader_train_bytes(&run->loading, &run->reading, &run->loader_bytes, err);
}

enum dg_status dg_run_open(struct dg_training_run *run, int64_t other_bytes, struct dg_error *err)
{
    if (run->setup.folder) DG_TRY(dg_run_folder_open(run->setup.folder, &run->lock, err));
    struct dg_session_options options = {.threads = run->setup.threads,
                                         .other_bytes = other_bytes,
                                         .ignore_memory = run->setup.ignore_memory,
                                         .log = run->setup.log,
                                         .comm = run->setup.comm};
    DG_TRY(dg_session_open(run->knobs->plan, "train", &options, &run->session, err));
    run->position.threads = dg_session_threads(run->session);
    run->position.steps_per_epoch = run->length.steps_per_epoch;
    run->position.epochs = run->length.epochs;
    return DG_OK;
}

/* ---- resuming ---- */

/* No checkpoint is intact: *err is the newest one's fault. Says what to do where there is no other. */
static enum dg_status none_is_intact(const struct dg_training_run *run, struct dg_error *err)
{
    char path[DG_MAX_PATH];
    if (err->status == DG_ERR_INPUT && run->setup.has_older &&
        dg_older_checkpoint(run->setup.folder, INT64_MAX, path) < 0) {
        size_t length = strlen(err->text);
        snprintf(err->text + length, sizeof err->text - length,
                 "; no other checkpoint is there: put a copy of it back, or start a new run with another --out");
    }
    return err->status;
}

enum dg_status dg_run_resume(struct dg_training_run *run, bool *found, struct dg_error *err)
{
    char path[DG_MAX_PATH] = "";
    int64_t below = INT64_MAX;
    struct dg_error why = {0}; /* of the one before */
    const struct dg_resume_rules rules = {run->setup.seed_given, run->setup.new_data, run->setup.accept_changes};
    for (*found = false; !*found && next_checkpoint(run, path, &below);) {
        if (why.status != DG_OK) dg_log(run->setup.log, DG_LOG_WARNING, DG_LOG_RUN, "%s", why.text);
        why = (struct dg_error){0};
        enum dg_status status =
            dg_checkpoint_load(run->session, run->knobs, &run->position, rules, path, run->setup.log, &why);
        *found = status == DG_OK;
        /* If none is intact, the error is the newest one's; an intact one of another run ends the search. */
        if (err->status == DG_OK || status == DG_ERR_USAGE) *err = why;
        if (status == DG_ERR_USAGE) return status;
    }
    if (!*found) return none_is_intact(run, err);
    *err = (struct dg_error){0};
    run->intact_step = run->position.step;
    dg_log(run->setup.log, DG_LOG_TRACE, DG_LOG_RUN, "resumed %s: step %" PRId64, path, run->position.step);
    if (!strcmp(path, run->newest))
        run->saved_step = run->position.step;
    else
        dg_log(run->setup.log, DG_LOG_WARNING, DG_LOG_RUN, "the run goes on from %s", path);
    return DG_OK;
}

/* ---- files ---- */

void dg_run_plan_path(const char *folder, char path[DG_MAX_PATH])
{
    snprintf(path, DG_MAX_PATH, "%s/run.plan", folder);
}

void dg_run_write_plan(const struct dg_training_run *run)
{
    char path[DG_MAX_PATH];
    struct dg_atomic_file file;
    struct dg_error err = {0};
    const struct dg_plan_header *plan = run->knobs->plan->header;
    dg_run_plan_path(run->setup.folder, path);
    if (dg_atomic_open(path, &file, &err) == DG_OK) {
        fwrite(plan, 1, plan->size, file.stream);
        dg_atomic_commit(&file, &err);
    }
    if (err.status != DG_OK)
        dg_log(run->setup.log, DG_LOG_WARNING, DG_LOG_RUN, "%s; --resume will need the plan", err.text);
    err = (struct dg_error){0};
    path_in(run, "recipe", ".yaml", path);
    if (dg_atomic_open(path, &file, &err) == DG_OK) {
        fputs(dg_plan_string(run->knobs->plan, plan->description), file.stream);
        dg_atomic_commit(&file, &err);
    }
    if (err.status != DG_OK) dg_log(run->setup.log, DG_LOG_WARNING, DG_LOG_RUN, "%s", err.text);
}

bool dg_run_find_fact(const char *folder, const char *key, char *value, size_t size)
{
    struct dg_training_run run = {.setup = {.folder = folder, .has_older = true}};
    if (snprintf(run.newest, sizeof run.newest, "%s/checkpoint.safetensors", folder) >= DG_MAX_PATH) return false;
    struct dg_safetensors *file = open_newest(&run);
    const char *found = file ? dg_safetensors_metadata(file, key) : NULL;
    bool fits = found && snprintf(value, size, "%s", found) < (int)size && dg_name_unescape(value);
    dg_safetensors_close(file);
    return fits;
}

enum dg_status dg_run_write_settings(const struct dg_training_run *run, struct dg_error *err)
{
    char path[DG_MAX_PATH], value[64];
    struct dg_atomic_file file;
    path_in(run, "settings", ".txt", path);
    DG_TRY(dg_atomic_open(path, &file, err));
    for (uint32_t k = 0; k < run->knobs->plan->num_knobs; k++)
        fprintf(file.stream, "%s=%s\n", dg_plan_string(run->knobs->plan, run->knobs->knob[k].key),
                dg_knob_text(value, sizeof value, &run->knobs->knob[k], EXACT, true));
    return dg_atomic_commit(&file, err);
}

enum dg_status dg_run_open_log(struct dg_training_run *run, struct dg_error *err)
{
    char path[DG_MAX_PATH];
    path_in(run, "log", ".jsonl", path);
    if (run->position.step_before >= 0) { /* its lines count otherwise */
        char name[DG_MAX_PATH], before[64];
        snprintf(before, sizeof before, "log-%08" PRId64, run->position.step_before);
        path_in(run, before, ".jsonl", name);
        if (!rename(path, name)) dg_log(run->setup.log, DG_LOG_INFO, DG_LOG_RUN, "%s has the lines so far", name);
    }
    return dg_run_log_open(path, run->position.step, &run->lines, err);
}

/* Without a record from here on, if it could not be written. */
static void check_record(struct dg_training_run *run, enum dg_status status, const struct dg_error *err)
{
    if (status == DG_OK) return;
    dg_log(run->setup.log, DG_LOG_WARNING, DG_LOG_RUN, "%s; the run goes on without it", err->text);
    dg_run_record_close(run->record);
    run->record = NULL;
}

void dg_run_open_record(struct dg_training_run *run, struct dg_run_about about)
{
    char path[DG_MAX_PATH];
    struct dg_error err = {0};
    about.plan = run->knobs->plan;
    about.steps_per_epoch = run->length.steps_per_epoch;
    about.epochs = run->length.epochs;
    about.seed = run->position.seed;
    about.first_step = run->position.step;
    about.goes_on = run->setup.resume;
    about.threads = run->position.threads;
    about.loader_threads = run->loading.threads;
    about.memory = dg_session_memory(run->session).total;
    about.command = run->setup.command;
    path_in(run, "run", ".json", path);
    check_record(run, dg_run_record_open(path, &about, run->setup.log, &run->record, &err), &err);
    err = (struct dg_error){0};
    int64_t kept = run->position.step ? run->position.step : -1; /* a run that begins measures step 0 */
    if (dg_results_cut(run->setup.folder, kept, &err) != DG_OK)
        dg_log(run->setup.log, DG_LOG_WARNING, DG_LOG_RUN, "%s", err.text);
}

void dg_run_end_record(struct dg_training_run *run, const char *how, const char *why)
{
    struct dg_error err = {0};
    if (!run->record) return;
    int64_t saved = run->saved_step < 0 ? 0 : run->saved_step;
    check_record(run, dg_run_record_end(run->record, saved, how, why, &err), &err);
}

static enum dg_status save_to(const struct dg_training_run *run, const char *path, struct dg_error *err)
{
    return dg_checkpoint_save(run->session, run->knobs, &run->position, path, err);
}

enum dg_status dg_run_save_as(const struct dg_training_run *run, const char *name, struct dg_error *err)
{
    char path[DG_MAX_PATH];
    path_in(run, name, ".safetensors", path);
    return save_to(run, path, err);
}

enum dg_status dg_run_save(struct dg_training_run *run, struct dg_error *err)
{
    const struct dg_run_setup *setup = &run->setup;
    DG_TRY(dg_run_log_sync(run->lines, err)); /* a checkpoint that lasts has its lines */
    if (setup->has_older && setup->last && run->saved_step >= 0)
        DG_TRY(dg_previous_add(setup->folder, run->newest, run->saved_step, err));
    DG_TRY(save_to(run, run->newest, err));
    if (setup->has_older) dg_previous_remove(setup->folder, run->intact_step, setup->last);
    run->saved_step = run->intact_step = run->position.step;
    struct dg_error record = {0};
    if (run->record) check_record(run, dg_run_record_saved(run->record, run->saved_step, &record), &record);
    return DG_OK;
}

enum dg_status dg_run_retain(const struct dg_training_run *run, struct dg_error *err)
{
    char path[DG_MAX_PATH];
    dg_retained_path(run->setup.folder, run->position.step, path);
    unlink(path);
    if (link(run->newest, path)) return save_to(run, path, err); /* the file system has no links */
    dg_sync_folder_of(path);
    return DG_OK;
}

/* ---- the loader ---- */

enum dg_status dg_run_open_loader(struct dg_training_run *run, int64_t end, struct dg_error *err)
{
    run->reading.seed = run->position.seed; /* a resumed run's own */
    int64_t first = run->position.step + run->ahead, stride = dg_max_i64(1, run->reading.stride);
    if (first >= end) return DG_OK;
    run->reading.epoch = first / run->length.steps_per_epoch;
    run->reading.step = first % run->length.steps_per_epoch;
    run->reading.batches = (end - first + stride - 1) / stride;
    return dg_loader_open_train(&run->loading, &run->reading, &run->loader, err);
}

enum dg_status dg_run_next_batch(struct dg_training_run *run, const struct dg_batch **batch, struct dg_error *err)
{
    DG_TRY(dg_loader_next(run->loader, batch, err));
    return *batch ? DG_OK : dg_fail(err, DG_ERR_INTERNAL, "the loader ended early; please report this");
}

void dg_run_close(struct dg_training_run *run)
{
    dg_loader_close(run->loader);
    dg_session_close(run->session);
    dg_run_log_close(run->lines);
    dg_run_record_close(run->record);
    dg_run_folder_close(run->lock);
    dg_facts_free(&run->facts);
}
