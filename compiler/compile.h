/* Compiles a description to a plan: the compiler's only door. */
#ifndef DG_COMPILER_COMPILE_H
#define DG_COMPILER_COMPILE_H

#include "compiler/base/diag.h"
#include "ops/base/base.h"

struct dg_compile_options {
    /* Where descriptions are looked for that are not where the user points, in this order. */
    const char *const *folder;
    int folders;
    const char *file;       /* the description */
    const char *name;       /* the definition in it; NULL: its last recipe or probe, else its last module */
    const char *output;     /* the plan to write; NULL: none */
    const char *const *set; /* "a.b=value", in order */
    int num_sets;
    int64_t batch;         /* 0: the description's (a module alone: 1) */
    int64_t height, width; /* of the images of evaluation entries, in pixels; 0: the description's */
    int64_t ranks;         /* processes that share a recipe's step; 0: it is made for one */
    int64_t memory;        /* what a recipe's step may take, planned, in bytes; 0: no limit */
    const char *explain;   /* describe this node, or all whose path begins with it, instead of the report; NULL: no */
    bool probe;            /* of a recipe: compile the linear probe of its backbone */
    const char *dtype;     /* "f32" or "bf16"; NULL: the description's (a module alone: f32) */
    const char *math;      /* how products of f32 are computed: "f32", "bf16x3" or "bf16x6"; NULL: "f32" */
    bool plain;            /* no optimisation: for tests and for finding faults */
    const char *skip;      /* passes not to run, with commas between them; NULL: none */
    const char *dump;      /* passes whose graphs are added to the result's dumps, "PASS[,PASS][:NODE]"; NULL: none */
    bool print;            /* write the description with every default filled in instead of the report */
};

struct dg_compile_result {
    const char *text;                       /* report, explanation or description */
    const char *dumps;                      /* graphs, if asked for */
    const char *diagnostics;                /* errors with file:line:col; empty if there are none */
    const struct dg_diagnostic *diagnostic; /* the same, one by one; of more than 20 errors the first */
    size_t num_diagnostics;
    int errors;             /* also those that are only counted */
    struct dg_arena *arena; /* where all of this is; NULL: memory was out */
};

/* DG_ERR_INPUT when the description has errors (they are in the diagnostics), DG_ERR_MEMORY, DG_ERR_IO (the plan could not
 * be written: err says why). Free the result in any case. */
enum dg_status dg_compile(const struct dg_compile_options *options, struct dg_compile_result *result,
                          struct dg_error *err);
void dg_compile_result_free(struct dg_compile_result *result);

/* The descriptions in the folders, as text to be freed; NULL: out of memory. */
char *dg_compile_list(const char *const *folder, int folders);
/* Copies a description of the folders, with its comments, to `output` (NULL: under its own name to the current folder); *written
 * receives the path, to be freed. DG_ERR_USAGE: there is none, or the file is there already. */
enum dg_status dg_compile_copy(const char *const *folder, int folders, const char *name, const char *output,
                               char **written, struct dg_error *err);

/* What there is, as text to be freed: the passes; the ops and the keys that a description may use, as tables in Markdown; the
 * JSON schema of descriptions. NULL: out of memory. */
enum dg_reference { DG_REFERENCE_PASSES, DG_REFERENCE_OPS, DG_REFERENCE_KEYS, DG_REFERENCE_SCHEMA };
char *dg_compile_reference(enum dg_reference what);

/* What a key of recipes and probes says, as text to be freed; NULL: there is no such key, or too little memory. */
char *dg_compile_explain_key(const char *key);
/* A key that is spelled nearly so; NULL: there is none. */
const char *dg_compile_nearest_key(const char *key);

#endif
