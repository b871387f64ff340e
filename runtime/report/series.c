#include "runtime/report/series.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A line as it is read, before it becomes a row. */
struct row {
    bool has_step, bad; /* bad: a number is none */
    double step;
    int count;
    struct {
        char name[DG_COLUMN_NAME];
        double value;
    } item[DG_MAX_COLUMNS];
    char bad_name[DG_COLUMN_NAME];
};

static void add_item(struct row *row, const char *name, size_t length, double value)
{
    if (length >= DG_COLUMN_NAME) return;
    if (length == 4 && !memcmp(name, "step", 4)) {
        row->has_step = isfinite(value) && value >= 0 && value < 1e15;
        row->step = value;
        return;
    }
    if (!isfinite(value) && !row->bad) {
        row->bad = true;
        snprintf(row->bad_name, sizeof row->bad_name, "%.*s", (int)length, name);
    }
    if (row->count == DG_MAX_COLUMNS) return;
    snprintf(row->item[row->count].name, DG_COLUMN_NAME, "%.*s", (int)length, name);
    row->item[row->count++].value = isfinite(value) ? value : NAN;
}

/* ---- rows ---- */

static bool grow(struct dg_series *s)
{
    int64_t capacity = s->capacity ? 2 * s->capacity : 1024;
    size_t bytes = sizeof(double) * (size_t)capacity;
    double *step = realloc(s->step, bytes);
    if (!step) return false;
    s->step = step;
    for (int c = 0; c < s->columns; c++) {
        double *value = realloc(s->column[c].value, bytes);
        if (!value) return false;
        s->column[c].value = value;
    }
    s->capacity = capacity;
    return true;
}

/* The column of that name, a new one where there is none; NULL: out of memory, or too many columns. */
static struct dg_column *column_of(struct dg_series *s, const char *name)
{
    for (int c = 0; c < s->columns; c++)
        if (!strcmp(s->column[c].name, name)) return &s->column[c];
    if (s->columns == DG_MAX_COLUMNS) return NULL;
    struct dg_column *column = &s->column[s->columns];
    column->value = malloc(sizeof(double) * (size_t)s->capacity);
    if (!column->value) return NULL;
    for (int64_t r = 0; r < s->rows; r++) column->value[r] = NAN;
    snprintf(column->name, sizeof column->name, "%s", name);
    s->columns++;
    return column;
}

static bool has_item(const struct row *row, const char *name)
{
    for (int i = 0; i < row->count; i++)
        if (!strcmp(row->item[i].name, name)) return true;
    return false;
}

/* Adds the row, or what it has to the last one where that is of the same step. */
static bool take_row(struct dg_series *s, const struct row *row)
{
    while (s->rows && s->step[s->rows - 1] > row->step) s->rows--;
    if (s->not_finite > row->step || (s->not_finite == row->step && has_item(row, s->not_finite_name)))
        s->not_finite = -1;
    bool same = s->rows && s->step[s->rows - 1] == row->step;
    if (!same && s->rows == s->capacity && !grow(s)) return false;
    int64_t at = same ? s->rows - 1 : s->rows;
    s->step[at] = row->step;
    for (int c = 0; !same && c < s->columns; c++) s->column[c].value[at] = NAN;
    s->rows = at + 1;
    for (int i = 0; i < row->count; i++) {
        struct dg_column *column = column_of(s, row->item[i].name);
        if (column) column->value[at] = row->item[i].value;
    }
    if (row->bad && s->not_finite < 0) {
        s->not_finite = (int64_t)row->step;
        memcpy(s->not_finite_name, row->bad_name, sizeof s->not_finite_name);
    }
    return true;
}

/* ---- JSON lines ---- */

static const char *skip_blank(const char *s) { return s + strspn(s, " \t\r\n"); }

/* The end of a string, behind its quote; NULL: it has none. */
static const char *skip_string(const char *s)
{
    for (s++; *s && *s != '"'; s++)
        if (*s == '\\' && s[1]) s++;
    return *s ? s + 1 : NULL;
}

