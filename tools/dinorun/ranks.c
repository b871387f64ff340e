/* Evaluations by several processes: how they are opened and ended, and what the other ranks print. */
#include "tools/dinorun/command.h"

#include "runtime/exec/replica.h"
#include "runtime/train/rank_start.h"

#include <stdio.h>

static const struct dg_comm *of_console; /* whose rank messages are of */

static bool opening; /* what is said so far all processes say alike */

/* Of the other ranks warnings and traces alone are written, with the rank. */
static void write_of_rank(void *context, enum dg_log_level level, enum dg_log_topic topic, const char *text)
{
    char line[2048];
    int rank = dg_comm_rank(of_console);
    (void)context;
    if (level == DG_LOG_INFO || (opening && level == DG_LOG_WARNING)) return;
    snprintf(line, sizeof line, "rank %d (%s): %s", rank, dg_comm_host(of_console, rank), text);
    write_to_stderr(level, topic, line);
}

enum dg_status join_ranks(const struct dg_comm_options *options, struct dg_comm **comm, struct dg_error *err)
{
    size_t size;
    const char *settings = dg_command_settings(&size);
    DG_TRY(dg_comm_open(options, comm, err));
    return dg_ranks_check_settings(*comm, settings, (int64_t)size, err);
}

bool leads(const struct dg_comm *comm) { return dg_comm_rank(comm) == 0; }

enum dg_status open_ranks(struct dg_comm **comm, int *threads, struct dg_error *err)
{
    const struct dg_comm_options options = {.stall_limit = STALL_LIMIT, .log = &console};
    DG_TRY(join_ranks(&options, comm, err));
    of_console = *comm;
    opening = true;
    if (!leads(*comm)) console.write = write_of_rank;
    return *comm ? dg_ranks_threads(*comm, threads, err) : DG_OK;
}

void let_ranks_warn(void) { opening = false; }

enum dg_status check_ranks(struct evaluation *e, const struct dg_dataset *dataset, const char *path,
                           struct dg_error *err)
{
    if (!e->options.comm) return DG_OK;
    const struct dg_rank_facts facts = {.plan = e->of.plan.header->checksum,
                                        .data = dg_dataset_hash(dataset),
                                        .images = dg_dataset_count(dataset),
                                        .images_from = path,
                                        .weights = dg_replica_hash(dg_evaluator_session(e->evaluator), 0, 1),
                                        .weights_from = e->options.weights,
                                        .rules = image_rules(&e->images),
                                        .knobs = &e->of.knobs};
    let_ranks_warn();
    return dg_ranks_check(e->options.comm, &facts, err);
}

int end_ranks(struct dg_comm *comm, const struct dg_error *err)
{
    bool failed = dg_comm_failed(comm);
    int status =
        leads(comm) || failed ? exit_status(err) : 0; /* all have come to the same, which is rank 0's to tell */
    if (failed) dg_comm_abort(comm, status);
    dg_comm_close(comm);
    return status;
}
