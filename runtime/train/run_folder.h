/* The folder that a run writes to. */
#ifndef DG_RUNTIME_TRAIN_RUN_FOLDER_H
#define DG_RUNTIME_TRAIN_RUN_FOLDER_H

#include "ops/base/base.h"

/* Makes it, and locks it until dg_run_folder_close (also by the end of the process), so that no two runs write to it at once;
 * what a killed run had half-written is removed. DG_ERR_IO, or DG_ERR_USAGE when another run has it. */
enum dg_status dg_run_folder_open(const char *path, int *lock, struct dg_error *err);
void dg_run_folder_close(int lock); /* negative is fine */

#endif
