/* Which images of a data set training has found unreadable; of several processes all know of those that any has found. */
#ifndef DG_RUNTIME_DATA_BAD_SET_H
#define DG_RUNTIME_DATA_BAD_SET_H

#include "ops/base/base.h"

struct dg_bad_set;

/* For `images` images. *set is NULL on failure, DG_ERR_MEMORY. Many threads may use it. */
enum dg_status dg_bad_set_open(int64_t images, struct dg_bad_set **set, struct dg_error *err);
void dg_bad_set_close(struct dg_bad_set *set); /* NULL is fine */
int64_t dg_bad_set_bytes(int64_t images);

bool dg_bad_set_has(struct dg_bad_set *set, int64_t image);
/* True if it was not there; *count receives how many there are. */
bool dg_bad_set_add(struct dg_bad_set *set, int64_t image, int64_t *count);

/* Some that this process has found, for others: each is given once. */
enum { DG_BAD_NEWS = 7 };
struct dg_bad_news {
    int32_t count, image[DG_BAD_NEWS];
};
struct dg_bad_news dg_bad_set_take_news(struct dg_bad_set *set); /* NULL: none */
/* Adds what another process has found. */
void dg_bad_set_add_news(struct dg_bad_set *set, const struct dg_bad_news *news);

/* DG_ERR_INPUT: with those of others there are more than `most`. Of this process's own alone dg_bad_set_add's caller says it. */
enum dg_status dg_bad_set_check(struct dg_bad_set *set, int64_t most, struct dg_error *err);

#endif
