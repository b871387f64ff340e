#include "compiler/base/diag.h"

#include <stdio.h>
#include <string.h>

enum { MAX_SHOWN = 20 };

struct source {
    const char *file, *text;
    struct source *next;
};

struct dg_diagnostics {
    struct dg_arena *arena;
    struct source *sources;
    char *text;
    size_t length, capacity;
    int errors;
    bool repeated; /* the newest error had been reported before */
};

struct dg_diagnostics *dg_diag_create(struct dg_arena *arena)
{
    struct dg_diagnostics *diag = dg_arena_alloc(arena, sizeof *diag);
    diag->arena = arena;
    return diag;
}

void dg_diag_source(struct dg_diagnostics *diag, const char *file, const char *text)
{
    struct source *source = dg_arena_alloc(diag->arena, sizeof *source);
    *source = (struct source){file, text, diag->sources};
    diag->sources = source;
}

static void append(struct dg_diagnostics *diag, const char *text, size_t length)
{
    while (diag->length + length + 1 > diag->capacity)
        diag->text = dg_arena_grow(diag->arena, diag->text, diag->capacity, &diag->capacity, 1);
    memcpy(diag->text + diag->length, text, length);
    diag->length += length;
    diag->text[diag->length] = 0;
}

/* The line the place is in, and a caret under the column. */
static void show_line(struct dg_diagnostics *diag, const struct dg_origin *at)
{
    const struct source *source = diag->sources;
    while (source && strcmp(source->file, at->file)) source = source->next;
    if (!source || at->line <= 0) return;
    const char *line = source->text;
    for (int n = 1; n < at->line; n++) {
        line = strchr(line, '\n');
        if (!line) return;
        line++;
    }
    size_t length = strcspn(line, "\r\n"), column = at->column > 0 ? (size_t)at->column - 1 : 0;
    if (length > 200 || column > length) return;
    append(diag, "    ", 4);
    append(diag, line, length);
    append(diag, "\n    ", 5);
    for (const char *c = line; column && c < line + length; c++) /* columns count characters, not bytes */
        if (((unsigned char)*c & 0xc0) != 0x80) {
            append(diag, *c == '\t' ? "\t" : " ", 1);
            column--;
        }
    append(diag, "^\n", 2);
}

static const char *message(struct dg_diagnostics *diag, const struct dg_origin *at, const char *kind,
                           const char *format, va_list args)
{
    const char *where = at && at->file
                            ? at->line > 0 ? dg_arena_printf(diag->arena, "%s:%d:%d: ", at->file, at->line, at->column)
                                           : dg_arena_printf(diag->arena, "%s: ", at->file)
                            : "";
    char *what = dg_arena_vprintf(diag->arena, format, args);
    return dg_arena_printf(diag->arena, "%s%s: %s\n", where, kind, what);
}

static void show(struct dg_diagnostics *diag, const struct dg_origin *at, const char *line)
{
    append(diag, line, strlen(line));
    if (at && at->file) show_line(diag, at);
}

void dg_diag_error(struct dg_diagnostics *diag, const struct dg_origin *at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *line = message(diag, at, "error", format, args);
    va_end(args);
    /* A node that is applied to several inputs is wrong every time: saying so once is enough. */
    diag->repeated = diag->text && strstr(diag->text, line);
    if (diag->repeated || ++diag->errors > MAX_SHOWN) return;
    show(diag, at, line);
}

void dg_diag_note(struct dg_diagnostics *diag, const struct dg_origin *at, const char *format, ...)
{
    if (diag->repeated || diag->errors > MAX_SHOWN) return;
    va_list args;
    va_start(args, format);
    show(diag, at, message(diag, at, "note", format, args));
    va_end(args);
}

struct dg_arena *dg_diag_arena(struct dg_diagnostics *diag) { return diag->arena; }

int dg_diag_errors(const struct dg_diagnostics *diag) { return diag->errors; }

const char *dg_diag_text(struct dg_diagnostics *diag)
{
    if (diag->errors <= MAX_SHOWN) return diag->text ? diag->text : "";
    return dg_arena_printf(diag->arena, "%s%d more errors\n", diag->text, diag->errors - MAX_SHOWN);
}
