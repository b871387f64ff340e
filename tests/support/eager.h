/* Runs ops one by one through struct dg_op alone, as the compiler and a session would, for tests: forward against a plain
 * reference, gradients by the op's own rule against finite differences.
 *
 * Outputs and scratch are filled with NaN before a run and end in canaries that are checked after it. Any failure fails the
 * running CMocka test with a message. */
#ifndef DG_TESTS_EAGER_H
#define DG_TESTS_EAGER_H

#include "ops/op.h"

/* A plain reference: from all inputs (data, then parameters; NULL for absent ones) in f64 to output 0. */
typedef void reference_fn(const struct dg_op_call *call, double *const *input, double *output);

struct op_case {
    const char *op;
    union dg_attr attr[DG_MAX_ATTRS]; /* in the op's order; all of them */
    int num_inputs;                   /* data inputs, and parameters named by attributes */
    struct dg_desc input[4];
    reference_fn *reference;
    double tolerance;      /* of the forward, relative to the largest |reference| */
    double grad_tolerance; /* of gradients, relative to the largest |finite difference| of that input */
    bool grad_input[4];    /* check the gradient of that data input; trainable parameters are always checked */
    int view0, batch;
    double input_scale; /* inputs are uniform in +-input_scale; 0: 1 */
    /* As in a plan in bf16. All numbers that go in can be represented in bf16, so only what the op rounds differs. Skipped
     * with a message where the CPU has no bf16. */
    bool bf16;
    uint64_t half_inputs;  /* data inputs that are bf16 */
    uint32_t half_outputs; /* outputs that are; the gradient of a bf16 value is bf16 if its op can make that */
};

/* Forward equals the reference, twice the same bytes; every gradient equals finite differences of the reference with a
 * random cotangent; gradients of parameters add to what is there. */
void check_op(const struct op_case *c);

/* The case as it is in a plan in bf16. */
void check_op_bf16(struct op_case c, uint64_t half_inputs, uint32_t half_outputs, double tolerance,
                   double grad_tolerance);

/* A bf16 has 8 significant bits: rounding moves a number by at most 2^-8 of itself. This allows for one rounding. */
#define BF16_ROUNDING (1.01 / 256)

/* `count` numbers uniform in +-scale, by name, from the test generator. */
void test_values(const char *name, double scale, int64_t count, float *values);

#endif
