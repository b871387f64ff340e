/* In which modes an op can be tested, and what of its table is about row maps. */
#ifndef DG_TESTS_OP_FACTS_H
#define DG_TESTS_OP_FACTS_H

#include "ops/op.h"

enum op_mode {
    OP_VALUE = 1,    /* its outputs against a plain reference in f64 */
    OP_GRADIENT = 2, /* its gradient rule against finite differences */
    OP_ROWS = 4,     /* run on the images that a row map names, against a run on all of them */
    OP_BF16 = 8,     /* as in a plan in bf16 */
    OP_MODES = 4,    /* how many there are */
};
const char *op_mode_name(enum op_mode mode);

/* The modes that apply to an op: value always, gradient if it has a rule, rows if it takes a row map, bf16 if an operand may be
 * bf16. */
unsigned op_modes(const struct dg_op *op);

/* The input whose bytes output o may take, or -1. With a row map the images of the two may lie in other places; then it may not. */
int op_output_reuses(const struct dg_op *op, int o, bool row_map);
/* The op that draws row maps; its attributes are `rate` and `images`. */
const struct dg_op *op_drawing_rows(void);

#endif
