#include "tools/dinorun/regions.h"

#include "ops/base/base.h"

#include <dlfcn.h>
#include <omp.h>
#include <pthread.h>
#include <string.h>

static struct regions counted;
static int threads_here; /* 0: nothing is counted */

typedef void enter_region(void (*body)(void *), void *data, unsigned threads, unsigned flags);

static enter_region *next;

static void find_next(void)
{
    void *found = dlsym(RTLD_NEXT, "GOMP_parallel");
    memcpy(&next, &found, sizeof next); /* C has no conversion from an object's pointer to a function's */
}

static void count(double seconds)
{
    bool small = seconds * threads_here < SMALL_WORK * MANY_THREADS;
    counted.count++;
    counted.seconds += seconds;
    counted.small += small;
    counted.small_seconds += small ? seconds : 0;
}

/* libgomp's entry to a parallel region; libgomp is a library, so calls of all libraries find this one first. */
/* Visible, since the linker exports what a library refers to. */
__attribute__((visibility("default"))) enter_region GOMP_parallel;
void GOMP_parallel(void (*body)(void *), void *data, unsigned threads, unsigned flags)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, find_next);
    bool alone = threads == 1 && threads_here > 1; /* the loop was too short to be shared, and was not */
    bool counts = threads_here && !alone && !omp_in_parallel();
    double begin = counts ? dg_seconds_now() : 0;
    next(body, data, threads, flags);
    if (counts) count(dg_seconds_now() - begin);
}

void regions_start(int threads)
{
    counted = (struct regions){0};
    threads_here = threads;
}

struct regions regions_now(void) { return counted; }

struct regions regions_stop(void)
{
    threads_here = 0;
    return counted;
}

bool regions_are_counted(void)
{
    int team = 0;
    regions_start(1);
#pragma omp parallel
#pragma omp single
    team = omp_get_num_threads();
    return regions_stop().count > 0 && team > 0;
}
