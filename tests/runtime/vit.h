/* An evaluation entry of a module of graphs/vit.yaml with made-up weights on made-up images, as the PyTorch side has them
 * (tests/reference/values.py). */
#ifndef DG_TESTS_RUNTIME_VIT_H
#define DG_TESTS_RUNTIME_VIT_H

#include "compiler/compile.h"
#include "runtime/session.h"
#include "tests/support/values.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct dg_vit {
    struct dg_plan plan;
    struct dg_session *session;
};

static inline void dg_vit_must(enum dg_status status, const struct dg_error *err)
{
    if (status != DG_OK) fail_msg("%s", err->text);
}

/* "image160x240" [batch, 3, H, W] of the PyTorch side, channels last. */
static inline void dg_vit_images(const char *size, const struct dg_plan_tensor *tensor, float *out)
{
    int64_t pixels = tensor->dim[1] * tensor->dim[2];
    float *planes = malloc(tensor->bytes);
    assert_non_null(planes);
    char name[32];
    snprintf(name, sizeof name, "image%s", size);
    dg_named_uniform(name, tensor->dim[0] * 3 * pixels, -2, 2, planes);
    for (int64_t b = 0; b < tensor->dim[0]; b++)
        for (int64_t c = 0; c < 3; c++)
            for (int64_t p = 0; p < pixels; p++) out[(b * pixels + p) * 3 + c] = planes[(b * 3 + c) * pixels + p];
    free(planes);
}

/* Compiles graphs/vit.yaml:module into the file `path`; size is "96" or "160x240", height x width. */
static inline void dg_vit_compile(const char *path, const char *module, const char *const *set, int num_sets,
                                  const char *size, int batch)
{
    int height, width;
    if (sscanf(size, "%dx%d", &height, &width) != 2) height = width = atoi(size);
    struct dg_compile_options options = {.file = DG_SOURCE_DIR "/graphs/vit.yaml",
                                         .name = module,
                                         .output = path,
                                         .set = set,
                                         .num_sets = num_sets,
                                         .batch = batch,
                                         .height = height,
                                         .width = width};
    struct dg_compile_result result;
    struct dg_error err = {0};
    if (dg_compile(&options, &result, &err) != DG_OK) fail_msg("%s%s", result.diagnostics, err.text);
    dg_compile_result_free(&result);
}

/* Compiles, opens, fills weights and images, and runs; close with dg_vit_close. */
static inline struct dg_vit dg_vit_run(const char *module, const char *const *set, int num_sets, const char *size,
                                       int batch, const char *entry_name)
{
    char path[] = "/tmp/dinograph-vit-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    dg_vit_compile(path, module, set, num_sets, size, batch);
    struct dg_vit vit;
    struct dg_error err = {0};
    dg_vit_must(dg_plan_open(path, &vit.plan, &err), &err);
    unlink(path);
    dg_vit_must(dg_session_open(&vit.plan, entry_name, &(struct dg_session_options){.threads = 2}, &vit.session, &err),
                &err);
    const struct dg_plan_entry *entry = dg_session_entry(vit.session);
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &vit.plan.tensor[t];
        if (tensor->region != DG_REGION_PARAM) continue;
        char name[256];
        snprintf(name, sizeof name, "student.backbone.%s", dg_plan_string(&vit.plan, tensor->name));
        dg_initial_value(name, tensor->ndim, (int64_t)(tensor->bytes / 4), dg_session_data(vit.session, t));
    }
    dg_vit_must(dg_session_pack(vit.session, &err), &err);
    const struct dg_plan_tensor *images;
    float *input = dg_session_input(vit.session, "images", &images);
    dg_vit_images(size, images, input);
    dg_vit_must(dg_session_compute(vit.session, &(struct dg_step_info){0}, &err), &err);
    return vit;
}

static inline void dg_vit_close(struct dg_vit *vit)
{
    dg_session_close(vit->session);
    dg_plan_close(&vit->plan);
}

#endif
