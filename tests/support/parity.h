/* What the parity tests share: recorded crops, initial weights, a run, and its log and checkpoint beside what PyTorch has
 * (tests/reference/values.py says what both sides make from names). Tensors are compared by sixteen random projections,
 * which estimate the L2 distance to 18 %. */
#ifndef DG_TESTS_PARITY_H
#define DG_TESTS_PARITY_H

#include "runtime/formats/safetensors.h"
#include "runtime/train/train.h"
#include "tests/support/check.h"
#include "tests/support/files.h"
#include "tests/support/values.h"

#include <jansson.h>

enum { DG_PARITY_STEPS = 10, DG_PARITY_VIEWS = 6 };

/* Compiles a recipe of graphs/ with the first settings and then the others. */
void dg_parity_compile(const char *plan, const char *recipe, int batch, const char *const *first, int num_first,
                       const char *const *more, int num_more);

/* Recorded crops of steps first .. first + count - 1: two of 224 pixels, four of 96. */
void dg_parity_write_crops(const char *file, int batch, int first, int count);

/* The student's initial weights, with names and shapes from the plan; running statistics begin as they do. */
void dg_parity_write_weights(const char *file, const char *plan_file);

/* A run on recorded crops from the file "weights", or resumed. */
void dg_parity_train(const char *plan_file, const char *crops, const char *out, int64_t steps, bool resume);

struct dg_safetensors *dg_parity_checkpoint(const char *run);

json_t *dg_parity_fixture(const char *name);

double dg_parity_number(const json_t *object, const char *key);

/* `key` of a line of the log and of the step that it should be. */
void dg_parity_near(const char *key, const json_t *got, const json_t *want, double limit);

/* The schedules' values of a step. */
void dg_parity_near_schedules(const json_t *got, const json_t *want);

/* Each line of a run's log with the step of the fixture. */
void dg_parity_compare_log(const char *run, const json_t *expected,
                           void compare(const json_t *got, const json_t *want));

const struct dg_safetensors_tensor *dg_parity_find(const struct dg_safetensors *file, const char *prefix,
                                                   const char *name);

float *dg_parity_floats(const struct dg_safetensors_tensor *tensor);

/* The L2 distance between values times `scale` and those known by a summary, as the projections estimate it. */
double dg_parity_distance(const float *values, int64_t count, const char *name, double scale, const json_t *summary);

#endif
