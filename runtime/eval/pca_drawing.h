/* Colours the patches of images by the first three principal components of their features, which all images have in
 * common. */
#ifndef DG_RUNTIME_EVAL_PCA_DRAWING_H
#define DG_RUNTIME_EVAL_PCA_DRAWING_H

#include "runtime/draw/patches.h"
#include "runtime/draw/sheet.h"
#include "runtime/eval/evaluator.h"
#include "runtime/eval/pca.h"

/* Zero-initialise, and set the first three. For one call of each function. */
struct dg_pca_drawing {
    struct dg_patches patches;                   /* of the entry: dg_patches_init */
    struct dg_fit_size resized;                  /* to which images are resized: dg_read_whole */
    void (*progress)(int64_t done, int64_t all); /* NULL: none */
    /* ---- set by dg_pca_compute */
    struct dg_pca fit;
    int64_t images, dim, filled;     /* filled: images */
    float *rows;                     /* [images, patches, dim] */
    uint8_t *image, *drawn, *colour; /* what the network is shown; its patches coloured; their colours */
    struct dg_sheet sheet;
};

/* Runs the evaluator, of DG_ENTRY_TOKENS, on the images, and finds the components. */
enum dg_status dg_pca_compute(struct dg_pca_drawing *drawing, struct dg_evaluator *evaluator, const char *const *path,
                              int64_t images, struct dg_error *err);
/* Draws each of the same images, and beside it its patches. */
enum dg_status dg_pca_draw(struct dg_pca_drawing *drawing, const char *const *path, struct dg_image_rules rules,
                           const char *sheet, struct dg_error *err);
void dg_pca_drawing_free(struct dg_pca_drawing *drawing);

#endif
