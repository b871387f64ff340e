#include "runtime/exec/session.h"

#include "ops/base/init.h"
#include "ops/dnnl/cpu.h"
#include "ops/kernels/level.h"
#include "ops/kernels/rates.h"
#include "runtime/base/memory.h"
#include "runtime/comm/gather.h"
#include "runtime/exec/cpus.h"

#include <dnnl.h>
#include <inttypes.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHARED_BYTES = 1 << 16 }; /* smaller tensors are too few pages to be shared */

/* What a session allocates: the plan's regions, and two whose sizes are known when its ops are prepared. */
enum { SCRATCH = DG_REGIONS, PACKED, ALLOCATED };

static const char *const names[ALLOCATED] = {"parameters", "optimiser state", "activations and gradients",
                                             "inputs",     "scratch",         "packed weights"};

/* One op, ready to run: the step loop walks an array of these. */
struct bound_op {
    const struct dg_op *op;
    struct dg_run run;
    void **pointer;                /* inputs, then outputs */
    uint64_t key;                  /* of its packed weights, among shared ones; 0: they are not shared */
    struct dg_shared_block *found; /* where another session has packed them; NULL: they are in the region */
};

/* A tensor of the entry, where weights are shared. */
struct parameter {
    uint64_t key;                  /* among shared weights; 0: it is no parameter */
    struct dg_shared_block *found; /* where another session has it; NULL: it is in the region */
};

struct dg_session {
    const struct dg_plan *plan;
    const struct dg_plan_entry *entry;
    int threads;
    void *region[ALLOCATED];
    bool borrowed[ALLOCATED]; /* in lent memory */
    struct dg_shared_weights *shared;
    struct dg_shared_block *block[ALLOCATED]; /* of shared weights, that is the region */
    struct parameter *parameter;              /* per tensor of the entry; NULL: weights are not shared */
    void **data;                              /* likewise */
    struct bound_op *op;
    void **pointers; /* of all ops, one array */
    struct dg_session_memory memory;
    int64_t rows; /* of the batch, that are computed */
    struct dg_step_info step;
    struct dg_comm *comm;
    struct dg_exchange exchange;
    struct dg_peers peers;
    double waited; /* seconds for sums and moments, in the last step */
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    const struct dg_log *log;
    dg_op_observer *observer;
    void *observer_context;
};

/* Memory outside of the plan: the program and its libraries, oneDNN's kernels and argument maps, and the packing
 * buffers that its gemm allocates on every call (they grow with the threads). Measured: 45 to 80 MB, most with drop
 * path, where products are prepared for many numbers of images; and about 12 MB a thread. */
static int64_t outside_bytes(int threads) { return (INT64_C(68) << 20) + (INT64_C(12) << 20) * threads; }

/* The number of threads that a parallel region gets: fewer than asked for under OMP_THREAD_LIMIT, and one inside of
 * another region. */
static int team_size(int asked)
{
    int size = 1;
#pragma omp parallel num_threads(asked)
#pragma omp single
    size = omp_get_num_threads();
    return size;
}

const struct dg_plan *dg_session_plan(const struct dg_session *session) { return session->plan; }
const struct dg_plan_entry *dg_session_entry(const struct dg_session *session) { return session->entry; }
const void *dg_session_region(const struct dg_session *session, enum dg_region region, int64_t *bytes)
{
    *bytes = session->memory.region[region];
    return session->region[region];
}
struct dg_lent dg_session_lend(const struct dg_session *session)
{
    return (struct dg_lent){session->region[DG_REGION_STEP], session->memory.region[DG_REGION_STEP]};
}
struct dg_session_memory dg_session_memory(const struct dg_session *session) { return session->memory; }
int64_t dg_session_rows(const struct dg_session *session) { return session->rows; }
int dg_session_threads(const struct dg_session *session) { return session->threads; }
const char *dg_session_library(char *text, size_t size)
{
    const dnnl_version_t *version = dnnl_version();
    snprintf(text, size, "%d.%d.%d", version->major, version->minor, version->patch);
    return text;
}
const struct dg_log *dg_session_log(const struct dg_session *session) { return session->log; }

void *dg_session_data(const struct dg_session *session, uint32_t index)
{
    return session->data[index - session->entry->first_tensor];
}

void *dg_session_slot(const struct dg_session *session, enum dg_slot slot)
{
    uint32_t index = session->entry->slot[slot];
    return index == DG_PLAN_NONE ? NULL : dg_session_data(session, index);
}

static const struct dg_plan_tensor *find_named(const struct dg_session *session, uint32_t first, uint32_t count,
                                               const char *name, uint32_t *index)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t t = session->plan->operand[first + i];
        if (!strcmp(dg_plan_string(session->plan, session->plan->tensor[t].name), name)) {
            *index = t;
            return &session->plan->tensor[t];
        }
    }
    return NULL;
}

