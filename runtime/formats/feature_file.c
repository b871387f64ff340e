#include "runtime/formats/feature_file.h"

#include "runtime/base/class_names.h"
#include "runtime/base/finite.h"
#include "runtime/base/name.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { HEADER = 65535 };

/* The value behind 'key': in the header's dictionary, as numpy writes it. */
static const char *value_of(const char *header, const char *key)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s':", key);
    const char *found = strstr(header, quoted);
    if (!found) return "";
    found += strlen(quoted);
    while (*found == ' ') found++;
    return found;
}

static enum dg_status read_header(FILE *stream, const char *path, int64_t bytes, struct dg_feature_file *file,
                                  struct dg_error *err)
{
    unsigned char start[10];
    char header[HEADER + 1];
    const char *want = "not what dinorun features writes: an array of two dimensions of little-endian f32";
    if (fread(start, 1, sizeof start, stream) != sizeof start || memcmp(start, "\x93NUMPY\1\0", 8))
        return dg_fail(err, DG_ERR_INPUT, "%s: %s", path, want);
    size_t length = (size_t)(start[8] | start[9] << 8);
    if (fread(header, 1, length, stream) != length) return dg_fail(err, DG_ERR_INPUT, "%s is cut off", path);
    header[length] = 0;
    int end = 0;
    if (strncmp(value_of(header, "descr"), "'<f4'", 5) || strncmp(value_of(header, "fortran_order"), "False", 5) ||
        sscanf(value_of(header, "shape"), "(%" SCNd64 ", %" SCNd64 ")%n", &file->rows, &file->dim, &end) != 2 || !end)
        return dg_fail(err, DG_ERR_INPUT, "%s: %s", path, want);
    int64_t data = bytes - 10 - (int64_t)length, values;
    if (file->rows < 1 || file->dim < 1 || !dg_mul_i64(file->rows, file->dim, &values) || values > data / 4)
        return dg_fail(err, DG_ERR_INPUT, "%s: its %" PRId64 " bytes do not hold %" PRId64 " x %" PRId64 " numbers",
                       path, bytes, file->rows, file->dim);
    return DG_OK;
}

