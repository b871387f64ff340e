/* The compiler's graph: two arrays, values and nodes, that refer to each other by 32-bit index. The order of the nodes is
 * the order of execution. A value has one producer (or none: inputs, parameters, controls). One graph per plan entry. */
#ifndef DG_COMPILER_GRAPH_GRAPH_H
#define DG_COMPILER_GRAPH_GRAPH_H

#include "compiler/base/arena.h"
#include "compiler/base/origin.h"
#include "compiler/base/string_map.h"
#include "ops/op.h"
#include "runtime/plan/format.h"

/* Which rows of the batch an application sees: leading-dimension row r is image r % batch of view view0 + r / batch. */
struct dg_row_range {
    int view0, batch;
};

/* Whose work a node does. */
enum dg_network { DG_STUDENT, DG_TEACHER, DG_TRAINER, DG_EVALUATED };

/* One run of a network over a group of images, or a part of the trainer's own work. */
struct dg_graph_application {
    enum dg_network network;
    uint32_t num_blocks; /* repeated blocks in it: ids of nodes' blocks go up to this */
    const char *label;   /* for people: "student.backbone(local)" */
};

enum dg_node_role {
    DG_ROLE_FORWARD,
    DG_ROLE_BACKWARD,
    DG_ROLE_RECOMPUTED, /* computes in the backward what the forward did not save; its work is not counted as useful */
    DG_ROLE_COMMIT,     /* writes what outlives the step; all of these come last */
};

enum { DG_NO_BLOCK = 0 };

struct dg_graph_value {
    const char *name;
    struct dg_desc desc;
    enum dg_region region;
    uint32_t producer, output; /* node and its output number; DG_PLAN_NONE for inputs, parameters and controls */
    int64_t grid_h, grid_w;    /* image or token grid this value stands for: dims 1, 2 of an NHWC value, kept through
                                  to_tokens and everything after; 0: none */
    uint32_t flags;            /* DG_TENSOR_* */
    bool collects;             /* zeros that a loop over slices adds to: the sum stays in the same bytes */
    bool bias;                 /* parameters: the last word of its name is bias, by which recipes tell biases apart */
    bool decay;                /* parameters: subject to weight decay (set by the recipe) */
    uint32_t init_kind, init_from; /* as in struct dg_plan_tensor; init_from is a value */
    double init_value;
    const char *control; /* key of a schedule or knob; NULL: none */
    struct dg_origin origin;
};

/* A step whose batch is cut: its body runs once for each slice, and adds to sums that were zeroed before it. */
enum dg_phase { DG_PHASE_BEFORE, DG_PHASE_LOOP, DG_PHASE_AFTER };

struct dg_graph_node {
    const struct dg_op *op;
    union dg_attr attr[DG_MAX_ATTRS];
    dg_value *input; /* all operands of the op's table; DG_NO_VALUE for absent ones */
    int num_inputs;
    dg_value output[DG_MAX_OUTPUTS];
    int num_outputs;
    bool train;
    enum dg_phase phase;
    uint64_t stream;
    struct dg_row_range rows;
    enum dg_node_role role;
    uint32_t application; /* index */
    uint32_t block;       /* the repeated block of its application that it is in, from 1; DG_NO_BLOCK outside of any */
    /* The id of the forward node whose backward, recomputation or commit this is; of others, their own. */
    uint32_t forward_of;
    struct dg_origin origin;
};

struct dg_graph {
    struct dg_arena *arena;
    struct dg_graph_value *value;
    uint32_t num_values;
    size_t value_capacity;
    struct dg_graph_node *node;
    uint32_t num_nodes;
    size_t node_capacity;
    struct dg_graph_application *application; /* the first is nobody's */
    uint32_t num_applications;
    size_t application_capacity;
    uint32_t num_forward;          /* ids given to forward nodes: 1 to this */
    struct dg_string_map controls; /* by key, to values */
    int64_t slices;                /* how often the nodes of DG_PHASE_LOOP run; 1: there are none */
    int64_t coupled;               /* processes, each with one slice, whose rows meet in ops with joins; 0: none do */
    enum dg_phase phase;           /* of the nodes that are added next */
};

struct dg_graph *dg_graph_create(struct dg_arena *arena);