void *dg_session_input(const struct dg_session *session, const char *name, const struct dg_plan_tensor **tensor)
{
    uint32_t index;
    const struct dg_plan_tensor *found =
        find_named(session, session->entry->first_input, session->entry->num_inputs, name, &index);
    if (tensor) *tensor = found;
    return found ? dg_session_data(session, index) : NULL;
}

const void *dg_session_output(const struct dg_session *session, const char *name, const struct dg_plan_tensor **tensor)
{
    uint32_t index;
    const struct dg_plan_tensor *found =
        find_named(session, session->entry->first_output, session->entry->num_outputs, name, &index);
    if (tensor) *tensor = found;
    return found ? dg_session_data(session, index) : NULL;
}

static struct dg_desc desc_of(const struct dg_plan_tensor *tensor)
{
    return dg_desc_make((enum dg_dtype)tensor->dtype, tensor->ndim, tensor->dim);
}

/* The same, of the rows that are computed: what an evaluation writes has the images of its batch first. */
static struct dg_desc desc_in(const struct dg_session *session, const struct dg_plan_tensor *tensor)
{
    struct dg_desc desc = desc_of(tensor);
    int64_t batch = session->entry->batch;
    bool of_batch = tensor->region == DG_REGION_STEP || tensor->region == DG_REGION_INPUT;
    if (session->rows < batch && of_batch && desc.ndim && desc.dim[0] % batch == 0)
        desc.dim[0] = desc.dim[0] / batch * session->rows;
    return desc;
}

/* Sets what op `index` is called with: `desc` and `wanted` have room for its operands. */
static struct dg_op_call call_of(const struct dg_session *session, uint32_t index, struct dg_desc *desc, bool *wanted)
{
    const struct dg_plan *plan = session->plan;
    const struct dg_plan_op *record = &plan->op[session->entry->first_op + index];
    for (uint32_t i = 0; i < record->num_inputs + record->num_outputs; i++) {
        uint32_t t = plan->operand[record->first_operand + i];
        desc[i] = t == DG_PLAN_NONE ? DG_ABSENT_DESC : desc_in(session, &plan->tensor[t]);
        if (i >= record->num_inputs) wanted[i - record->num_inputs] = t != DG_PLAN_NONE;
    }
    return (struct dg_op_call){.op = dg_op_find(dg_plan_string(plan, record->op)),
                               .attr = plan->attr + record->first_attr,
                               .num_inputs = (int)record->num_inputs,
                               .input = desc,
                               .num_outputs = (int)record->num_outputs,
                               .output = desc + record->num_inputs,
                               .output_wanted = wanted,
                               .train = record->flags & DG_PLAN_OP_TRAIN,
                               .slices = dg_plan_slices(session->entry, index),
                               .ranks = dg_plan_op_ranks(session->entry, record),
                               .bf16 = session->entry->dtype == DG_BF16,
                               .math = (enum dg_math)session->entry->math};
}

/* Among shared weights, of what an op packs: its kind, layout and bytes, and which parameters it reads. */
static uint64_t packed_key(const struct dg_session *session, const struct dg_plan_op *record,
                           const struct dg_prepare *p)
{
    const char *kind = dg_plan_string(session->plan, record->op);
    uint64_t key = dg_fnv1a(DG_FNV_BASIS, kind, strlen(kind) + 1);
    key = dg_fnv1a(key, &p->packed_layout, sizeof p->packed_layout);
    key = dg_fnv1a(key, &p->packed_bytes, sizeof p->packed_bytes);
    for (uint32_t i = 0; i < record->num_inputs; i++) {
        uint32_t t = session->plan->operand[record->first_operand + i];
        uint64_t of = t == DG_PLAN_NONE ? 0 : session->parameter[t - session->entry->first_tensor].key;
        key = dg_fnv1a(key, &of, sizeof of);
    }
    return key;
}

/* Reserves room for an op's packed weights, or finds them. */
static void place_packed(struct dg_session *session, struct bound_op *bound, const struct dg_plan_op *record,
                         const struct dg_prepare *p)
{
    int64_t bytes = dg_round_up(p->packed_bytes, DG_PLAN_ALIGN);
    if (session->parameter && bytes && p->packed_layout) {
        bound->key = packed_key(session, record, p);
        bound->found = dg_shared_weights_find(session->shared, bound->key, &bound->run.packed);
    }
    if (bound->found) return;
    bound->run.packed = (void *)(intptr_t)session->memory.packed; /* an offset until the region exists */
    session->memory.packed += bytes;
}

/* Prepares op `index` and adds up what it needs. Its pointers to scratch and packed weights are set once all sizes are
 * known. */
