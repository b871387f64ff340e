/* What descriptions may use, and which come with the program, as text. */
#include "compiler/compile.h"

#include "compiler/language/library.h"
#include "compiler/pipeline/pipeline.h"
#include "compiler/report/reference.h"

#include <stdlib.h>
#include <string.h>

/* What `write` adds to an empty text, to be freed. NULL: it returns false, or memory ran out. */
static char *text_of(bool (*write)(struct dg_text *text, const void *context), const void *context)
{
    jmp_buf out_of_memory;
    struct dg_arena *arena = dg_arena_create(&out_of_memory);
    if (!arena) return NULL;
    if (setjmp(out_of_memory)) {
        dg_arena_free(arena);
        return NULL;
    }
    struct dg_text text = {.arena = arena};
    char *copy = write(&text, context) ? strdup(text.text ? text.text : "") : NULL;
    dg_arena_free(arena);
    return copy;
}

static bool write_reference(struct dg_text *text, const void *what)
{
    switch (*(const enum dg_reference *)what) {
    case DG_REFERENCE_PASSES: dg_list_passes(text); break;
    case DG_REFERENCE_OPS: dg_print_ops(text); break;
    case DG_REFERENCE_KEYS: dg_print_keys(text); break;
    case DG_REFERENCE_SCHEMA: dg_print_schema(text); break;
    }
    return true;
}

char *dg_compile_reference(enum dg_reference what) { return text_of(write_reference, &what); }

static bool write_key(struct dg_text *text, const void *key) { return dg_explain_key(text, key); }

char *dg_compile_explain_key(const char *key) { return text_of(write_key, key); }

const char *dg_compile_nearest_key(const char *key) { return dg_nearest_key(key); }

static bool write_list(struct dg_text *text, const void *library)
{
    dg_library_list(library, text);
    return true;
}

char *dg_compile_list(const char *const *folder, int folders)
{
    const struct dg_library library = {folder, folders};
    return text_of(write_list, &library);
}
