/* Inside of struct dg_program: definitions by name, arguments to scopes. */
#ifndef DG_COMPILER_LANGUAGE_PROGRAM_H
#define DG_COMPILER_LANGUAGE_PROGRAM_H

#include "compiler/language/expr.h"
#include "compiler/language/language.h"

struct dg_definition {
    enum dg_definition_kind kind;
    const char *name;
    struct dg_yaml *map;
    struct dg_definition *next;
};

struct dg_program {
    struct dg_arena *arena;
    struct dg_diagnostics *diag;
    struct dg_definition *first, *last;
    const char **file; /* read so far */
    size_t num_files, file_capacity;
    const char *settings; /* the text of all --set so far */
};

/* A value for an argument, from `with:` or from the compiler. */
struct dg_given {
    const char *name;
    struct dg_term value;
    struct dg_origin origin;
    bool used;
    struct dg_given *next;
};

struct dg_definition *dg_program_definition(struct dg_program *program, enum dg_definition_kind kind, const char *name);
/* Adds the items of a `with:` map (NULL: none), evaluated in `scope`, that are not given yet. False: reported. */
bool dg_program_give(struct dg_program *program, struct dg_yaml *with, const struct dg_scope *scope,
                     struct dg_given **given);
/* Follows `like:` to the module that has the nodes, and binds its arguments: *scope holds them. */
bool dg_program_bind(struct dg_program *program, const char *module, const struct dg_origin *at, struct dg_given *given,
                     struct dg_definition **base, const struct dg_scope **scope);

#endif