static enum dg_status prepare_op(struct dg_session *session, uint32_t index, struct dg_error *err)
{
    const struct dg_plan *plan = session->plan;
    const struct dg_plan_op *record = &plan->op[session->entry->first_op + index];
    struct bound_op *bound = &session->op[index];
    uint32_t count = record->num_inputs + record->num_outputs;
    struct dg_desc *desc = calloc(count + 1, sizeof *desc);
    bool *wanted = calloc(record->num_outputs + 1, sizeof *wanted);
    if (!desc || !wanted) {
        free(desc);
        free(wanted);
        return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    }
    struct dg_op_call call = call_of(session, index, desc, wanted);
    bound->op = call.op;
    /* The plan has no shapes of outputs that nothing reads, but ops may size their work by them. */
    struct dg_desc inferred[DG_MAX_OUTPUTS] = {{0}};
    enum dg_status status = dg_op_infer(&call, inferred, err);
    for (uint32_t o = 0; o < record->num_outputs; o++)
        if (!wanted[o]) desc[record->num_inputs + o] = inferred[o];
    struct dg_prepare p = {.call = &call,
                           .threads = session->threads,
                           .engine = session->engine,
                           .stream = record->stream,
                           .view0 = record->view0,
                           .batch = (int32_t)(session->rows < session->entry->batch
                                                  ? record->batch * session->rows / session->entry->batch
                                                  : record->batch),
                           .constant_params = record->flags & DG_PLAN_OP_CONSTANT_PARAMS};
    if (status == DG_OK && bound->op->prepare) status = bound->op->prepare(&p, err);
    if (status != DG_OK)
        dg_error_prefix(err, "%s (%s, %s line %d)", dg_plan_string(plan, record->name), bound->op->name,
                        dg_plan_string(plan, record->file), record->line);
    bound->run.state = p.state;
    if (dg_ranks(&call) > 1) {
        struct dg_joins joins = bound->op->joins(&call);
        session->exchange.joins += joins.times;
        session->exchange.joined_bytes += joins.bytes;
    }
    if (p.scratch_bytes > session->memory.scratch) session->memory.scratch = p.scratch_bytes;
    place_packed(session, bound, record, &p);
    free(desc);
    free(wanted);
    return status;
}

static int64_t *bytes_of(struct dg_session_memory *m, int r)
{
    return r == SCRATCH ? &m->scratch : r == PACKED ? &m->packed : &m->region[r];
}

/* Takes what fits of the lent memory, zeroed as a session's own would be. */
static void borrow(struct dg_session *session, struct dg_lent *lent)
{
    for (int r = 0; r < ALLOCATED; r++) {
        int64_t bytes = *bytes_of(&session->memory, r), whole = dg_round_up(bytes, DG_PLAN_ALIGN);
        if (!bytes || whole > lent->bytes) continue;
        session->borrowed[r] = true;
        session->region[r] = memset(lent->memory, 0, (size_t)whole);
        session->memory.borrowed += bytes;
        lent->memory += whole;
        lent->bytes -= whole;
    }
}

static enum dg_status check_memory(struct dg_session *session, const struct dg_session_options *options,
                                   struct dg_error *err)
{
    struct dg_session_memory *m = &session->memory;
    m->allowance = options->lent ? 0 : outside_bytes(session->threads);
    m->total = m->scratch + m->packed + m->allowance + options->other_bytes + dg_comm_bytes(session->comm);
    for (int r = 0; r < DG_REGIONS; r++) m->total += m->region[r];
    if (options->lent) borrow(session, options->lent);
    m->total -= m->borrowed;
    m->available = dg_memory_available();
    char need[32], have[32], step[32], smaller[96] = "";
    const struct dg_plan_entry *entry = session->entry;
    if (options->limit && m->total > options->limit)
        return dg_fail(err, DG_ERR_MEMORY, "entry %s of %s needs %s, and may take %s",
                       dg_plan_string(session->plan, entry->name),
                       dg_plan_string(session->plan, session->plan->header->recipe),
                       dg_format_bytes(need, sizeof need, (double)m->total),
                       dg_format_bytes(have, sizeof have, (double)options->limit));
    if (m->total <= m->available || options->ignore_memory) return DG_OK;
    int64_t planned = 0;
    for (int r = 0; r < DG_REGIONS; r++) planned += m->region[r];
    int64_t room = (m->available - (m->total - planned)) >> 20; /* what a plan could take here */
    if (entry->first_commit < entry->num_ops && room > 0)
        snprintf(smaller, sizeof smaller, "--memory %" PRId64 "M or ", room);
    return dg_fail(
        err, DG_ERR_MEMORY,
        "entry %s needs %s and this machine has %s free: compile with %sa smaller --batch (activations take %s of "
        "it), or free memory",
        dg_plan_string(session->plan, entry->name), dg_format_bytes(need, sizeof need, (double)m->total),
        dg_format_bytes(have, sizeof have, (double)m->available), smaller,
        dg_format_bytes(step, sizeof step, (double)m->region[DG_REGION_STEP]));
}

