/* How fast the loader makes crops on this machine. */
#ifndef DG_RUNTIME_DATA_BENCH_CROPS_H
#define DG_RUNTIME_DATA_BENCH_CROPS_H

#include "runtime/data/dataset.h"
#include "runtime/exec/knobs.h"

struct dg_bench_crops_result {
    double seconds;
    int64_t images;
    int views;   /* of each image */
    int threads; /* that were used: `threads`, as far as a loader may have them */
};

/* Makes the views of at least `images` images of the data set with `threads` threads, as training would; unreadable
 * images are replaced, and named to `log` (may be NULL). Errors are the loader's. */
enum dg_status dg_bench_crops(const struct dg_knobs *knobs, const struct dg_dataset *dataset, int64_t images,
                              int threads, const struct dg_log *log, struct dg_bench_crops_result *result,
                              struct dg_error *err);

#endif
