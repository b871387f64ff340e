/* Draws a small labelled set of images to learn from when there is no other at hand.
 *
 * Each image shows one object before a ground of gray clouds. Its class is a shape with a texture (a striped disc, a
 * dotted ring, ...); place, size, rotation, stretch, colours, clouds and light are drawn at random and say nothing
 * about the class. The ground has the same grays in all images: a tint or things on it, which all crops of one image
 * share and other images lack, tell images apart with less effort than the object does, and the network's heads look
 * at those. Shapes are signed distance functions, so edges are smooth at any size and the object's mask comes for
 * free.
 *
 *     DIR/train/CLASS/00000.png  DIR/val/CLASS/00000.png  DIR/masks/train/CLASS/00000.png (255 on the object) ...
 *
 * An image depends on the seed, its split and its number only. */
#include "ops/base/rng.h"
#include "runtime/image/write.h"
#include "tools/cli/flags.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- small vectors ---- */

struct point {
    float x, y;
};

struct colour {
    float r, g, b; /* 0..1 */
};

static float clamp01(float x) { return x < 0 ? 0 : x > 1 ? 1 : x; }
static float mix(float a, float b, float t) { return a + (b - a) * t; }
static struct colour mix_colour(struct colour a, struct colour b, float t)
{
    return (struct colour){mix(a.r, b.r, t), mix(a.g, b.g, t), mix(a.b, b.b, t)};
}
static struct point turn(struct point p, float angle)
{
    float c = cosf(angle), s = sinf(angle);
    return (struct point){c * p.x - s * p.y, s * p.x + c * p.y};
}

/* ---- shapes: signed distance, negative inside; every shape fits the unit disc ---- */

static float box(struct point p, float half_width, float half_height)
{
    float x = fabsf(p.x) - half_width, y = fabsf(p.y) - half_height;
    return hypotf(fmaxf(x, 0), fmaxf(y, 0)) + fminf(fmaxf(x, y), 0);
}

/* A regular polygon whose corners lie on the unit circle, one of them up. */
static float polygon(struct point p, int corners)
{
    float sector = 2 * (float)M_PI / (float)corners, angle = atan2f(p.x, -p.y);
    angle = fabsf(angle - sector * roundf(angle / sector)); /* 0 at a corner, sector / 2 at a side's middle */
    return hypotf(p.x, p.y) * cosf(sector / 2 - angle) - cosf(sector / 2);
}

static float shape_disc(struct point p) { return hypotf(p.x, p.y) - 0.9f; }
static float shape_ring(struct point p) { return fabsf(hypotf(p.x, p.y) - 0.72f) - 0.27f; }
static float shape_square(struct point p) { return box(p, 0.75f, 0.75f); }
static float shape_triangle(struct point p) { return polygon(p, 3); }
static float shape_hexagon(struct point p) { return polygon(p, 6); }
static float shape_cross(struct point p) { return fminf(box(p, 0.95f, 0.32f), box(p, 0.32f, 0.95f)); }
static float shape_crescent(struct point p) { return fmaxf(hypotf(p.x, p.y) - 0.95f, 0.72f - hypotf(p.x - 0.5f, p.y)); }
static float shape_star(struct point p)
{
    const int corners = 5;
    float sector = 2 * (float)M_PI / (float)corners, angle = atan2f(p.x, -p.y);
    angle = fabsf(angle - sector * roundf(angle / sector)); /* 0 at a tip, sector / 2 at a notch */
    struct point q = {hypotf(p.x, p.y) * cosf(angle), hypotf(p.x, p.y) * sinf(angle)};
    const struct point tip = {1, 0}, notch = {0.45f * cosf(sector / 2), 0.45f * sinf(sector / 2)};
    struct point edge = {notch.x - tip.x, notch.y - tip.y};
    return (edge.x * (q.y - tip.y) - edge.y * (q.x - tip.x)) / -hypotf(edge.x, edge.y);
}

/* ---- textures: 0 the first colour, 1 the second; `scale` is pixels per unit, for smooth edges ---- */

