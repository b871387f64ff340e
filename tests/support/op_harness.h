/* Tests of ops from a table of cases. A case names an op, its attributes and inputs, and a plain reference; the harness runs it
 * in the modes that the case asks for:
 *
 *   value      all outputs that the reference makes are near it; a second run, one in place of inputs and one without each of
 *              the optional outputs have the same bits
 *   gradient   the op's own gradient rule, with something in the accumulators of parameters, against finite differences
 *   rows       a run on the images that a row map names equals a run on all, for maps of many, half and hardly any images
 *   bf16       value and gradient with every set of operands stored as bf16 that the op takes; all numbers that go in can be
 *              represented in bf16, so only what the op rounds differs. Skipped with a message where the CPU has no bf16
 *
 * A family's test is a table of cases, a table of tests of its own for what a case cannot say, and a main that is op_main.
 * `test_linear` runs all, `test_linear '*gradient*'` those of a name, and `test_linear --list` prints which op is tested in
 * which mode; tests/unit/ops/test_registry.c reads that. */
#ifndef DG_TESTS_OP_HARNESS_H
#define DG_TESTS_OP_HARNESS_H

#include "tests/support/op_facts.h"
#include "tests/support/op_run.h"

#include <stddef.h>

/* A plain reference: from all inputs (the case's, then own parameters; NULL for absent ones) in f64 to the first `outputs`
 * outputs, in f64. */
typedef void op_reference(const struct dg_op_call *call, double *const *input, double *const *output);

struct op_input {
    struct dg_desc desc;
    const char *name;     /* in the op's table; NULL: by its place */
    double scale, offset; /* numbers are uniform in offset +- scale; scale 0: 1 */
    const void *data;     /* these numbers, in the type of `desc`; NULL: made from the generator */
};
/* IN("src", 2, 7, 19): f32 [2, 7, 19], from the generator. */
#define IN(name, ...)                                                                                                  \
    {                                                                                                                  \
        F32(__VA_ARGS__), name                                                                                         \
    }

enum { CASE_INPUTS = 14 };

struct op_case {
    const char *op;
    unsigned modes; /* of enum op_mode */
    struct op_attr attrs[DG_MAX_ATTRS];
    /* Data inputs, and parameters named by attributes; own parameters are made by the op's table. */
    struct op_input input[CASE_INPUTS];
    op_reference *reference;
    int outputs;            /* how many of them the reference makes; 0: 1 */
    bool grad[CASE_INPUTS]; /* check the gradient of that input; trainable parameters are always checked */
    /* What rounding to f32 may do to a value, relative to the largest of the tensor; 0: nothing, to the bit. */
    double f32;
    double f32_grad; /* the same of gradients, relative to the largest finite difference of that input */
    /* How many roundings to bf16 a value meets before it is stored, and a gradient until it is. */
    double bf16, bf16_grad;
    int view0, batch;
    int64_t slices;
    struct dg_step_info step;
};

/* A test of its own, and what of the registry it covers: names of ops with spaces between them, and modes (0: nothing), of which
 * those count that apply to an op. It must run the ops in these modes through op_run, but for the gradient mode, which it may
 * check as it likes. */
struct op_test {
    const char *ops;
    unsigned modes;
    const char *name;
    void (*run)(void **state);
};
#define OP_TEST(ops, modes, test)                                                                                      \
    {                                                                                                                  \
        ops, modes, #test, test                                                                                        \
    }

/* The random stream and seed that cases run with: for references of ops that draw. */
enum { OP_STREAM = 99, OP_SEED = 3 };

/* A row map of `images` images, each of which is left out with probability `rate`, as the op draws it that runs with the stream,
 * batch and step of `like`. */
struct op_result op_draw_rows(const struct op_run *like, double rate, int64_t images);
/* The images of `packed`, which the map names, at their places among all of `full`; of the others it has what it had. */
void op_unpack_rows(const struct dg_desc *full_desc, const int64_t *row_map, const void *packed, void *full);

int op_main(int argc, char **argv, const struct op_case *cases, size_t num_cases, const struct op_test *tests,
            size_t num_tests);
#define CASES(table) table, sizeof(table) / sizeof *(table)
#define TESTS(table) table, sizeof(table) / sizeof *(table)
#define NO_CASES NULL, 0
#define NO_TESTS NULL, 0

#endif