static enum dg_status allocate_region(struct dg_session *session, int r, int64_t bytes, struct dg_error *err)
{
    char text[32];
    if (session->region[r]) return DG_OK; /* borrowed */
    if (bytes)
        dg_log(session->log, DG_LOG_TRACE, DG_LOG_MEM, "%s, entry %s: %s", names[r],
               dg_plan_string(session->plan, session->entry->name), dg_format_bytes(text, sizeof text, (double)bytes));
    return dg_region_map(names[r], bytes, &session->region[r], err);
}

static int larger_first(const void *a, const void *b)
{
    const struct dg_plan_tensor *x = *(void *const *)a, *y = *(void *const *)b;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? 1 : -1;
    return x < y ? -1 : x > y;
}

static bool is_found(const struct dg_session *session, uint32_t t)
{
    uint32_t root = session->plan->tensor[session->entry->first_tensor + t].root - session->entry->first_tensor;
    return session->parameter && session->parameter[root].found;
}

/* Touches the regions tensor by tensor, so that each thread has its share of each tensor near it. Where tensors
 * follow each other in the same place, the largest decides. */
static enum dg_status touch(struct dg_session *session, struct dg_error *err)
{
    uint32_t count = session->entry->num_tensors;
    const struct dg_plan_tensor **tensor = calloc(count + 1, sizeof *tensor);
    if (!tensor) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    uint32_t own = 0;
    for (uint32_t t = 0; t < count; t++) {
        tensor[own] = &session->plan->tensor[session->entry->first_tensor + t];
        own += !is_found(session, t);
    }
    qsort(tensor, own, sizeof *tensor, larger_first);
    for (uint32_t t = 0; t < own && tensor[t]->bytes >= SHARED_BYTES; t++)
        dg_region_touch(dg_session_data(session, (uint32_t)(tensor[t] - session->plan->tensor)),
                        (int64_t)tensor[t]->bytes);
    free(tensor);
    for (int r = 0; r < ALLOCATED; r++) dg_region_touch(session->region[r], *bytes_of(&session->memory, r));
    return DG_OK;
}

/* Sets data[]: parameters that were found have theirs, and where weights are shared, the others have an offset in the
 * region. What is a view of a parameter lies in it. */
static void place_tensors(struct dg_session *session)
{
    const struct dg_plan_entry *entry = session->entry;
    const struct dg_plan_tensor *first = &session->plan->tensor[entry->first_tensor];
    for (uint32_t t = 0; t < entry->num_tensors; t++) {
        char *region = session->region[first[t].region];
        if (!session->parameter || first[t].region != DG_REGION_PARAM)
            session->data[t] = region + first[t].offset;
        else if (session->parameter[t].key && !session->parameter[t].found)
            session->data[t] = region + (uintptr_t)session->data[t];
    }
    for (uint32_t t = 0; session->parameter && t < entry->num_tensors; t++) {
        uint32_t root = first[t].root - entry->first_tensor;
        if (first[t].region == DG_REGION_PARAM && root != t)
            session->data[t] = (char *)session->data[root] + (first[t].offset - first[root].offset);
    }
}

static void bind(struct dg_session *session)
{
    const struct dg_plan *plan = session->plan;
    const struct dg_plan_entry *entry = session->entry;
    place_tensors(session);
    void **pointer = session->pointers;
    for (uint32_t n = 0; n < entry->num_ops; n++) {
        const struct dg_plan_op *record = &plan->op[entry->first_op + n];
        struct bound_op *bound = &session->op[n];
        bound->pointer = pointer;
        for (uint32_t i = 0; i < record->num_inputs + record->num_outputs; i++) {
            uint32_t t = plan->operand[record->first_operand + i];
            *pointer++ = t == DG_PLAN_NONE ? NULL : dg_session_data(session, t);
        }
        bound->run.input = bound->pointer;
        bound->run.output = bound->pointer + record->num_inputs;
        bound->run.scratch = session->region[SCRATCH];
        if (!bound->found)
            bound->run.packed =
                (void *)((uintptr_t)session->region[PACKED] + (uintptr_t)bound->run.packed); /* maybe nothing is */
        bound->run.stream = session->stream;
        bound->run.step = &session->step;
        bound->run.threads = session->threads;
        bound->run.peers = &session->peers;
    }
}

static enum dg_status allocate(struct dg_session *session, struct dg_error *err)
{
    for (int r = 0; r < ALLOCATED; r++) DG_TRY(allocate_region(session, r, *bytes_of(&session->memory, r), err));
    bind(session);
    return touch(session, err);
}

/* struct dg_peers: from the other processes, or where the session is for one of many, from itself. */
static enum dg_status gather(void *context, const void *mine, int64_t bytes, void *all, struct dg_error *err)
{
    struct dg_session *session = context;
    if (!session->comm) {
        for (uint32_t r = 0; r < session->entry->ranks; r++) memcpy((char *)all + r * bytes, mine, (size_t)bytes);
        return DG_OK;
    }
    double begin = dg_seconds_now();
    enum dg_status status = dg_comm_gather_long_beside(session->comm, mine, bytes, all, err);
    session->waited += dg_seconds_now() - begin;
    return status;
}

