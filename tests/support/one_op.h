/* Runs one op by itself on given tensors, for tests of what gradient checks do not see: accumulators, in-place outputs,
 * unwanted outputs, randomness, commit ops, refusals.
 *
 * Outputs and scratch start as NaN and end in canaries; inputs that the op does not declare to write must come out as
 * they went in. Any failure fails the running CMocka test. */
#ifndef DG_TESTS_ONE_OP_H
#define DG_TESTS_ONE_OP_H

#include "ops/op.h"

enum { ONE_OP_INPUTS = 16 };

struct one_op {
    const char *op;
    union dg_attr attr[DG_MAX_ATTRS]; /* in the op's order; all of them */
    int num_inputs;
    struct dg_desc desc[ONE_OP_INPUTS]; /* DG_ABSENT_DESC: absent */
    void *data[ONE_OP_INPUTS];          /* 64-byte alignment is not needed */
    uint32_t unwanted;                  /* bit o: output o is not asked for */
    bool in_place;                      /* outputs take the place of the inputs that the op names */
    bool eval;
    bool bf16;   /* as in a plan in bf16; outputs that may be bf16 are */
    int threads; /* 0: 2 */
    uint64_t stream;
    int view0, batch;
    struct dg_step_info step;
    const int64_t *kept; /* dg_run.kept; NULL: all images are there */
};

struct one_op_result {
    struct dg_desc desc[DG_MAX_OUTPUTS];
    void *data[DG_MAX_OUTPUTS]; /* NULL: not asked for */
};

struct one_op_result one_op_run(const struct one_op *op);
void one_op_free(struct one_op_result *result);

/* Shapes and attributes alone: must be refused, with `message` in the error's text. */
void one_op_refused(const struct one_op *op, const char *message);

/* `dims`: 0-terminated. */
struct dg_desc f32_desc(const int64_t *dims);
#define F32(...) f32_desc((const int64_t[]){__VA_ARGS__, 0})

void assert_desc(struct dg_desc got, struct dg_desc want);

/* Malloced: numbers uniform in +-scale, by name. */
float *random_f32(const char *name, double scale, int64_t count);

/* |got - want| <= tolerance * largest |want|, for all; a NaN fails. */
void assert_near(const float *got, const double *want, int64_t count, double tolerance, const char *what);

#endif
