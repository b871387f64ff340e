/* A log for tests: it keeps all that the runtime said. */
#ifndef DG_TESTS_SUPPORT_LOG_H
#define DG_TESTS_SUPPORT_LOG_H

#include "runtime/base/log.h"

/* The messages since the last dg_test_hush, a line each: what was done, and warnings; not the traces. */
extern char dg_test_said[65536];
void dg_test_hush(void);
extern const struct dg_log dg_test_log;

#endif