const struct dg_exchange *dg_session_exchange(const struct dg_session *session) { return &session->exchange; }
double dg_session_waited(const struct dg_session *session) { return session->waited; }

enum dg_status dg_session_broadcast(struct dg_session *session, struct dg_comm *comm, struct dg_error *err)
{
    for (int r = DG_REGION_PARAM; r <= DG_REGION_STATE; r++)
        DG_TRY(dg_comm_broadcast(comm, session->region[r], session->memory.region[r], err));
    return DG_OK;
}

static void trace_entry(const struct dg_session *session)
{
    const struct dg_plan_entry *entry = session->entry;
    dg_log(session->log, DG_LOG_TRACE, DG_LOG_PLAN,
           "entry %s of %s: batch %u, %s, %u operations, %u slices; %d threads, kernels %s",
           dg_plan_string(session->plan, entry->name), dg_plan_string(session->plan, session->plan->header->recipe),
           entry->batch, dg_plan_type(entry), entry->num_ops, entry->slices, session->threads, dg_kernels_name().text);
}

static void release_ops(struct dg_session *session)
{
    for (uint32_t n = 0; session->op && n < session->entry->num_ops; n++) {
        struct bound_op *bound = &session->op[n];
        if (bound->found) dg_shared_weights_release(session->shared, bound->found);
        if (!bound->op) continue;
        if (bound->op->release)
            bound->op->release(bound->run.state);
        else
            free(bound->run.state);
        *bound = (struct bound_op){0};
    }
}

/* Whether all operations take that many rows: what they make of their inputs' shapes is what is expected. */
static bool can_take_rows(struct dg_session *session, int64_t rows)
{
    int64_t before = session->rows;
    bool can = true;
    session->rows = rows;
    for (uint32_t n = 0; n < session->entry->num_ops && can; n++) {
        const struct dg_plan_op *record = &session->plan->op[session->entry->first_op + n];
        struct dg_desc *desc = calloc(record->num_inputs + record->num_outputs + 1, sizeof *desc);
        bool *wanted = calloc(record->num_outputs + 1, sizeof *wanted);
        struct dg_desc inferred[DG_MAX_OUTPUTS] = {{0}};
        can = desc && wanted;
        if (can) {
            struct dg_op_call call = call_of(session, n, desc, wanted);
            can = dg_op_infer(&call, inferred, NULL) == DG_OK;
            for (int o = 0; o < call.num_outputs && can; o++)
                can = !wanted[o] || dg_op_stores(&call, o, &inferred[o], &call.output[o]);
        }
        free(desc);
        free(wanted);
    }
    session->rows = before;
    return can;
}

/* Allocates region `r` anew if it has less than `bytes`. */
static enum dg_status grow_region(struct dg_session *session, int r, int64_t bytes, struct dg_error *err)
{
    int64_t *has = bytes_of(&session->memory, r);
    if (bytes <= *has) return DG_OK;
    if (!session->borrowed[r]) dg_region_free(session->region[r], *has);
    session->region[r] = NULL;
    session->borrowed[r] = false;
    *has = 0;
    DG_TRY(allocate_region(session, r, bytes, err));
    *has = bytes;
    return DG_OK;
}

/* Prepares all operations for session->rows. */
static enum dg_status prepare_again(struct dg_session *session, struct dg_error *err)
{
    struct dg_session_memory *m = &session->memory;
    int64_t scratch = m->scratch, packed = m->packed;
    release_ops(session);
    m->scratch = m->packed = 0;
    enum dg_status status = DG_OK;
    for (uint32_t n = 0; n < session->entry->num_ops && status == DG_OK; n++) status = prepare_op(session, n, err);
    int64_t scratch_needed = m->scratch, packed_needed = m->packed;
    m->scratch = scratch;
    m->packed = packed;
    DG_TRY(status);
    DG_TRY(grow_region(session, SCRATCH, scratch_needed, err));
    DG_TRY(grow_region(session, PACKED, packed_needed, err));
    bind(session);
    return DG_OK;
}

enum dg_status dg_session_set_rows(struct dg_session *session, int64_t rows, struct dg_error *err)
{
    const struct dg_plan_entry *entry = session->entry;
    if (entry->first_commit != entry->num_ops || rows < 1 || rows > entry->batch)
        return dg_fail(err, DG_ERR_INTERNAL, "%lld rows of entry %s", (long long)rows,
                       dg_plan_string(session->plan, entry->name));
    if (rows == session->rows || session->shared || !can_take_rows(session, rows)) return DG_OK;
    session->rows = rows;
    enum dg_status status = prepare_again(session, err);
    if (status != DG_OK) session->rows = 0; /* none, until a call succeeds */
    return status;
}

