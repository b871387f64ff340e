/* Reads the ground truth of revisited Oxford and Paris (Radenovic et al., CVPR 2018): gnd_roxford5k.pkl and
 * gnd_rparis6k.pkl. Of the pickle only lists, texts, whole numbers and NumPy arrays of them are taken, and nothing in
 * it is run (runtime/formats/pickle.h). Boxes of queries are passed over, as by the official
 * eval_image_retrieval.py. */
#ifndef DG_RUNTIME_FORMATS_GROUND_TRUTH_H
#define DG_RUNTIME_FORMATS_GROUND_TRUTH_H

#include "runtime/formats/pickle.h"

enum dg_ground_truth_list { DG_TRUTH_EASY, DG_TRUTH_HARD, DG_TRUTH_JUNK, DG_TRUTH_LISTS };

struct dg_ground_truth_query {
    int32_t *index[DG_TRUTH_LISTS]; /* [count], of images; owned */
    int64_t count[DG_TRUTH_LISTS];
};

struct dg_ground_truth { /* zero-initialise */
    int64_t images, queries;
    const char **image, **query;      /* names, without ".jpg": imlist and qimlist; the arrays are owned */
    struct dg_ground_truth_query *of; /* [queries]; owned */
    struct dg_pickle *pickle;         /* has the names */
};

/* DG_ERR_IO; DG_ERR_INPUT: what is not as it should be, and where in the pickle; DG_ERR_MEMORY. To be freed in any
 * case. */
enum dg_status dg_ground_truth_read(const char *path, struct dg_ground_truth *truth, struct dg_error *err);
/* The same of a file in the caller's memory, which is no longer needed afterwards. */
enum dg_status dg_ground_truth_parse(const void *bytes, size_t size, struct dg_ground_truth *truth,
                                     struct dg_error *err);
void dg_ground_truth_free(struct dg_ground_truth *truth);

#endif
