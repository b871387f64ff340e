/* Rows that recipes and probes have in common. TYPE is the structure that fields are offsets in; it has a `model`. */
#ifndef DG_COMPILER_LANGUAGE_SHARED_KEYS_H
#define DG_COMPILER_LANGUAGE_SHARED_KEYS_H

#include "compiler/language/model_recipe.h"
#include "compiler/language/recipe_reader.h"

#include <stddef.h>

enum { DG_MAX_BATCH = 1 << 20, DG_MAX_EPOCHS = 1000000, DG_MAX_PIXELS = 16384, DG_MAX_RESIZE = 65536 };

extern const struct dg_key_choice dg_dtype_choices[];

#define DG_EPOCHS_KEY                                                                                                  \
    {                                                                                                                  \
        .path = "epochs", .kind = DG_KEY_INT, .value = "100", .min = 1, .max = DG_MAX_EPOCHS, .knob = true,            \
        .named = true, .doc = "Passes over the images."                                                                \
    }
#define DG_DTYPE_KEY(TYPE)                                                                                             \
    {                                                                                                                  \
        .path = "dtype", .kind = DG_KEY_CHOICE, .value = "f32", .choice = dg_dtype_choices,                            \
        .field = offsetof(TYPE, model.dtype),                                                                          \
        .doc = "Type of matmul operands and of activations between them; what adds up is f32 in both."                 \
    }

/* (value / 255 - mean) / std; the defaults are ImageNet's. */
#define DG_PIXEL_KEYS                                                                                                  \
    {.path = "crops.mean",                                                                                             \
     .kind = DG_KEY_LIST,                                                                                              \
     .value = "[0.485, 0.456, 0.406]",                                                                                 \
     .min = -1000,                                                                                                     \
     .max = 1000,                                                                                                      \
     .count = 3,                                                                                                       \
     .doc = "Mean of each colour, of 1, subtracted from the pixels."},                                                 \
    {                                                                                                                  \
        .path = "crops.std", .kind = DG_KEY_LIST, .value = "[0.229, 0.224, 0.225]", .min = 1e-6, .max = 1000,          \
        .count = 3, .doc = "Standard deviation of each colour, of 1, which divides the pixels."                        \
    }

/* How a crop is cut. */
#define DG_CUT_KEYS(PREFIX, SCALE)                                                                                     \
    {.path = PREFIX "scale",                                                                                           \
     .kind = DG_KEY_PAIR,                                                                                              \
     .value = SCALE,                                                                                                   \
     .min = 1e-6,                                                                                                      \
     .max = 1,                                                                                                         \
     .doc = "Share of the image's area a crop covers: [low, high]."},                                                  \
        {.path = PREFIX "ratio",                                                                                       \
         .kind = DG_KEY_PAIR,                                                                                          \
         .value = "[3 / 4, 4 / 3]",                                                                                    \
         .min = 0.01,                                                                                                  \
         .max = 100,                                                                                                   \
         .doc = "Width to height of a crop: [low, high]."},                                                            \
    {                                                                                                                  \
        .path = PREFIX "flip", .kind = DG_KEY_FLOAT, .value = "0.5", .min = 0, .max = 1,                               \
        .doc = "Probability of a horizontal flip."                                                                     \
    }

/* Reads the definition `name` by the table of its kind into `recipe`, whose part `model` is. False: reported. */
bool dg_read_definition(struct dg_program *program, enum dg_definition_kind kind, const char *name,
                        const struct dg_key *keys, struct dg_model_recipe *model, void *recipe);

/* A size as YAML: "224", "[160, 240]". */
const char *dg_size_text(struct dg_reader *r, const struct dg_recipe_crops *crops);

/* Sets the default of entries.features.resize: as ImageNet is evaluated, the short side to 256 for a crop of 224. */
void dg_set_resize(struct dg_reader *r, struct dg_key *key, const struct dg_recipe_crops *image);
/* Its row; `derive_resize` is a function of the file. */
#define DG_RESIZE_KEY                                                                                                  \
    {                                                                                                                  \
        .path = "entries.features.resize", .kind = DG_KEY_INT, .min = 1, .max = DG_MAX_RESIZE, .knob = true,           \
        .derive = derive_resize, .derived = "256/224 of the size",                                                     \
        .doc = "Pixels that an image's short side is resized to before the centre crop; 256/224 of the size by "       \
               "default."                                                                                              \
    }

#endif
