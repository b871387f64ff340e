#include "runtime/train/watch.h"

#include "runtime/base/atomic_file.h"
#include "runtime/base/path.h"
#include "runtime/eval/attention_drawing.h"
#include "runtime/eval/attention_maps.h"
#include "runtime/eval/pca_drawing.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum dg_status dg_watch_check(const struct dg_watch *watch, struct dg_error *err)
{
    struct dg_patches patches;
    if (!watch->count) return DG_OK;
    DG_TRY(dg_patches_init(watch->plan, DG_ENTRY_ATTENTION, &patches, err));
    DG_TRY(dg_patches_init(watch->plan, DG_ENTRY_TOKENS, &patches, err));
    uint8_t *pixels = malloc(3 * (size_t)patches.width * (size_t)patches.height);
    if (!pixels) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    enum dg_status status = DG_OK;
    for (int i = 0; i < watch->count && status == DG_OK; i++)
        status = dg_read_whole(watch->image[i], watch->rules, (struct dg_fit_size){0}, patches.width, patches.height,
                               pixels, err);
    free(pixels);
    return status;
}

static enum dg_status open_evaluator(const struct dg_watch *watch, const struct dg_session *training, const char *path,
                                     enum dg_entry_role role, struct dg_evaluator **evaluator, struct dg_error *err)
{
    struct dg_lent lent = dg_session_lend(training);
    const struct dg_evaluator_options options = {.role = role,
                                                 .weights = path,
                                                 .choice = {.from = "teacher"},
                                                 .threads = dg_session_threads(training),
                                                 .rules = watch->rules,
                                                 .ignore_memory = true,
                                                 .lent = &lent};
    return dg_evaluator_open(watch->plan, watch->knobs, &options, evaluator, err);
}

static enum dg_status name_file(const struct dg_watch *watch, const char *kind, int image, int64_t step,
                                char path[DG_MAX_PATH], struct dg_error *err)
{
    const char *slash = image < 0 ? NULL : strrchr(watch->image[image], '/');
    const char *name = image < 0 ? "" : slash ? slash + 1 : watch->image[image];
    char number[16] = "";
    if (image >= 0) snprintf(number, sizeof number, "-%02d-", image + 1); /* images of two folders may have one name */
    int length = snprintf(path, DG_MAX_PATH, "%s/watch/%s%s%.*s-%08" PRId64 ".png", watch->run, kind, number,
                          (int)strcspn(name, "."), name, step);
    return length < DG_MAX_PATH ? DG_OK : dg_fail(err, DG_ERR_USAGE, "%s: the path is too long", watch->run);
}

static enum dg_status draw_attention(const struct dg_watch *watch, struct dg_evaluator *evaluator, int64_t step,
                                     struct dg_error *err)
{
    struct dg_attention_drawing drawing = {.threshold = DG_ATTENTION_KEEP};
    char path[DG_MAX_PATH];
    enum dg_status status = dg_patches_init(watch->plan, DG_ENTRY_ATTENTION, &drawing.patches, err);
    for (int i = 0; i < watch->count && status == DG_OK; i++) {
        status = name_file(watch, "attention", i, step, path, err);
        if (status == DG_OK) status = dg_attention_read(&drawing, watch->image[i], watch->rules, err);
        if (status == DG_OK) status = dg_attention_compute(&drawing, evaluator, watch->image[i], err);
        if (status == DG_OK) status = dg_attention_draw(&drawing, path, err);
    }
    dg_attention_drawing_free(&drawing);
    return status;
}

static enum dg_status draw_pca(const struct dg_watch *watch, struct dg_evaluator *evaluator, int64_t step,
                               struct dg_error *err)
{
    struct dg_pca_drawing drawing = {0};
    char path[DG_MAX_PATH];
    DG_TRY(name_file(watch, "pca", -1, step, path, err));
    DG_TRY(dg_patches_init(watch->plan, DG_ENTRY_TOKENS, &drawing.patches, err));
    enum dg_status status = dg_pca_compute(&drawing, evaluator, watch->image, watch->count, err);
    if (status == DG_OK) status = dg_pca_draw(&drawing, watch->image, watch->rules, path, err);
    dg_pca_drawing_free(&drawing);
    return status;
}

enum dg_status dg_watch_draw(const struct dg_watch *watch, const struct dg_session *training, const char *path,
                             int64_t step, struct dg_error *err)
{
    char folder[DG_MAX_PATH];
    struct dg_evaluator *evaluator;
    if (!watch->count) return DG_OK;
    DG_TRY(dg_path_join(folder, watch->run, "watch", err));
    DG_TRY(dg_make_folder(folder, err));
    DG_TRY(open_evaluator(watch, training, path, DG_ENTRY_ATTENTION, &evaluator, err));
    enum dg_status status = draw_attention(watch, evaluator, step, err);
    dg_evaluator_close(evaluator);
    DG_TRY(status);
    DG_TRY(open_evaluator(watch, training, path, DG_ENTRY_TOKENS, &evaluator, err));
    status = draw_pca(watch, evaluator, step, err);
    dg_evaluator_close(evaluator);
    return status;
}
