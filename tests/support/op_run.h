/* Runs one op by itself on given tensors, through struct dg_op alone, as the compiler and a session would.
 *
 * Outputs and scratch start as NaN and end in canaries that are checked after the run; inputs that the op does not declare to
 * write must come out as they went in. Any failure fails the running CMocka test with a message. */
#ifndef DG_TESTS_OP_RUN_H
#define DG_TESTS_OP_RUN_H

#include "ops/op.h"

enum { OP_INPUTS = 32 };

/* An attribute by its name in the op's table, whole numbers and bools as well. */
struct op_attr {
    const char *name;
    double value;
};
#define ATTR(name, value)                                                                                              \
    {                                                                                                                  \
        name, (double)(value)                                                                                          \
    }

/* An input; 64-byte alignment of the data is not needed. */
struct op_tensor {
    const char *name; /* in the op's table; NULL: by its place, as for what is variadic */
    struct dg_desc desc;
    void *data;
};

struct op_run {
    const char *op;
    struct op_attr attrs[DG_MAX_ATTRS]; /* of those that are not here the op's defaults */
    const union dg_attr *attr;          /* all of them in the op's order, in place of `attrs`; NULL: none */
    struct op_tensor input[OP_INPUTS];  /* others, and those of DG_ABSENT_DESC, are absent */
    uint32_t unwanted;                  /* bit o: output o is not asked for */
    bool in_place;                      /* outputs take the place of the inputs that the op names */
    bool eval;
    bool constant_params; /* as in an evaluation entry: weights are packed once, before the run */
    bool bf16;            /* as in a plan in bf16; outputs that may be bf16 are */
    enum dg_math math;
    uint32_t f32_outputs; /* bit o: output o stays f32 even so */
    int threads;          /* 0: 2 */
    uint64_t stream;
    int view0, batch;
    int64_t slices;
    int64_t ranks; /* with `peers`: processes of which the op sees the rows together */
    const struct dg_peers *peers;
    struct dg_step_info step;
};

struct op_result {
    struct dg_desc desc[DG_MAX_OUTPUTS];
    void *data[DG_MAX_OUTPUTS]; /* NULL: not asked for */
};

struct op_result op_run(const struct op_run *run);
void op_result_free(struct op_result *result);

/* Shapes and attributes alone: must be refused, with `message` in the error's text. */
void op_refused(const struct op_run *run, const char *message);

/* The input of that name, to be changed; a new one if it is not there. */
struct op_tensor *op_input(struct op_run *run, const char *name);
/* Sets an attribute, which may be there already. */
void op_set_attr(struct op_run *run, const char *name, double value);

/* All attributes in the op's order. One that the op does not have fails the test, and so does a required one that is not given. */
void op_resolve_attrs(const struct dg_op *op, const struct op_attr *attrs, union dg_attr resolved[DG_MAX_ATTRS]);
const struct dg_op *op_by_name(const char *name);
/* For references: an attribute of a call, whole numbers and bools as well. */
double attr_of(const struct dg_op_call *call, const char *name);

/* What op_run did with each op since the last op_forget_runs: OP_VALUE, and OP_ROWS and OP_BF16 where it was run so. */
unsigned op_runs_of(const char *op);
void op_forget_runs(void);

/* Shapes, as constants: F32(2, 3) is f32 [2, 3]. */
#define DESC(type, ...)                                                                                                \
    ((struct dg_desc){type, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}})
#define F32(...) DESC(DG_F32, __VA_ARGS__)
#define F64(...) DESC(DG_F64, __VA_ARGS__)
#define I64(...) DESC(DG_I64, __VA_ARGS__)
#define F64_SCALAR ((struct dg_desc){.dtype = DG_F64})
#define I64_SCALAR ((struct dg_desc){.dtype = DG_I64})

void assert_desc(struct dg_desc got, struct dg_desc want);

/* `count` numbers uniform in +-scale, by name, from the test generator. */
void test_values(const char *name, double scale, int64_t count, float *values);
/* The same, malloced. */
float *random_f32(const char *name, double scale, int64_t count);

/* The same numbers, which bf16 can represent, as f32 and as bf16. */
struct two_types {
    float *f32;
    uint16_t *bf16;
};
struct two_types random_two_types(const char *name, double scale, int64_t count);
void free_two_types(struct two_types *numbers);
/* The numbers as an input of that name, of f32 or of bf16. */
struct op_tensor tensor_of(const char *name, struct dg_desc desc, const struct two_types *numbers, bool bf16);

/* Output o of `got` and output w of `want` are the same, bit for bit. */
void assert_same_output(const struct op_result *got, int o, const struct op_result *want, int w);

/* |got - want| <= tolerance * largest |want|, for all; a NaN fails. */
void assert_near(const float *got, const double *want, int64_t count, double tolerance, const char *what);

/* Element i of a tensor of any type. */
double op_element(const struct dg_desc *desc, const void *data, int64_t i);

/* What rounding may do on any CPU, whatever the order of its sums and with fused multiply-adds or without: tolerances rest on
 * these, and not on what one CPU makes.
 *
 * An f32 has 24 significant bits: rounding moves a number by at most F32_ROUNDING of itself. */
#define F32_ROUNDING 0x1p-24
/* A bf16 has 8 significant bits: rounding moves a number by at most 2^-8 of itself. This allows for one rounding. */
#define BF16_ROUNDING (1.01 / 256)
/* How far sums of n products in f32 may be off, in parts of the largest of these sums. n roundings of partial sums that are as
 * large as that are n * F32_ROUNDING at worst; but roundings go either way and their squares add up, so that they are a few
 * times the root of n with any probability that matters. Eight are allowed: for the few, and for the few more roundings that
 * an op does before and after the sum. A constant expression, where the root is the next power of two. */
#define F32_SUM(n) (8 * F32_ROUNDING * ROOT_ABOVE(n))
#define ROOT_ABOVE(n) ((n) <= 4 ? 2 : (n) <= 16 ? 4 : (n) <= 64 ? 8 : (n) <= 256 ? 16 : (n) <= 1024 ? 32 : 64)
#define LARGER(a, b) ((a) > (b) ? (a) : (b))
/* Half of the distance between numbers of bf16 at x. */
double bf16_half_ulp(double x);

#endif
