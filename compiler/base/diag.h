/* Diagnostics: every message has a place, and one compile reports all the errors it can find.
 *
 *   graphs/vit.yaml:31:18: error: patch 16 does not divide 100
 *     local: {size: 100, ...}
 *                   ^~~
 *   graphs/vit.yaml:24:3: note: applied here ...
 */
#ifndef DG_COMPILER_BASE_DIAG_H
#define DG_COMPILER_BASE_DIAG_H

#include "compiler/base/arena.h"
#include "compiler/base/origin.h"

#include <stdbool.h>

/* A message of which the place is `at`: its file is NULL, or its line 0, where there is none. */
struct dg_diagnostic {
    struct dg_origin at;
    bool note; /* to the error before it */
    const char *message;
};

struct dg_diagnostics; /* collects; does not print */
struct dg_diagnostics *dg_diag_create(struct dg_arena *arena);

/* Gives the text of a source file, so that messages can show the line. Both strings live in the arena. */
void dg_diag_source(struct dg_diagnostics *diag, const char *file, const char *text);

/* An error at a place, and notes that belong to the newest error. After 20 errors the rest is counted only. */
void dg_diag_error(struct dg_diagnostics *diag, const struct dg_origin *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void dg_diag_note(struct dg_diagnostics *diag, const struct dg_origin *at, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Where texts for messages may be made. */
struct dg_arena *dg_diag_arena(struct dg_diagnostics *diag);
int dg_diag_errors(const struct dg_diagnostics *diag);
/* All messages as one text, in the order reported. */
const char *dg_diag_text(struct dg_diagnostics *diag);
/* The messages themselves, *count of them, without the line that says how many more errors there are. */
const struct dg_diagnostic *dg_diag_messages(const struct dg_diagnostics *diag, size_t *count);

#endif
