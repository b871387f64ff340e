/* How an image becomes what the network is shown, where it is shown as it is, without a crop. */
#ifndef DG_RUNTIME_IMAGE_FIT_H
#define DG_RUNTIME_IMAGE_FIT_H

#include "runtime/image/resample.h"

enum dg_fit_kind {
    DG_FIT_NONE,       /* otherwise */
    DG_FIT_EXACT,      /* its own size */
    DG_FIT_SHORT_SIDE, /* its own shape: short side `height`, long side truncated as by torchvision's Resize */
    DG_FIT_LONG_SIDE,  /* its own shape: long side at most `height`, as by Pillow's thumbnail (thumbnail.h) */
    DG_FIT_STRETCH,    /* height x width */
};

struct dg_fit {
    enum dg_fit_kind kind;
    int height, width;
};

/* Reads "exact", "short-side N", "long-side N" or "square N", N pixels from 1 to 16384, into a struct dg_fit; false: it
 * is none of them. */
bool dg_fit_read(const char *text, void *fit);

/* What dg_fit_read reads of that, for 17 bytes and more. Returns `text`. */
const char *dg_fit_text(struct dg_fit fit, char *text, size_t size);

/* The size that an image of that size is resized to. */
struct dg_fit_size {
    int height, width;
};
struct dg_fit_size dg_fit_size(struct dg_fit fit, int height, int width);

/* Resizes `image` to that size, into `fitted`; of a long side the filter is Lanczos, whatever `how` says. DG_ERR_USAGE,
 * DG_ERR_INPUT (too large), DG_ERR_MEMORY. */
enum dg_status dg_fit_image(const struct dg_image *image, struct dg_fit fit, struct dg_resampling how,
                            struct dg_image *fitted, struct dg_scratch *work, struct dg_error *err);

#endif
