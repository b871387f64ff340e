/* Options of the published code's training (main_dino.py), which its full checkpoints have as args, and the keys of recipes that mean
 * the same. */
#ifndef DG_RUNTIME_LAYOUTS_PUBLISHED_OPTIONS_H
#define DG_RUNTIME_LAYOUTS_PUBLISHED_OPTIONS_H

#include "ops/base/base.h"

/* The metadata of a file that says of which recipe it is by these options. */
#define DG_PUBLISHED_ARGS "args"

enum dg_published_type {
    DG_PUBLISHED_WHOLE,
    DG_PUBLISHED_REAL,
    DG_PUBLISHED_TEXT,
    DG_PUBLISHED_TRUTH,
    DG_PUBLISHED_EPOCHS, /* a whole number of them */
    DG_PUBLISHED_RATE,   /* of 256 images; the key's is of the batch */
};

struct dg_published_option {
    const char *option, *key; /* "min_lr", "lr.to" */
    enum dg_published_type type;
    bool knob; /* the key is one of a plan's knobs; otherwise the plan says it for good */
};

/* An option may stand there twice, with the key of each form that a recipe may have. Ended by a NULL option. */
extern const struct dg_published_option dg_published_options[];

#endif
