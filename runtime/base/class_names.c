#include "runtime/base/class_names.h"

#include "runtime/base/name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- some of many names ---- */

enum { NAMED = 8 };

/* "a, b and 7 more". */
struct few {
    char text[1024];
    size_t at;
    int count;
};

static void add_few(struct few *few, const char *name)
{
    char escaped[120];
    if (few->count++ >= NAMED) return; /* so many escaped names fit */
    few->at += (size_t)snprintf(few->text + few->at, sizeof few->text - few->at, "%s%s", few->at ? ", " : "",
                                dg_name_escape(name, escaped, sizeof escaped));
}

static const char *few_text(struct few *few)
{
    if (few->count > NAMED)
        snprintf(few->text + few->at, sizeof few->text - few->at, " and %d more", few->count - NAMED);
    return few->text;
}

/* ---- the comparison ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(**(char *const *const *)a, **(char *const *const *)b);
}

/* The name of `training` that looks like `name`; NULL: none. */
static const char *find_alike(const struct dg_class_names *training, const char *name)
{
    char *key = dg_name_key(name);
    const char *found = NULL;
    for (int c = 0; key && c < training->count && !found; c++) {
        char *other = dg_name_key(training->name[c]);
        if (other && !strcmp(key, other)) found = training->name[c];
        free(other);
    }
    free(key);
    return found;
}

static enum dg_status missing(const struct dg_class_names *names, const struct dg_class_names *training,
                              const int *number, struct dg_error *err)
{
    struct few few = {0};
    const char *first = NULL;
    for (int c = 0; c < names->count; c++) {
        if (number[c] >= 0) continue;
        if (!first) first = names->name[c];
        add_few(&few, names->name[c]);
    }
    if (!first) return DG_OK;
    char one[256], other[256];
    const char *alike = find_alike(training, first);
    if (alike)
        return dg_fail(
            err, DG_ERR_INPUT,
            "the class %s is not among the training classes, but %s is: the two differ only in case, blanks at the "
            "ends or Unicode's forms of a letter; rename one",
            dg_name_spell(first, one, sizeof one), dg_name_spell(alike, other, sizeof other));
    return dg_fail(err, DG_ERR_INPUT, "%s %s %s not among the training classes", few.count == 1 ? "class" : "classes",
                   few_text(&few), few.count == 1 ? "is" : "are");
}

enum dg_status dg_class_names_match(const struct dg_class_names *names, const struct dg_class_names *training,
                                    int *number, struct dg_error *err)
{
    char *const **sorted = malloc(((size_t)training->count + 1) * sizeof *sorted); /* places in training->name */
    if (!sorted) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (int c = 0; c < training->count; c++) sorted[c] = &training->name[c];
    qsort(sorted, (size_t)training->count, sizeof *sorted, by_name);
    for (int c = 0; c < names->count; c++) {
        char *const *name = &names->name[c];
        char *const *const *found = bsearch(&name, sorted, (size_t)training->count, sizeof *sorted, by_name);
        number[c] = found ? (int)(*found - training->name) : -1;
    }
    free(sorted);
    return missing(names, training, number, err);
}

void dg_class_names_tell_absent(const struct dg_class_names *classes, const bool *present, const char *purpose,
                                const struct dg_log *log)
{
    struct few few = {0};
    for (int c = 0; c < classes->count; c++)
        if (!present[c]) add_few(&few, classes->name[c]);
    if (few.count)
        dg_log(log, DG_LOG_WARNING, DG_LOG_LOAD, "%d of %d classes without an image%s: %s", few.count, classes->count,
               purpose, few_text(&few));
}
