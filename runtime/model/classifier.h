/* A linear classifier on features, as dinorun linear leaves it or the published code: logits = weight x features +
 * bias, probabilities by softmax (Caron et al. 2021, section 4.1). */
#ifndef DG_RUNTIME_MODEL_CLASSIFIER_H
#define DG_RUNTIME_MODEL_CLASSIFIER_H

#include "runtime/base/path.h"
#include "runtime/exec/knobs.h"
#include "runtime/exec/session.h"
#include "runtime/formats/safetensors.h"
#include "runtime/image/image.h"

struct dg_classifier { /* a zeroed one is empty */
    int64_t classes, dim;
    float *weight; /* [classes, dim] */
    float *bias;   /* [classes] */
    char **name;   /* [classes]; NULL: not known */
    char *names;   /* as one value (dg_facts_join); NULL: not known */
    int resize;    /* side before the crop that it was trained with; 0: not known */
};

/* Takes linear.weight [classes, dim], linear.bias [classes] and the names of the classes from the file `path`. Free it,
 * whatever the status. DG_ERR_IO, DG_ERR_INPUT (no such layer, damaged, numbers that are not finite), DG_ERR_MEMORY. */
enum dg_status dg_classifier_read(const char *path, struct dg_classifier *classifier, struct dg_error *err);
/* The same of tensors that are read already; `names` and `resize` are texts of metadata or NULL. */
enum dg_status dg_classifier_init(struct dg_classifier *classifier, const struct dg_safetensors_tensor *weight,
                                  const struct dg_safetensors_tensor *bias, const char *names, const char *resize,
                                  struct dg_error *err);
void dg_classifier_free(struct dg_classifier *classifier);

/* The plan beside a head's file, of the probe that it was trained by; false: it has none. */
bool dg_classifier_find_plan(const char *head, char path[DG_MAX_PATH]);

/* The plan's entry `features` has as many numbers an image as the classifier takes. DG_ERR_USAGE: it has not. */
enum dg_status dg_classifier_check_dim(const struct dg_classifier *classifier, const struct dg_plan *plan,
                                       struct dg_error *err);

/* The head at `path` was trained on these features: of this network, with these weights and images that are read by
 * these rules. `session` is the features' with its weights. DG_ERR_INPUT: it was not; the text says what differs.
 * Heads that do not say are accepted with a warning. */
enum dg_status dg_classifier_check(const char *path, const struct dg_session *session, const struct dg_knobs *knobs,
                                   struct dg_image_rules rules, const struct dg_log *log, struct dg_error *err);

/* Images of its features are resized as in its training, unless the user says otherwise. */
void dg_classifier_take_resize(const struct dg_classifier *classifier, struct dg_knobs *knobs);

/* Computes features [rows, dim] to logits and probabilities [rows, classes], with `threads` threads; the result does
 * not depend on their number. */
void dg_classifier_run(const struct dg_classifier *classifier, const float *features, int64_t rows, int threads,
                       float *logits, float *probabilities);

#endif