/* Finds the parameters that other sessions have, and lays out the others one after the other. */
static enum dg_status find_parameters(struct dg_session *session, struct dg_error *err)
{
    if (!session->shared) return DG_OK;
    const struct dg_plan_entry *entry = session->entry;
    uint64_t bytes = 0;
    session->parameter = calloc(entry->num_tensors + 1, sizeof *session->parameter);
    if (!session->parameter) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (uint32_t t = 0; t < entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &session->plan->tensor[entry->first_tensor + t];
        if (tensor->region != DG_REGION_PARAM || tensor->root != entry->first_tensor + t) continue;
        struct parameter *parameter = &session->parameter[t];
        parameter->key = dg_shared_parameter_key(session->plan, entry, entry->first_tensor + t);
        parameter->found = dg_shared_weights_find(session->shared, parameter->key, &session->data[t]);
        if (parameter->found) continue;
        session->data[t] = (void *)(uintptr_t)bytes; /* an offset until the region exists */
        bytes += dg_round_up((int64_t)tensor->bytes, DG_PLAN_ALIGN);
    }
    session->memory.region[DG_REGION_PARAM] = (int64_t)bytes;
    return DG_OK;
}

/* Lets region r be a block of shared weights. */
static enum dg_status share_region(struct dg_session *session, int r, struct dg_error *err)
{
    if (session->borrowed[r] || !session->region[r]) return DG_OK;
    session->block[r] = dg_shared_weights_add(session->shared, session->region[r], *bytes_of(&session->memory, r));
    return session->block[r] ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
}

/* Lets other sessions find the parameters and packed weights of this one. */
static enum dg_status share(struct dg_session *session, struct dg_error *err)
{
    if (!session->shared) return DG_OK;
    struct dg_shared_block **block = session->block;
    DG_TRY(share_region(session, DG_REGION_PARAM, err));
    DG_TRY(share_region(session, PACKED, err));
    for (uint32_t t = 0; block[DG_REGION_PARAM] && t < session->entry->num_tensors; t++) {
        const struct parameter *parameter = &session->parameter[t];
        if (parameter->key && !parameter->found)
            DG_TRY(
                dg_shared_weights_name(session->shared, block[DG_REGION_PARAM], parameter->key, session->data[t], err));
    }
    for (uint32_t n = 0; block[PACKED] && n < session->entry->num_ops; n++) {
        const struct bound_op *bound = &session->op[n];
        if (bound->key && !bound->found)
            DG_TRY(dg_shared_weights_name(session->shared, block[PACKED], bound->key, bound->run.packed, err));
    }
    return DG_OK;
}

bool dg_session_found(const struct dg_session *session, uint32_t index)
{
    return is_found(session, index - session->entry->first_tensor);
}

/* Whether this CPU can compute in the entry's type. */
static enum dg_status check_type(const struct dg_plan_entry *entry, const char *name, struct dg_error *err)
{
    bool bf16 = entry->dtype == DG_BF16;
    if ((!bf16 && entry->math == DG_MATH_F32) || dg_bf16_support() != DG_BF16_NONE) return DG_OK;
    return dg_fail(err, DG_ERR_UNSUPPORTED,
                   "entry %s is in %s, which takes a CPU with AVX-512 (and DNNL_MAX_CPU_ISA must allow it): "
                   "compile it with %s f32",
                   name, bf16 ? "bf16" : dg_plan_type(entry), bf16 ? "--dtype" : "--math");
}

enum dg_status dg_session_open(const struct dg_plan *plan, const char *entry_name,
                               const struct dg_session_options *options, struct dg_session **result,
                               struct dg_error *err)
{
    *result = NULL;
    DG_TRY(dg_cpu_level_check(err));
    const struct dg_plan_entry *entry;
    DG_TRY(dg_plan_find_entry(plan, entry_name, &entry, err));
    DG_TRY(check_type(entry, entry_name, err));
    struct dg_session *session = calloc(1, sizeof *session);
    if (!session) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    session->plan = plan;
    session->entry = entry;
    session->log = options->log;
    session->comm = options->comm;
    session->shared = options->shared;
    session->rows = entry->batch;
    session->threads = options->threads > 0 ? options->threads : dg_default_threads();
    omp_set_dynamic(0);
    session->threads = team_size(session->threads);
    omp_set_num_threads(session->threads); /* also what oneDNN goes by */

