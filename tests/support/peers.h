/* An op as it runs in several processes that share a step and see each other's rows. */
#ifndef DG_TESTS_PEERS_H
#define DG_TESTS_PEERS_H

#include "tests/support/op_run.h"

/* Runs run[rank] as each of `ranks` processes into result[rank], to be freed. They run one after the other, and all of them once more
 * than they gather, since what a process sends may depend on what it has received before. Fails unless all gather as often, as many
 * bytes, and as much as the op says (struct dg_op, joins). */
void op_run_peers(const struct op_run *run, int ranks, struct op_result *result);

#endif
