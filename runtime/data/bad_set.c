#include "runtime/data/bad_set.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

struct dg_bad_set {
    pthread_mutex_t lock;
    uint8_t *bad;                     /* [images / 8 + 1] bits */
    int64_t images, count, of_others; /* of_others: that this process has not found itself */
    int32_t *own;                     /* [own_count] found by this process; those from `given` on are not given yet */
    int64_t own_count, own_capacity, given;
};

int64_t dg_bad_set_bytes(int64_t images) { return images / 8 + 1; }

enum dg_status dg_bad_set_open(int64_t images, struct dg_bad_set **result, struct dg_error *err)
{
    struct dg_bad_set *set = calloc(1, sizeof *set);
    *result = set;
    if (set) set->bad = calloc(1, (size_t)dg_bad_set_bytes(images));
    if (set && set->bad) {
        pthread_mutex_init(&set->lock, NULL);
        set->images = images;
        return DG_OK;
    }
    free(set);
    *result = NULL;
    return dg_fail(err, DG_ERR_MEMORY, "no memory for the list of unreadable images");
}

void dg_bad_set_close(struct dg_bad_set *set)
{
    if (!set) return;
    pthread_mutex_destroy(&set->lock);
    free(set->bad);
    free(set->own);
    free(set);
}

static bool bit_of(const struct dg_bad_set *set, int64_t image) { return set->bad[image / 8] >> (image % 8) & 1; }

bool dg_bad_set_has(struct dg_bad_set *set, int64_t image)
{
    pthread_mutex_lock(&set->lock);
    bool has = bit_of(set, image);
    pthread_mutex_unlock(&set->lock);
    return has;
}

static bool add(struct dg_bad_set *set, int64_t image)
{
    if (bit_of(set, image)) return false;
    set->bad[image / 8] |= (uint8_t)(1 << (image % 8));
    set->count++;
    return true;
}

bool dg_bad_set_add(struct dg_bad_set *set, int64_t image, int64_t *count)
{
    pthread_mutex_lock(&set->lock);
    bool added = add(set, image);
    if (added && set->own_count == set->own_capacity) {
        int64_t capacity = set->own_capacity ? 2 * set->own_capacity : 16;
        int32_t *own = realloc(set->own, (size_t)capacity * sizeof *own);
        if (own) {
            set->own = own;
            set->own_capacity = capacity;
        }
    }
    if (added && set->own_count < set->own_capacity) set->own[set->own_count++] = (int32_t)image;
    *count = set->count;
    pthread_mutex_unlock(&set->lock);
    return added;
}

struct dg_bad_news dg_bad_set_take_news(struct dg_bad_set *set)
{
    struct dg_bad_news news = {0};
    if (!set) return news;
    pthread_mutex_lock(&set->lock);
    while (news.count < DG_BAD_NEWS && set->given < set->own_count) news.image[news.count++] = set->own[set->given++];
    pthread_mutex_unlock(&set->lock);
    return news;
}

void dg_bad_set_add_news(struct dg_bad_set *set, const struct dg_bad_news *news)
{
    if (!set) return;
    pthread_mutex_lock(&set->lock);
    for (int32_t i = 0; i < news->count && i < DG_BAD_NEWS; i++)
        if (news->image[i] >= 0 && news->image[i] < set->images) set->of_others += add(set, news->image[i]);
    pthread_mutex_unlock(&set->lock);
}

enum dg_status dg_bad_set_check(struct dg_bad_set *set, int64_t most, struct dg_error *err)
{
    if (!set) return DG_OK;
    pthread_mutex_lock(&set->lock);
    int64_t count = set->of_others ? set->count : 0;
    pthread_mutex_unlock(&set->lock);
    if (count <= most) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT,
                   "%" PRId64 " unreadable images in all processes, more than the %" PRId64
                   " tolerated; mend or remove them, or raise --max-bad-images",
                   count, most);
}
