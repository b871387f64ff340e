/* DINO's augmentation (DataAugmentationDINO of the official main_dino.py): the specification of a view, its random
 * decisions, and their application.
 *
 * All colour operations work on 8-bit RGB, [height, width, 3], in place, and give the bytes of Pillow and torchvision.
 * Sampling is separate from applying, so that a view is a pure function of the image and a `struct dg_view_draw`. */
#ifndef DG_RUNTIME_IMAGE_AUGMENT_H
#define DG_RUNTIME_IMAGE_AUGMENT_H

#include "runtime/image/resample.h"

enum { DG_MAX_VIEWS = 64 }; /* of an image */

/* How views of one kind are drawn. Probabilities 0..1; strengths 0 leave their operation out. */
struct dg_view_spec {
    int height, width;
    struct dg_resampling how;
    double scale[2];      /* the crop's area, as a part of the image's: low, high */
    double ratio[2];      /* its width / height: low, high */
    double flip;          /* probability of a horizontal flip */
    double vertical_flip; /* probability of a vertical flip */
    double turn;          /* probability of a turn by 90, 180 or 270 degrees; of square views */
    double jitter;        /* probability of the colour jitter */
    double brightness;    /* factor from [max(0, 1 - b), 1 + b]; contrast and saturation likewise */
    double contrast;
    double saturation;
    double hue;           /* shift from [-h, h], in turns; at most 0.5 */
    double gray;          /* probability of grayscale */
    double blur;          /* probability of the Gaussian blur */
    double blur_sigma[2]; /* its standard deviation in pixels: low, high */
    double solarize;      /* probability of solarisation */
    int solarize_threshold;
    double mean[3], std[3]; /* of the network's input, for values 0..1 */
};

/* DG_ERR_USAGE naming the field and its range, after "view NAME". */
enum dg_status dg_view_spec_check(const struct dg_view_spec *spec, const char *name, struct dg_error *err);

enum dg_jitter { DG_JITTER_BRIGHTNESS, DG_JITTER_CONTRAST, DG_JITTER_SATURATION, DG_JITTER_HUE, DG_JITTER_COUNT };

/* All random decisions of one view. */
struct dg_view_draw {
    struct dg_box crop;
    bool flip, vertical_flip;
    int turns;                              /* by 90 degrees, clockwise */
    int jitter_count;                       /* 0: no jitter */
    enum dg_jitter jitter[DG_JITTER_COUNT]; /* the operations, in order */
    float factor[DG_JITTER_COUNT];          /* by operation; the hue's is its shift */
    bool gray;
    float blur_sigma; /* 0: no blur */
    bool solarize;
};

/* Draws the decisions for one view of an image of width x height pixels, as a pure function of the arguments. Random
 * words come from purpose DG_RNG_CROPS, stream epoch << 40 | image, sub view. `image` is below 2^40; `view` counts
 * globals, then locals. */
struct dg_view_draw dg_view_sample(const struct dg_view_spec *spec, int width, int height, uint64_t seed, int64_t epoch,
                                   int64_t image, int view);

/* Makes the view, 8 bits: crop, resize, flips, turn, jitter, gray, blur, solarise. out: [height, width, 3]. */
enum dg_status dg_view_apply(const struct dg_view_spec *spec, const struct dg_view_draw *draw,
                             const struct dg_image *image, uint8_t *out, struct dg_scratch *work, struct dg_error *err);

/* (v / 255 - mean) / std, f32, as ToTensor and Normalize round it, but channels stay last. out: [pixels, 3]. */
struct dg_normalizer {
    float value[3][256];
};
struct dg_normalizer dg_normalizer_make(const double mean[3], const double std[3]);
void dg_normalize(const struct dg_normalizer *normalizer, const uint8_t *in, int64_t pixels, float *out);

/* Upside down; and `turns` quarter turns clockwise of a square of `side` pixels. DG_ERR_MEMORY. */
void dg_image_flip_vertically(uint8_t *pixels, int width, int height);
enum dg_status dg_image_turn(uint8_t *pixels, int side, int turns, struct dg_scratch *work, struct dg_error *err);

/* The operations one by one; `count` is pixels. */
void dg_image_brightness(uint8_t *pixels, int64_t count, float factor);
void dg_image_contrast(uint8_t *pixels, int64_t count, float factor);
void dg_image_saturation(uint8_t *pixels, int64_t count, float factor);
void dg_image_hue(uint8_t *pixels, int64_t count, float shift);
void dg_image_gray(uint8_t *pixels, int64_t count);
void dg_image_solarize(uint8_t *pixels, int64_t count, int threshold);
/* Pillow's GaussianBlur: three extended box passes a direction. sigma > 0. DG_ERR_MEMORY. */
enum dg_status dg_image_blur(uint8_t *pixels, int width, int height, float sigma, struct dg_scratch *work,
                             struct dg_error *err);

#endif
