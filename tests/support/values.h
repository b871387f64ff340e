/* What the PyTorch side of the fixtures makes from the generator, made here: tests/reference/values.py says how. */
#ifndef DG_TESTS_SUPPORT_VALUES_H
#define DG_TESTS_SUPPORT_VALUES_H

#include <stdint.h>

enum { DG_PROJECTIONS = 16 };

/* Element i is draw i of the test stream `name`, in [lo, hi). */
void dg_named_uniform(const char *name, int64_t count, float lo, float hi, float *out);
/* Initial value of the parameter or running statistic `name` ("student.backbone..."). */
void dg_initial_value(const char *name, int ndim, const int64_t *dim, float *out);
/* The same but for batch norms, which do something when they do not train. */
void dg_random_norm(const char *name, int ndim, const int64_t *dim, float *out);
/* Sums with random signs; names without "student." or "teacher.". */
void dg_projections(const char *name, const float *values, int64_t count, double scale, double out[DG_PROJECTIONS]);

#endif
