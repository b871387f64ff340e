/* What an operation is. One op, one room: a file ops/<op>.c holds every facet of an operation (and of its backward
 * operations) behind `struct dg_op`, and ops/op_list.h has one line for it. Nothing else lists or switches over ops.
 *
 * Vocabulary is oneDNN's: src, dst, weights, bias, diff_*; scratch dies with the call, what a forward leaves for its
 * backward is an output like any other (flag DG_OUT_SAVED).
 *
 * Layouts: row-major; activations [rows, features] or [images, tokens, features]; images NHWC; weights as PyTorch has them.
 */
#ifndef DG_OPS_OP_H
#define DG_OPS_OP_H

#include "ops/base/init.h"
#include "ops/base/tensor.h"

enum {
    DG_MAX_ATTRS = 12,
    DG_MAX_OUTPUTS = 6, /* visible and saved */
    DG_MAX_PARAMS = 6,  /* parameters and buffers of one op */
};

/* ---- attributes ---- */

enum dg_attr_type {
    DG_ATTR_INT,
    DG_ATTR_FLOAT,
    DG_ATTR_BOOL,
    DG_ATTR_PARAM, /* names a parameter of the module; it becomes an input, after the data inputs, in attribute order */
};
union dg_attr {
    int64_t i; /* INT, BOOL */
    double f;  /* FLOAT */
};
struct dg_attr_spec {
    const char *name; /* as in YAML; NULL ends the list */
    enum dg_attr_type type;
    bool required;
    union dg_attr value; /* the default */
    double min, max;     /* inclusive bounds for INT and FLOAT */
    bool internal;       /* set by the compiler only, never in YAML */
    const char *doc;     /* one line, for --explain and the schema */
};

/* ---- parameters ---- */

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

/* ---- an application of an op ---- */

/* What the shape, gradient, cost and prepare facets see. Inputs: data inputs, then DG_ATTR_PARAM inputs, then own
 * parameters in the order of `params`. An optional input that is absent has ndim -1. */
struct dg_op_call {
    const struct dg_op *op;
    const union dg_attr *attr;
    int num_inputs;
    const struct dg_desc *input;
    int num_outputs;
    const struct dg_desc *output; /* valid after infer */
    const bool *output_wanted; /* false: nothing reads it; run gets NULL (only DG_OUT_OPTIONAL and DG_OUT_SAVED ones) */
    bool train;                /* mode of the application */
    int64_t
        slices; /* a step runs the op so often, each time on the next slice of the batch; 0 and 1: once, on all of it */
    bool bf16;  /* of a plan in bf16: matmuls may round their operands, also those that lie there as f32 */
    bool kept;  /* it is run with dg_run.kept */
};
static inline int64_t dg_slices(const struct dg_op_call *call) { return call->slices > 1 ? call->slices : 1; }
static inline bool dg_absent(const struct dg_desc *desc) { return desc->ndim < 0; }

enum {
    DG_OUT_OPTIONAL = 1, /* computed only where something reads it */
    DG_OUT_SAVED = 2,    /* for the backward ops; not visible in YAML; implies optional */
};
struct dg_output_spec {
    const char *name;
    int flags;
};

/* FLOPs count a multiply and an add as two. `useful` is the part that the share of the roof counts: linear, convolution
 * and attention, recomputation not. Bytes moved are derived from the tensors. */
struct dg_cost {
    double flops, useful;
};
/* Of the product of each row of `rows` with all of a weight matrix. */
double dg_product_flops(const struct dg_desc *rows, const struct dg_desc *weight);

/* ---- gradients ---- */

typedef uint32_t dg_value; /* a value of the compiler's graph */
#define DG_NO_VALUE UINT32_MAX

/* What a gradient rule can see and do; the compiler implements it. A rule runs once for a forward node, after all
 * cotangents of its outputs are known, and must serve every input i with wants[i]. */