static enum dg_status read_array(const char *path, struct dg_feature_file *file, struct dg_error *err)
{
    FILE *stream = fopen(path, "rb");
    struct stat info;
    if (!stream || fstat(fileno(stream), &info)) {
        int reason = errno;
        if (stream) fclose(stream);
        return dg_fail(err, DG_ERR_IO, "cannot read %s: %s", path, strerror(reason));
    }
    enum dg_status status = read_header(stream, path, info.st_size, file, err);
    size_t count = (size_t)(file->rows * file->dim);
    if (status == DG_OK && !(file->features = malloc(count * sizeof *file->features)))
        status = dg_fail(err, DG_ERR_MEMORY, "no memory for %" PRId64 " features of %s", file->rows, path);
    if (status == DG_OK && fread(file->features, sizeof *file->features, count, stream) != count)
        status = dg_fail(err, DG_ERR_INPUT, "%s is cut off", path);
    fclose(stream);
    return status;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The number of `name` in the sorted list, or -1. */
static int number_of(const struct dg_feature_file *file, const char *name)
{
    char *const *found = bsearch(&name, file->class_name, (size_t)file->classes, sizeof *file->class_name, by_name);
    return found ? (int)(found - file->class_name) : -1;
}

/* Sorts the labels of all rows into classes. */
static enum dg_status number_labels(struct dg_feature_file *file, char **name, struct dg_error *err)
{
    char **sorted = malloc((size_t)file->rows * sizeof *sorted);
    file->label = malloc((size_t)file->rows * sizeof *file->label);
    file->class_name = sorted;
    if (!sorted || !file->label) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    memcpy(sorted, name, (size_t)file->rows * sizeof *sorted);
    qsort(sorted, (size_t)file->rows, sizeof *sorted, by_name);
    for (int64_t r = 0; r < file->rows; r++)
        if (!r || strcmp(sorted[r], sorted[file->classes - 1])) sorted[file->classes++] = sorted[r];
    for (int c = 0; c < file->classes; c++)
        if (!(sorted[c] = strdup(sorted[c]))) {
            file->classes = c;
            return dg_fail(err, DG_ERR_MEMORY, "out of memory");
        }
    for (int64_t r = 0; r < file->rows; r++) file->label[r] = number_of(file, name[r]);
    return DG_OK;
}

static enum dg_status read_labels(const char *path, struct dg_feature_file *file, struct dg_error *err)
{
    char list[4096];
    if (snprintf(list, sizeof list, "%s.tsv", path) >= (int)sizeof list)
        return dg_fail(err, DG_ERR_USAGE, "%s: the path is too long", path);
    FILE *stream = fopen(list, "r");
    if (!stream) return dg_fail(err, DG_ERR_IO, "cannot read %s, which has the labels: %s", list, strerror(errno));
    char **name = calloc((size_t)file->rows, sizeof *name), *line = NULL;
    size_t room = 0;
    int64_t rows = 0;
    file->path = calloc((size_t)file->rows, sizeof *file->path);
    enum dg_status status = name && file->path ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (ssize_t n; status == DG_OK && (n = getline(&line, &room, stream)) > 0; rows++) {
        if (line[n - 1] == '\n') line[n - 1] = 0;
        char *label = strrchr(line, '\t');
        if (rows == file->rows) {
            status = dg_fail(err, DG_ERR_INPUT, "%s has more lines than %s has rows (%" PRId64 ")", list, path, rows);
        } else if (!label || !label[1]) {
            status =
                dg_fail(err, DG_ERR_INPUT, "%s, line %" PRId64 ": no label; features of one folder per class have them",
                        list, rows + 1);
        } else if (!(name[rows] = strdup(label + 1)) || !(file->path[rows] = strndup(line, (size_t)(label - line)))) {
            status = dg_fail(err, DG_ERR_MEMORY, "out of memory");
        } else if (!dg_name_unescape(name[rows]) || !dg_name_unescape(file->path[rows])) {
            status = dg_fail(err, DG_ERR_INPUT,
                             "%s, line %" PRId64 ": a backslash that begins neither \\\\, \\t, \\n, \\r nor \\xHH",
                             list, rows + 1);
        }
    }
    if (status == DG_OK && rows < file->rows)
        status = dg_fail(err, DG_ERR_INPUT, "%s has %" PRId64 " lines, %s has %" PRId64 " rows", list, rows, path,
                         file->rows);
    if (status == DG_OK) status = number_labels(file, name, err);
    for (int64_t r = 0; name && r < file->rows; r++) free(name[r]);
    free(name);
    free(line);
    fclose(stream);
    return status;
}

enum dg_status dg_feature_file_read(const char *path, struct dg_feature_file *file, struct dg_error *err)
{
    *file = (struct dg_feature_file){0};
    enum dg_status status = read_array(path, file, err);
    if (status == DG_OK) status = read_labels(path, file, err);
    int64_t bad = status == DG_OK ? dg_first_not_finite(file->features, file->rows * file->dim) : -1;
    if (bad >= 0)
        status = dg_fail(err, DG_ERR_INPUT, "%s: row %" PRId64 " (%.500s) has %g in it, which is not a number", path,
                         bad / file->dim, file->path[bad / file->dim], (double)file->features[bad]);
    if (status != DG_OK) dg_feature_file_free(file);
    return status;
}

/* Sets number[classes of `file`] and renumbers; present[classes of `train`] is false before. */
static enum dg_status renumber(struct dg_feature_file *file, const struct dg_feature_file *train, int *number,
                               bool *present, struct dg_error *err)
{
    const struct dg_class_names names = {file->class_name, file->classes},
                                training = {train->class_name, train->classes};
    DG_TRY(dg_class_names_match(&names, &training, number, err));
    for (int64_t r = 0; r < file->rows; r++) {
        file->label[r] = number[file->label[r]];
        present[file->label[r]] = true;
    }
    return DG_OK;
}

enum dg_status dg_feature_file_match(struct dg_feature_file *file, const struct dg_feature_file *train,
                                     const struct dg_log *log, struct dg_error *err)
{
    if (file->dim != train->dim)
        return dg_fail(err, DG_ERR_INPUT, "features of %" PRId64 " numbers and of %" PRId64 ": of two networks",
                       train->dim, file->dim);
    int *number = malloc((size_t)file->classes * sizeof *number);
    bool *present = calloc((size_t)train->classes, sizeof *present);
    enum dg_status status =
        number && present ? renumber(file, train, number, present, err) : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (status == DG_OK)
        dg_class_names_tell_absent(&(struct dg_class_names){train->class_name, train->classes}, present,
                                   " to validate with", log);
    free(number);
    free(present);
    return status;
}

void dg_feature_file_free(struct dg_feature_file *file)
{
    for (int c = 0; c < file->classes; c++) free(file->class_name[c]);
    for (int64_t r = 0; file->path && r < file->rows; r++) free(file->path[r]);
    free((void *)(uintptr_t)file->class_name);
    free(file->path);
    free(file->features);
    free(file->label);
    *file = (struct dg_feature_file){0};
}
