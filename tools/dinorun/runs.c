/* A run's folder or a bundle in the place of a plan, of weights or of a checkpoint. */
#include "tools/dinorun/command.h"

#include <stdlib.h>

void take_images(const struct dg_model_source *source, struct image_flags *images)
{
    struct dg_image_rules rules;
    if (!dg_model_find_rules(source, &rules)) return;
    images->exif |= rules.exif;
    if (!images->pillow) images->pillow = rules.pillow == 12 ? "12" : "13";
}

enum dg_status open_weights_plan(struct evaluation *e, struct dg_error *err)
{
    DG_TRY(open_plan(&e->of, err));
    if (e->of.source.kind == DG_MODEL_PLAN) return DG_OK;
    if (!e->options.weights) {
        DG_TRY(dg_model_find_weights(&e->of.source, e->found, err));
        e->options.weights = e->found;
    }
    take_images(&e->of.source, &e->images);
    dg_model_take_resize(e->options.weights, &e->of.knobs);
    return DG_OK;
}

/* Steps of the weights; -1: the file does not say. */
static int64_t step_of(const char *weights)
{
    struct dg_safetensors *file;
    if (dg_safetensors_open(weights, &file, NULL) != DG_OK) return -1;
    const char *step = dg_safetensors_metadata(file, "step");
    int64_t done = step ? strtoll(step, NULL, 10) : -1;
    dg_safetensors_close(file);
    return done;
}

enum dg_status add_results(const struct opened_plan *of, const struct dg_evaluator_options *options,
                           struct dg_results *results, struct dg_error *err)
{
    if (!of->run) return DG_OK;
    results->step = step_of(options->weights);
    results->network = options->choice.from;
    results->weights = options->weights;
    return dg_results_add(of->run, results, err);
}
