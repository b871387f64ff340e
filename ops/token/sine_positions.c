/* sine_positions: the positions of the pixels of src [N,h,w,C] as sines and cosines, dst [N,h,w,2*dims] (XCiT's Fourier encoding,
 * after Carion et al. 2020): channels of rows, then of columns. Channel i of row y is the sine, where i is odd the cosine, of
 * 2 pi (y + 1) / (h + 1e-6) / temperature^(2 floor(i / 2) / dims). Of src only the shape counts. */
#include "ops/op.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { DIMS, TEMPERATURE }; /* attributes */
enum { SRC };               /* input */
enum { DST };               /* output */

static const struct dg_attr_spec attrs[] = {
    [DIMS] =
        {.name = "dims", .type = DG_ATTR_INT, .value.i = 32, .min = 2, .max = 1 << 16, .doc = "channels of an axis"},
    [TEMPERATURE] = {.name = "temperature",
                     .type = DG_ATTR_FLOAT,
                     .value.f = 10000,
                     .min = 1,
                     .max = 1e9,
                     .doc = "ratio of the longest period to the shortest, but for one step"},
    {0},
};

static enum dg_status infer(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(dg_want_ndim(&call->input[SRC], 4, "input", err));
    output[DST] = call->input[SRC];
    output[DST].dim[3] = 2 * call->attr[DIMS].i;
    return DG_OK;
}

struct state {
    int64_t images, size; /* size: numbers of an image */
    float *position;      /* [size] */
};

static float *make(const struct dg_op_call *call)
{
    int64_t h = call->input[SRC].dim[1], w = call->input[SRC].dim[2], dims = call->attr[DIMS].i;
    float *made = malloc((size_t)(h * w * 2 * dims) * sizeof *made);
    for (int64_t k = 0; made && k < h * w * 2 * dims; k++) {
        int64_t i = k % dims, pixel = k / (2 * dims);
        bool by_row = k % (2 * dims) < dims;
        double at =
            by_row ? (double)(pixel / w + 1) / ((double)h + 1e-6) : (double)(pixel % w + 1) / ((double)w + 1e-6);
        at = 2 * acos(-1) * at / pow(call->attr[TEMPERATURE].f, (double)(i / 2 * 2) / (double)dims);
        made[k] = (float)(i % 2 ? cos(at) : sin(at));
    }
    return made;
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    s->images = p->call->output[DST].dim[0];
    s->size = dg_desc_count(&p->call->output[DST]) / s->images;
    s->position = make(p->call);
    return s->position ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
}

static void release(void *state)
{
    if (state) free(((struct state *)state)->position);
    free(state);
}

static enum dg_status run(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    float *dst = r->output[DST];
#pragma omp parallel for schedule(static)
    for (int64_t n = 0; n < s->images; n++) memcpy(dst + n * s->size, s->position, (size_t)s->size * sizeof *dst);
    return DG_OK;
}

static void onnx(struct dg_onnx_builder *b)
{
    const struct dg_desc *dst = &b->call->output[DST];
    float *position = make(b->call);
    if (!position) {
        dg_fail(b->err, DG_ERR_MEMORY, "out of memory");
        return;
    }
    dg_onnx_value table =
        b->add_floats(b, "positions", 4, (int64_t[]){1, dst->dim[1], dst->dim[2], dst->dim[3]}, position);
    free(position);
    b->output[DST] = dg_onnx_for_each(b, dg_onnx_channels_first(b, table, 4), 4, b->input[SRC]);
}

static const struct dg_operand inputs[] = {[SRC] = {"src"}, {0}};
static const struct dg_operand outputs[] = {[DST] = {"dst"}, {0}};

const struct dg_op dg_op_sine_positions = {
    .name = "sine_positions",
    .in_yaml = true,
    .doc = "Positions of pixels as sines and cosines, in place of the pixels.",
    .attrs = attrs,
    .inputs = inputs,
    .outputs = outputs,
    .reach = DG_REACH_IMAGE,
    .infer = infer,
    .grad = dg_stop_gradient,
    .onnx = onnx,
    .prepare = prepare,
    .run = run,
    .release = release,
};