static float texture_plain(struct point p, float scale)
{
    (void)p;
    (void)scale;
    return 0;
}
static float wave(float x, float period) { return sinf(2 * (float)M_PI * x / period); }
static float soft_sign(float s, float period, float scale)
{
    return clamp01(0.5f + s * period * scale / (2 * (float)M_PI));
}
static float texture_stripes(struct point p, float scale) { return soft_sign(wave(p.x, 0.5f), 0.5f, scale); }
static float texture_checks(struct point p, float scale)
{
    return soft_sign(wave(p.x, 0.7f) * wave(p.y, 0.7f), 0.7f, scale);
}
static float texture_dots(struct point p, float scale)
{
    const float period = 0.46f;
    float x = p.x - period * roundf(p.x / period), y = p.y - period * roundf(p.y / period);
    return clamp01(0.5f - (hypotf(x, y) - 0.3f * period) * scale);
}

/* ---- classes ---- */

struct object_class {
    const char *name;
    float (*shape)(struct point p);
    float (*texture)(struct point p, float scale);
};

/* Neither shape nor texture alone tells them apart. */
static const struct object_class classes[] = {
    {"striped_disc", shape_disc, texture_stripes},
    {"checked_square", shape_square, texture_checks},
    {"dotted_triangle", shape_triangle, texture_dots},
    {"plain_star", shape_star, texture_plain},
    {"dotted_ring", shape_ring, texture_dots},
    {"striped_cross", shape_cross, texture_stripes},
    {"checked_crescent", shape_crescent, texture_checks},
    {"plain_hexagon", shape_hexagon, texture_plain},
    {"checked_star", shape_star, texture_checks},
    {"plain_ring", shape_ring, texture_plain},
    {"dotted_square", shape_square, texture_dots},
    {"striped_triangle", shape_triangle, texture_stripes},
};
enum { CLASSES = sizeof classes / sizeof *classes };

/* ---- what is in an image ---- */

enum { GRID = 9 };
static const float ground_dark = 0.42f, ground_bright = 0.58f, ground_mean = 0.5f;

/* An object, in units of the image's side. */
struct placed {
    struct point centre;
    float radius, angle, stretch; /* stretch: width over height */
    struct colour first, second;
};

struct scene {
    const struct object_class *object_class;
    struct placed object;
    float ground_noise[2][GRID + 1][GRID + 1]; /* coarse and fine, 0..1 */
    float light_angle, light;
};

static float between(struct dg_rng *rng, float low, float high) { return dg_rng_uniform(rng, low, high); }

static float luma(struct colour c) { return 0.3f * c.r + 0.59f * c.g + 0.11f * c.b; }

/* Any hue, of the given brightness and no more than the given saturation. */
static struct colour sample_colour(struct dg_rng *rng, float brightness, float vivid)
{
    float hue = between(rng, 0, 6), saturation = between(rng, 0, vivid);
    struct colour pure = {clamp01(fabsf(hue - 3) - 1), clamp01(2 - fabsf(hue - 2)), clamp01(2 - fabsf(hue - 4))};
    float level = luma(pure);
    return (struct colour){clamp01(brightness + saturation * (pure.r - level)),
                           clamp01(brightness + saturation * (pure.g - level)),
                           clamp01(brightness + saturation * (pure.b - level))};
}

/* A brightness that differs from another by 0.3 and more. */
static float sample_contrast(struct dg_rng *rng, float other)
{
    float room_below = fmaxf(other - 0.4f, 0), room_above = fmaxf(0.6f - other, 0);
    float at = between(rng, 0, room_below + room_above);
    return at < room_below ? 0.1f + at : other + 0.3f + (at - room_below);
}

static struct placed sample_object(struct dg_rng *rng)
{
    struct placed object = {.radius = between(rng, 0.25f, 0.42f)};
    float room = 0.5f - 0.85f * object.radius; /* most of it stays in the image */
    object.centre = (struct point){0.5f + between(rng, -room, room), 0};
    object.centre.y = 0.5f + between(rng, -room, room);
    object.angle = between(rng, 0, 2 * (float)M_PI);
    object.stretch = between(rng, 0.85f, 1.18f);
    float first = sample_contrast(rng, ground_mean);
    object.first = sample_colour(rng, first, 0.6f);
    object.second = sample_colour(rng, sample_contrast(rng, first), 0.6f);
    return object;
}

