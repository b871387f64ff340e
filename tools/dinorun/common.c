/* What several commands of dinorun do: read flags, and open plans and evaluation entries. */
#include "tools/dinorun/command.h"

#include "ops/dnnl/cpu.h"
#include "ops/kernels/rates.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dg_comm_sums sums_of(const struct sum_flags *flags)
{
    struct dg_comm_sums sums = {.together = flags->together, .bf16 = flags->wire && !strcmp(flags->wire, "bf16")};
    static const enum dg_reduce all[] = {DG_REDUCE_RANKS, DG_REDUCE_MACHINES, DG_REDUCE_LIBRARY};
    for (size_t i = 0; flags->reduce && i < sizeof all / sizeof *all; i++)
        if (!strcmp(dg_reduce_name(all[i]), flags->reduce)) sums.reduce = all[i];
    return sums;
}

struct dg_image_rules image_rules(const struct image_flags *flags)
{
    return (struct dg_image_rules){.exif = flags->exif, .pillow = flags->pillow ? atoi(flags->pillow) : 13};
}

struct dg_data data_of(const struct dg_flag_values *path, const char *classes_from, const struct image_flags *images)
{
    return (struct dg_data){
        .path = path->value, .paths = path->count, .classes_from = classes_from, .rules = image_rules(images)};
}

bool read_bad_limit(const char *text, void *parsed)
{
    struct dg_bad_limit *limit = parsed;
    char *end;
    double value = strtod(text, &end);
    if (*text < '0' || *text > '9' || value > 1e9) return false;
    if (!strcmp(end, "%") && value <= 100) {
        *limit = (struct dg_bad_limit){.percent = value};
        return true;
    }
    if (*end || value != floor(value)) return false;
    *limit = (struct dg_bad_limit){.images = (int64_t)value};
    return true;
}

/* Why bf16 is slower than f32 here; NULL: it is not. The library's products are most of a step. */
static const char *slow_bf16(void)
{
    switch (dg_bf16_support()) {
    case DG_BF16_CONVERTED: return "for which this CPU has no instructions (or DNNL_MAX_CPU_ISA hides them)";
    case DG_BF16_VDPBF16PS:
        return dg_product_pays(DG_PRODUCT_VDPBF16PS)
                   ? NULL
                   : "whose instruction (vdpbf16ps) is no faster on this CPU than f32's, and it has no AMX (or "
                     "DNNL_MAX_CPU_ISA hides it)";
    case DG_BF16_NONE: /* dg_session_open() refuses the plan */
    case DG_BF16_AMX: break;
    }
    return NULL;
}

bool parse_positions(const char *text, void *positions)
{
    int64_t *grid = positions;
    int used = 0;
    return sscanf(text, "%5" SCNd64 "x%5" SCNd64 "%n", &grid[0], &grid[1], &used) == 2 && !text[used] && grid[0] > 0 &&
           grid[1] > 0;
}

/* Says what is to be known of the plan, and sets the knobs. */
static enum dg_status open_knobs(struct opened_plan *opened, struct dg_error *err)
{
    const char *slow = opened->plan.entry->dtype == DG_BF16 ? slow_bf16() : NULL;
    if (slow)
        dg_log(&console, DG_LOG_WARNING, DG_LOG_PLAN,
               "note: the plan is in bf16, %s: it runs, but compiled with --dtype f32 it would be faster", slow);
    if (opened->plan.entry->math != DG_MATH_F32)
        dg_log(&console, DG_LOG_INFO, DG_LOG_PLAN, "note: the plan is in %s", dg_plan_type(opened->plan.entry));
    DG_TRY(dg_knobs_open(&opened->plan, &opened->knobs, err));
    for (int s = 0; s < opened->set.count; s++) DG_TRY(dg_knobs_set(&opened->knobs, opened->set.value[s], err));
    if (!opened->epochs) return DG_OK;
    char text[64];
    snprintf(text, sizeof text, "epochs=%" PRId64, opened->epochs);
    return dg_knobs_set(&opened->knobs, text, err);
}

enum dg_status open_plan(struct opened_plan *opened, struct dg_error *err)
{
    DG_TRY(dg_model_source_open(opened->path, &opened->source, err));
    opened->run = opened->source.kind == DG_MODEL_RUN ? opened->path : NULL;
    DG_TRY(dg_model_open_plan(&opened->source, &opened->plan, err));
    return open_knobs(opened, err);
}

enum dg_status open_plan_file(struct opened_plan *opened, const char *path, struct dg_error *err)
{
    DG_TRY(dg_plan_open(path, &opened->plan, err));
    return open_knobs(opened, err);
}

bool read_image_size(const char *text, void *parsed)
{
    struct dg_fit *fit = parsed;
    int height, width, used = 0;
    bool both = sscanf(text, "%5dx%5d%n", &height, &width, &used) == 2 && !text[used];
    if (!both && (sscanf(text, "%5d%n", &height, &used) != 1 || text[used])) return false;
    if (!both) width = height;
    *fit = (struct dg_fit){DG_FIT_STRETCH, height, width};
    return *text >= '0' && *text <= '9' && height >= 1 && height <= 16384 && width >= 1 && width <= 16384;
}

void close_plan(struct opened_plan *opened)
{
    dg_knobs_close(&opened->knobs);
    dg_plan_close(&opened->plan);
    dg_model_source_close(&opened->source);
}

enum dg_status open_patches(struct evaluation *e, const struct whole_images *images, struct dg_patches *patches,
                            struct dg_error *err)
{
    DG_TRY(open_weights_plan(e, err));
    if (images) DG_TRY(take_size(e, images, err));
    return dg_patches_init(&e->of.plan, e->options.role, patches, err);
}

enum dg_status open_evaluator(struct evaluation *e, struct dg_error *err)
{
    e->options.rules = image_rules(&e->images);
    e->options.log = &console;
    return dg_evaluator_open(&e->of.plan, &e->of.knobs, &e->options, &e->evaluator, err);
}

int evaluation_threads(const struct evaluation *e) { return dg_session_threads(dg_evaluator_session(e->evaluator)); }

void close_evaluation(struct evaluation *e)
{
    dg_evaluator_close(e->evaluator);
    dg_sizes_close(e->sizes);
    close_plan(&e->of);
}

double imagenet_days(double epochs, double rate) { return IMAGENET_IMAGES * epochs / rate / 86400; }
