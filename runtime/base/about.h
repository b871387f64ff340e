/* Which program this is, and the machine that it runs on: for what a run writes down, and for reports. */
#ifndef DG_RUNTIME_BASE_ABOUT_H
#define DG_RUNTIME_BASE_ABOUT_H

#include "ops/base/base.h"

#include <time.h>

const char *dg_version(void); /* "0.2.0" */
/* The commit that the program was configured from, abbreviated; "" where that is not known (an archive of the
 * sources). */
const char *dg_commit(void);

/* The CPU's name as the system has it, "AMD EPYC 9R14"; its architecture where there is no name. Returns `text`. */
const char *dg_cpu_name(char *text, size_t size);

enum { DG_TIME_TEXT = 32 };
/* A time in UTC as ISO 8601 has it, "2026-11-28T03:20:00Z". Returns `text`. */
const char *dg_time_text(time_t time, char text[DG_TIME_TEXT]);

#endif