static struct scene sample_scene(struct dg_rng *rng, const struct object_class *object_class)
{
    struct scene scene = {.object_class = object_class};
    for (int octave = 0; octave < 2; octave++)
        for (int y = 0; y <= GRID; y++)
            for (int x = 0; x <= GRID; x++) scene.ground_noise[octave][y][x] = dg_rng_float(rng);
    scene.object = sample_object(rng);
    scene.light_angle = between(rng, 0, 2 * (float)M_PI);
    scene.light = between(rng, 0, 0.25f);
    return scene;
}

/* ---- drawing ---- */

/* The image's point in the thing's own frame, where it fills the unit disc. */
static struct point into_frame(const struct placed *thing, struct point p)
{
    struct point q = turn((struct point){p.x - thing->centre.x, p.y - thing->centre.y}, -thing->angle);
    return (struct point){q.x / (thing->radius * thing->stretch), q.y / thing->radius};
}

static float coverage(float distance, float pixels_per_unit) { return clamp01(0.5f - distance * pixels_per_unit); }

static float grid_noise(float grid[GRID + 1][GRID + 1], float x, float y)
{
    int column = (int)x, row = (int)y;
    float u = x - (float)column, v = y - (float)row;
    u = u * u * (3 - 2 * u);
    v = v * v * (3 - 2 * v);
    return mix(mix(grid[row][column], grid[row][column + 1], u),
               mix(grid[row + 1][column], grid[row + 1][column + 1], u), v);
}

static struct colour ground_at(struct scene *scene, struct point p)
{
    float noise = 0.65f * grid_noise(scene->ground_noise[0], p.x * 4, p.y * 4) +
                  0.35f * grid_noise(scene->ground_noise[1], p.x * GRID * 0.999f, p.y * GRID * 0.999f);
    float gray = mix(ground_dark, ground_bright, clamp01((noise - 0.5f) * 2 + 0.5f));
    return (struct colour){gray, gray, gray};
}

/* The colour at p, and how much of that pixel is object. */
static struct colour scene_at(struct scene *scene, struct point p, float side, float *object)
{
    struct colour colour = ground_at(scene, p);
    const struct object_class *class = scene->object_class;
    float scale = scene->object.radius * side;
    struct point q = into_frame(&scene->object, p);
    *object = coverage(class->shape(q), scale);
    struct colour surface = mix_colour(scene->object.first, scene->object.second, class->texture(q, scale));
    colour = mix_colour(colour, surface, *object);
    float light =
        1 + scene->light * ((p.x - 0.5f) * cosf(scene->light_angle) + (p.y - 0.5f) * sinf(scene->light_angle));
    return (struct colour){colour.r * light, colour.g * light, colour.b * light};
}

static uint8_t to_byte(float value) { return (uint8_t)(clamp01(value) * 255 + 0.5f); }

/* pixels: [side, side, 3], mask: [side, side]. */
static void draw_scene(struct scene *scene, struct dg_rng *grain, int side, uint8_t *pixels, uint8_t *mask)
{
    for (int y = 0; y < side; y++) {
        for (int x = 0; x < side; x++) {
            struct point p = {((float)x + 0.5f) / (float)side, ((float)y + 0.5f) / (float)side};
            float object;
            struct colour colour = scene_at(scene, p, (float)side, &object);
            float noise = 0.06f * (dg_rng_float(grain) + dg_rng_float(grain) - 1);
            *pixels++ = to_byte(colour.r + noise);
            *pixels++ = to_byte(colour.g + noise);
            *pixels++ = to_byte(colour.b + noise);
            *mask++ = to_byte(object);
        }
    }
}

/* ---- the set ---- */

static struct {
    const char *out;
    int images, classes, side;
    uint64_t seed;
} given = {.images = 2000, .classes = 8, .side = 64};

static enum dg_status make_folder(const char *path, struct dg_error *err)
{
    if (!mkdir(path, 0777) || errno == EEXIST) return DG_OK;
    return dg_fail(err, DG_ERR_IO, "cannot make the folder %s: %s", path, strerror(errno));
}

