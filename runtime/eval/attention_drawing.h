/* Draws what each head of the last block attends to in an image: heat maps and masks (visualize_attention.py of the
 * official code). */
#ifndef DG_RUNTIME_EVAL_ATTENTION_DRAWING_H
#define DG_RUNTIME_EVAL_ATTENTION_DRAWING_H

#include "runtime/draw/patches.h"
#include "runtime/draw/sheet.h"
#include "runtime/eval/evaluator.h"

/* Zero-initialise, and set the first four; one image after the other can be drawn. */
struct dg_attention_drawing {
    struct dg_patches patches;  /* of the entry: dg_patches_init */
    struct dg_fit_size resized; /* to which the image is resized: dg_read_whole */
    double threshold;           /* the share of a head's attention that its mask holds */
    const char *folder;         /* where each image of the sheet is written as well; NULL: nowhere */
    /* ---- set by dg_attention_compute */
    int heads;
    float *map;            /* [heads + 1, patches]: the heads, then their mean */
    uint8_t *mask;         /* [heads + 1, patches] */
    int *owner;            /* [patches] */
    uint8_t *image;        /* what the network is shown */
    uint8_t *seen, *drawn; /* the part of it that the patches see; an image of the sheet */
    struct dg_sheet sheet; /* above: image, heads, mean; below: all masks, those of the heads, that of the mean */
};

/* Reads the image as the network is shown it. */
enum dg_status dg_attention_read(struct dg_attention_drawing *drawing, const char *image, struct dg_image_rules rules,
                                 struct dg_error *err);
/* Runs the evaluator, of DG_ENTRY_ATTENTION, on the same image. */
enum dg_status dg_attention_compute(struct dg_attention_drawing *drawing, struct dg_evaluator *evaluator,
                                    const char *image, struct dg_error *err);
/* Draws the sheet, and the images of it into the folder: img.png, attn-head0.png, ..., attn-mean.png,
 * mask_th0.6_head0.png, ..., mask_th0.6_all.png; and sheet.html there, a page that shows them with labels. The mean in
 * `map` is lost. */
enum dg_status dg_attention_draw(struct dg_attention_drawing *drawing, const char *sheet, struct dg_error *err);
void dg_attention_drawing_free(struct dg_attention_drawing *drawing);

#endif
