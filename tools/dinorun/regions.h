/* The parallel regions of this process: how many threads run through, our own loops' and oneDNN's alike, and their times.
 *
 * GCC's libgomp enters every region of the program and of its libraries by GOMP_parallel. dinorun defines that function in front of
 * libgomp's, notes the time, and calls libgomp's. With another OpenMP library nothing is counted. */
#ifndef DG_TOOLS_DINORUN_REGIONS_H
#define DG_TOOLS_DINORUN_REGIONS_H

#include <stdbool.h>
#include <stdint.h>

/* The regions that ended since regions_start(). */
struct regions {
    int64_t count;
    double seconds;       /* from entry to exit, as the thread that enters sees it */
    int64_t small;        /* those with less than SMALL_WORK seconds of work for each of MANY_THREADS threads */
    double small_seconds; /* of them, here */
};

enum { MANY_THREADS = 64 };
#define SMALL_WORK 20e-6

/* Begins to count, from nothing, regions that this thread enters; `threads` share each of them. */
void regions_start(int threads);
struct regions regions_stop(void);
/* What has been counted so far. Only on the thread that counts. */
struct regions regions_now(void);
/* Whether regions are counted with this OpenMP library: a region is tried. */
bool regions_are_counted(void);

#endif
