/* What an operation is. One op, one file ops/<room>/<op>.c: it holds every facet of the operation and of its backward
 * operations behind `struct dg_op`, and ops/op_list.h has one line for each. Nothing else lists or switches over ops.
 *
 * Vocabulary is oneDNN's: src, dst, weights, bias, diff_*. Scratch dies with the call; what a forward op saves for its backward
 * is an output like any other (flag DG_SAVED).
 *
 * Layouts: row-major; activations [rows, features] or [images, tokens, features]; images NHWC; weights as PyTorch has them.
 */
#ifndef DG_OPS_OP_H
#define DG_OPS_OP_H

#include "ops/base/init.h"
#include "ops/op_call.h"
#include "ops/op_grad.h"
#include "ops/op_onnx.h"
#include "ops/op_run.h"

/* ---- attributes ---- */

enum dg_attr_type {
    DG_ATTR_INT,
    DG_ATTR_FLOAT,
    DG_ATTR_BOOL,
    DG_ATTR_PARAM, /* names a parameter of the module, which becomes an input */
};
/* The grid of a value is its height and width as an image, or those of the image that its tokens were made of. */
enum dg_attr_grid { DG_ATTR_NO_GRID, DG_ATTR_GRID_HEIGHT, DG_ATTR_GRID_WIDTH };
struct dg_attr_spec {
    const char *name; /* as in YAML; NULL ends the list */
    enum dg_attr_type type;
    bool required;
    union dg_attr value;    /* the default */
    double min, max;        /* inclusive bounds for INT and FLOAT */
    bool internal;          /* set by the compiler only, never in YAML */
    bool training;          /* evaluation does not depend on it */
    enum dg_attr_grid grid; /* of an internal INT: the compiler sets it from the grid of input 0 */
    const char *doc;        /* one line, for --explain and the schema */
};

/* ---- operands ---- */

enum dg_operand_flags {
    DG_OPTIONAL = 1 << 0, /* an input that may be absent; an output that is computed only if something reads it */
    DG_SAVED = 1 << 1,    /* output for the backward ops; not visible in YAML; computed only if something reads it */
    DG_PARAM = 1 << 2,    /* input: a parameter, which an attribute names or the op owns; never named in `from` */
    DG_VARIADIC = 1 << 3, /* input: stands for one or more tensors; one such operand an op, and then none is optional */
    DG_UPDATED = 1 << 4,  /* input that the op writes where it stands; commit ops only */
    DG_BF16_OK = 1 << 5,  /* f32 by `infer`; may be stored as bf16 in a plan in bf16 (compiler/passes/assign_bf16.c) */
    DG_COMPACT = 1 << 6,  /* holds only the surviving images, packed, where the row map is there */
    DG_ROW_MAP = 1 << 7,  /* is a row map: the output of an op that draws it, and such outputs only as an input */
    DG_INTERNAL = 1 << 8, /* optional input that a pass adds, behind all others; never named in `from` */
    DG_OPAQUE = 1 << 9,   /* output: bytes in an order of a kernel's own, perhaps with gaps, which are no numbers */
};

/* What an op works on and what it makes of it are first in the tables: the image or token grid, the images that are left out
 * and the token that is taken are those of DG_DATA, and a node of a description stands for its DG_RESULT. */
enum { DG_DATA = 0, DG_RESULT = 0 };

/* One input or output of an op. Inputs are in this order: data, then those of DG_ATTR_PARAM attributes, then own parameters in
 * the order of `params`. */
struct dg_operand {
    const char *name; /* NULL ends the table */
    uint32_t flags;   /* enum dg_operand_flags */
    int8_t reuse;     /* output: DG_REUSE(input) or DG_VIEW(input); 0: its bytes are its own */
    int8_t rows;      /* with DG_COMPACT: the input with its row map; 0: the last input of DG_ROW_MAP */
    int8_t dtype;     /* enum dg_dtype, or DG_ANY_DTYPE: `infer` says which; 0: f32 */
};
enum { DG_ANY_DTYPE = -1 };
/* The output may share its bytes with that input if the input dies here: kernels must be correct both ways. */
#define DG_REUSE(input) ((input) + 1)
/* The output is that input in memory, under another shape: always, and without kernel work. */
#define DG_VIEW(input) (-(input)-1)
/* The input whose bytes the output may share; -1: none. */
static inline int dg_reused_input(const struct dg_operand *output)
{
    return output->reuse < 0 ? -output->reuse - 1 : output->reuse - 1;
}
static inline bool dg_is_view(const struct dg_operand *output) { return output->reuse < 0; }
/* Is the output computed only if something reads it? */
static inline bool dg_is_optional_output(const struct dg_operand *output)
{
    return output->flags & (DG_OPTIONAL | DG_SAVED);
}