/* The end of an object or array, behind its bracket; NULL: it has none. */
static const char *skip_nested(const char *s)
{
    int depth = 0;
    while (*s) {
        depth += *s == '{' || *s == '[';
        depth -= *s == '}' || *s == ']';
        s = *s == '"' ? skip_string(s) : s + 1;
        if (!s || !depth) return s;
    }
    return NULL;
}

/* Reads the value at `s` into the row if it is a number; NaN and Infinity, which printf and Python write, are. Returns its end. */
static const char *read_value(const char *s, struct row *row, const char *name, size_t length)
{
    if (*s == '"') return skip_string(s);
    if (*s == '{' || *s == '[') return skip_nested(s);
    static const char *const words[] = {"null", "true", "false"};
    for (int w = 0; w < 3; w++)
        if (!strncmp(s, words[w], strlen(words[w]))) return s + strlen(words[w]);
    char *end;
    double value = strtod(s, &end);
    if (end == s) return NULL;
    add_item(row, name, length, value);
    return end;
}

static bool read_object(const char *s, struct row *row)
{
    s = skip_blank(s);
    if (*s++ != '{') return false;
    for (;;) {
        s = skip_blank(s);
        const char *name = s + 1;
        if (*s != '"' || !(s = skip_string(s))) return false;
        size_t length = (size_t)(s - name) - 1;
        s = skip_blank(s);
        if (*s++ != ':') return false;
        s = read_value(skip_blank(s), row, name, length);
        if (!s) return false;
        s = skip_blank(s);
        if (*s == '}') return !*skip_blank(s + 1) && row->has_step;
        if (*s++ != ',') return false;
    }
}

/* Calls `take` for each line; `take` returns false if memory ran out. */
static enum dg_status each_line(const char *path, struct dg_series *s,
                                bool (*take)(void *context, struct dg_series *s, const char *line), void *context,
                                struct dg_error *err)
{
    char *line = NULL;
    size_t size = 0;
    FILE *file = fopen(path, "re");
    if (!file) return dg_fail(err, DG_ERR_IO, "%s: %s", path, strerror(errno));
    bool ok = true;
    *s = (struct dg_series){.not_finite = -1};
    for (ssize_t length; ok && (length = getline(&line, &size, file)) > 0;) {
        s->cut = line[length - 1] != '\n';
        ok = take(context, s, line);
    }
    ok = ok && !ferror(file);
    free(line);
    fclose(file);
    return ok ? DG_OK : dg_fail(err, DG_ERR_IO, "%s: cannot be read, or too little memory", path);
}

static bool take_object(void *context, struct dg_series *s, const char *line)
{
    (void)context;
    struct row row = {0};
    if (!*skip_blank(line)) return true;
    if (read_object(line, &row)) {
        s->cut = false; /* complete but for its line end */
        return take_row(s, &row);
    }
    s->unread += !s->cut;
    return true;
}

enum dg_status dg_series_read_lines(const char *path, struct dg_series *s, struct dg_error *err)
{
    return each_line(path, s, take_object, NULL, err);
}

/* ---- results ---- */

/* What is read of results.csv (tools/README.md), in this order. */
enum { STEP, MEASURE, VALUE, MOST_FREQUENT, NETWORK, FIELDS };
static const char *const field_name[FIELDS] = {"step", "measure", "value", "most_frequent", "network"};

struct csv {
    int place[FIELDS]; /* of each among the values of a line; -1: the file has none */
    bool begun;
};

/* Copies the next value into `text`, without its quotes; returns what follows it, NULL at the end of the line. */
static const char *next_value(const char *s, char *text, size_t size)
{
    size_t used = 0;
    bool quoted = *s == '"';
    for (s += quoted; *s && *s != '\n' && *s != '\r' && (quoted || *s != ','); s++) {
        if (quoted && *s == '"' && *++s != '"') break; /* "" stands for a quote */
        if (used + 1 < size) text[used++] = *s;
    }
    text[used] = 0;
    s += strcspn(s, ",\r\n");
    return *s == ',' ? s + 1 : NULL;
}

