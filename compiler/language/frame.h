/* The state of an elaboration, which elaborate.c, resolve.c, params.c, make_op.c and check_module.c share. */
#ifndef DG_COMPILER_LANGUAGE_FRAME_H
#define DG_COMPILER_LANGUAGE_FRAME_H

#include "compiler/base/string_map.h"
#include "compiler/graph/graph.h"
#include "compiler/language/program.h"

struct dg_instance {
    struct dg_program *program;
    struct dg_graph *graph;
    struct dg_definition *module;
    const struct dg_scope *scope;
    const char *prefix;
    bool trainable;
    dg_value *param; /* in the order of their first use */
    size_t num_params, param_capacity;
    struct dg_string_map names; /* to values; without the prefix */
};

/* What a name refers to: the outputs of an op, or a module that is used. A node that failed was reported; it poisons what
 * reads it, which is then not reported. */
struct dg_result {
    bool poisoned;
    const struct dg_op *op;
    dg_value output[DG_MAX_OUTPUTS];
    struct dg_frame *frame; /* of a module */
};

/* A named node or input of a module. */
struct dg_named {
    const char *name;
    struct dg_yaml *yaml; /* of a node */
    struct dg_result *item;
    int count; /* of items: repetitions, else 1; with 0, the name stands for item[0], which was before it or is poisoned */
    bool repeated;
    bool cut; /* a repetition failed and was reported: there are fewer than was asked for */
};

/* One module while its nodes are added to the graph. */
struct dg_frame {
    struct dg_application *application;
    struct dg_frame *outer; /* the module that uses this one; NULL: none */
    const struct dg_definition *module;
    const struct dg_scope *scope;
    const char *path;     /* before the names of nodes and parameters: "blocks.3." */
    uint32_t block;       /* of its nodes; DG_NO_BLOCK: none */
    struct dg_origin use; /* where it is used */
    struct dg_named *named;
    size_t num_named, named_capacity;
    struct dg_result previous; /* of the last node: the input of one without `from` */
};

struct dg_application {
    struct dg_instance *instance;
    struct dg_frame *root;
    bool train, failed;
    struct dg_row_range rows;
    uint32_t number; /* of the graph's applications */
    dg_value source; /* the first input, for diagnostics */
    int nodes;
};

static inline struct dg_arena *dg_frame_arena(const struct dg_frame *f)
{
    return f->application->instance->program->arena;
}
static inline struct dg_diagnostics *dg_frame_diag(const struct dg_frame *f)
{
    return f->application->instance->program->diag;
}

/* --- resolve.c --- */

/* The result of something that failed and was reported; the application fails with it. */
struct dg_result dg_frame_poison(struct dg_frame *f);
struct dg_result dg_frame_value(dg_value value);
/* Notes for an error, `message`, of a node whose mapping is `yaml` (NULL: none): where the arguments come from that it names and that the
 * message is about, each `use` that led to it, and where the images come from. */
void dg_frame_explain(struct dg_frame *f, const struct dg_yaml *yaml, const char *message);

/* What the name stands for without an index: its last item. */
static inline const struct dg_result *dg_named_last(const struct dg_named *named)
{
    return &named->item[named->count ? named->count - 1 : 0];
}
/* Adds a name, with room for `room` results. Pointers to earlier names become invalid. */
struct dg_named *dg_frame_add(struct dg_frame *f, const char *name, struct dg_yaml *yaml, int room);
/* What a reference in `from` or `outputs` means: "name", "name.output", "name[index]", "name[index].output". */
struct dg_result dg_frame_resolve(struct dg_frame *f, const char *reference, const struct dg_origin *at,
                                  const struct dg_scope *scope);
/* The output of the module by its name in `outputs:`; *found false: there is none. */
struct dg_result dg_frame_output(struct dg_frame *f, const char *name, bool *found);
/* What the module stands for: its first named output, or its last node. */
struct dg_result dg_frame_default_output(struct dg_frame *f);
/* That of a result which is a module, else the result itself. */
struct dg_result dg_frame_settle(struct dg_result result);

/* --- elaborate.c --- */

/* `when:` of a node or a parameter; true if there is none. False also where it is reported. */
bool dg_frame_is_wanted(struct dg_frame *f, struct dg_yaml *yaml, const struct dg_scope *scope);

/* --- params.c --- */

/* An initialiser as the node or module says it: `trunc_normal(0.02)`. False: reported. */
bool dg_frame_read_init(struct dg_frame *f, const struct dg_yaml *yaml, struct dg_init *init);
/* The parameter of that name (path included): the instance's if it has one, else a new one. DG_NO_VALUE: reported. */
dg_value dg_frame_param(struct dg_frame *f, const char *name, const struct dg_desc *desc, const struct dg_init *init,
                        uint32_t flags, const struct dg_origin *at);
/* The parameter of that name within the module's path; DG_NO_VALUE: there is none. */
dg_value dg_frame_own_param(struct dg_frame *f, const char *name);
/* A parameter that the module declares under `params:`. DG_NO_VALUE: reported. */
dg_value dg_frame_find_param(struct dg_frame *f, const struct dg_yaml *name);
/* Creates those of `params:`, named exactly so, ahead of the nodes' own. False: reported. */
bool dg_frame_declare_params(struct dg_frame *f);

/* --- make_op.c --- */

/* An op where it is used. */
struct dg_op_site {
    struct dg_yaml *yaml; /* the node: a word, or a mapping */
    const struct dg_op *op;
    const char *path;       /* of the node: "blocks.3.mlp.fc1" */
    const char *param_path; /* of its parameters; that of another node with `apply` */
    const struct dg_scope *scope;
    const struct dg_origin *origin;
};
/* Adds the op to the graph, on `num_inputs` data inputs. If one is DG_NO_VALUE, it only checks the attributes. */
struct dg_result dg_frame_make_op(struct dg_frame *f, const struct dg_op_site *site, const dg_value *input,
                                  int num_inputs);
/* Names of the ops that a description may use, for dg_nearest_name; NULL for others. */
const char *dg_yaml_op_name(const void *context, int index);
/* The op of that name; NULL: a description cannot use it. */
const struct dg_op *dg_yaml_op(const char *name);

/* --- check_module.c --- */

/* Checks everything of a module but its nodes, and marks its keys as used. False: reported. */
bool dg_frame_check_module(struct dg_frame *f);

#endif