/* A deep copy in the same arena: later changes to either graph do not affect the other. */
struct dg_graph *dg_graph_copy(const struct dg_graph *graph);

/* A value without a producer. */
dg_value dg_graph_input(struct dg_graph *graph, const char *name, const struct dg_desc *desc);
dg_value dg_graph_param(struct dg_graph *graph, const char *name, const struct dg_desc *desc, enum dg_region region,
                        uint32_t flags, const struct dg_init *init, struct dg_origin origin);
/* The f64 scalar that carries a schedule's or knob's value; one value per key. */
dg_value dg_graph_control(struct dg_graph *graph, const char *key);

/* The mode, place and origin of a node to be added. */
struct dg_node_options {
    bool train;
    enum dg_node_role role;
    uint64_t stream;
    struct dg_row_range rows;
    uint32_t application, block, forward_of; /* as in the node; forward_of 0: a new id */
    struct dg_origin origin;
};

/* What a node to be added computes. */
struct dg_op_use {
    const struct dg_op *op;
    const union dg_attr *attr; /* in the op's order; NULL: defaults */
    const dg_value *input;     /* the operands of the op's table, DG_NO_VALUE for absent ones */
    int num_inputs;            /* optional ones at the end of the table may be left away */
};

/* Appends a node: infers its outputs (all of them; dg_prune drops nodes that nothing reads) and creates their values. Fills
 * `output[0..n)`. On failure nothing is added and err says what is wrong, without the place. */
enum dg_status dg_graph_node(struct dg_graph *graph, const struct dg_op_use *use, const struct dg_node_options *options,
                             dg_value *output, struct dg_error *err);

/* Appends a node whose outputs exist already, for passes that rebuild the list of nodes. */
void dg_graph_append(struct dg_graph *graph, const struct dg_graph_node *node);

/* Adds an application and returns its index. */
uint32_t dg_graph_application(struct dg_graph *graph, enum dg_network network, const char *label);
/* That part of the trainer's work, added when first asked for. */
uint32_t dg_graph_trainer(struct dg_graph *graph, const char *label);
const char *dg_node_label(const struct dg_graph *graph, const struct dg_graph_node *node);

/* Names for people: the node's path and the value's name, of the backward with "d:" before it, of recomputation with "again:". */
const char *dg_node_title(const struct dg_graph *graph, const struct dg_graph_node *node);
const char *dg_value_title(const struct dg_graph *graph, dg_value value);

/* The processes of which the node sees the rows together; 1: only one's. */
int64_t dg_node_ranks(const struct dg_graph *graph, const struct dg_graph_node *node);

/* The row map by whose images the node's compact operands go; DG_NO_VALUE: all images are there. */
dg_value dg_node_row_map(const struct dg_graph_node *node);

/* A forward node's backward is backward, and so is what is recomputed for it. */
static inline bool dg_is_backward(const struct dg_graph_node *node)
{
    return node->role == DG_ROLE_BACKWARD || node->role == DG_ROLE_RECOMPUTED;
}

/* Can node n read it: is it made before n, or by no node? */
bool dg_graph_made_before(const struct dg_graph *graph, dg_value value, uint32_t n);

/* A new value with the name, shape and facts of another, for a pass that changes which node makes it. */
dg_value dg_graph_value_like(struct dg_graph *graph, dg_value like);

/* Removes the nodes n with gone[n]; the others are renumbered. Other nodes or none must make the outputs of the removed ones. */
void dg_graph_drop(struct dg_graph *graph, const bool *gone);

/* The nodes of DG_PHASE_LOOP, once the phases are in order. */
void dg_graph_loop(const struct dg_graph *graph, uint32_t *first, uint32_t *count);

/* Puts the nodes into the order of their phases, and within each leaves their order as it is. */
void dg_graph_sort_phases(struct dg_graph *graph);

/* The call facet of a node that stands in the graph (arrays in the arena); output_wanted from `reads` counts if given. */
struct dg_op_call dg_graph_call(struct dg_graph *graph, const struct dg_graph_node *node, const uint32_t *reads);

/* Number of reads of each value by nodes, and one of those in `keep`, which leave the graph (arena array of num_values). */
uint32_t *dg_graph_reads(struct dg_graph *graph, const dg_value *keep, int num_keep);

#endif
