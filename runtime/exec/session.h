/* A session: one entry of a plan, open on this machine. Opening prepares every op, computes the sizes of all regions,
 * fails if the machine has less memory, and allocates the regions. After that the runtime allocates nothing until the
 * session is closed. */
#ifndef DG_RUNTIME_EXEC_SESSION_H
#define DG_RUNTIME_EXEC_SESSION_H

#include "runtime/base/log.h"
#include "runtime/exec/exchange.h"
#include "runtime/exec/knobs.h"
#include "runtime/exec/shared_weights.h"
#include "runtime/plan/open.h"

struct dg_session;

/* Memory that another session lends for as long as it does not step. */
struct dg_lent {
    char *memory; /* 64-byte aligned */
    int64_t bytes;
};

struct dg_session_options {
    int threads;         /* 0: dg_default_threads() */
    int64_t other_bytes; /* the caller will allocate so much besides (loader, ...); counted when memory is checked */
    bool ignore_memory;  /* start even if the machine seems to have too little */
    int64_t limit;       /* of the session and other_bytes, where the machine has more; 0: none */
    const struct dg_log *log; /* NULL: none; traces of entries, memory and operations */
    /* Regions are taken from it as far as they fit, and it becomes what is left. The lender counts the program's
     * allowance. NULL: none. */
    struct dg_lent *lent;
    /* Of an evaluation entry: parameters and packed weights that other sessions have are taken from there, and its own
     * are added (but what lies in lent memory). Outlives the session, whose rows are then those of its batch. NULL: it
     * has its own. */
    struct dg_shared_weights *shared;
    struct dg_comm *comm; /* the processes that share each batch; outlives the session. NULL: there is one */
    /* To time a plan whose processes see each other's rows, without comm: compute what the first of them does, with
     * its own numbers for those of all others. */
    bool one_of_many;
};

/* What a session takes, in bytes. */
struct dg_session_memory {
    int64_t region[DG_REGIONS]; /* planned; of parameters those that are not found in shared weights */
    int64_t scratch, packed;    /* sized at open; packed likewise */
    /* Outside of the plan: code, oneDNN's objects and packing buffers (an estimate, see session.c). */
    int64_t allowance;
    int64_t borrowed; /* of these, in lent memory */
    int64_t total, available;
};

/* `plan` must outlive the session. On failure *session is NULL. */
enum dg_status dg_session_open(const struct dg_plan *plan, const char *entry, const struct dg_session_options *options,
                               struct dg_session **session, struct dg_error *err);
void dg_session_close(struct dg_session *session); /* NULL is fine */

/* What this process computes of a step, and what it exchanges with others; valid until close. */
const struct dg_exchange *dg_session_exchange(const struct dg_session *session);
/* Seconds of the last step in which this process waited for sums, at the end of its slices, and for moments: others,
 * or their way. */
double dg_session_waited(const struct dg_session *session);
/* Lets all processes have the parameters and states of rank 0. */
enum dg_status dg_session_broadcast(struct dg_session *session, struct dg_comm *comm, struct dg_error *err);

/* What the session does not need between two steps: its activations and gradients. */
struct dg_lent dg_session_lend(const struct dg_session *session);

const struct dg_plan *dg_session_plan(const struct dg_session *session);
const struct dg_plan_entry *dg_session_entry(const struct dg_session *session);
/* A region, of *bytes; NULL where the entry has none. */
const void *dg_session_region(const struct dg_session *session, enum dg_region region, int64_t *bytes);
struct dg_session_memory dg_session_memory(const struct dg_session *session);
int dg_session_threads(const struct dg_session *session);
/* oneDNN's version, on which numbers depend in their last bits. Returns `text`. */
const char *dg_session_library(char *text, size_t size);
const struct dg_log *dg_session_log(const struct dg_session *session); /* as it was opened with */

/* Memory of tensor `index` of the plan (which must belong to the entry); valid until close. */
void *dg_session_data(const struct dg_session *session, uint32_t index);
/* Memory of the tensor in a slot of the entry; NULL: it has none. */
void *dg_session_slot(const struct dg_session *session, enum dg_slot slot);
/* An input or output of the entry by name; NULL if there is none. `tensor` (may be NULL) receives its record. */
void *dg_session_input(const struct dg_session *session, const char *name, const struct dg_plan_tensor **tensor);
const void *dg_session_output(const struct dg_session *session, const char *name, const struct dg_plan_tensor **tensor);

/* Lets an input live in the caller's memory (64-byte aligned, of the tensor's size) instead of the input region. */
void dg_session_bind(struct dg_session *session, const struct dg_plan_tensor *tensor, void *data);

/* Sets all parameters and states, but what other sessions have set, to their initial values, a function of `seed` and name; the teacher copies the
 * student. */
enum dg_status dg_session_initialize(struct dg_session *session, uint64_t seed, struct dg_error *err);
/* Sets a tensor that begins as a copy (the teacher's) from its source again. To be called after the source was loaded
 * from a file. Other tensors stay. */
void dg_session_copy_initial(struct dg_session *session, uint32_t tensor);

/* Lets an evaluation entry compute the first `rows` images of its batch alone, from now on: their outputs are equal
 * to rounding, and those of the others are not defined. Inputs lie in the input region again, and dg_session_pack
 * has to follow. Entries whose operations cannot take fewer images go on computing all. DG_ERR_MEMORY; an
 * operation's errors: the session then cannot step until a call succeeds. */
enum dg_status dg_session_set_rows(struct dg_session *session, int64_t rows, struct dg_error *err);

int64_t dg_session_rows(const struct dg_session *session); /* that are computed */

/* Whether tensor `index` of the plan, a parameter, is another session's, which has set it: it is not to be set again. */
bool dg_session_found(const struct dg_session *session, uint32_t index);

/* Packs constant weights, but those that other sessions have packed. To be called after the parameters of an evaluation entry were set, and after
 * dg_session_set_rows. */
enum dg_status dg_session_pack(struct dg_session *session, struct dg_error *err);

/* Sets the control scalars (lr, teacher momentum, ...) to their values at `step`. */
void dg_session_set_controls(struct dg_session *session, const struct dg_knobs *knobs, int64_t step,
                             struct dg_run_length length);

/* Called after each run of op `op` (its number within the entry) with its wall time; an op of the loop runs once for
 * each slice. The op's inputs and outputs can be read with dg_session_data. */
typedef void dg_op_observer(void *context, uint32_t op, double seconds);
/* Observes the ops of all later steps; NULL ends it. */
void dg_session_observe_ops(struct dg_session *session, dg_op_observer *observer, void *context);

/* Runs all ops before the commit; nothing that outlives the step changes. DG_ERR_USAGE: OpenMP gives another number of
 * threads than the session was opened for; else the ops' errors. */
enum dg_status dg_session_compute(struct dg_session *session, const struct dg_step_info *step, struct dg_error *err);
/* Runs the commit: optimiser, teacher, centre. */
enum dg_status dg_session_commit(struct dg_session *session, const struct dg_step_info *step, struct dg_error *err);

#endif
