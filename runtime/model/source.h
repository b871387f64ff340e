/* What stands in the place of a plan: a plan's file; a run's folder, which has a copy of its plan beside its
 * checkpoints; or a bundle, which has its plan and its weights inside. And what it leads to. */
#ifndef DG_RUNTIME_MODEL_SOURCE_H
#define DG_RUNTIME_MODEL_SOURCE_H

#include "runtime/base/path.h"
#include "runtime/exec/knobs.h"
#include "runtime/image/image.h"
#include "runtime/model/bundle.h"

enum dg_model_kind { DG_MODEL_PLAN, DG_MODEL_RUN, DG_MODEL_BUNDLE };

struct dg_model_source { /* a zeroed one is closed */
    enum dg_model_kind kind;
    const char *path;         /* the caller's, who keeps it */
    struct dg_bundle *bundle; /* of that kind alone */
};

/* Finds out what is at `path`. DG_ERR_INPUT: a bundle that cannot be used. What is none of the others is taken for a
 * plan. Close it, whatever the status. */
enum dg_status dg_model_source_open(const char *path, struct dg_model_source *source, struct dg_error *err);
void dg_model_source_close(struct dg_model_source *source);

/* Opens its plan, which is closed before the source. Errors are dg_plan_open's and dg_run_find_plan's. */
enum dg_status dg_model_open_plan(const struct dg_model_source *source, struct dg_plan *plan, struct dg_error *err);

/* The file of its weights: a run's newest checkpoint, or the bundle itself. DG_ERR_USAGE: it is a plan, or the run has
 * no checkpoint yet. */
enum dg_status dg_model_find_weights(const struct dg_model_source *source, char path[DG_MAX_PATH],
                                     struct dg_error *err);

/* How images were read in its training. False: it does not say, as a plan. */
bool dg_model_find_rules(const struct dg_model_source *source, struct dg_image_rules *rules);

/* Images are resized as the file of weights says, unless the user says otherwise. */
void dg_model_take_resize(const char *weights, struct dg_knobs *knobs);

/* The copy of a run's plan in its folder, and its newest checkpoint. DG_ERR_USAGE: there is none. */
enum dg_status dg_run_find_plan(const char *run, char path[DG_MAX_PATH], struct dg_error *err);
enum dg_status dg_run_find_weights(const char *run, char path[DG_MAX_PATH], struct dg_error *err);

bool dg_is_folder(const char *path);

#endif
