/* The definitions of a file and of its imports, by name, and arguments of modules.
 *
 * All errors go to the program's diagnostics with file:line:col; functions return false or NULL once they have reported one.
 * The language is described in graphs/README.md. */
#ifndef DG_COMPILER_LANGUAGE_PROGRAM_H
#define DG_COMPILER_LANGUAGE_PROGRAM_H

#include "compiler/language/expr.h"
#include "compiler/language/library.h"

enum dg_definition_kind { DG_DEFINITION_NONE, DG_DEFINITION_MODULE, DG_DEFINITION_RECIPE, DG_DEFINITION_PROBE };

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
    struct dg_library library;
};

/* Reads `path` and everything it imports, beside it or else from the library (NULL: none). NULL: errors are in diag, among them an
 * unreadable file. */
struct dg_program *dg_program_load(struct dg_arena *arena, struct dg_diagnostics *diag, const char *path,
                                   const struct dg_library *library);

/* The definition to compile: `name`, or when NULL the last recipe or probe of the file, else its last module. */
enum dg_definition_kind dg_program_find(struct dg_program *program, const char *name, const char **found);
/* "; did you mean NAME?", of the definition whose name is nearest; "" if none is near. */
const char *dg_program_nearest(const struct dg_program *program, const char *name);
/* Adds one; `name` is the scalar that names it. False: reported. */
bool dg_program_add(struct dg_program *program, struct dg_yaml *map, enum dg_definition_kind kind,
                    const struct dg_yaml *name);
struct dg_definition *dg_program_definition(struct dg_program *program, enum dg_definition_kind kind, const char *name);

/* Replaces the tree of a recipe with `like:` by that of the recipe it names, with its own keys put into it: mappings key by key, lists,
 * curves and values as a whole; `without:` takes keys out (recipe_like.c). False: reported. */
bool dg_program_resolve_like(struct dg_program *program, struct dg_definition *recipe);

/* Applies one `--set a.b=value` to the tree of a definition (settings.c). The key is a path of mapping keys and list
 * positions, the value is YAML. What is not there yet is added; whether it may be there is checked when the tree is read.
 * `number` counts the assignments of this compile from 1, for the places in messages. False: reported. */
bool dg_program_set(struct dg_program *program, struct dg_yaml *map, const char *assignment, int number);

/* A list of arguments of a module, from `with:` or from the compiler; NULL: an empty one. */
struct dg_args {
    const char *name;
    struct dg_term value;
    struct dg_origin origin;
    bool used;
    struct dg_args *next;
};

/* Evaluates the items of a `with:` map (NULL: none) in `scope` and puts those into *args that are not there yet. False:
 * reported. */
bool dg_program_read_args(struct dg_program *program, struct dg_yaml *with, const struct dg_scope *scope,
                          struct dg_args **args);
/* Follows `like:` to the module that has the nodes, *base, and binds its arguments: *scope holds them. */
bool dg_program_bind_args(struct dg_program *program, const char *module, const struct dg_origin *at,
                          struct dg_args *args, struct dg_definition **base, const struct dg_scope **scope);
/* Writes the value of a bound argument into a map of arguments, where --print shows it: if it is not there, or always. */
void dg_program_show_argument(struct dg_program *program, struct dg_yaml *map, const struct dg_scope *argument,
                              bool replace);

#endif
