#include "runtime/image/fit.h"

#include "runtime/image/thumbnail.h"

#include <stdio.h>
#include <string.h>

enum { MAX_SIDE = 16384 };

static const char *const names[] = {"crop", "exact", "short-side", "long-side", "square"};

bool dg_fit_read(const char *text, void *parsed)
{
    struct dg_fit *fit = parsed;
    int side = 0, used = 0;
    if (!strcmp(text, "exact")) {
        *fit = (struct dg_fit){.kind = DG_FIT_EXACT};
        return true;
    }
    for (int kind = DG_FIT_SHORT_SIDE; kind <= DG_FIT_STRETCH; kind++) {
        size_t length = strlen(names[kind]);
        if (strncmp(text, names[kind], length) || sscanf(text + length, " %5d%n", &side, &used) != 1) continue;
        *fit = (struct dg_fit){(enum dg_fit_kind)kind, side, side};
        return text[length] == ' ' && !text[length + (size_t)used] && side >= 1 && side <= MAX_SIDE;
    }
    return false;
}

const char *dg_fit_text(struct dg_fit fit, char *text, size_t size)
{
    if (fit.kind <= DG_FIT_EXACT)
        snprintf(text, size, "%s", names[fit.kind]);
    else if (fit.height == fit.width)
        snprintf(text, size, "%s %d", names[fit.kind], fit.height);
    else
        snprintf(text, size, "%dx%d", fit.height, fit.width);
    return text;
}

struct dg_fit_size dg_fit_size(struct dg_fit fit, int height, int width)
{
    struct dg_fit_size size = {height, width};
    if (fit.kind == DG_FIT_LONG_SIDE) dg_thumbnail_size(width, height, fit.height, &size.width, &size.height);
    if (fit.kind == DG_FIT_STRETCH) size = (struct dg_fit_size){fit.height, fit.width};
    if (fit.kind != DG_FIT_SHORT_SIDE) return size;
    int64_t side = fit.height;
    if (height < width) return (struct dg_fit_size){fit.height, (int)dg_min_i64(side * width / height, INT32_MAX)};
    return (struct dg_fit_size){(int)dg_min_i64(side * height / width, INT32_MAX), fit.height};
}

enum dg_status dg_fit_image(const struct dg_image *image, struct dg_fit fit, struct dg_resampling how,
                            struct dg_image *fitted, struct dg_scratch *work, struct dg_error *err)
{
    if (fit.kind == DG_FIT_LONG_SIDE) return dg_image_thumbnail(image, fit.height, how.pillow, fitted, work, err);
    struct dg_fit_size size = dg_fit_size(fit, image->height, image->width);
    DG_TRY(dg_image_reserve(fitted, size.width, size.height, err));
    return dg_image_resize(image, (struct dg_box){0, 0, image->width, image->height}, how, size.width, size.height,
                           fitted->pixels, work, err);
}