    uint64_t pointers = 0;
    for (uint32_t n = 0; n < entry->num_ops; n++)
        pointers += plan->op[entry->first_op + n].num_inputs + plan->op[entry->first_op + n].num_outputs;
    session->data = calloc(entry->num_tensors + 1, sizeof *session->data);
    session->op = calloc(entry->num_ops + 1, sizeof *session->op);
    session->pointers = calloc(pointers + 1, sizeof *session->pointers);
    enum dg_status status = DG_OK;
    if (!session->data || !session->op || !session->pointers) {
        status = dg_fail(err, DG_ERR_MEMORY, "out of memory");
        goto fail;
    }
    if (dnnl_engine_create(&session->engine, dnnl_cpu, 0) != dnnl_success ||
        dnnl_stream_create(&session->stream, session->engine, dnnl_stream_default_flags) != dnnl_success) {
        status = dg_fail(err, DG_ERR_UNSUPPORTED, "oneDNN has no CPU engine here");
        goto fail;
    }
    session->peers = (struct dg_peers){gather, session};
    DG_TRY_GOTO(fail, status,
                dg_exchange_init(plan, entry, session->comm, options->one_of_many, &session->exchange, err));
    for (int r = 0; r < DG_REGIONS; r++) session->memory.region[r] = (int64_t)entry->region_bytes[r];
    DG_TRY_GOTO(fail, status, find_parameters(session, err));
    for (uint32_t n = 0; n < entry->num_ops; n++) DG_TRY_GOTO(fail, status, prepare_op(session, n, err));
    DG_TRY_GOTO(fail, status, check_memory(session, options, err));
    DG_TRY_GOTO(fail, status, allocate(session, err));
    DG_TRY_GOTO(fail, status, share(session, err));
    trace_entry(session);
    *result = session;
    return DG_OK;
fail:
    dg_session_close(session);
    return status;
}

void dg_session_close(struct dg_session *session)
{
    if (!session) return;
    release_ops(session);
    if (session->stream) dnnl_stream_destroy(session->stream);
    if (session->engine) dnnl_engine_destroy(session->engine);
    for (int r = 0; r < ALLOCATED; r++)
        if (session->block[r])
            dg_shared_weights_release(session->shared, session->block[r]);
        else if (!session->borrowed[r])
            dg_region_free(session->region[r], *bytes_of(&session->memory, r));
    for (uint32_t t = 0; session->parameter && t < session->entry->num_tensors; t++)
        if (session->parameter[t].found) dg_shared_weights_release(session->shared, session->parameter[t].found);
    free(session->parameter);
    free(session->data);
    free(session->op);
    free(session->pointers);
    dg_exchange_free(&session->exchange);
    free(session);
}

void dg_session_bind(struct dg_session *session, const struct dg_plan_tensor *tensor, void *data)
{
    uint32_t index = (uint32_t)(tensor - session->plan->tensor);
    session->data[index - session->entry->first_tensor] = data;
    for (uint32_t n = 0; n < session->entry->num_ops; n++) {
        const struct dg_plan_op *record = &session->plan->op[session->entry->first_op + n];
        for (uint32_t i = 0; i < record->num_inputs + record->num_outputs; i++) {
            uint32_t t = session->plan->operand[record->first_operand + i];
            if (t != DG_PLAN_NONE && session->plan->tensor[t].root == index) session->op[n].pointer[i] = data;
        }
    }
}

enum dg_status dg_session_initialize(struct dg_session *session, uint64_t seed, struct dg_error *err)
{
    const struct dg_plan *plan = session->plan;
    uint32_t first = session->entry->first_tensor;
    for (int copies = 0; copies < 2; copies++) /* sources before their copies */
        for (uint32_t t = 0; t < session->entry->num_tensors; t++) {
            const struct dg_plan_tensor *tensor = &plan->tensor[first + t];
            if (tensor->region != DG_REGION_PARAM && tensor->region != DG_REGION_STATE) continue;
            if ((tensor->init_kind == DG_INIT_COPY) != copies || is_found(session, t)) continue;
            if (copies) {
                dg_session_copy_initial(session, first + t);
                continue;
            }
            struct dg_init init = {.kind = (enum dg_init_kind)tensor->init_kind, .value = tensor->init_value};
            struct dg_desc desc = desc_of(tensor);
            enum dg_status status =
                dg_init_fill(&init, dg_plan_string(plan, tensor->name), seed, &desc, session->data[t]);
            if (status != DG_OK)
                return dg_fail(err, status, "cannot initialise %s", dg_plan_string(plan, tensor->name));
        }
    return DG_OK;
}

void dg_session_copy_initial(struct dg_session *session, uint32_t index)
{
    const struct dg_plan_tensor *tensor = &session->plan->tensor[index];
    if (tensor->init_kind == DG_INIT_COPY)
        memcpy(dg_session_data(session, index), dg_session_data(session, tensor->init_from), tensor->bytes);
}

enum dg_status dg_session_pack(struct dg_session *session, struct dg_error *err)
{
    for (uint32_t n = 0; n < session->entry->num_ops; n++)
        if (session->op[n].op->pack && !session->op[n].found) DG_TRY(session->op[n].op->pack(&session->op[n].run, err));
    return DG_OK;
}

