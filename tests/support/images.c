#include "tests/support/images.h"

#include "ops/base/rng.h"

struct dg_image dg_test_noise(const char *name, int width, int height)
{
    struct dg_image image = {0};
    assert_ok(dg_image_reserve(&image, width, height, try_err));
    struct dg_rng rng = dg_rng_make(0, DG_RNG_TEST, dg_fnv1a(DG_FNV_BASIS, name, strlen(name)), 0);
    for (int64_t i = 0; i < (int64_t)width * height * 3; i++) image.pixels[i] = (uint8_t)dg_rng_u32(&rng);
    return image;
}

struct dg_image dg_test_lattice(void)
{
    int value[64], count = 0;
    for (int v = 0; v < 256; v++)
        if (v % 6 == 0 || v == 1 || (v >= 127 && v <= 129) || v >= 254) value[count++] = v;
    struct dg_image image = {0};
    assert_ok(dg_image_reserve(&image, count * count, count, try_err));
    uint8_t *at = image.pixels;
    for (int r = 0; r < count; r++)
        for (int g = 0; g < count; g++)
            for (int b = 0; b < count; b++) {
                *at++ = (uint8_t)value[r];
                *at++ = (uint8_t)value[g];
                *at++ = (uint8_t)value[b];
            }
    return image;
}

uint64_t dg_test_hash(const void *bytes, size_t size) { return dg_fnv1a(DG_FNV_BASIS, bytes, size); }

FILE *dg_test_table(const char *path)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (int c = fgetc(file); c != '\n' && c != EOF;) c = fgetc(file);
    return file;
}

struct dg_view_spec dg_test_view(int size, double low, double high, double blur, double solarize)
{
    return (struct dg_view_spec){
        .height = size,
        .width = size,
        .scale = {low, high},
        .ratio = {3.0 / 4, 4.0 / 3},
        .flip = 0.5,
        .jitter = 0.8,
        .brightness = 0.4,
        .contrast = 0.4,
        .saturation = 0.2,
        .hue = 0.1,
        .gray = 0.2,
        .blur = blur,
        .blur_sigma = {0.1, 2.0},
        .solarize = solarize,
        .solarize_threshold = 128,
        .mean = {0.485, 0.456, 0.406},
        .std = {0.229, 0.224, 0.225},
    };
}
