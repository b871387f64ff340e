#include "runtime/video/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOLERANCE 0.008 /* of the diagonal */

double dg_video_region(const uint8_t *annotated, const uint8_t *mask, int height, int width, int object)
{
    int64_t both = 0, either = 0;
    for (int64_t i = 0; i < (int64_t)height * width; i++) {
        bool a = annotated[i] == object, b = mask[i] == object;
        both += a && b;
        either += a || b;
    }
    return either ? (double)both / (double)either : 1;
}

/* ---- boundaries ---- */

struct boundary {
    uint8_t *is; /* [height, width] */
    int *at;     /* [count]: y * width + x */
    int count;
};

/* A pixel is on the boundary if its right, lower or lower right neighbour is on the other side. In the last row and
 * column only the neighbour that there is counts, and the last corner is never on it. */
static bool find_boundary(const uint8_t *label, int height, int width, int object, struct boundary *b)
{
    int64_t pixels = (int64_t)height * width;
    b->is = calloc((size_t)pixels, 1);
    b->at = malloc((size_t)pixels * sizeof *b->at);
    if (!b->is || !b->at) return false;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            const uint8_t *here = label + (ptrdiff_t)y * width + x;
            bool in = *here == object, right = x + 1 < width, below = y + 1 < height;
            bool edge = (right && (here[1] == object) != in) || (below && (here[width] == object) != in) ||
                        (right && below && (here[width + 1] == object) != in);
            if (!edge) continue;
            b->is[(ptrdiff_t)y * width + x] = 1;
            b->at[b->count++] = y * width + x;
        }
    return true;
}

static void free_boundary(struct boundary *b)
{
    free(b->is);
    free(b->at);
}

/* How many pixels of `a` have one of `b` within the radius. */
static int matched(const struct boundary *a, const struct boundary *b, int height, int width, int radius)
{
    int found = 0;
    for (int i = 0; i < a->count; i++) {
        int y = a->at[i] / width, x = a->at[i] % width, hit = 0;
        for (int dy = -radius; dy <= radius && !hit; dy++) {
            if (y + dy < 0 || y + dy >= height) continue;
            int reach = (int)sqrt((double)(radius * radius - dy * dy));
            int from = x - reach > 0 ? x - reach : 0, to = x + reach < width ? x + reach : width - 1;
            hit = memchr(b->is + (ptrdiff_t)(y + dy) * width + from, 1, (size_t)(to - from + 1)) != NULL;
        }
        found += hit;
    }
    return found;
}

static double f_of(const struct boundary *annotated, const struct boundary *mask, int height, int width)
{
    double diagonal = sqrt((double)height * height + (double)width * width), precision, recall;
    int radius = (int)ceil(TOLERANCE * diagonal);
    if (!mask->count && !annotated->count) return 1;
    if (!mask->count || !annotated->count) return 0;
    precision = (double)matched(mask, annotated, height, width, radius) / mask->count;
    recall = (double)matched(annotated, mask, height, width, radius) / annotated->count;
    return precision + recall > 0 ? 2 * precision * recall / (precision + recall) : 0;
}

enum dg_status dg_video_boundary(const uint8_t *annotated, const uint8_t *mask, int height, int width, int object,
                                 double *value, struct dg_error *err)
{
    struct boundary a = {0}, b = {0};
    bool found = find_boundary(annotated, height, width, object, &a) && find_boundary(mask, height, width, object, &b);
    if (found) *value = f_of(&a, &b, height, width);
    free_boundary(&a);
    free_boundary(&b);
    return found ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "no memory for the boundary of a mask");
}

/* ---- over frames and objects ---- */

static double mean_of(const double *value, int first, int end)
{
    double sum = 0;
    for (int i = first; i < end; i++) sum += value[i];
    return sum / (end - first);
}

struct dg_video_measure dg_video_measure(const double *value, int count)
{
    enum { QUARTERS = 4 };
    int edge[QUARTERS + 1], above = 0;
    for (int i = 0; i < count; i++) above += value[i] > 0.5;
    for (int q = 0; q <= QUARTERS; q++) /* numpy's linspace and round */
        edge[q] = (int)rint(1 + (count - 1) / (double)QUARTERS * q + 1e-10) - 1;
    return (struct dg_video_measure){.mean = mean_of(value, 0, count),
                                     .recall = (double)above / count,
                                     .decay = mean_of(value, edge[0], edge[1] + 1) -
                                              mean_of(value, edge[QUARTERS - 1], edge[QUARTERS] + 1)};
}

enum dg_status dg_video_score(const struct dg_video_masks *m, int objects, int threads, struct dg_video_score *score,
                              struct dg_error *err)
{
    if (m->frames < 1) return dg_fail(err, DG_ERR_USAGE, "a video needs a frame between its first and its last one");
    int64_t count = (int64_t)m->frames * objects;
    double *j = malloc((size_t)(count ? count : 1) * sizeof *j), *f = malloc((size_t)(count ? count : 1) * sizeof *f);
    int memory = !j || !f;
#pragma omp parallel for schedule(dynamic) num_threads(threads) reduction(| : memory)
    for (int64_t i = 0; i < count; i++) {
        if (!j || !f) continue;
        int object = 1 + (int)(i / m->frames), frame = (int)(i % m->frames);
        j[i] = dg_video_region(m->annotated[frame], m->mask[frame], m->height, m->width, object);
        memory |=
            dg_video_boundary(m->annotated[frame], m->mask[frame], m->height, m->width, object, &f[i], NULL) != DG_OK;
    }
    for (int o = 0; o < objects && !memory; o++)
        score[o] = (struct dg_video_score){dg_video_measure(j + (ptrdiff_t)o * m->frames, m->frames),
                                           dg_video_measure(f + (ptrdiff_t)o * m->frames, m->frames)};
    free(j);
    free(f);
    return memory ? dg_fail(err, DG_ERR_MEMORY, "no memory for the boundaries of masks") : DG_OK;
}

static void add(struct dg_video_measure *sum, const struct dg_video_measure *one, int count)
{
    sum->mean += one->mean / count;
    sum->recall += one->recall / count;
    sum->decay += one->decay / count;
}

struct dg_video_score dg_video_score_mean(const struct dg_video_score *score, int count)
{
    struct dg_video_score mean = {{0}, {0}};
    for (int i = 0; i < count; i++) {
        add(&mean.j, &score[i].j, count);
        add(&mean.f, &score[i].f, count);
    }
    return mean;
}
