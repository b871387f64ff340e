#include "runtime/report/run.h"

#include "runtime/exec/knobs.h"
#include "runtime/formats/safetensors.h"
#include "runtime/image/format.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_KEY = 256, DIGITS = 6 };

/* ---- pairs ---- */

bool dg_pairs_add(struct dg_pairs *pairs, const char *key, const char *value)
{
    if (pairs->count == pairs->capacity) {
        int capacity = pairs->capacity ? 2 * pairs->capacity : 64;
        struct dg_pair *more = realloc(pairs->pair, sizeof *more * (size_t)capacity);
        if (!more) return false;
        pairs->pair = more;
        pairs->capacity = capacity;
    }
    struct dg_pair pair = {strdup(key), strdup(value)};
    if (!pair.key || !pair.value) {
        free(pair.key);
        free(pair.value);
        return false;
    }
    pairs->pair[pairs->count++] = pair;
    return true;
}

const char *dg_pairs_find(const struct dg_pairs *pairs, const char *key)
{
    for (int i = 0; i < pairs->count; i++)
        if (!strcmp(pairs->pair[i].key, key)) return pairs->pair[i].value;
    return NULL;
}

void dg_pairs_free(struct dg_pairs *pairs)
{
    for (int i = 0; i < pairs->count; i++) {
        free(pairs->pair[i].key);
        free(pairs->pair[i].value);
    }
    free(pairs->pair);
    *pairs = (struct dg_pairs){0};
}

/* Adds the lines "key=value" of a text whose keys begin with `prefix`, without it. */
static void add_lines(struct dg_pairs *pairs, const char *text, const char *prefix)
{
    char key[MAX_KEY], value[MAX_KEY];
    int skip = (int)strlen(prefix);
    struct dg_plan_fact fact;
    while ((text = dg_plan_next_fact(text, &fact))) {
        if (fact.key_size >= MAX_KEY || fact.key_size <= skip || strncmp(fact.key, prefix, (size_t)skip)) continue;
        snprintf(key, sizeof key, "%.*s", fact.key_size - skip, fact.key + skip);
        snprintf(value, sizeof value, "%.*s", fact.value_size, fact.value);
        dg_pairs_add(pairs, key, value);
    }
}

/* ---- the checkpoint ---- */

static void see_fact(void *context, const char *key, const char *value)
{
    if (strncmp(key, "crc32", 5)) dg_pairs_add(context, key, value);
}

static void path_in(const struct dg_report_run *run, const char *name, char path[DG_MAX_PATH])
{
    snprintf(path, DG_MAX_PATH, "%s/%s", run->folder, name);
}

static void read_checkpoint(struct dg_report_run *run)
{
    char path[DG_MAX_PATH];
    struct dg_safetensors *file;
    path_in(run, "checkpoint.safetensors", path);
    if (dg_safetensors_open(path, &file, NULL) != DG_OK) return;
    dg_safetensors_each_metadata(file, see_fact, &run->facts);
    dg_safetensors_close(file);
}

/* ---- settings ---- */

static char *read_text(const char *path)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = fopen(path, "re");
    if (!file) return NULL;
    if (getdelim(&text, &size, 0, file) < 0) {
        free(text);
        text = NULL;
    }
    fclose(file);
    return text;
}

