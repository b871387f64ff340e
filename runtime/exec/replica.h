/* Hashes of what all processes of a run must hold alike: parameters and states. */
#ifndef DG_RUNTIME_EXEC_REPLICA_H
#define DG_RUNTIME_EXEC_REPLICA_H

#include "runtime/exec/session.h"

/* The hash of part 0 <= `part` < `parts` of all parameters and states; any byte that differs changes it. It does not
 * depend on the number of threads. Reads as fast as memory gives. */
uint64_t dg_replica_hash(const struct dg_session *session, int64_t part, int64_t parts);

/* hash [tensors of the entry]: of each tensor that is a parameter or a state and no part of another one; 0 for the
 * others. */
void dg_replica_hash_tensors(const struct dg_session *session, uint64_t *hash);

#endif