/* ---- own parameters ---- */

/* One tensor an op owns: it is called <node path>.<name>. */
struct dg_param_need {
    const char *name;
    struct dg_desc desc;
    struct dg_init init; /* a YAML `init: trunc_normal(s)|normal(s)|uniform(b)` replaces it if init_from_yaml */
    struct dg_init
        init_if_replaced; /* used for params without init_from_yaml when YAML gave an `init` (a linear's bias: 0) */
    bool init_from_yaml;
    bool trainable; /* false: a buffer, or frozen by an attribute (weight_g): gets no gradient */
    bool buffer;    /* running statistics: not averaged into the teacher */
};

/* ---- an optimiser ---- */

/* What an optimiser wants at one of its inputs, for the compiler to bring. */
enum dg_step_source {
    DG_STEP_END,
    DG_STEP_PARAM,
    DG_STEP_GRADIENT,
    DG_STEP_NORMS,   /* of all gradients */
    DG_STEP_STATE,   /* its own tensor `name`, shaped as the parameter, from zero */
    DG_STEP_COUNT,   /* its own counter `name`, i64, from zero */
    DG_STEP_TEACHER, /* absent where there is none */
    DG_STEP_CONTROL, /* the schedule or knob `name` */
    DG_STEP_AVERAGE, /* the same, absent without a teacher */
    DG_STEP_FREEZE, /* the same, or NAME.0, .1, .. where there are several; absent for parameters that no freeze names */
    DG_STEP_RATE,   /* the schedule `name`, the learning rate; or the parameter's own rate, where it has one */
    DG_STEP_ABSENT, /* nothing */
};
struct dg_step_input {
    enum dg_step_source source;
    const char *name;
    /* Of a DG_STEP_CONTROL that is the optimiser's own: a key `optim.NAME` of a recipe that names this optimiser. Names that
     * end in .0, .1, .. are one key, a list. Else NULL: a key that every recipe has (lr, weight_decay, optim.clip). */
    const char *value; /* the default, as in YAML */
    double min, max;   /* inclusive */
    const char *doc;   /* one line */
};

/* ---- the op ---- */

/* How far a result depends on other rows, and so what a pass may cut. Each level allows what the ones above it allow. */
enum dg_reach {
    DG_REACH_ALL, /* on anything: nothing may be cut */
    /* On all rows in train mode (batch norm): the batch cannot be cut into slices before it. Processes can share it if the op has
     * joins. */
    DG_REACH_BATCH,
    DG_REACH_IMAGE, /* on rows of the same image only */
    DG_REACH_ROW,   /* on the same row of every data input only: one token may be computed alone */
};

/* How a product packs its weights. */
struct dg_packing {
    const struct dg_op *op; /* does it for several products: weight -> packed; NULL: this product packs none */
    int64_t rows;           /* how many rows are multiplied by the weights: the more, the less packing matters */
};

struct dg_op {
    const char *name;
    bool in_yaml;                              /* may a description use it? Backward and commit ops: no */
    const char *doc;                           /* what it does, in one sentence; of ops with in_yaml */
    const struct dg_attr_spec *attrs;          /* ended by a NULL name; NULL: none */
    const struct dg_operand *inputs, *outputs; /* NULL: none */
    bool bf16_alike;                           /* operands with DG_BF16_OK are all stored as bf16, or none is */
    enum dg_reach reach;
    /* The attribute that names a token of [images, tokens, width]: with DG_REACH_ROW the one whose row the op takes, as
     * [images, width]; with DG_REACH_IMAGE the only one whose result it computes, -1: of every one. NULL: there is none. */
    const char *token_attr;
    /* An op that leaves out images of input 0, with the probability of its attribute `rate`: the op that draws which, with the
     * attributes `rate` and `images`. NULL: it leaves out none. */
    const struct dg_op *draws_rows;

    /* Shapes. dg_op_infer has checked the inputs against the table before it asks `infer`, and has all operands
     * of the table in the call, absent ones as absent. Fills all outputs, or says what is wrong ("kernel 16 does not divide width 100"); the compiler adds
     * where. */
    enum dg_status (*infer)(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err);
    struct dg_cost (*cost)(const struct dg_op_call *call); /* NULL: no FLOPs worth counting */

    /* Of an op that sees the rows of all processes which share a step, in train mode: what one run of it exchanges with them. Its call
     * says how many they are. NULL: it sees the rows of one process. */
    struct dg_joins (*joins)(const struct dg_op_call *call);

