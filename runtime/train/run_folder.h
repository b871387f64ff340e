/* The folder that a run writes to. */
#ifndef DG_RUNTIME_TRAIN_RUN_FOLDER_H
#define DG_RUNTIME_TRAIN_RUN_FOLDER_H

#include "ops/base/base.h"

/* Makes the folder, unless it is there, and locks it until dg_run_folder_close or the end of the process, so that no
 * two runs write to it. Removes temporary files that a killed run has left. DG_ERR_IO; DG_ERR_USAGE: another run has
 * the lock. */
enum dg_status dg_run_folder_open(const char *path, int *lock, struct dg_error *err);
void dg_run_folder_close(int lock); /* negative is fine */

#endif
