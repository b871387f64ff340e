/* Facts: what the numbers of a run depend on, "key" = "value", as metadata of its checkpoints. What reads a checkpoint compares
 * them with the facts of what it is about to do.
 *
 *   network.*, computes.*, recipe.*   of the plan (struct dg_plan_header)
 *   plan.KNOB             the plan's value of a knob, with its unit
 *   set.KNOB              the value in force
 *   images                how many there are; .exif, .pillow: how they are read
 *   classes               of a probe: names in the order of the outputs, with tabs between them
 *   weights               of a probe: a hash of the backbone's parameters
 *   machine.*             kernels by the CPU, oneDNN, processes: numbers depend on them in their last bits
 *   data.N, replay        the absolute paths that the run reads; not compared
 *
 * Older checkpoints have none but set.*. */
#ifndef DG_RUNTIME_STATE_FACTS_H
#define DG_RUNTIME_STATE_FACTS_H

#include "runtime/exec/knobs.h"
#include "runtime/formats/safetensors.h"

struct dg_facts { /* zero-initialise */
    struct dg_safetensors_meta *fact;
    int count, capacity;
    bool lost; /* memory ran out, and some are not there */
};

/* Adds a fact, unless there is one of that key; both texts are copied. */
void dg_facts_add(struct dg_facts *facts, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds network.*, recipe.*, plan.*, set.* and machine.*. */
void dg_facts_add_plan(struct dg_facts *facts, const struct dg_knobs *knobs);
/* Adds how images are read: images.exif, images.pillow (12 or 13). */
void dg_facts_add_reading(struct dg_facts *facts, bool exif, int pillow);
/* NULL: there is none. */
const char *dg_facts_find(const struct dg_facts *facts, const char *key);
void dg_facts_free(struct dg_facts *facts);

/* A list of names as one value: escaped (dg_name_escape), with tabs between them. Owned by the caller; NULL: out of
 * memory. */
char *dg_facts_join(const char *const *name, int count);
/* Sets `name` to name `index` of such a value, still escaped; false: there are fewer. */
bool dg_facts_name(const char *joined, int index, char *name, size_t size);

/* For what a checkpoint is about to be used, which decides what must be the same. */
enum dg_facts_use {
    DG_FACTS_RUN,     /* it goes on: recipe, networks, classes */
    DG_FACTS_WEIGHTS, /* its network is evaluated, or a run begins with it: what the network computes */
    DG_FACTS_HEAD,    /* a probe's layer is scored: the features, their network and weights, the classes */
};

struct dg_facts_question {
    enum dg_facts_use use;
    const char *path;             /* of the checkpoint, for messages */
    const struct dg_facts *now;   /* what is about to be done */
    const struct dg_knobs *knobs; /* those that the user has set are no difference */
    bool accept;                  /* differences are logged, and no error */
    const struct dg_log *log;
};

/* DG_ERR_USAGE (a run), DG_ERR_INPUT: something that must be the same is not; the text names each key with both values,
 * and the ways out. Logged are what is accepted, what changes numbers in their last bits alone, and of an older
 * checkpoint that it does not say. */
enum dg_status dg_facts_compare(const struct dg_facts_question *question, const struct dg_safetensors *file,
                                struct dg_error *err);

/* A run goes on with its own settings: sets each knob that the user has not set to the value in force in `file`, where the plan
 * says of that knob what it said then. Where the plan says something else it stays, for dg_facts_compare to find. Logs the
 * values that are other than the plan's. */
void dg_facts_take_settings(const struct dg_safetensors *file, struct dg_knobs *knobs, const struct dg_log *log);

/* "crops.mean.0=0.5, ..." of those that are other in the file than in `knobs`; "" if none is, or the file does not say. Returns
 * `text`. */
const char *dg_facts_other_pixels(const struct dg_safetensors *file, const struct dg_knobs *knobs, char *text,
                                  size_t size);

/* A network sees images as it did in training: sets the knobs of the pixels' mean and standard deviation that the user has not set
 * to those of the weights' file. Logs the change. Does nothing with a file that does not say. */
void dg_facts_take_pixels(const struct dg_safetensors *file, const char *path, struct dg_knobs *knobs,
                          const struct dg_log *log);

/* For a file of weights that has been loaded: its checksums, and dg_facts_compare for DG_FACTS_WEIGHTS. A file that is to
 * be evaluated is then given to dg_facts_take_pixels; of one that a run begins with it is logged where its images were
 * normalised in another way. Files that cannot be read as safetensors are left to who loads them. */
enum dg_status dg_facts_check_weights(const char *path, struct dg_knobs *knobs, bool accept, const struct dg_log *log,
                                      struct dg_error *err);
enum dg_status dg_facts_check_init(const char *path, const struct dg_knobs *knobs, bool accept,
                                   const struct dg_log *log, struct dg_error *err);

/* For a probe's layer in the file `path`: its checksums, and dg_facts_compare for DG_FACTS_HEAD with what it is about to be used
 * on. A file that cannot be read as safetensors is fine. */
enum dg_status dg_facts_check_head(const char *path, const struct dg_facts *now, const struct dg_knobs *knobs,
                                   bool accept, const struct dg_log *log, struct dg_error *err);

#endif