struct dg_grad_builder {
    const struct dg_op_call *call;
    const dg_value *input, *output;
    const dg_value *diff_output; /* DG_NO_VALUE where no gradient flows into that output */
    const bool *wants;           /* per input: does it lead to something trainable */
    void *compiler;
    /* Adds a node. `attr` has the op's attributes in its order (NULL: none); inputs may hold DG_NO_VALUE at optional slots.
     * `output` receives as many values as the op has outputs. */
    enum dg_status (*emit)(struct dg_grad_builder *b, const struct dg_op *op, const union dg_attr *attr,
                           const dg_value *input, int num_inputs, dg_value *output);
    /* The gradient collected for input i so far, or DG_NO_VALUE. A rule whose kernel can add to it passes it to its op's
     * accumulator input and then calls `set`; others call `give`. */
    dg_value (*partial)(struct dg_grad_builder *b, int i);
    void (*set)(struct dg_grad_builder *b, int i, dg_value gradient); /* replaces the partial sum */
    enum dg_status (*give)(struct dg_grad_builder *b, int i,
                           dg_value gradient); /* adds to it (an `add` node if need be) */
    struct dg_error *err;
};

/* ---- fusion ---- */

/* A node and the first that reads its output 0, for the node's op to make what the reader makes while it has its own result
 * at hand. Two ways: `absorb` makes the reader's result in place of its own, which nobody else reads; `join` makes both. */
struct dg_fusion {
    const struct dg_op *op; /* of the node; to be changed where another op makes both */
    bool train;             /* mode of both */
    bool constant_params;   /* in an evaluation entry */
    union dg_attr *attr;    /* of the node; to be changed */
    dg_value *input;        /* of the node; has room for the reader's inputs behind */
    int num_inputs;         /* to be raised when inputs are added */
    dg_value made;          /* by the node, read by the next */
    const struct dg_op *next;
    const union dg_attr *next_attr;
    dg_value *next_input; /* `join` may make some DG_NO_VALUE, which the reader then need not read */
    int next_num_inputs;
    uint32_t next_wanted; /* bit o: somebody reads the reader's output o */
    uint32_t takes;       /* out, `join`: bit o: the node now makes that output, behind its own */
    /* Which images are kept, where these are run with that, else DG_NO_VALUE; behind the inputs counted here. `join` makes them
     * DG_NO_VALUE where the op takes them as inputs. */
    dg_value kept, next_kept;
};

/* ---- recomputation ---- */

/* A node that makes output 0 of another again, later in the same step: at first an exact copy of that one. */
struct dg_again {
    bool train;
    dg_value *input;
    int num_inputs;
    const dg_value *output; /* what the other made; all but output 0 are kept */
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
    DG_STEP_FREEZE,  /* the same, absent for parameters that no freeze names */
    DG_STEP_ABSENT,  /* nothing */
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

/* ---- running ---- */

/* Values that change from step to step and are not tensors. */
struct dg_step_info {
    uint64_t seed;
    int64_t step;  /* from 0 */
    int64_t slice; /* which part of the batch it is at, from 0 */
};

/* Filled by `prepare`. Everything but the out fields is input. */
struct dg_prepare {
    const struct dg_op_call *call;
    int threads;
    void *engine;     /* dnnl_engine_t */
    uint64_t stream;  /* FNV-1a of the node's path: its random stream */
    int view0, batch; /* row r of the leading dimension is image r % batch of view view0 + r / batch; where the batch
                              is cut, of a slice of `batch` images, the first of which is image slice * batch of the step */
    bool constant_params;  /* an evaluation entry: parameters do not change between runs, so `pack` may be used */
    int64_t scratch_bytes; /* out: needed during run, 64-byte aligned, shared between ops */
    int64_t packed_bytes;  /* out: kept between runs, filled by `pack`; only with constant_params */
    void *state;           /* out: freed by `release` */
};

/* Which images of an application drop path keeps, as the op kept_images draws it: their number, then for each image its place
 * among them or -1, then the kept ones in order. An op that is given it leaves the others out: what it reads and makes of them
 * (struct dg_op, kept_inputs and kept_outputs) is the rows of kept images one behind the other, and behind those anything. */
static inline int64_t dg_kept_size(int64_t images) { return 1 + 2 * images; }
static inline int64_t dg_kept_images(int64_t size) { return (size - 1) / 2; } /* of them in all */
static inline const int64_t *dg_kept_place(const int64_t *kept) { return kept ? kept + 1 : NULL; }
static inline const int64_t *dg_kept_image(const int64_t *kept, int64_t images)
{
    return kept ? kept + 1 + images : NULL;
}

struct dg_run {
    void *state;
    void *const *input;  /* pointer per input; NULL for absent ones */
    void *const *output; /* pointer per output; NULL for unwanted ones */
    void *scratch, *packed;
    void *stream; /* dnnl_stream_t */
    const struct dg_step_info *step;
    int threads;
    const int64_t *kept; /* of the images along dimension 0 of input 0; NULL: all are there */
};
static inline int64_t dg_images(const struct dg_run *run, int64_t images) { return run->kept ? run->kept[0] : images; }

/* What an op does with the tokens of [images, tokens, width]. */
enum dg_tokens {
    DG_TOKENS_MIXED, /* anything */
    DG_TOKENS_APART, /* each is made of the same one of every data input, also as a row of [images, width] */
    DG_TOKENS_ASKED, /* each is made of all; the last attribute says which one alone, -1: every one */
    DG_TOKENS_TAKEN, /* one is left, of [images, width]; the first attribute says which */
};

struct dg_op {
    const char *name;
    bool in_yaml;                                 /* may a description use it? Backward and commit ops: no */
    const struct dg_attr_spec *attrs;             /* ended by a NULL name; NULL: none */
    int min_inputs, max_inputs;                   /* data inputs; max -1: any number */
    int num_params_attr;                          /* number of DG_ATTR_PARAM attributes, for the input order */
    struct dg_output_spec output[DG_MAX_OUTPUTS]; /* ended by a NULL name */

