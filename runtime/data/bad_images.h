/* Images that cannot be read: how many are tolerated, and which they are. */
#ifndef DG_RUNTIME_DATA_BAD_IMAGES_H
#define DG_RUNTIME_DATA_BAD_IMAGES_H

#include "runtime/base/log.h"
#include "runtime/comm/comm.h"

#include <pthread.h>

/* How many unreadable images are tolerated: so many, or so many percent of all. */
struct dg_bad_limit {
    int64_t images;
    double percent; /* above 0: it counts, and `images` does not */
};

/* Of `all` images, rounded down. */
int64_t dg_bad_limit_of(struct dg_bad_limit limit, int64_t all);
/* "10" or "0.5%", as it is given. Returns `text`. */
const char *dg_bad_limit_text(struct dg_bad_limit limit, char *text, size_t size);

struct dg_bad_image {
    int64_t index; /* in what was read */
    char *path;    /* escaped for messages; owned, as is the reason, "the file is cut short" */
    char *reason;
};

/* Collects from many threads. */
struct dg_bad_images {
    pthread_mutex_t lock;
    struct dg_bad_image *image; /* [count] */
    int64_t count, capacity;
};

void dg_bad_images_init(struct dg_bad_images *bad);
void dg_bad_images_free(struct dg_bad_images *bad);

/* `reason` is the error of reading the image at `path`. Without memory the error becomes *err. */
enum dg_status dg_bad_images_add(struct dg_bad_images *bad, int64_t index, const char *path,
                                 const struct dg_error *reason, struct dg_error *err);
int64_t dg_bad_images_count(struct dg_bad_images *bad);

/* Collective: each process receives those of all others, which have looked at other images. */
enum dg_status dg_bad_images_share(struct dg_bad_images *bad, struct dg_comm *comm, struct dg_error *err);

/* When all of `all` images were read: sorts by index, and tells the log of each. DG_ERR_INPUT: more than `limit`. */
enum dg_status dg_bad_images_settle(struct dg_bad_images *bad, int64_t all, int64_t limit, const struct dg_log *log,
                                    struct dg_error *err);

/* Escapes the path where the text of an error names it. */
void dg_error_escape_path(struct dg_error *err, const char *path);

#endif
