/* What the image tests share: noise pictures, fixture lines, temporary folders. */
#ifndef DG_TESTS_IMAGE_SUPPORT_H
#define DG_TESTS_IMAGE_SUPPORT_H

#include "ops/base/rng.h"
#include "runtime/image/augment.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define FIXTURE(name) DG_SOURCE_DIR "/tests/fixtures/image/" name

/* The call succeeds; it takes `try_err` for its error. */
#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        struct dg_error try_error = {0}, *try_err = &try_error;                                                        \
        if ((call) != DG_OK) fail_msg("%s: %s", #call, try_err->text);                                                 \
    } while (0)

/* The picture make_image_fixtures.py calls noise(name): one byte a draw. The caller frees it. */
static inline struct dg_image dg_test_noise(const char *name, int width, int height)
{
    struct dg_image image = {0};
    assert_ok(dg_image_reserve(&image, width, height, try_err));
    struct dg_rng rng = dg_rng_make(0, DG_RNG_TEST, dg_fnv1a(DG_FNV_BASIS, name, strlen(name)), 0);
    for (int64_t i = 0; i < (int64_t)width * height * 3; i++) image.pixels[i] = (uint8_t)dg_rng_u32(&rng);
    return image;
}

/* Every combination of the values 0, 6, ..., 252 and some around the ends and the middle: lattice() of the script. */
static inline struct dg_image dg_test_lattice(void)
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

static inline uint64_t dg_test_hash(const void *bytes, size_t size) { return dg_fnv1a(DG_FNV_BASIS, bytes, size); }

/* Opens a fixture table and passes its first line, the comment. */
static inline FILE *dg_test_table(const char *path)
{
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (int c = fgetc(file); c != '\n' && c != EOF;) c = fgetc(file);
    return file;
}

/* A new folder; `path` holds it. */
static inline void dg_test_folder(char path[64])
{
    const char *base = access("/tmp", W_OK) ? "." : "/tmp";
    snprintf(path, 64, "%s/dg-image-XXXXXX", base);
    assert_non_null(mkdtemp(path));
}

static inline int dg_test_remove_one(const char *path, const struct stat *about, int type, struct FTW *walk)
{
    (void)about;
    (void)type;
    (void)walk;
    return remove(path);
}

static inline void dg_test_remove(const char *folder)
{
    assert_int_equal(nftw(folder, dg_test_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* "folder/name" in one of four buffers that are used in turn. */
static inline const char *dg_test_path(const char *folder, const char *name)
{
    static char buffer[4][512];
    static int next;
    char *path = buffer[next++ % 4];
    snprintf(path, sizeof *buffer, "%s/%s", folder, name);
    return path;
}

static inline void dg_test_write(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* The whole file; the caller frees it. */
static inline uint8_t *dg_test_read(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

/* A view as the published recipe has it. */
static inline struct dg_view_spec dg_test_view(int size, double low, double high, double blur, double solarize)
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

#endif
