/* An evaluation entry of a module of graphs/ with made-up weights on made-up images, as the PyTorch side has them
 * (tests/reference/values.py). */
#ifndef DG_TESTS_NET_H
#define DG_TESTS_NET_H

#include "runtime/exec/session.h"
#include "tests/support/check.h"

struct dg_net {
    struct dg_plan plan;
    struct dg_session *session;
};

/* "image160x240" [batch, 3, H, W] of the PyTorch side, channels last. */
void dg_net_images(const char *size, const struct dg_plan_tensor *tensor, float *out);

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
void dg_net_compile(const char *path, const struct dg_net_spec *spec);

/* Compiles, opens, fills weights and images, and runs; close with dg_net_close. */
void dg_net_run(struct dg_net *net, const struct dg_net_spec *spec, const char *entry_name);

void dg_net_close(struct dg_net *net);

#endif
