/* One network for images of many sizes. A plan is laid out for images of one size, so each size that is met gets a plan
 * of its own, made of the description that the first one carries, and a session. Sessions have the weights in common
 * (dg_shared_weights), and stay open for the images to come as long as all of them together fit into the memory given; the one that has not been used for the longest time
 * is closed first. */
#ifndef DG_RUNTIME_EVAL_SIZES_H
#define DG_RUNTIME_EVAL_SIZES_H

#include "runtime/draw/patches.h"
#include "runtime/eval/evaluator.h"
#include "runtime/image/fit.h"

struct dg_sizes;

/* Opens a plan of the same network whose evaluation entries take one image of height x width pixels. */
typedef enum dg_status dg_size_maker(void *context, const struct dg_plan *of, int64_t height, int64_t width,
                                     struct dg_plan *made, struct dg_error *err);

struct dg_sizes_options {
    struct dg_evaluator_options evaluator; /* its `memory` is that of all sessions; 0: half of what is free now */
    dg_size_maker *make;
    void *context;
    const double *std; /* [3]: divides pixels, in place of the plan's and the weights'; NULL: it does not */
    /* The output is the mean of those at three scales of the image, 1, 1/sqrt(2) and 1/2, divided by its norm, as
     * multi_scale of the official code's utils.py has it. For entries whose output does not depend on the size. */
    bool multiscale;
};

/* `plan` must outlive the sizes. */
enum dg_status dg_sizes_open(const struct dg_plan *plan, const struct dg_sizes_options *options,
                             struct dg_sizes **sizes, struct dg_error *err);
void dg_sizes_close(struct dg_sizes *sizes); /* NULL is fine */

/* What came of an image; valid until the next one. */
struct dg_sized_output {
    const float *output; /* [dim], as of the entry */
    int64_t dim;
    const struct dg_plan *plan; /* of the image's size: dg_patches_init; NULL: it was shown at several scales */
    int height, width;          /* of what the network saw, at scale 1 */
};

/* Runs the entry on one image [height, width, 3], 8 bits. Of a network with patches, what is left of them at the right
 * and at the bottom is cut off first, as in the published code. `name` is the image's, in errors. DG_ERR_MEMORY: a
 * session of this size alone takes more than there is. DG_ERR_INPUT (no patch fits into the image; what `make` says),
 * DG_ERR_NUMERIC. */
enum dg_status dg_sizes_run(struct dg_sizes *sizes, const uint8_t *pixels, int height, int width, const char *name,
                            struct dg_sized_output *output, struct dg_error *err);

/* Opens the session that such an image will meet, and sets *output (may be NULL) but for the output itself. */
enum dg_status dg_sizes_prepare(struct dg_sizes *sizes, int height, int width, struct dg_sized_output *output,
                                struct dg_error *err);

/* What the sessions have come to; bytes are those of the sessions as planned, with the program's. */
struct dg_sizes_use {
    int64_t sizes, openings; /* that were met; more openings than sizes: some were closed in between */
    int64_t memory, most;    /* the limit; the most that was open at a time */
    int64_t own;             /* the most that a session had besides the weights that others share, and the program */
    int threads;             /* of a session; 0: none has been opened */
    uint64_t weights;        /* hash of the parameters (dg_weights_hash) */
};
struct dg_sizes_use dg_sizes_use(const struct dg_sizes *sizes);

/* Receives the output for image `index` of the data set, which is the `done`th of `all`. */
typedef enum dg_status dg_sized_sink(void *context, const struct dg_sized_output *output, int64_t index, int64_t done,
                                     int64_t all, struct dg_error *err);

struct dg_sized_images {
    struct dg_dataset *dataset;
    const int64_t *index; /* [count]: these of its images, in this order. NULL: all, in its order */
    int64_t count;
    struct dg_fit fit; /* how each is resized */
    enum dg_filter filter;
};

/* Runs images of a data set. Unreadable ones as in dg_evaluate; where `index` says which are run, each must be
 * readable. */
enum dg_status dg_sizes_evaluate(struct dg_sizes *sizes, const struct dg_sized_images *images, dg_sized_sink *sink,
                                 void *context, struct dg_error *err);

#endif
