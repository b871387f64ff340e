/* What training leaves in a run's folder: checkpoints and losses of two runs compared. Any failure fails the running CMocka test. */
#ifndef DG_TESTS_RUNS_H
#define DG_TESTS_RUNS_H

#include "runtime/formats/safetensors.h"

/* The run's checkpoint.safetensors, to be closed. */
struct dg_safetensors *open_checkpoint(const char *run);

/* The checkpoints have the same tensors: equal to the bit (`tolerance` 0), or numbers of f32 apart by no more than `tolerance` times the
 * largest of their tensor. The metadata may differ. */
void assert_same_state(const char *run, const char *other, double tolerance);

/* The logs have as many steps, and losses apart by no more than `tolerance` of themselves. */
void assert_same_losses(const char *run, const char *other, double tolerance);

#endif