/* The row of that step; -1: out of memory. */
static int64_t row_of(struct dg_series *s, double step)
{
    int64_t at = s->rows;
    while (at && s->step[at - 1] >= step) at--;
    if (at < s->rows && s->step[at] == step) return at;
    if (s->rows == s->capacity && !grow(s)) return -1;
    size_t behind = sizeof(double) * (size_t)(s->rows - at);
    memmove(s->step + at + 1, s->step + at, behind);
    s->step[at] = step;
    for (int c = 0; c < s->columns; c++) {
        memmove(s->column[c].value + at + 1, s->column[c].value + at, behind);
        s->column[c].value[at] = NAN;
    }
    s->rows++;
    return at;
}

static bool set_result(struct dg_series *s, double step, const char *name, double value)
{
    int64_t row = row_of(s, step);
    struct dg_column *column = row < 0 ? NULL : column_of(s, name);
    if (column) column->value[row] = value;
    return row >= 0;
}

static bool take_result(struct dg_series *s, char field[FIELDS][DG_COLUMN_NAME])
{
    char *end, *value_end, name[2 * DG_COLUMN_NAME];
    double step = strtod(field[STEP], &end), value = strtod(field[VALUE], &value_end);
    bool student = !strcmp(field[NETWORK], "student");
    if (end == field[STEP] || !(step >= 0 && step < 1e15) || value_end == field[VALUE] || !isfinite(value) ||
        !field[MEASURE][0]) {
        s->unread += field[STEP][0] != 0; /* weights of no run have no step */
        return true;
    }
    snprintf(name, sizeof name, "%s%s", field[MEASURE], student ? ", student" : "");
    if (!set_result(s, step, name, value)) return false;
    double most = strtod(field[MOST_FREQUENT], &end);
    return end == field[MOST_FREQUENT] || !isfinite(most) || set_result(s, step, "most_frequent", most);
}

static bool take_values(void *context, struct dg_series *s, const char *line)
{
    struct csv *csv = context;
    char text[DG_COLUMN_NAME], field[FIELDS][DG_COLUMN_NAME] = {{0}};
    if (!*skip_blank(line)) return true;
    for (int at = 0; line; at++) {
        line = next_value(line, text, sizeof text);
        for (int f = 0; f < FIELDS; f++) {
            if (!csv->begun && !strcmp(text, field_name[f])) csv->place[f] = at;
            if (csv->begun && csv->place[f] == at) memcpy(field[f], text, sizeof text);
        }
    }
    if (csv->begun) return take_result(s, field);
    csv->begun = true;
    return true;
}

enum dg_status dg_series_read_results(const char *path, struct dg_series *s, struct dg_error *err)
{
    struct csv csv = {.place = {-1, -1, -1, -1, -1}};
    return each_line(path, s, take_values, &csv, err);
}

/* ---- questions ---- */

const struct dg_column *dg_series_find(const struct dg_series *s, const char *name)
{
    for (int c = 0; c < s->columns; c++)
        if (!strcmp(s->column[c].name, name)) return &s->column[c];
    return NULL;
}

double dg_series_last(const struct dg_series *s, const char *name)
{
    const struct dg_column *column = dg_series_find(s, name);
    for (int64_t r = s->rows - 1; column && r >= 0; r--)
        if (!isnan(column->value[r])) return column->value[r];
    return NAN;
}

double dg_series_mean(const struct dg_series *s, const char *name, int64_t first, int64_t end)
{
    const struct dg_column *column = dg_series_find(s, name);
    double sum = 0;
    int64_t count = 0;
    for (int64_t r = first < 0 ? 0 : first; column && r < end && r < s->rows; r++) {
        if (isnan(column->value[r])) continue;
        sum += column->value[r];
        count++;
    }
    return count ? sum / (double)count : NAN;
}

double dg_series_tail_mean(const struct dg_series *s, const char *name)
{
    return dg_series_mean(s, name, s->rows - DG_SERIES_TAIL, s->rows);
}

void dg_series_free(struct dg_series *s)
{
    for (int c = 0; c < s->columns; c++) free(s->column[c].value);
    free(s->step);
    *s = (struct dg_series){0};
}
