#include "runtime/exec/exchange.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* Bytes from which on a range leaves: a shorter one would cost more in latency, a longer one would leave later. */
enum { RANGE = 8 << 20 };

#define NEVER UINT32_MAX /* no op of the loop writes it */

enum dg_status dg_exchange_check(const struct dg_plan *plan, const struct dg_plan_entry *entry,
                                 const struct dg_comm *comm, struct dg_error *err)
{
    int64_t slices = entry->slices, ranks = dg_comm_ranks(comm);
    if (dg_plan_is_coupled(plan, entry) && ranks != entry->ranks)
        return dg_fail(
            err, DG_ERR_USAGE,
            "this plan is for %u processes, whose images meet in batch norm, Sinkhorn-Knopp, a softmax over the batch "
            "or InfoNCE, and %" PRId64 " %s: start %u with mpirun, or compile it with dinoc %s --ranks %" PRId64,
            entry->ranks, ranks, ranks == 1 ? "was started" : "were started", entry->ranks,
            dg_plan_string(plan, plan->header->source), ranks);
    if (ranks < 2) return DG_OK;
    if (entry->ranks < 2)
        return dg_fail(err, DG_ERR_USAGE,
                       "%" PRId64 " processes were started, and the plan was made for one: compile it with dinoc %s "
                       "--ranks %" PRId64,
                       ranks, dg_plan_string(plan, plan->header->source), ranks);
    if (slices % ranks == 0) return DG_OK;
    char fitting[128] = "";
    size_t at = 0;
    for (int64_t p = 1; p <= slices && at + 32 < sizeof fitting; p++)
        if (slices % p == 0) at += (size_t)snprintf(fitting + at, sizeof fitting - at, "%s%" PRId64, at ? ", " : "", p);
    return dg_fail(err, DG_ERR_USAGE,
                   "this plan cuts its batch into %" PRId64 " slices, which %" PRId64
                   " processes cannot share: start %s processes, or compile with --ranks %" PRId64,
                   slices, ranks, fitting, ranks);
}

/* By tensor of the entry, if it is a root: the last op of the loop that writes into its bytes, or NEVER. */
static void find_last_writers(const struct dg_plan *plan, const struct dg_plan_entry *entry, uint32_t *writer)
{
    for (uint32_t t = 0; t < entry->num_tensors; t++) writer[t] = NEVER;
    for (uint32_t n = entry->loop_first; n < entry->loop_first + entry->loop_ops; n++) {
        const struct dg_plan_op *op = &plan->op[entry->first_op + n];
        for (uint32_t o = 0; o < op->num_outputs; o++) {
            uint32_t t = plan->operand[op->first_operand + op->num_inputs + o];
            if (t != DG_PLAN_NONE) writer[plan->tensor[t].root - entry->first_tensor] = n;
        }
    }
}

/* A sum is made before the loop, written in it, and read after it. */
static bool is_sum(const struct dg_plan_entry *entry, const struct dg_plan_tensor *t, uint32_t last_writer)
{
    return t->region == DG_REGION_STEP && last_writer != NEVER && t->first < entry->loop_first &&
           t->last >= entry->loop_first + entry->loop_ops;
}

/* By tensor of the entry, if it is a root: whether it is a gradient, as the op that makes their norm reads it. */
static void find_gradients(const struct dg_plan *plan, const struct dg_plan_entry *entry, bool *gradient)
{
    for (uint32_t n = entry->loop_first + entry->loop_ops; n < entry->num_ops; n++) {
        const struct dg_plan_op *op = &plan->op[entry->first_op + n];
        const uint32_t *operand = &plan->operand[op->first_operand];
        bool sums_up = false;
        for (uint32_t o = 0; o < op->num_outputs; o++)
            sums_up |= operand[op->num_inputs + o] == entry->slot[DG_SLOT_GRAD_SUMMARY];
        for (uint32_t i = 0; i < op->num_inputs && sums_up; i++)
            if (operand[i] != DG_PLAN_NONE) gradient[plan->tensor[operand[i]].root - entry->first_tensor] = true;
    }
}

static int by_offset(const void *a, const void *b)
{
    const struct dg_plan_tensor *x = *(void *const *)a, *y = *(void *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* Adds a sum to the last range, or begins a new one. Between both is only what rounds up to DG_PLAN_ALIGN. */
static void add_sum(struct dg_exchange *exchange, const struct dg_plan_tensor *t, uint32_t ready, bool gradient)
{
    bool f64 = t->dtype == DG_F64;
    struct dg_exchange_range *last = exchange->num_ranges ? &exchange->range[exchange->num_ranges - 1] : NULL;
    int64_t bytes = last ? dg_exchange_bytes(last) : 0;
    if (!last || last->f64 != f64 || last->gradients != gradient || bytes >= RANGE ||
        last->offset + (uint64_t)dg_round_up(bytes, DG_PLAN_ALIGN) != t->offset) {
        last = &exchange->range[exchange->num_ranges++];
        *last = (struct dg_exchange_range){.offset = t->offset, .f64 = f64, .gradients = gradient};
    }
    last->count = (int64_t)(t->offset - last->offset + t->bytes) / (f64 ? 8 : 4);
    if (ready > last->ready) last->ready = ready;
}

static enum dg_status find_ranges(const struct dg_plan *plan, const struct dg_plan_entry *entry,
                                  struct dg_exchange *exchange, struct dg_error *err)
{
    const struct dg_plan_tensor **sum = calloc(entry->num_tensors + 1, sizeof *sum);
    uint32_t *writer = calloc(entry->num_tensors + 1, sizeof *writer), count = 0;
    bool *gradient = calloc(entry->num_tensors + 1, sizeof *gradient);
    exchange->range = calloc(entry->num_tensors + 1, sizeof *exchange->range);
    bool room = sum && writer && gradient && exchange->range;
    if (room) {
        find_last_writers(plan, entry, writer);
        find_gradients(plan, entry, gradient);
        const struct dg_plan_tensor *first = &plan->tensor[entry->first_tensor];
        for (uint32_t t = 0; t < entry->num_tensors; t++)
            if (first[t].root == entry->first_tensor + t && is_sum(entry, &first[t], writer[t]))
                sum[count++] = &first[t];
        qsort(sum, count, sizeof *sum, by_offset);
        for (uint32_t i = 0; i < count; i++) {
            ptrdiff_t t = sum[i] - first;
            bool f32 = sum[i]->dtype == DG_F32; /* the loss is among what must be finite */
            add_sum(exchange, sum[i], writer[t], gradient[t] && f32);
        }
    }
    free(sum);
    free(writer);
    free(gradient);
    return room ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
}

enum dg_status dg_exchange_init(const struct dg_plan *plan, const struct dg_plan_entry *entry,
                                const struct dg_comm *comm, bool one_of_many, struct dg_exchange *exchange,
                                struct dg_error *err)
{
    *exchange = (struct dg_exchange){0};
    bool rehearsed = one_of_many && dg_plan_is_coupled(plan, entry);
    if (!rehearsed) DG_TRY(dg_exchange_check(plan, entry, comm, err));
    exchange->slices = entry->slices / (rehearsed ? (int64_t)entry->ranks : dg_comm_ranks(comm));
    exchange->first_slice = exchange->slices * dg_comm_rank(comm);
    return entry->ranks < 2 ? DG_OK : find_ranges(plan, entry, exchange, err);
}

void dg_exchange_free(struct dg_exchange *exchange)
{
    free(exchange->range);
    *exchange = (struct dg_exchange){0};
}
