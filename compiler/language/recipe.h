/* Recipes and probes, read, checked and with every default filled in. A number that stays a knob is in `knobs`; what shapes
 * graphs is here. */
#ifndef DG_COMPILER_LANGUAGE_RECIPE_H
#define DG_COMPILER_LANGUAGE_RECIPE_H

#include "compiler/language/key.h"
#include "compiler/language/model_recipe.h"
#include "compiler/language/program.h"

enum dg_teacher_buffers { DG_BUFFERS_OWN, DG_BUFFERS_COPY, DG_BUFFERS_EMA }; /* in the order of the key's choices */
enum dg_teacher_update { DG_UPDATE_MOMENTUM, DG_UPDATE_EPOCH, DG_UPDATE_ITERATION, DG_UPDATE_STUDENT };
enum dg_clip_norm { DG_CLIP_PARAMETER, DG_CLIP_ALL }; /* whose norm optim.clip limits */
enum dg_loss_kind { DG_LOSS_CROSS_ENTROPY, DG_LOSS_MSE, DG_LOSS_INFONCE };
enum dg_loss_targets { DG_TARGETS_CENTER, DG_TARGETS_SINKHORN, DG_TARGETS_SOFTMAX_BATCH };
enum { DG_NO_DECAY_BIAS = 1, DG_NO_DECAY_1D = 2 }; /* likewise: bit i is choice i */

enum { DG_MAX_FREEZES = 16 };

struct dg_train_recipe {
    struct dg_model_recipe model;
    int64_t batch; /* images a step */
    struct dg_args *student_args;
    const char *head; /* a module */
    struct dg_args *head_args;
    const char *predictor; /* a module on the student's logits; NULL: none */
    struct dg_args *predictor_args;
    struct dg_origin predictor_origin;
    enum dg_teacher_update update;
    enum dg_teacher_buffers buffers;
    struct dg_recipe_crops global, local[DG_LOCAL_GROUPS];
    enum dg_loss_kind loss;
    enum dg_loss_targets targets;
    bool hard; /* the teacher's temperature is zero: its targets are the largest logits */
    const struct dg_op *optimizer;
    unsigned no_decay; /* DG_NO_DECAY_*: names ending in .bias, tensors of one dimension */
    enum dg_clip_norm clip_norm;
    bool layer_decay; /* learning rates fall from layer to layer, by optim.layer_decay */
    struct dg_recipe_freeze {
        const char *params;      /* parameters whose name contains this are frozen at first; NULL: none */
        const char *control;     /* "optim.freeze", "optim.freeze.1" */
        struct dg_origin origin; /* line 0: the recipe says nothing of freezing */
    } freeze[DG_MAX_FREEZES];
    int freezes;
};

struct dg_probe_recipe {
    struct dg_model_recipe model; /* its batch is the probe's: features go into the classifier's batches */
    struct dg_recipe_crops crops; /* of training images: their size */
    const struct dg_op *optimizer;
    int64_t classes;
    int64_t blocks; /* whose [CLS] tokens are the features; 1: the backbone's own features */
    bool avgpool;   /* the mean of the patch tokens too */
};

/* The keys of a recipe and of a probe. */
extern const struct dg_key dg_train_keys[], dg_probe_keys[];

/* Read a definition. Every default is written into the tree, so that printing it shows all there is. Unknown keys, wrong
 * types and values out of range are reported, all of them; false if there were any. Defaults of a recipe are those of DINO's
 * published training script (paper, section 3.2 and its public command line), of a probe those of the published linear
 * evaluation (eval_linear.py). */
bool dg_recipe_read(struct dg_program *program, const char *name, struct dg_train_recipe *recipe);
bool dg_probe_read(struct dg_program *program, const char *name, struct dg_probe_recipe *probe);

/* The linear probe of a recipe's backbone, which has been read: its arguments, as the teacher's, images as its evaluation sees them, and
 * [CLS] of the last four blocks, or as many as there are of `blocks`; the backbone's own features if there is none. It is added to the
 * program. NULL: reported. */
struct dg_definition *dg_probe_of_recipe(struct dg_program *program, const struct dg_definition *recipe,
                                         int64_t blocks);

/* Adds the knobs that a module compiled alone has: how pixels become its input (crops.mean, crops.std). */
void dg_recipe_read_pixels(struct dg_program *program, struct dg_model_recipe *model);

#endif
