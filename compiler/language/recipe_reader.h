/* Reads the tree of a definition by a table of keys. */
#ifndef DG_COMPILER_LANGUAGE_RECIPE_READER_H
#define DG_COMPILER_LANGUAGE_RECIPE_READER_H

#include "compiler/language/key.h"
#include "compiler/language/knobs.h"
#include "compiler/language/program.h"

struct dg_reader {
    struct dg_program *program;
    const char *kind;             /* "recipe", "probe": in messages */
    const char *name;             /* of the definition */
    struct dg_yaml *map;          /* of the definition */
    void *recipe;                 /* the structure that the rows' fields are offsets in */
    struct dg_knob_list *knobs;   /* where knobs and schedules go */
    const struct dg_scope *scope; /* keys that expressions may name (struct dg_key, named) */
    bool no_defaults;             /* inside of DG_KEY_ITEMS */
};

/* Reads all keys of the table, writes defaults into the tree, and reports everything that is wrong, also keys that no row
 * names. */
void dg_read_keys(struct dg_reader *r, const struct dg_key *keys);

/* Puts the YAML text of a default into `map` under `name`, without places, as it is not the user's. */
void dg_put_default(struct dg_program *program, struct dg_yaml *map, const char *name, const char *text);

/* The part of the definition at a path of keys; NULL: it is not there. */
struct dg_yaml *dg_read_path(struct dg_reader *r, const char *path);
/* The same, of a mapping; NULL also where it is none, which was reported. */
struct dg_yaml *dg_read_map(struct dg_reader *r, const char *path);

/* Reads the item of a list at `path` by a table of its own, with defaults. */
void dg_read_item(struct dg_reader *r, struct dg_yaml *item, const struct dg_key *keys, const char *path);
/* The text of a word; NULL: reported. */
const char *dg_read_word(struct dg_reader *r, const struct dg_yaml *yaml, const char *path);
/* Reads a DG_KEY_UNTIL: the length `yaml` at `path` in the mapping `map`, which becomes a schedule. */
void dg_read_until(struct dg_reader *r, const struct dg_yaml *map, const struct dg_yaml *yaml, const char *path);

/* Writes the arguments of the module that `module` names into `with`, for --print to show, and reports what is wrong with
 * them. NULL for either: nothing happens. */
void dg_read_show_arguments(struct dg_reader *r, struct dg_yaml *with, const struct dg_yaml *module,
                            struct dg_args *args);

#endif