/* The plan's recipe, and its knobs with the values of settings.txt. */
static void read_plan(struct dg_report_run *run)
{
    char path[DG_MAX_PATH], value[MAX_KEY];
    struct dg_knobs knobs = {0};
    path_in(run, "settings.txt", path);
    char *text = read_text(path);
    path_in(run, "run.plan", path);
    struct dg_error err = {0};
    if (!access(path, F_OK) && dg_plan_open(path, &run->plan, &err) != DG_OK)
        snprintf(run->plan_fault, sizeof run->plan_fault, "%.500s", err.text);
    if (run->plan.header) {
        add_lines(&run->settings, dg_plan_string(&run->plan, run->plan.header->facts), "recipe.");
        run->is_probe = run->plan.header->kind == DG_PLAN_PROBE;
        run->batch = run->plan.num_entries ? run->plan.entry->batch : 0;
    }
    if (run->plan.header && dg_knobs_open(&run->plan, &knobs, NULL) == DG_OK) {
        for (char *line = text, *end; line && *line; line = end) {
            end = line + strcspn(line, "\n");
            if (*end) *end++ = 0;
            dg_knobs_set(&knobs, line, NULL);
        }
        for (uint32_t k = 0; k < run->plan.num_knobs; k++)
            dg_pairs_add(&run->settings, dg_plan_string(&run->plan, knobs.knob[k].key),
                         dg_knob_text(value, sizeof value, &knobs.knob[k], DIGITS, true));
    } else if (text) {
        add_lines(&run->settings, text, "");
    }
    dg_knobs_close(&knobs);
    free(text);
}

/* The settings of a run that has no copy of its plan: those of its checkpoint. */
static void take_settings(struct dg_report_run *run)
{
    static const char *const prefix[] = {"recipe.", "set."};
    for (int i = 0; i < run->facts.count; i++) {
        const struct dg_pair *fact = &run->facts.pair[i];
        for (int p = 0; p < 2; p++) {
            const char *key = fact->key + strlen(prefix[p]);
            if (!strncmp(fact->key, prefix[p], strlen(prefix[p])) && !dg_pairs_find(&run->settings, key))
                dg_pairs_add(&run->settings, key, fact->value);
        }
    }
}

/* ---- the environment ---- */

static void add_json(struct dg_pairs *pairs, const char *key, const json_t *value);

/* An array of words on one line, of objects by their number. */
static void add_array(struct dg_pairs *pairs, const char *key, const json_t *array)
{
    char name[MAX_KEY], *text = NULL;
    size_t i, size, words = 0;
    const json_t *item;
    FILE *line = open_memstream(&text, &size);
    json_array_foreach(array, i, item)
    {
        snprintf(name, sizeof name, "%.200s.%zu", key, i);
        if (json_is_string(item) && line)
            fprintf(line, "%s%s", words++ ? " " : "", json_string_value(item));
        else
            add_json(pairs, name, item);
    }
    if (line) fclose(line);
    if (words) dg_pairs_add(pairs, key, text);
    free(text);
}

/* `key` is that of an object's member with all above it and points between. */
static void add_json(struct dg_pairs *pairs, const char *key, const json_t *value)
{
    char text[MAX_KEY];
    const char *name;
    const json_t *member;
    if (json_is_object(value)) {
        json_object_foreach((json_t *)(uintptr_t)value, name, member)
        {
            snprintf(text, sizeof text, "%.200s%s%.50s", key, *key ? "." : "", name);
            add_json(pairs, text, member);
        }
    } else if (json_is_array(value)) {
        add_array(pairs, key, value);
    } else if (json_is_string(value)) {
        dg_pairs_add(pairs, key, json_string_value(value));
    } else if (json_is_integer(value)) {
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        dg_pairs_add(pairs, key, text);
    } else if (json_is_real(value)) {
        snprintf(text, sizeof text, "%g", json_real_value(value));
        dg_pairs_add(pairs, key, text);
    } else if (json_is_boolean(value)) {
        dg_pairs_add(pairs, key, json_is_true(value) ? "yes" : "no");
    }
}

static void read_environment(struct dg_report_run *run)
{
    static const char *const fact[] = {
        "dinoc",  "machine.kernels", "machine.onednn", "machine.processes", "threads", "seed", "data.0", "data.1",
        "replay", "images",          "skipped"};
    char path[DG_MAX_PATH];
    path_in(run, "run.json", path);
    json_t *json = json_load_file(path, 0, NULL);
    if (json) add_json(&run->environment, "", json);
    json_decref(json);
    for (size_t f = 0; !json && f < sizeof fact / sizeof *fact; f++) {
        const char *value = dg_pairs_find(&run->facts, fact[f]);
        if (value) dg_pairs_add(&run->environment, fact[f], value);
    }
}

