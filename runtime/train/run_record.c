#include "runtime/train/run_record.h"

#include "ops/kernels/rates.h"
#include "runtime/base/about.h"
#include "runtime/base/atomic_file.h"
#include "runtime/base/path.h"
#include "runtime/exec/session.h"
#include "runtime/formats/json_text.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct dg_run_record {
    char *path;
    json_t *run, *session; /* the session belongs to the run */
};

static void set(json_t *object, const char *key, json_t *value) { json_object_set_new(object, key, value); }
static void set_text(json_t *object, const char *key, const char *text) { set(object, key, dg_json_text(text)); }
static void set_integer(json_t *object, const char *key, int64_t value) { set(object, key, json_integer(value)); }

static void set_now(json_t *object, const char *key)
{
    char text[DG_TIME_TEXT];
    set_text(object, key, dg_time_text(time(NULL), text));
}

static json_t *paths_of(const struct dg_data *data)
{
    json_t *paths = json_array();
    for (int i = 0; i < data->paths; i++) {
        char *path = dg_data_absolute_path(data->path[i]);
        if (path) json_array_append_new(paths, dg_json_text(path));
        free(path);
    }
    return paths;
}

static void describe_run(json_t *run, const struct dg_run_about *a)
{
    const struct dg_plan *plan = a->plan;
    char text[64];
    set_integer(run, "format", 1);
    set_text(run, "kind", a->kind);
    set_text(run, "recipe", dg_plan_string(plan, plan->header->recipe));
    set_text(run, "source", dg_plan_string(plan, plan->header->source));
    snprintf(text, sizeof text, "%016" PRIx64, plan->header->checksum);
    set_text(run, "plan", text);
    set_text(run, "type", dg_plan_type(plan->entry));
    set_integer(run, "batch", a->batch);
    set_integer(run, !strcmp(a->kind, "linear") ? "classes" : "out_dim", a->out_dim);
    set_integer(run, "images", a->images);
    set_integer(run, "steps_per_epoch", a->steps_per_epoch);
    set_integer(run, "epochs", a->epochs);
    set(run, "data", paths_of(a->data));
    if (a->val) set(run, "val", paths_of(a->val));
    if (a->replay) set_text(run, "replay", a->replay);
    if (a->watch && a->watch->paths) set(run, "watch", paths_of(a->watch));
    if (a->knn_train && a->knn_train->paths) {
        set(run, "knn_train", paths_of(a->knn_train));
        set(run, "knn_val", paths_of(a->knn_val));
    }
    if (a->segment_data && a->segment_data->paths) {
        const struct dg_data masks = {.path = &a->segment_masks, .paths = 1};
        set(run, "segment_data", paths_of(a->segment_data));
        set(run, "segment_masks", paths_of(&masks));
        snprintf(text, sizeof text, "%.17g", a->segment_threshold);
        set_text(run, "segment_threshold", text);
    }
    if (a->measure_every) set_text(run, "measure_every", a->measure_every);
    if (a->measure_max_bad) set_text(run, "measure_max_bad", a->measure_max_bad);
    set_integer(run, "seed", (int64_t)a->seed);
}

static json_t *session_of(const struct dg_run_about *a)
{
    json_t *session = json_object(), *command = json_array();
    char text[256];
    for (int w = 0; a->command && a->command[w]; w++) json_array_append_new(command, dg_json_text(a->command[w]));
    set_text(session, "version", dg_version());
    set_text(session, "commit", dg_commit());
    set(session, "command", command);
    char *folder = getcwd(NULL, 0);
    set_text(session, "folder", folder ? folder : "");
    free(folder);
    if (gethostname(text, sizeof text)) *text = 0;
    text[sizeof text - 1] = 0;
    set_text(session, "machine", text);
    set_text(session, "cpu", dg_cpu_name(text, sizeof text));
    set_text(session, "kernels", dg_kernels_name().text);
    set_text(session, "onednn", dg_session_library(text, sizeof text));
    set_integer(session, "threads", a->threads);
    set_integer(session, "loader_threads", a->loader_threads);
    set_integer(session, "processes", a->processes);
    set_integer(session, "memory", a->memory);
    set_now(session, "begin");
    set_integer(session, "first_step", a->first_step);
    set(session, "end", json_null());
    set_integer(session, "last_step", a->first_step);
    set_text(session, "state", "running");
    return session;
}

/* The record as an earlier session left it; NULL: there is none that can be read. A session of it that did not end
 * was killed. */
static json_t *read_record(const char *path, const struct dg_log *log)
{
    if (access(path, F_OK)) return NULL;
    json_error_t why;
    json_t *run = json_load_file(path, 0, &why), *sessions = json_object_get(run, "sessions"), *session;
    size_t i;
    if (!json_is_array(sessions)) {
        dg_log(log, DG_LOG_WARNING, DG_LOG_RUN, "%s is not a run's record (%s); a new record is begun", path,
               run ? "it has no sessions" : why.text);
        json_decref(run);
        return NULL;
    }
    json_array_foreach(sessions, i, session)
    {
        const char *state = json_string_value(json_object_get(session, "state"));
        if (state && !strcmp(state, "running")) set_text(session, "state", "killed");
    }
    return run;
}

static enum dg_status write_record(const struct dg_run_record *record, struct dg_error *err)
{
    struct dg_atomic_file file;
    DG_TRY(dg_atomic_open(record->path, &file, err));
    enum dg_status status = dg_json_write(record->run, 15, file.stream, err);
    if (status == DG_OK) return dg_atomic_commit(&file, err);
    dg_atomic_abandon(&file);
    return status;
}

enum dg_status dg_run_record_open(const char *path, const struct dg_run_about *about, const struct dg_log *log,
                                  struct dg_run_record **result, struct dg_error *err)
{
    struct dg_run_record *record = calloc(1, sizeof *record);
    if (record) record->path = strdup(path);
    if (record && record->path) record->run = about->goes_on ? read_record(path, log) : NULL;
    if (record && !record->run) record->run = json_object();
    *result = record;
    if (!record || !record->path || !record->run) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    describe_run(record->run, about);
    json_t *sessions = json_object_get(record->run, "sessions");
    if (!sessions) {
        set_now(record->run, "begin");
        sessions = json_array();
        set(record->run, "sessions", sessions);
    }
    record->session = session_of(about);
    if (json_array_append_new(sessions, record->session)) {
        record->session = NULL;
        return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    }
    return write_record(record, err);
}

enum dg_status dg_run_record_saved(struct dg_run_record *record, int64_t step, struct dg_error *err)
{
    set_now(record->session, "end");
    set_integer(record->session, "last_step", step);
    return write_record(record, err);
}

enum dg_status dg_run_record_end(struct dg_run_record *record, int64_t step, const char *how, const char *why,
                                 struct dg_error *err)
{
    set_text(record->session, "state", how);
    if (why) set_text(record->session, "error", why);
    return dg_run_record_saved(record, step, err);
}

bool dg_run_record_find(const char *folder, const char *key, size_t index, char *value, size_t size)
{
    char path[DG_MAX_PATH];
    if (dg_path_join(path, folder, "run.json", NULL) != DG_OK) return false;
    json_t *run = json_load_file(path, 0, NULL), *found = json_object_get(run, key);
    const char *text = json_string_value(json_is_array(found) ? json_array_get(found, index) : found);
    bool fits = text && snprintf(value, size, "%s", text) < (int)size;
    json_decref(run);
    return fits;
}

void dg_run_record_close(struct dg_run_record *record)
{
    if (!record) return;
    json_decref(record->run);
    free(record->path);
    free(record);
}
