/* What recipes, probes and modules that are compiled alone have in common. */
#ifndef DG_COMPILER_LANGUAGE_MODEL_RECIPE_H
#define DG_COMPILER_LANGUAGE_MODEL_RECIPE_H

#include "compiler/language/key.h"
#include "compiler/language/knobs.h"
#include "compiler/language/program.h"

enum dg_recipe_dtype { DG_RECIPE_F32, DG_RECIPE_BF16 }; /* the choices of the key dtype, in its order */

/* What every plan is made of: a network that evaluates images. All there is of a module that is compiled alone. */
struct dg_model_recipe {
    const char *name;
    struct dg_origin origin;
    enum dg_recipe_dtype dtype;
    const char *backbone;         /* a module */
    struct dg_args *args;         /* its arguments; of a training recipe the teacher's, which include the student's */
    int64_t batch;                /* images of an evaluation entry */
    struct dg_recipe_crops image; /* of evaluated images: their size */
    struct dg_knob_list knobs;
};

#endif