/* ---- pictures ---- */

static bool is_picture(const char *path)
{
    unsigned char head[8];
    FILE *file = fopen(path, "re");
    size_t size = file ? fread(head, 1, sizeof head, file) : 0;
    if (file) fclose(file);
    enum dg_image_format format = size == sizeof head ? dg_image_format(head, size) : DG_FORMAT_UNKNOWN;
    return format == DG_FORMAT_PNG || format == DG_FORMAT_JPEG;
}

static bool add_picture(struct dg_report_run *run, const char *path)
{
    void *more = realloc(run->picture, sizeof *run->picture * (size_t)(run->pictures + 1));
    if (!more) return false;
    run->picture = more;
    snprintf(run->picture[run->pictures++], DG_MAX_PATH, "%s", path);
    return true;
}

static void add_pictures(struct dg_report_run *run, const char *path, int below)
{
    struct dirent **item = NULL;
    int count = scandir(path, &item, NULL, versionsort);
    bool has_sheet = false; /* which shows what the others do */
    for (int i = 0; i < count; i++) has_sheet |= !strcmp(item[i]->d_name, "sheet.png");
    for (int i = 0; i < count; i++) {
        char inner[DG_MAX_PATH];
        struct stat info;
        bool fits = snprintf(inner, sizeof inner, "%s/%s", path, item[i]->d_name) < (int)sizeof inner;
        if (fits && item[i]->d_name[0] != '.' && !stat(inner, &info)) {
            if (S_ISDIR(info.st_mode) && below)
                add_pictures(run, inner, below - 1);
            else if (S_ISREG(info.st_mode) && (!has_sheet || !strcmp(item[i]->d_name, "sheet.png")) &&
                     is_picture(inner))
                add_picture(run, inner);
        }
        free(item[i]);
    }
    free(item);
}

/* ---- opening ---- */

/* A count; `otherwise` where the text is none that can be. */
static int64_t count_of(const char *text, int64_t otherwise)
{
    double value = text ? strtod(text, NULL) : -1;
    return value >= 0 && value < 1e9 ? (int64_t)value : otherwise; /* products of two are in range */
}

static int64_t number_of(const struct dg_report_run *run, const char *key, int64_t otherwise)
{
    const char *text = dg_pairs_find(&run->environment, key);
    return count_of(text ? text : dg_pairs_find(&run->facts, key), otherwise);
}

static void find_numbers(struct dg_report_run *run)
{
    const char *epochs = dg_pairs_find(&run->settings, "epochs");
    const char *dim = dg_pairs_find(&run->settings, "head.with.out_dim");
    run->steps_per_epoch = number_of(run, "steps_per_epoch", 0);
    run->epochs = number_of(run, "epochs", count_of(epochs, 0));
    run->images = number_of(run, "images", 0);
    run->checkpoint_step = number_of(run, "step", -1);
    if (!run->batch) run->batch = number_of(run, "batch", 0);
    run->out_dim = (double)number_of(run, "out_dim", count_of(dim, 0));
    const struct dg_column *epoch = dg_series_find(&run->log, "epoch");
    for (int64_t r = 1; epoch && !run->steps_per_epoch && r < run->log.rows; r++)
        if (epoch->value[r] == 1 && run->log.step[r] < 1e9) run->steps_per_epoch = (int64_t)run->log.step[r];
}

static bool is_locked(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;
    if (fd >= 0) close(fd);
    return locked;
}

/* The last part of the folder's path, also of "." and "run/". */
static void find_name(struct dg_report_run *run)
{
    char *path = realpath(run->folder, NULL);
    const char *slash = path ? strrchr(path, '/') : NULL;
    snprintf(run->name, sizeof run->name, "%s", slash && slash[1] ? slash + 1 : run->folder);
    free(path);
}

