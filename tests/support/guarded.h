/* Memory that shows who writes beyond it. */
#ifndef DG_TESTS_GUARDED_H
#define DG_TESTS_GUARDED_H

#include <stdint.h>

/* 64-byte aligned, to be freed; all ones (NaN in f32, f64 and bf16), and a canary behind it. */
void *guarded_alloc(int64_t bytes);
/* Fails the running test if the canary is gone. */
void guarded_check(const void *data, int64_t bytes, const char *who);

#endif