    /* Is this application nothing at all (drop path at rate 0 or in eval mode)? Then the compiler drops the node. NULL: never. */
    bool (*is_identity)(const struct dg_op_call *call);
    /* Own parameters, from data inputs and attributes. Returns their number, or -1 with err. NULL: none. */
    int (*params)(const struct dg_op_call *call, struct dg_param_need need[DG_MAX_PARAMS], struct dg_error *err);
    /* Fills all output descs, or says what is wrong ("kernel 16 does not divide width 100"); the compiler adds where. */
    enum dg_status (*infer)(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err);
    /* The gradient rule, or dg_no_gradient: never NULL. */
    enum dg_status (*grad)(struct dg_grad_builder *b);
    enum dg_tokens tokens;
    /* In train mode a row's result depends on the other rows (batch norm), so a batch cannot be cut before it. */
    bool couples_rows;
    /* Adds the commit node of an application in train mode: what it leaves for later steps (running statistics). Only
     * `emit`, `call`, `input` and `output` of the builder are there. NULL: it leaves nothing. */
    enum dg_status (*commit)(struct dg_grad_builder *b);
    /* Of an optimiser: its inputs in order, ended by DG_STEP_END. NULL: it is none. */
    const struct dg_step_input *step_inputs;
    /* Takes the only reader of output 0 over, in place: true, with attributes and inputs changed. NULL: never does. */
    bool (*absorb)(struct dg_fusion *f);
    /* Also makes some outputs of the first reader of output 0: true, with op, inputs and `takes` changed. Asked last, of a
     * graph that is complete and whose types are chosen. NULL: never does. */
    bool (*join)(struct dg_fusion *f);
    /* Makes output 0 again, to the bit, with less work than the first time, as the other outputs are there. NULL: all outputs
     * are made again, as they were. */
    void (*again)(struct dg_again *a);
    struct dg_cost (*cost)(const struct dg_op_call *call); /* NULL: no FLOPs worth counting */

    /* Output o may share bytes with input inplace[o] - 1 when that input dies here; 0: never. Kernels must then be correct
     * both ways. Absolute: if `must_alias` bit o is set it always does (views). */
    int8_t inplace[DG_MAX_OUTPUTS];
    uint32_t view;   /* bit o: output o IS input inplace[o] - 1 in memory (a reshape): no kernel work */
    uint64_t writes; /* bit i: the op updates input i where it stands (parameters, moments, centre): commit ops only */