    /* As a node of a module. */
    /* Is this application nothing at all (drop path at rate 0 or in eval mode)? Then the compiler drops the node. NULL: never. */
    bool (*is_identity)(const struct dg_op_call *call);
    /* Own parameters, from data inputs and attributes. Returns their number, or -1 with err. NULL: none. */
    int (*params)(const struct dg_op_call *call, struct dg_param_need need[DG_MAX_PARAMS], struct dg_error *err);

    /* Of a product that packs its input `weight` in each run, unless its input `packed` has been made. NULL: it does not. */
    struct dg_packing (*packing)(const struct dg_op_call *call);

    /* In training. */
    /* The gradient rule, or dg_no_gradient or dg_stop_gradient: never NULL. */
    enum dg_status (*grad)(struct dg_grad_builder *b);
    /* Adds the commit node of an application in train mode: what it leaves for later steps (running statistics). Only
     * `emit`, `call`, `input` and `output` of the builder are there. NULL: it leaves nothing. */
    enum dg_status (*commit)(struct dg_grad_builder *b);
    /* Computes output 0 once more, to the bit, with less work than the first time, as the other outputs are still there. NULL:
     * all outputs are computed again, as they were. */
    void (*recompute)(struct dg_recompute *a);
    const struct dg_step_input *step_inputs; /* of an optimiser: its inputs in order, ended by DG_STEP_END */

    /* In other programs: adds nodes of ONNX that compute the wanted outputs in eval mode (ops/op_onnx.h). NULL: the op is of
     * training alone. */
    void (*onnx)(struct dg_onnx_builder *b);

    /* On memory. */
    enum dg_status (*prepare)(struct dg_prepare *p, struct dg_error *err);  /* NULL: nothing to prepare */
    enum dg_status (*pack)(const struct dg_run *run, struct dg_error *err); /* NULL: never packs */
    enum dg_status (*run)(const struct dg_run *run, struct dg_error *err);  /* NULL only for pure views */
    void (*release)(void *state);                                           /* NULL: state is plain free()d */
};

/* ---- the table ---- */

int dg_op_count(void);
const struct dg_op *dg_op_at(int index);
const struct dg_op *dg_op_find(const char *name); /* NULL if there is none */
int dg_op_num_attrs(const struct dg_op *op);
int dg_op_attr(const struct dg_op *op, const char *name); /* index of the attribute; -1: there is none */
int dg_op_num_outputs(const struct dg_op *op);
int dg_op_input_index(const struct dg_op *op, const char *name);  /* its place in the table; -1: there is none */
int dg_op_output_index(const struct dg_op *op, const char *name); /* likewise */
int dg_op_num_inputs(const struct dg_op *op); /* entries of the table: a variadic operand counts as one */

/* Which operand input i of a node with num_inputs inputs is; NULL: the op takes no such input. */
const struct dg_operand *dg_op_input(const struct dg_op *op, int num_inputs, int i);
/* Does input i have that flag? False where the op takes no such input. */
bool dg_op_input_has(const struct dg_op *op, int num_inputs, int i, enum dg_operand_flags flag);
/* Is any operand, input or output, marked with that flag? */
bool dg_op_any_has(const struct dg_op *op, enum dg_operand_flags flag);
/* Is that the number of inputs of a node? All operands of the table count, also absent ones. */
bool dg_op_takes(const struct dg_op *op, int num_inputs);
/* The least number of tensors that `from` must name, and whether it may name more. */
int dg_op_data_inputs(const struct dg_op *op, bool *more);
/* The last input of DG_ROW_MAP, which the op's operands with DG_COMPACT go by if they do not say otherwise; -1: there is none. */
int dg_op_row_map(const struct dg_op *op);
/* The input with the row map of that operand; -1: it always holds all images. */
int dg_operand_row_map(const struct dg_op *op, const struct dg_operand *operand);

/* Does the op draw a row map, as its output 0? */
static inline bool dg_op_draws_rows(const struct dg_op *op) { return op->outputs && op->outputs->flags & DG_ROW_MAP; }

/* Checks the inputs against the op's table (number, absence, bf16, row maps), then asks its `infer`. Messages name the operand.
 * Optional inputs at the end of the table may be left away here. */
enum dg_status dg_op_infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err);
/* May output o, `inferred` by dg_op_infer, be stored as `stored`? Inputs are those of the call. */
bool dg_op_stores(const struct dg_op_call *call, int o, const struct dg_desc *inferred, const struct dg_desc *stored);
/* With a row map, does output o have images in other places than input i? Then it cannot share its bytes. */
bool dg_op_moves(const struct dg_op *op, bool has_rows, int i, int o);

#endif
