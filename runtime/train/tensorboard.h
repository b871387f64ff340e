/* RUN/tensorboard/: the numbers of the log as TensorBoard reads them. */
#ifndef DG_RUNTIME_TRAIN_TENSORBOARD_H
#define DG_RUNTIME_TRAIN_TENSORBOARD_H

#include "runtime/formats/event_file.h"
#include "runtime/train/run_log.h"

/* Begins a file for a run that is at `step`, if it is asked for or the run has such files already; else *file is
 * NULL. DG_ERR_IO. */
enum dg_status dg_tensorboard_open(const char *run, int64_t step, bool asked, struct dg_event_file **file,
                                   struct dg_error *err);
/* Writes a step; `file` NULL: nothing. DG_ERR_IO. */
enum dg_status dg_tensorboard_write(struct dg_event_file *file, const struct dg_step_report *report,
                                    struct dg_error *err);

#endif