    /* In a plan in bf16, input i or output o, f32 by `infer`, may lie in memory as bf16 instead (bits i and o; the compiler
     * decides, compiler/passes/assign_bf16.c): `prepare` sees which do. A view is of its input's type. `infer` is asked with f32 in
     * their place and never knows (dg_op_infer). */
    uint64_t bf16_inputs;
    uint32_t bf16_outputs;
    bool bf16_alike; /* all or none of these may */

    /* Given which images are kept, input i or output o has those only. An op without any such bit cannot be given that. One
     * that has it as an input of its own, kept_by - 1, makes those outputs so where that is there. */
    uint32_t kept_inputs, kept_outputs;
    int kept_by;
    /* Which images are kept is said by output 0 of an op with says_kept, whose attributes are the probability of leaving one out
     * and how many there are, and in a plan by nothing else. It is read by inputs i of bits kept_lists. An op that leaves images
     * of input 0 out, with the probability of its attribute 0, names in `drops` the op that says which. */
    bool says_kept;
    uint32_t kept_lists;
    const struct dg_op *drops;

    enum dg_status (*prepare)(struct dg_prepare *p, struct dg_error *err);  /* NULL: nothing to prepare */
    enum dg_status (*pack)(const struct dg_run *run, struct dg_error *err); /* NULL: never packs */
    enum dg_status (*run)(const struct dg_run *run, struct dg_error *err);  /* NULL only for pure views */
    void (*release)(void *state);                                           /* NULL: state is plain free()d */
};

/* Given which images are kept, does output o have them in other places than input i? Then it cannot be in place there. */
static inline bool dg_op_moves(const struct dg_op *op, bool kept, int i, int o)
{
    return kept && i >= 0 && (op->kept_inputs >> i ^ op->kept_outputs >> o) & 1;
}

/* The explicit "no gradient": asking for one is a compile error that names the op and the YAML line. */
enum dg_status dg_no_gradient(struct dg_grad_builder *b);
/* "Gradient is zero / deliberately stopped": serves no input. */
enum dg_status dg_stop_gradient(struct dg_grad_builder *b);

/* The table. */
int dg_op_count(void);
const struct dg_op *dg_op_at(int index);
const struct dg_op *dg_op_find(const char *name); /* NULL if there is none */
int dg_op_index(const struct dg_op *op);
int dg_op_num_outputs(const struct dg_op *op);
int dg_op_num_attrs(const struct dg_op *op);
/* True when the op was written to sum over inputs that may be absent (ndim -1) at this slot. */
#define DG_ABSENT_DESC ((struct dg_desc){.ndim = -1})

/* The op's `infer` for tensors some of which may lie in memory as bf16: refuses those that the op does not take. */
enum dg_status dg_op_infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err);
/* May output o, `inferred` by that, be stored as `stored`? Inputs are those of the call. */
bool dg_op_stores(const struct dg_op_call *call, int o, const struct dg_desc *inferred, const struct dg_desc *stored);

/* A zeroed state for `prepare`, set as p->state; NULL with err when memory is out. */
void *dg_op_state(struct dg_prepare *p, size_t size, struct dg_error *err);
/* A `prepare` for ops whose state is struct dg_op_count: the number of elements of their first output, in how many images, and
 * whether they are bf16. */
struct dg_op_count {
    int64_t count, images;
    bool half;
};
enum dg_status dg_op_prepare_count(struct dg_prepare *p, struct dg_error *err);
/* Makes room for `bytes` of scratch after what was asked for so far; returns its offset from the scratch pointer. */
int64_t dg_op_scratch(struct dg_prepare *p, int64_t bytes);

/* dst = acc, which may be dst; zeros where it is NULL. */
void dg_begin_sum(float *dst, const float *acc, int64_t count);

/* Shorthand for infer functions. */
enum dg_status dg_want_ndim(const struct dg_desc *desc, int ndim, const char *what, struct dg_error *err);
enum dg_status dg_want_f32(const struct dg_desc *desc, const char *what, struct dg_error *err);
enum dg_status dg_want_token(const struct dg_desc *src, int64_t token, struct dg_error *err); /* dim 1 */

#endif
