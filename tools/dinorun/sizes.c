/* Evaluation of images of many sizes: dinoc makes a plan for each size that is met, of the description that the given
 * plan carries. */
#include "tools/dinorun/command.h"
#include "tools/dinorun/make_plan.h"

#include "runtime/base/memory.h"

#include <inttypes.h>
#include <stdio.h>

static enum dg_status open_made(void *context, const char *plan, struct dg_error *err)
{
    return dg_plan_open(plan, context, err);
}

/* Plans of all kinds compute one image at a time then. The crop of evaluation is not used, and must not be in the
 * way. */
static enum dg_status make_for_size(const struct dg_plan *of, int64_t height, int64_t width, struct dg_plan *made,
                                    struct dg_error *err)
{
    static const char *const math[] = {"f32", "bf16x3", "bf16x6"};
    char size[32], resize[64], what[64];
    const char *flags[] = {"--image-size",
                           size,
                           "--dtype",
                           of->entry->dtype == DG_BF16 ? "bf16" : "f32",
                           "--math",
                           math[of->entry->math],
                           NULL,
                           NULL,
                           NULL,
                           NULL,
                           NULL};
    int count = 6;
    snprintf(size, sizeof size, "%" PRId64 "x%" PRId64, height, width);
    snprintf(resize, sizeof resize, "entries.features.resize=%" PRId64, dg_max_i64(height, width));
    snprintf(what, sizeof what, "the plan for images of %s pixels", size);
    if (of->header->kind != DG_PLAN_MODULE) {
        flags[count++] = "--set";
        flags[count++] = resize;
    }
    if (of->header->kind == DG_PLAN_RECIPE) {
        flags[count++] = "--set";
        flags[count++] = "entries.features.batch=1";
    }
    if (of->header->kind == DG_PLAN_PROBE) {
        flags[count++] = "--batch";
        flags[count++] = "1";
    }
    const struct plan_to_make make = {
        .description = dg_plan_string(of, of->header->description), .flags = flags, .what = what};
    return make_plan(&make, open_made, made, err);
}

static enum dg_status make(void *context, const struct dg_plan *of, int64_t height, int64_t width, struct dg_plan *made,
                           struct dg_error *err)
{
    (void)context;
    return make_for_size(of, height, width, made, err);
}

enum dg_status open_sizes(struct evaluation *e, const double *std, struct dg_error *err)
{
    e->options.rules = image_rules(&e->images);
    e->options.log = &console;
    e->options.own_images = true;
    const struct dg_sizes_options options = {
        .evaluator = e->options, .make = make, .std = std, .multiscale = e->multiscale};
    return dg_sizes_open(&e->of.plan, &options, &e->sizes, err);
}

enum dg_status prepare_sizes(struct evaluation *e, struct dg_fit fit, struct dg_error *err)
{
    char session[32], own[32], limit[32];
    if (fit.kind != DG_FIT_STRETCH && fit.kind != DG_FIT_LONG_SIDE) return DG_OK;
    DG_TRY(dg_sizes_prepare(e->sizes, fit.height, fit.width, NULL, err));
    const struct dg_sizes_use use = dg_sizes_use(e->sizes);
    printf("a session for images of %dx%d pixels%s takes %s, %s of it besides program and weights, which all sizes "
           "share; all together may take %s (--memory)\n",
           fit.height, fit.width, fit.kind == DG_FIT_LONG_SIDE ? ", the largest there can be," : "",
           dg_format_bytes(session, sizeof session, (double)use.most),
           dg_format_bytes(own, sizeof own, (double)use.own), dg_format_bytes(limit, sizeof limit, (double)use.memory));
    return DG_OK;
}

void print_sizes(const struct evaluation *e)
{
    const struct dg_sizes_use use = dg_sizes_use(e->sizes);
    char most[32], limit[32], peak[32];
    printf("images of %" PRId64 " size%s; sessions, opened %" PRId64 " times, took %s at most as planned, of %s "
           "(--memory); the process had %s\n",
           use.sizes, use.sizes == 1 ? "" : "s", use.openings, dg_format_bytes(most, sizeof most, (double)use.most),
           dg_format_bytes(limit, sizeof limit, (double)use.memory),
           dg_format_bytes(peak, sizeof peak, (double)dg_memory_peak()));
}

/* The size that all images are resized to. */
static enum dg_status find_size(const struct evaluation *e, const struct whole_images *w, struct dg_fit_size *size,
                                struct dg_error *err)
{
    if (w->fit.kind == DG_FIT_STRETCH) {
        *size = dg_fit_size(w->fit, 0, 0);
        return DG_OK;
    }
    struct dg_image_decoder decoder = {.turns = image_rules(&e->images).exif};
    struct dg_image image = {0};
    enum dg_status status = DG_OK;
    for (int i = 0; i < w->count && status == DG_OK; i++) {
        status = dg_data_decode(w->path[i], &decoder, &image, err);
        struct dg_fit_size one = dg_fit_size(w->fit, image.height, image.width);
        if (status == DG_OK && i && (one.height != size->height || one.width != size->width))
            status = dg_fail(err, DG_ERR_INPUT,
                             "%s comes to %dx%d pixels (height x width), and %s to %dx%d: they are drawn in one size, "
                             "which --resize 'square N' or --image-size gives",
                             w->path[0], size->height, size->width, w->path[i], one.height, one.width);
        if (!i) *size = one;
    }
    dg_image_decoder_free(&decoder);
    dg_image_free(&image);
    return status;
}

/* The part of the images that patches cover is what the plan is for. */
enum dg_status take_size(struct evaluation *e, const struct whole_images *w, struct dg_error *err)
{
    struct dg_fit_size *size = &e->options.resized;
    struct dg_plan made = {0};
    struct dg_patches patches;
    if (w->fit.kind == DG_FIT_NONE) return DG_OK;
    DG_TRY(dg_patches_init(&e->of.plan, e->options.role, &patches, err));
    DG_TRY(find_size(e, w, size, err));
    int height = size->height - size->height % patches.size, width = size->width - size->width % patches.size;
    if (!height || !width)
        return dg_fail(err, DG_ERR_INPUT, "%dx%d pixels (height x width) have no room for a patch of %d", size->height,
                       size->width, patches.size);
    if (patches.height == height && patches.width == width) return DG_OK;
    enum dg_status status = make_for_size(&e->of.plan, height, width, &made, err);
    if (status != DG_OK) {
        dg_plan_close(&made);
        return status;
    }
    close_plan(&e->of);
    e->of.plan = made;
    return dg_knobs_open(&e->of.plan, &e->of.knobs, err);
}
