#include "compiler/base/diag.h"

#include "compiler/base/text.h"

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
    struct dg_diagnostic *message;
    size_t count, capacity;
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

/* The line the place is in, and a caret under the column. */
static void show_line(const struct dg_diagnostics *diag, const struct dg_origin *at, struct dg_text *text)
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
    dg_text_add(text, "    %.*s\n    ", (int)length, line);
    for (const char *c = line; column && c < line + length; c++) /* columns count characters, not bytes */
        if (((unsigned char)*c & 0xc0) != 0x80) {
            dg_text_add(text, *c == '\t' ? "\t" : " ");
            column--;
        }
    dg_text_add(text, "^\n");
}

static bool same_place(const struct dg_origin *a, const struct dg_origin *b)
{
    if (!a->file || !b->file) return a->file == b->file;
    return !strcmp(a->file, b->file) && a->line == b->line && a->column == b->column;
}

static bool is_reported(const struct dg_diagnostics *diag, const struct dg_diagnostic *error)
{
    for (size_t m = 0; m < diag->count; m++) {
        const struct dg_diagnostic *other = &diag->message[m];
        if (!other->note && same_place(&other->at, &error->at) && !strcmp(other->message, error->message)) return true;
    }
    return false;
}

static void add(struct dg_diagnostics *diag, const struct dg_diagnostic *message)
{
    diag->message = dg_arena_grow(diag->arena, diag->message, diag->count, &diag->capacity, sizeof *diag->message);
    diag->message[diag->count++] = *message;
}

static struct dg_diagnostic make(struct dg_diagnostics *diag, const struct dg_origin *at, bool note, const char *format,
                                 va_list args)
{
    struct dg_diagnostic made = {.note = note, .message = dg_arena_vprintf(diag->arena, format, args)};
    if (at) made.at = *at;
    return made;
}

void dg_diag_error(struct dg_diagnostics *diag, const struct dg_origin *at, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    struct dg_diagnostic error = make(diag, at, false, format, args);
    va_end(args);
    /* A node that is applied to several inputs is wrong every time: saying so once is enough. */
    diag->repeated = is_reported(diag, &error);
    if (diag->repeated || ++diag->errors > MAX_SHOWN) return;
    add(diag, &error);
}

void dg_diag_note(struct dg_diagnostics *diag, const struct dg_origin *at, const char *format, ...)
{
    if (diag->repeated || diag->errors > MAX_SHOWN) return;
    va_list args;
    va_start(args, format);
    struct dg_diagnostic note = make(diag, at, true, format, args);
    va_end(args);
    add(diag, &note);
}

struct dg_arena *dg_diag_arena(struct dg_diagnostics *diag) { return diag->arena; }

int dg_diag_errors(const struct dg_diagnostics *diag) { return diag->errors; }

const struct dg_diagnostic *dg_diag_messages(const struct dg_diagnostics *diag, size_t *count)
{
    *count = diag->count;
    return diag->message;
}

const char *dg_diag_text(struct dg_diagnostics *diag)
{
    struct dg_text text = {.arena = diag->arena};
    for (size_t m = 0; m < diag->count; m++) {
        const struct dg_origin *at = &diag->message[m].at;
        if (at->file && at->line > 0)
            dg_text_add(&text, "%s:%d:%d: ", at->file, at->line, at->column);
        else if (at->file)
            dg_text_add(&text, "%s: ", at->file);
        dg_text_add(&text, "%s: %s\n", diag->message[m].note ? "note" : "error", diag->message[m].message);
        if (at->file) show_line(diag, at, &text);
    }
    if (diag->errors > MAX_SHOWN) dg_text_add(&text, "%d more errors\n", diag->errors - MAX_SHOWN);
    return text.text ? text.text : "";
}
