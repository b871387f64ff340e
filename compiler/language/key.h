/* The keys of recipes and probes, as tables. A row says what a key is; from the rows a description is read, checked and
 * completed by its defaults (recipe_reader.c), and `dinoc --schema` and `dinoc --keys` are printed. */
#ifndef DG_COMPILER_LANGUAGE_KEY_H
#define DG_COMPILER_LANGUAGE_KEY_H

#include "compiler/base/arena.h"
#include "compiler/base/origin.h"
#include "ops/op.h"

/* The kinds of keys, with what a row's field holds of one. Kinds without a field make knobs or nothing. */
enum dg_key_kind {
    DG_KEY_MAP,       /* a mapping; the rows whose paths begin with this one's and a dot say what it may hold */
    DG_KEY_ARGUMENTS, /* a mapping of arguments of a module, which may hold any name */
    DG_KEY_ARGUMENT,  /* in DG_KEY_ARGUMENTS: an argument with a default where the key `needs` is given */
    DG_KEY_WORD,      /* const char * */
    DG_KEY_CHOICE,    /* an enum: the index in `choice` */
    DG_KEY_FLAGS,     /* unsigned: a list of choices, bit i set for choice i */
    DG_KEY_BOOL,      /* bool */
    DG_KEY_INT,       /* int64_t, or a knob if `knob` is set */
    DG_KEY_SIZE,      /* struct dg_recipe_crops, height and width: pixels, one number or [height, width] */
    DG_KEY_ITEMS,     /* int64_t: the number of mappings in a list, 1 to `count`; rows of each in `item`, no defaults */
    DG_KEY_OPTIMIZER, /* const struct dg_op *; the op's own knobs are keys beside this one */
    DG_KEY_FLOAT,     /* a knob */
    DG_KEY_PAIR,      /* a knob: [low, high] */
    DG_KEY_LIST,      /* `count` numbers: knobs PATH.0, PATH.1, .. */
    DG_KEY_DURATION,  /* a knob: a length of the run, "10 epochs" or "500 steps" */
    DG_KEY_INTERVAL, /* the same for each so often, also by the clock, "1 epoch or 15 minutes": a knob, and GROUP.minutes */
    DG_KEY_UNTIL, /* a duration from the start of the run: the mapping it is in becomes a schedule, 1 before its end */
    DG_KEY_SCHEDULE,          /* a number, or a curve over the run: knobs PATH or PATH.from .., and a schedule */
    DG_KEY_FLOAT_OR_SCHEDULE, /* a number as DG_KEY_FLOAT, a curve as DG_KEY_SCHEDULE: plans with a number have no schedule */
};

struct dg_recipe_crops {
    const char *name;             /* of the views of a training step: "crops.global", "crops.local.1" */
    int64_t height, width;        /* pixels */
    int64_t count;                /* views of this resolution; 0: no such group */
    struct dg_origin size_origin; /* where the size is written, for shape errors */
};

struct dg_key_choice {
    const char *word; /* NULL ends the list */
    const char *doc;  /* what it means, for messages; NULL: the word says it */
};

struct dg_reader;
struct dg_yaml;
struct dg_key {
    const char *path; /* "crops.global.size"; NULL ends a table */
    enum dg_key_kind kind;
    const char *value; /* the default, as in YAML; NULL: none (of a mapping: an empty one) */
    bool required;
    double min, max; /* of numbers, inclusive */
    const struct dg_key_choice *choice;
    const struct dg_key *item;
    size_t count;
    /* Of DG_KEY_MAP: a list of such mappings may stand in its place, of which this reads item `index`, whose path is `path`. NULL: it
     * may not. */
    void (*item_of)(struct dg_reader *r, struct dg_yaml *item, const char *path, int index);
    bool optional; /* of DG_KEY_MAP: where it is left out, so are the rows below it; else these have their defaults */
    bool knob;     /* of DG_KEY_INT */
    bool named;    /* of DG_KEY_INT: expressions of the keys after it may use the value by the key's name */
    const char *only;  /* of DG_KEY_OPTIMIZER: the one optimiser there may be; NULL: any */
    const char *needs; /* of DG_KEY_ARGUMENT */
    const char *must;  /* what a value of the wrong form is told that it must be; NULL: a sentence by the kind */
    size_t field;      /* offset in the recipe's structure */
    /* Sets the default and the lower bound in a copy of the row, from what of the recipe has been read before. NULL: the row
     * says them. */
    void (*derive)(struct dg_reader *r, struct dg_key *key);
    const char *derived; /* what `derive` makes the default, in words */
    /* Called after the row, and what is below it, has been read. NULL: nothing more to be done. */
    void (*then)(struct dg_reader *r);
    const char *doc; /* one sentence */
};

/* Is it a number that `dinorun --set` may change, in a plan? */
bool dg_key_is_knob(const struct dg_key *key);
/* The keys of an optimiser's own knobs, "optim.eps", from its op; ended by a NULL path. */
const struct dg_key *dg_optimizer_keys(struct dg_arena *arena, const struct dg_op *op);
/* Those of all optimisers that the row allows, each once, with the names of its optimisers behind what it says. */
const struct dg_key *dg_optimizer_keys_of(struct dg_arena *arena, const struct dg_key *row);
/* The index-th optimiser among the ops; NULL: there are no more. */
const struct dg_op *dg_optimizer_at(int index);

#endif
