/* Copy detection on Copydays, as the official eval_copy_detection.py has it: each image of a block is searched among
 * the originals and distractors, of which the first 20 count. */
#ifndef DG_RUNTIME_EVAL_COPY_DETECTION_H
#define DG_RUNTIME_EVAL_COPY_DETECTION_H

#include "runtime/data/dataset.h"
#include "runtime/eval/retrieval.h"

enum { DG_COPYDAYS_BLOCKS = 20, DG_COPYDAYS_FOUND = 20 };

/* Folders of the blocks: original, strong, jpegqual/3 ... 75, crops/10 ... 80. */
extern const char *const dg_copydays_block[DG_COPYDAYS_BLOCKS];

/* Mean average precision of a block, from 0 to 1, by the ranking of its images; the originals are the first of what was
 * ranked. The original of an image is the one at the same place in the order of names, and of the block "strong" every
 * one whose name begins with the same four characters. DG_ERR_INPUT: another number of images than originals; a strong
 * one without an original. */
enum dg_status dg_copydays_score(const struct dg_dataset *originals, const struct dg_dataset *block, bool strong,
                                 const struct dg_ranking *ranking, double *map, struct dg_error *err);

#endif
