#include "runtime/formats/feature_origin.h"

#include "runtime/formats/json_text.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *origin_path(const char *path)
{
    char *name;
    return asprintf(&name, "%s.json", path) < 0 ? NULL : name;
}

enum dg_status dg_feature_origin_write(const char *path, const struct dg_safetensors_meta *fact, int count,
                                       struct dg_atomic_file *file, struct dg_error *err)
{
    json_t *all = json_object();
    char *name = origin_path(path);
    bool made = all && name;
    for (int i = 0; i < count && made; i++) made = !json_object_set_new(all, fact[i].key, json_string(fact[i].value));
    enum dg_status status = made ? dg_atomic_open(name, file, err) : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (status == DG_OK) status = dg_json_write(all, 15, file->stream, err);
    if (status == DG_OK && (ferror(file->stream) || fflush(file->stream)))
        status = dg_fail(err, DG_ERR_IO, "cannot write %s: %s", name, strerror(errno));
    json_decref(all);
    free(name);
    return status;
}

/* The object in the file; NULL: it is not there, or is none. The caller releases it. */
static json_t *read_origin(const char *path)
{
    char *name = origin_path(path);
    json_t *all = name ? json_load_file(name, 0, NULL) : NULL;
    free(name);
    if (json_is_object(all)) return all;
    json_decref(all);
    return NULL;
}

/* Appends what of `a` is otherwise in `b`; what one of the two lacks is appended once. */
static void add_differences(json_t *a, json_t *b, bool both, char *text, size_t size)
{
    const char *key;
    json_t *value;
    json_object_foreach(a, key, value)
    {
        const char *one = json_string_value(value), *other = json_string_value(json_object_get(b, key));
        size_t used = strlen(text);
        if (used >= size || (one && other && (both || !strcmp(one, other)))) continue;
        if (!other && !strcmp(key, "output")) other = "cls"; /* files of before --output do not say it */
        if (one && other && !strcmp(one, other)) continue;
        if (one && other)
            snprintf(text + used, size - used, "\n  %s: %.100s, %.100s", key, one, other);
        else
            snprintf(text + used, size - used, "\n  %s: in one of them alone", key);
    }
}

enum dg_status dg_feature_origin_compare(const char *train, const char *val, bool accept, const struct dg_log *log,
                                         struct dg_error *err)
{
    json_t *a = read_origin(train), *b = read_origin(val);
    char text[1024] = "";
    enum dg_status status = DG_OK;
    if (!a || !b)
        dg_log(log, DG_LOG_WARNING, DG_LOG_LOAD,
               "%s does not say what it was made with (%s.json of dinorun features): that both files are of the same "
               "weights, and of images that were read alike, could not be checked",
               a ? val : train, a ? val : train);
    if (a && b) add_differences(a, b, false, text, sizeof text);
    if (a && b) add_differences(b, a, true, text, sizeof text);
    json_decref(a);
    json_decref(b);
    if (*text && accept)
        dg_log(log, DG_LOG_WARNING, DG_LOG_LOAD, "%s and %s were not made alike, which is accepted:%s", train, val,
               text);
    else if (*text)
        status =
            dg_fail(err, DG_ERR_INPUT,
                    "%s and %s were not made alike: write both with the same weights; --accept-changes goes on all "
                    "the same.%s",
                    train, val, text);
    return status;
}