/* A set is drawn into a new or empty folder: leftovers of another one would be learnt from. */
static enum dg_status make_tree(struct dg_error *err)
{
    static const char *const trees[] = {"train", "val", "masks", "masks/train", "masks/val"};
    char path[4096];
    if (strlen(given.out) > 4000) return dg_fail(err, DG_ERR_USAGE, "--out: the path is too long");
    DG_TRY(make_folder(given.out, err));
    DIR *folder = opendir(given.out);
    if (!folder) return dg_fail(err, DG_ERR_IO, "cannot read the folder %s: %s", given.out, strerror(errno));
    bool empty = true;
    for (struct dirent *item; (item = readdir(folder));) empty = empty && item->d_name[0] == '.';
    closedir(folder);
    if (!empty) return dg_fail(err, DG_ERR_USAGE, "%s is not empty; name a new folder", given.out);
    for (int t = 0; t < 5; t++) {
        snprintf(path, sizeof path, "%s/%s", given.out, trees[t]);
        DG_TRY(make_folder(path, err));
        for (int c = 0; c < given.classes && t != 2; c++) {
            snprintf(path, sizeof path, "%s/%s/%s", given.out, trees[t], classes[c].name);
            DG_TRY(make_folder(path, err));
        }
    }
    return DG_OK;
}

static enum dg_status draw_one(const char *split, int number, struct dg_error *err)
{
    uint64_t image = (uint64_t)(split[0] == 'v') << 32 | (uint64_t)number;
    const struct object_class *class = &classes[number % given.classes];
    struct dg_rng rng = dg_rng_make(given.seed, DG_RNG_SCENES, image, 0);
    struct dg_rng grain = dg_rng_make(given.seed, DG_RNG_SCENES, image, 1);
    struct scene scene = sample_scene(&rng, class);
    size_t count = (size_t)given.side * (size_t)given.side;
    uint8_t *pixels = malloc(4 * count);
    if (!pixels) return dg_fail(err, DG_ERR_MEMORY, "no memory for an image of %d x %d", given.side, given.side);
    draw_scene(&scene, &grain, given.side, pixels, pixels + 3 * count);
    char path[4096];
    snprintf(path, sizeof path, "%s/%s/%s/%05d.png", given.out, split, class->name, number);
    enum dg_status status = dg_image_write_png(path, pixels, given.side, given.side, 3, err);
    snprintf(path, sizeof path, "%s/masks/%s/%s/%05d.png", given.out, split, class->name, number);
    if (status == DG_OK) status = dg_image_write_png(path, pixels + 3 * count, given.side, given.side, 1, err);
    free(pixels);
    return status;
}

static enum dg_status draw_split(const char *split, int count, struct dg_error *err)
{
#pragma omp parallel for schedule(dynamic, 16)
    for (int i = 0; i < count; i++) {
        struct dg_error failure = {0};
        enum dg_status status = draw_one(split, i, &failure);
        if (status == DG_OK) continue;
#pragma omp critical
        dg_fail(err, status, "%s", failure.text);
    }
    return err->status;
}

/* ---- the command line ---- */

static int draw_set(void)
{
    struct dg_error err = {0};
    enum dg_status status = make_tree(&err);
    if (status == DG_OK) status = draw_split("train", given.images, &err);
    if (status == DG_OK) status = draw_split("val", given.images / 5, &err);
    if (status != DG_OK) {
        fprintf(stderr, "draw_scenes: %s\n", err.text);
        return status == DG_ERR_USAGE ? 2 : 1;
    }
    printf("%s: %d images to train on, %d to validate with, %d classes, %d x %d pixels\n", given.out, given.images,
           given.images / 5, given.classes, given.side, given.side);
    return 0;
}

static const struct dg_flag flags[] = {
    {"out", "DIR", "a new or empty folder", .text = &given.out, .required = true},
    {"images", "N", "images to train on; N / 5 more are to validate with", .count = &given.images, .min = 5,
     .max = 10000000},
    {"classes", "N", "classes of objects", .count = &given.classes, .min = 1, .max = CLASSES},
    {"size", "N", "side of an image, in pixels", .count = &given.side, .min = 8, .max = 4096},
    {"seed", "N", "of all that is drawn", .seed = &given.seed, .max = (INT64_C(1) << 56) - 1},
    {0}};

static const struct dg_command draw_scenes = {
    .program = "draw_scenes",
    .summary =
        "draws images with one object each into DIR/train and DIR/val, one folder per class, and the objects' masks "
        "into DIR/masks",
    .flags = flags,
    .run = draw_set};

int main(int argc, char **argv) { return dg_finish_output("draw_scenes", dg_command_run(&draw_scenes, argc, argv)); }
