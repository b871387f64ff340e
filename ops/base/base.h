/* Statuses, errors and the few helpers that every layer shares. Includes no other header of the project. */
#ifndef DG_OPS_BASE_BASE_H
#define DG_OPS_BASE_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What kind of thing went wrong. The text in struct dg_error says what, where and what to do. */
enum dg_status {
    DG_OK = 0,
    DG_ERR_USAGE,       /* the caller asked for something that does not exist: a flag, an entry, a name */
    DG_ERR_INPUT,       /* a file's content is wrong: YAML, plan, weights, image */
    DG_ERR_IO,          /* the operating system refused: open, read, write, rename, disk full */
    DG_ERR_MEMORY,      /* too little memory */
    DG_ERR_UNSUPPORTED, /* correct, but this build or this oneDNN cannot do it */
    DG_ERR_NUMERIC,     /* a non-finite loss or gradient */
    DG_ERR_INTERNAL,    /* our own bug */
};

/* An error is a value: library code fills one and returns its status; only tools/ print. A later failure does not replace the first. */
struct dg_error {
    enum dg_status status;
    char text[1536];
};

/* Fills `err` (may be NULL) unless it already holds an error, and returns `status`. */
enum dg_status dg_fail(struct dg_error *err, enum dg_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text of an error that is already set; for callers that know the file or the tensor. */
void dg_error_prefix(struct dg_error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define DG_TRY(call)                                                                                                   \
    do {                                                                                                               \
        enum dg_status dg_try_status = (call);                                                                         \
        if (dg_try_status != DG_OK) return dg_try_status;                                                              \
    } while (0)

#define DG_TRY_GOTO(label, status_variable, call)                                                                      \
    do {                                                                                                               \
        (status_variable) = (call);                                                                                    \
        if ((status_variable) != DG_OK) goto label;                                                                    \
    } while (0)

/* Checked products and sums on sizes: false when the result does not fit. */
bool dg_mul_i64(int64_t a, int64_t b, int64_t *result); /* operands and result non-negative */
bool dg_add_i64(int64_t a, int64_t b, int64_t *result);

static inline int64_t dg_round_up(int64_t value, int64_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}
static inline int64_t dg_min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t dg_max_i64(int64_t a, int64_t b) { return a > b ? a : b; }

/* FNV-1a, 64 bits: names to random streams, plan checksum, model hash. Chain by passing the previous result as `basis`. */
#define DG_FNV_BASIS UINT64_C(0xcbf29ce484222325)
uint64_t dg_fnv1a(uint64_t basis, const void *bytes, size_t size);

/* How many letters are to be put in, left out, changed or exchanged with their neighbour; 64 for long words. */
int dg_edit_distance(const char *a, const char *b);
/* The nearest of `count` candidates to `word` by edit distance, or NULL when none is close ("did you mean").
 * `candidate(context, i)` returns the i-th. The result is one of those pointers. */
const char *dg_nearest_name(const char *word, const char *(*candidate)(const void *context, int index),
                            const void *context, int count);

/* A clock that only goes forward, for durations. */
double dg_seconds_now(void);

/* "1.5 GiB", "12.0 MiB", "640 B" into `text`; returns `text`. */
const char *dg_format_bytes(char *text, size_t size, double bytes);

#endif