static enum dg_status check_folder(const char *folder, struct dg_error *err)
{
    static const char *const files[] = {"log.jsonl", "run.plan", "run.json", "checkpoint.safetensors"};
    struct stat info;
    char path[DG_MAX_PATH];
    if (strlen(folder) > DG_MAX_PATH / 2) return dg_fail(err, DG_ERR_USAGE, "the path of a run is too long");
    if (stat(folder, &info)) return dg_fail(err, DG_ERR_USAGE, "%s: %s", folder, strerror(errno));
    if (!S_ISDIR(info.st_mode))
        return dg_fail(err, DG_ERR_USAGE, "%s is not a folder: a run is the folder that dinorun train --out has made",
                       folder);
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[f]);
        if (!access(path, F_OK)) return DG_OK;
    }
    return dg_fail(
        err, DG_ERR_USAGE,
        "%s is not a run: it has neither log.jsonl nor run.plan, run.json or checkpoint.safetensors; give the "
        "folder of dinorun train --out",
        folder);
}

enum dg_status dg_report_run_open(const char *folder, struct dg_report_run *run, struct dg_error *err)
{
    char path[DG_MAX_PATH];
    *run = (struct dg_report_run){.folder = folder, .checkpoint_step = -1, .log.not_finite = -1};
    DG_TRY(check_folder(folder, err));
    find_name(run);
    run->runs = is_locked(folder);
    path_in(run, "log.jsonl", path);
    if (!access(path, F_OK)) DG_TRY(dg_series_read_lines(path, &run->log, err));
    path_in(run, "results.csv", path);
    if (!access(path, F_OK)) DG_TRY(dg_series_read_results(path, &run->results, err));
    read_checkpoint(run);
    read_plan(run);
    if (!run->plan.header) take_settings(run);
    read_environment(run);
    find_numbers(run);
    add_pictures(run, folder, 3);
    if (dg_series_find(&run->log, "top1")) run->is_probe = true;
    return DG_OK;
}

void dg_report_run_close(struct dg_report_run *run)
{
    dg_series_free(&run->log);
    dg_series_free(&run->results);
    dg_plan_close(&run->plan);
    dg_pairs_free(&run->settings);
    dg_pairs_free(&run->environment);
    dg_pairs_free(&run->facts);
    free(run->picture);
    *run = (struct dg_report_run){0};
}

/* ---- questions ---- */

int64_t dg_report_run_end(const struct dg_report_run *run) { return run->steps_per_epoch * run->epochs; }

int64_t dg_report_run_steps(const struct dg_report_run *run)
{
    const struct dg_series *log = &run->log;
    if (!log->rows) return run->checkpoint_step > 0 ? run->checkpoint_step : 0;
    int64_t last = (int64_t)log->step[log->rows - 1];
    return run->is_probe ? last + run->steps_per_epoch : last + 1;
}

double dg_report_run_step_seconds(const struct dg_report_run *run)
{
    const struct dg_column *rate = dg_series_find(&run->log, "images_per_s");
    double sum = 0;
    int64_t count = 0;
    for (int64_t r = run->log.rows - 1; rate && run->batch && r >= 0 && count < DG_SERIES_TAIL; r--) {
        if (!(rate->value[r] > 0)) continue;
        sum += (double)run->batch / rate->value[r];
        count++;
    }
    return count ? sum / (double)count : NAN;
}

const char *dg_report_run_accuracy(const struct dg_report_run *run, double *value)
{
    static const char preferred[] = "knn20.top1";
    const struct dg_series *from[] = {&run->results, &run->log};
    *value = dg_series_last(&run->results, preferred);
    if (!isnan(*value)) return preferred;
    for (int s = 0; s < 2; s++)
        for (int c = 0; c < from[s]->columns; c++) {
            const char *name = from[s]->column[c].name;
            if (!strstr(name, "top1") || strstr(name, "best")) continue;
            *value = dg_series_last(from[s], name);
            if (!isnan(*value)) return name;
        }
    return NULL;
}
