/* RUN/log.jsonl: one JSON object a step, or an epoch of a probe. */
#ifndef DG_RUNTIME_TRAIN_RUN_LOG_H
#define DG_RUNTIME_TRAIN_RUN_LOG_H

#include "ops/base/base.h"

/* One step, as it is logged. Losses are in nats, means over the terms of DINO's loss. */
struct dg_step_report {
    int64_t step, epoch; /* from 0 */
    double loss, teacher_entropy, kl;
    double lr, weight_decay, momentum, teacher_temp;
    double grad_norm; /* of all student gradients together, before clipping */
    double images_per_s;
    double waited; /* seconds for the sums of other processes; negative: there are none */
};

struct dg_run_log;

enum { DG_RUN_LOG_LINE = 440 }; /* upper bound of a step's line, in bytes */

/* Opens the log for a run that continues at `step`. Lines of that step and later, left by a run that ended without a
 * checkpoint, are cut off; step 0 empties the log. DG_ERR_IO. */
enum dg_status dg_run_log_open(const char *path, int64_t step, struct dg_run_log **log, struct dg_error *err);
/* Writes a line, which is in the file when this returns. DG_ERR_IO (a full disk). */
enum dg_status dg_run_log_write(struct dg_run_log *log, const struct dg_step_report *report, struct dg_error *err);
/* The same for any object that begins with {"step": N, without its closing brace, which follows the key "time". */
enum dg_status dg_run_log_line(struct dg_run_log *log, struct dg_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Syncs the log: all lines so far survive a power cut. DG_ERR_IO. */
enum dg_status dg_run_log_sync(struct dg_run_log *log, struct dg_error *err);
void dg_run_log_close(struct dg_run_log *log); /* NULL is fine */

#endif
