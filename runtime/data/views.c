#include "runtime/data/views.h"

#include <stdio.h>
#include <string.h>

/* The knob of one view, or that of its group if the view has none. */
static const struct dg_plan_knob *view_knob(const struct dg_knobs *knobs, const char *group, int view,
                                            const char *field)
{
    char key[128];
    snprintf(key, sizeof key, "%s.views.%d.%s", group, view, field);
    const struct dg_plan_knob *knob = dg_knobs_find(knobs, key);
    if (knob) return knob;
    snprintf(key, sizeof key, "%s.%s", group, field);
    return dg_knobs_find(knobs, key);
}

static enum dg_status read_view(const struct dg_knobs *knobs, const char *group, int index, struct dg_view_spec *view,
                                struct dg_error *err)
{
    double threshold = 0;
    struct {
        const char *field;
        double *value;
        int count;
    } fields[] = {{"scale", view->scale, 2},
                  {"ratio", view->ratio, 2},
                  {"flip", &view->flip, 1},
                  {"jitter", &view->jitter, 1},
                  {"brightness", &view->brightness, 1},
                  {"contrast", &view->contrast, 1},
                  {"saturation", &view->saturation, 1},
                  {"hue", &view->hue, 1},
                  {"gray", &view->gray, 1},
                  {"blur", &view->blur, 1},
                  {"blur_sigma", view->blur_sigma, 2},
                  {"solarize", &view->solarize, 1},
                  {"solarize_threshold", &threshold, 1}};
    for (size_t f = 0; f < sizeof fields / sizeof *fields; f++) {
        const struct dg_plan_knob *knob = view_knob(knobs, group, index, fields[f].field);
        if (!knob)
            return dg_fail(err, DG_ERR_INPUT, "the plan has no knob %s.%s; compile it again", group, fields[f].field);
        memcpy(fields[f].value, knob->value, sizeof(double) * (size_t)fields[f].count);
    }
    const struct dg_plan_knob *flip = view_knob(knobs, group, index, "vertical_flip"),
                              *turn = view_knob(knobs, group, index, "turn");
    view->vertical_flip = flip ? flip->value[0] : 0; /* knobs of recipes that say them */
    view->turn = turn ? turn->value[0] : 0;
    view->solarize_threshold = (int)threshold;
    view->how.filter = DG_FILTER_BICUBIC;
    dg_views_pixels(knobs, view->mean, view->std);
    return dg_view_spec_check(view, group, err);
}

enum dg_status dg_views_init(const struct dg_plan *plan, const struct dg_knobs *knobs,
                             struct dg_view_spec view[DG_MAX_VIEWS], int *count, struct dg_error *err)
{
    const struct dg_plan_entry *entry;
    DG_TRY(dg_plan_find_role(plan, DG_ENTRY_TRAIN, &entry, err));
    if (plan->header->kind == DG_PLAN_PROBE)
        return dg_fail(err, DG_ERR_USAGE, "the plan is a linear probe's, which has no such views");
    *count = 0;
    for (uint32_t i = 0; i < entry->num_inputs; i++) {
        const struct dg_plan_tensor *tensor = &plan->tensor[plan->operand[entry->first_input + i]];
        for (int v = 0; v < (int)(tensor->dim[0] / entry->batch); v++) {
            if (*count == DG_MAX_VIEWS)
                return dg_fail(err, DG_ERR_INPUT, "the plan has more than %d views", DG_MAX_VIEWS);
            struct dg_view_spec *spec = &view[(*count)++];
            *spec = (struct dg_view_spec){.height = (int)tensor->dim[1], .width = (int)tensor->dim[2]};
            DG_TRY(read_view(knobs, dg_plan_string(plan, tensor->name), v, spec, err));
        }
    }
    return DG_OK;
}

enum dg_status dg_views_probe(const struct dg_knobs *knobs, int height, int width, struct dg_view_spec *view,
                              struct dg_error *err)
{
    const struct dg_plan_knob *scale = dg_knobs_find(knobs, "crops.scale"),
                              *ratio = dg_knobs_find(knobs, "crops.ratio");
    if (!scale || !ratio)
        return dg_fail(err, DG_ERR_INPUT, "the plan has no knobs for a probe's crops; compile it again");
    *view = (struct dg_view_spec){.height = height,
                                  .width = width,
                                  .how = {DG_FILTER_BILINEAR},
                                  .flip = dg_knobs_value(knobs, "crops.flip", 0.5)};
    memcpy(view->scale, scale->value, sizeof view->scale);
    memcpy(view->ratio, ratio->value, sizeof view->ratio);
    dg_views_pixels(knobs, view->mean, view->std);
    return dg_view_spec_check(view, "crops", err);
}

void dg_views_pixels(const struct dg_knobs *knobs, double mean[3], double std[3])
{
    static const double imagenet_mean[3] = {0.485, 0.456, 0.406}, imagenet_std[3] = {0.229, 0.224, 0.225};
    for (int c = 0; c < 3; c++) {
        char key[32];
        snprintf(key, sizeof key, "crops.mean.%d", c);
        mean[c] = dg_knobs_value(knobs, key, imagenet_mean[c]);
        snprintf(key, sizeof key, "crops.std.%d", c);
        std[c] = dg_knobs_value(knobs, key, imagenet_std[c]);
    }
}
