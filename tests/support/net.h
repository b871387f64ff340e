/* An evaluation entry of a module of graphs/ with made-up weights on made-up images, as the PyTorch side has them
 * (tests/reference/values.py). */
#ifndef DG_TESTS_RUNTIME_NET_H
#define DG_TESTS_RUNTIME_NET_H

#include "compiler/compile.h"
#include "runtime/exec/session.h"
#include "tests/support/values.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct dg_net {
    struct dg_plan plan;
    struct dg_session *session;
};

static inline void dg_net_must(enum dg_status status, const struct dg_error *err)
{
    if (status != DG_OK) fail_msg("%s", err->text);
}

/* "image160x240" [batch, 3, H, W] of the PyTorch side, channels last. */
static inline void dg_net_images(const char *size, const struct dg_plan_tensor *tensor, float *out)
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

struct dg_net_spec {
    const char *file, *module; /* graphs/file:module */
    const char *const *set;
    int num_sets;
    const char *size; /* "96" or "160x240", height x width */
    int batch;
    bool plain;
    void (*value)(const char *name, int ndim, const int64_t *dim, float *out); /* of weights; NULL: dg_initial_value */
};

/* Into the file `path`. */
static inline void dg_net_compile(const char *path, const struct dg_net_spec *spec)
{
    char file[1024];
    int height, width;
    snprintf(file, sizeof file, "%s/graphs/%s", DG_SOURCE_DIR, spec->file);
    if (sscanf(spec->size, "%dx%d", &height, &width) != 2) height = width = atoi(spec->size);
    struct dg_compile_options options = {.file = file,
                                         .name = spec->module,
                                         .output = path,
                                         .set = spec->set,
                                         .num_sets = spec->num_sets,
                                         .batch = spec->batch,
                                         .height = height,
                                         .width = width,
                                         .plain = spec->plain};
    struct dg_compile_result result;
    struct dg_error err = {0};
    if (dg_compile(&options, &result, &err) != DG_OK) fail_msg("%s%s", result.diagnostics, err.text);
    dg_compile_result_free(&result);
}

/* Compiles, opens, fills weights and images, and runs; close with dg_net_close. */
static inline void dg_net_run(struct dg_net *net, const struct dg_net_spec *spec, const char *entry_name)
{
    char path[] = "/tmp/dinograph-net-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    dg_net_compile(path, spec);
    struct dg_error err = {0};
    dg_net_must(dg_plan_open(path, &net->plan, &err), &err);
    unlink(path);
    dg_net_must(
        dg_session_open(&net->plan, entry_name, &(struct dg_session_options){.threads = 2}, &net->session, &err), &err);
    const struct dg_plan_entry *entry = dg_session_entry(net->session);
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &net->plan.tensor[t];
        if (tensor->region != DG_REGION_PARAM || tensor->dtype != DG_F32)
            continue; /* a counter: evaluation has no use */
        char name[256];
        snprintf(name, sizeof name, "student.backbone.%s", dg_plan_string(&net->plan, tensor->name));
        (spec->value ? spec->value : dg_initial_value)(name, tensor->ndim, tensor->dim,
                                                       dg_session_data(net->session, t));
    }
    dg_net_must(dg_session_pack(net->session, &err), &err);
    const struct dg_plan_tensor *images;
    float *input = dg_session_input(net->session, "images", &images);
    dg_net_images(spec->size, images, input);
    dg_net_must(dg_session_compute(net->session, &(struct dg_step_info){0}, &err), &err);
}

static inline void dg_net_close(struct dg_net *net)
{
    dg_session_close(net->session);
    dg_plan_close(&net->plan);
}

#endif
