/* Folders of descriptions, where imports and bare names are looked for besides where they point. */
#ifndef DG_COMPILER_LANGUAGE_LIBRARY_H
#define DG_COMPILER_LANGUAGE_LIBRARY_H

#include "compiler/base/text.h"

struct dg_library {
    const char *const *folder; /* those that come first are looked at first */
    int folders;
};

/* FOLDER/NAME, or FOLDER/NAME.yaml, of the first folder that has it; NULL: none has. Names that begin with / or ./ are in none. */
const char *dg_library_find(const struct dg_library *library, struct dg_arena *arena, const char *name);
/* `path` if it is a file, else what the folders have under `name`, else `path`. */
const char *dg_library_path(const struct dg_library *library, struct dg_arena *arena, const char *path,
                            const char *name);
/* "a, b and c"; "" if there are none. */
const char *dg_library_text(const struct dg_library *library, struct dg_arena *arena);
/* A line for each file, with the first line of its comment, and under it its recipes, probes and modules. */
void dg_library_list(const struct dg_library *library, struct dg_text *text);

#endif