void dg_session_set_controls(struct dg_session *session, const struct dg_knobs *knobs, int64_t step,
                             struct dg_run_length length)
{
    for (uint32_t t = 0; t < session->entry->num_tensors; t++) {
        const char *key =
            dg_plan_string(session->plan, session->plan->tensor[session->entry->first_tensor + t].control);
        if (*key) *(double *)session->data[t] = dg_control_value(knobs, key, step, length);
    }
}

void dg_session_observe_ops(struct dg_session *session, dg_op_observer *observer, void *context)
{
    session->observer = observer;
    session->observer_context = context;
}

static void trace_op(const struct dg_session *session, uint32_t n, double seconds)
{
    const struct dg_plan *plan = session->plan;
    const struct dg_plan_op *op = &plan->op[session->entry->first_op + n];
    char bytes[32];
    dg_log(session->log, DG_LOG_TRACE, DG_LOG_OP, "%u %s %s, %s: %.3f ms, %s", n, dg_plan_string(plan, op->op),
           dg_plan_string(plan, op->name), dg_plan_string(plan, op->label), 1e3 * seconds,
           dg_format_bytes(bytes, sizeof bytes, op->bytes / (double)dg_plan_slices(session->entry, n)));
}

/* Nothing is checked here: plan and session were verified when they were opened. */
static enum dg_status run_ops(struct dg_session *session, uint32_t first, uint32_t end, struct dg_error *err)
{
    bool traced = dg_log_traces(session->log, DG_LOG_OP), timed = traced || session->observer;
    for (uint32_t n = first; n < end; n++) {
        struct bound_op *bound = &session->op[n];
        if (!bound->op->run) continue; /* a view */
        double start = timed ? dg_seconds_now() : 0;
        enum dg_status status = bound->op->run(&bound->run, err);
        if (status != DG_OK) {
            const struct dg_plan_op *record = &session->plan->op[session->entry->first_op + n];
            dg_error_prefix(err, "%s (%s, %s line %d)", dg_plan_string(session->plan, record->name), bound->op->name,
                            dg_plan_string(session->plan, record->file), record->line);
            return status;
        }
        if (!timed) continue;
        double seconds = dg_seconds_now() - start;
        if (session->observer) session->observer(session->observer_context, n, seconds);
        if (traced) trace_op(session, n, seconds);
    }
    return DG_OK;
}

/* Sums are exchanged as soon as they are complete, beside the rest of the slice. */
static enum dg_status run_last_slice(struct dg_session *session, struct dg_error *err)
{
    const struct dg_plan_entry *entry = session->entry;
    uint32_t next = entry->loop_first;
    for (uint32_t r = 0; session->comm && r < session->exchange.num_ranges; r++) {
        const struct dg_exchange_range *range = &session->exchange.range[r];
        DG_TRY(run_ops(session, next, range->ready + 1, err));
        if (range->ready >= next) next = range->ready + 1;
        void *sums = (char *)session->region[DG_REGION_STEP] + range->offset;
        if (range->gradients)
            dg_comm_start_gradients(session->comm, sums, range->count);
        else
            dg_comm_start_sum(session->comm, sums, range->count, range->f64);
    }
    DG_TRY(run_ops(session, next, entry->loop_first + entry->loop_ops, err));
    double begin = dg_seconds_now();
    DG_TRY(dg_comm_wait(session->comm, err));
    session->waited += dg_seconds_now() - begin;
    return DG_OK;
}

enum dg_status dg_session_compute(struct dg_session *session, const struct dg_step_info *step, struct dg_error *err)
{
    /* Ops and oneDNN's primitives divide work and scratch among the number of threads that they were prepared for. */
    int threads = team_size(session->threads);
    if (threads != session->threads)
        return dg_fail(
            err, DG_ERR_USAGE,
            "the session was opened for %d threads, and OpenMP gives %d here: is this inside of a parallel region?",
            session->threads, threads);
    const struct dg_plan_entry *entry = session->entry;
    uint32_t loop_end = entry->loop_first + entry->loop_ops;
    session->step = *step;
    session->step.slice = 0;
    session->waited = 0;
    DG_TRY(run_ops(session, 0, entry->loop_first, err));
    int64_t slices = session->exchange.slices;
    for (int64_t slice = 0; slice < slices && entry->loop_ops; slice++) {
        session->step.slice = session->exchange.first_slice + slice;
        if (slice + 1 < slices)
            DG_TRY(run_ops(session, entry->loop_first, loop_end, err));
        else
            DG_TRY(run_last_slice(session, err));
    }
    session->step.slice = 0;
    return run_ops(session, loop_end, entry->first_commit, err);
}

enum dg_status dg_session_commit(struct dg_session *session, const struct dg_step_info *step, struct dg_error *err)
{
    session->step = *step;
    session->step.slice = 0;
    return run_ops(session, session->entry->first_commit, session->entry->num_ops, err);
}
