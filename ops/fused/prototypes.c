/* The prototype layer fused with the DINO loss: weight_norm_linear with dino_target and with dino_loss, a tile of prototypes at a
 * time, for a training step in which only the loss reads the logits [rows, K]. K is 65,536, so logits and targets of a batch would be
 * the largest activations of all; they never exist as a whole. A tile of them is computed from features of a few hundred numbers
 * wherever it is needed, three times per step.
 *
 *   prototype_target    (t [2B,D], t_g, t_v, center [1,K], teacher_temp) -> stats [2B,2], batch_mean [1,K], entropy
 *   prototype_loss      (s [M,D], g, v, t, t_g, t_v, center, stats, teacher_temp, student_temp, [loss so far]) -> loss, [lse]
 *   prototype_loss_grad (the first ten of these, lse, [acc_g], [acc_v]) -> [diff_s], [diff_g], diff_v
 *
 * stats [2B,2]: for each teacher row the maximum of (logit - center) / temp, and one over the sum of exponentials. Tensors are f32,
 * scalars f64. Sums over tiles are added in the order of threads. In a plan in bf16 the operands of products are rounded to bf16 in
 * the kernels; logits, softmax and sums stay f32. */
#include "ops/kernels/prototypes.h"
#include "ops/dnnl/dnnl.h"
#include "ops/kernels/dino_tile.h"
#include "ops/kernels/weight_norm.h"
#include "ops/op_rewrite.h"

#include <math.h>
#include <omp.h>
#include <string.h>

extern const struct dg_op dg_op_prototype_target, dg_op_prototype_loss, dg_op_prototype_loss_grad;
extern const struct dg_op dg_op_weight_norm_linear, dg_op_dino_target, dg_op_dino_loss;
extern const struct dg_attr_spec dg_dino_loss_attrs[]; /* views */

enum { TILE = 256 }; /* prototypes */
enum { T, T_G, T_V, T_CENTER, T_TEMP, TARGET_INPUTS };
enum { S, G, V, TEACHER, TEACHER_G, TEACHER_V, CENTER, STATS, TEACHER_TEMP, STUDENT_TEMP, SO_FAR, LOSS_INPUTS };
enum { LSE = SO_FAR, ACC_G, ACC_V, GRAD_INPUTS };
enum { VIEWS };                             /* attribute of the loss and its gradient */
enum { TARGET_STATS, BATCH_MEAN, ENTROPY }; /* outputs of prototype_target */
enum { LOSS, SAVED_LSE };                   /* outputs of prototype_loss */
enum { DIFF_SRC, DIFF_G, DIFF_V };          /* outputs of prototype_loss_grad */

/* Features [M,D], weight_g [K,1] and weight_v [K,D]. */
static bool layer_fits(const struct dg_desc *in)
{
    struct dg_desc g = dg_desc_make(DG_F32, 2, (int64_t[]){in[V].dim[0], 1});
    return in[S].ndim == 2 && in[V].ndim == 2 && in[S].dim[1] == in[V].dim[1] && dg_desc_equal(&in[G], &g);
}

/* The layer of one network, with its features [rows, in]. */
struct layer {
    int64_t rows, in;     /* in: D, which may differ between teacher and student */
    int64_t weight_bytes; /* size of a tile's weights [TILE, D]; in bf16 with what else the products need */
    int64_t features;     /* in bf16: offset of the packed features in scratch */
};

struct state {
    struct layer student, teacher; /* no student: 0 rows */
    int64_t out, view0;
    double pair_weight;
    int threads;
    bool bf16;
    int64_t per_thread;           /* bytes of a tile */
    int64_t tiles, sums, partial; /* offsets in scratch: of tiles, row sums and diff_s of each thread */
};

static void open_layer(struct dg_prepare *p, struct layer *l)
{
    if (!l->rows) return;
    l->weight_bytes = TILE * l->in * (int64_t)sizeof(float);
    if (!p->call->bf16) return;
    struct dg_prototype_scratch bytes = dg_prototypes_kernels()->scratch(l->rows, l->in, TILE);
    l->weight_bytes = bytes.thread;
    l->features = dg_op_scratch(p, bytes.features);
}

/* A thread's tile: student's and teacher's weights, the gradient of the first, lengths, student's and teacher's logits. */
struct tile {
    float *w, *teacher_w, *diff_w, *length, *logits, *targets;
};

static struct tile tile_of(const struct state *s, const struct dg_run *r, int thread)
{
    struct tile t;
    t.w = (void *)((char *)r->scratch + s->tiles + s->per_thread * thread);
    t.teacher_w = t.w + s->student.weight_bytes / 4;
    t.diff_w = t.teacher_w + s->teacher.weight_bytes / 4;
    t.length = t.diff_w + TILE * s->student.in;
    t.logits = t.length + TILE;
    t.targets = t.logits + TILE * s->student.rows;
    return t;
}

static enum dg_status open_state(struct dg_prepare *p, const struct dg_desc *student, const struct dg_desc *teacher,
                                 bool backward, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    s->out = teacher[T_V].dim[0];
    s->view0 = p->view0;
    s->threads = p->threads;
    s->bf16 = p->call->bf16;
    s->teacher = (struct layer){.rows = teacher->dim[0], .in = teacher[T_V].dim[1]};
    if (student) {
        s->student = (struct layer){.rows = student->dim[0], .in = student[V].dim[1]};
        s->pair_weight =
            1.0 / ((double)(s->teacher.rows / 2 * dg_slices(p->call)) * (2.0 * (double)p->call->attr[VIEWS].i - 2));
    }
    open_layer(p, &s->student);
    open_layer(p, &s->teacher);
    s->per_thread = dg_round_up(s->student.weight_bytes + s->teacher.weight_bytes +
                                    (s->student.in + 1 + s->student.rows + s->teacher.rows) * TILE * 4,
                                64);
    s->tiles = dg_op_scratch(p, s->per_thread * s->threads);
    s->sums = dg_op_scratch(p, dg_max_i64(s->student.rows, s->teacher.rows) * 4 * s->threads * (int64_t)sizeof(double));
    if (backward) s->partial = dg_op_scratch(p, s->threads * s->student.rows * s->student.in * (int64_t)sizeof(float));
    return DG_OK;
}

static void *at(const struct dg_run *r, int64_t offset) { return (char *)r->scratch + offset; }

/* Packs the features, once, before the first tile. */
static void pack_features(const struct state *s, const struct dg_run *r, const struct layer *l, const float *features)
{
    if (s->bf16) dg_prototypes_kernels()->pack_features(l->rows, l->in, features, at(r, l->features));
}

/* The kernel arguments for a tile of `count` prototypes, whose weights are in `w`. */
static struct dg_prototype_tile product_tile(const struct dg_run *r, const struct layer *l, int64_t count, float *w)
{
    return (struct dg_prototype_tile){
        .rows = l->rows, .in = l->in, .prototypes = count, .features = at(r, l->features), .scratch = w};
}

/* dst [rows, count] = features [rows, in] w^T for prototypes first .. first + count; leaves w and its lengths. */
static bool tile_logits(const struct state *s, const struct dg_run *r, const struct layer *l, const float *features,
                        const float *g, const float *v, int64_t first, int64_t count, float *w, float *length,
                        float *dst)
{
    g += first;
    v += first * l->in;
    if (s->bf16) {
        struct dg_prototype_tile tile = product_tile(r, l, count, w);
        dg_prototypes_kernels()->logits(&tile, g, v, dg_min_i64(TILE, s->out - first - count), length, dst);
        return true;
    }
    dg_weight_norm_kernels()->rows(count, l->in, g, v, w, length);
    return dg_sgemm(false, true, l->rows, count, l->in, features, l->in, w, l->in, 0, dst, count, NULL) == DG_OK;
}

/* diff_src [rows, in] += diff w, unless it is NULL, and t->diff_w = diff^T features, diff [rows, count] in t->logits. */
static bool tile_grads(const struct state *s, const struct dg_run *r, const float *features, int64_t count,
                       const struct tile *t, float *diff_src)
{
    const struct layer *l = &s->student;
    if (s->bf16) {
        struct dg_prototype_tile tile = product_tile(r, l, count, t->w);
        dg_prototypes_kernels()->grads(&tile, t->logits, diff_src, t->diff_w);
        return true;
    }
    return (!diff_src || dg_sgemm(false, false, l->rows, l->in, count, t->logits, count, t->w, l->in, 1, diff_src,
                                  l->in, NULL) == DG_OK) &&
           dg_sgemm(true, false, count, l->in, l->rows, t->logits, count, features, l->in, 0, t->diff_w, l->in, NULL) ==
               DG_OK;
}

/* --- prototype_target --- */

static enum dg_status infer_target(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    const struct dg_desc *in = call->input;
    struct dg_desc mean = dg_desc_make(DG_F32, 2, (int64_t[]){1, in[T_V].dim[0]});
    if (!layer_fits(in) || in[T].dim[0] % 2 || !dg_desc_equal(&in[T_CENTER], &mean) ||
        !dg_desc_is_scalar(&in[T_TEMP], DG_F64))
        return dg_fail(err, DG_ERR_INPUT, "teacher features, prototypes, center or temperature do not fit");
    output[TARGET_STATS] = dg_desc_make(DG_F32, 2, (int64_t[]){in[T].dim[0], 2});
    output[BATCH_MEAN] = mean;
    output[ENTROPY] = dg_desc_scalar(DG_F64);
    return DG_OK;
}

static struct dg_cost cost_target(const struct dg_op_call *call)
{
    double flops = dg_product_flops(&call->input[T], &call->input[T_V]);
    return (struct dg_cost){flops, flops};
}

static enum dg_status prepare_target(struct dg_prepare *p, struct dg_error *err)
{
    return open_state(p, NULL, &p->call->input[T], false, err);
}

static enum dg_status run_target(const struct dg_run *r, struct dg_error *err)
{
    const struct state *s = r->state;
    const float *center = r->input[T_CENTER];
    float temp = (float)*(const double *)r->input[T_TEMP], *stats = r->output[TARGET_STATS],
          *mean = r->output[BATCH_MEAN];
    double *sums = at(r, s->sums), total = 0;
    int64_t rows = s->teacher.rows;
    int failed = 0;
    pack_features(s, r, &s->teacher, r->input[T]);
#pragma omp parallel num_threads(s->threads) reduction(| : failed)
    {
        int thread = omp_get_thread_num();
        struct tile tile = tile_of(s, r, thread);
        double *sum = sums + thread * rows * 3;
        for (int64_t row = 0; row < rows; row++) sum[3 * row] = -INFINITY, sum[3 * row + 1] = sum[3 * row + 2] = 0;
#pragma omp for schedule(static)
        for (int64_t first = 0; first < s->out; first += TILE) {
            int64_t count = dg_min_i64(TILE, s->out - first);
            failed |= !tile_logits(s, r, &s->teacher, r->input[T], r->input[T_G], r->input[T_V], first, count,
                                   tile.teacher_w, tile.length, tile.targets);
            dg_dino_tile_kernels()->target_sums(rows, count, tile.targets, center + first, temp, mean + first, sum);
        }
    }
    for (int64_t row = 0; row < rows; row++) {
        double most = -INFINITY, sum = 0, weighted = 0;
        for (int i = 0; i < s->threads; i++) most = fmax(most, sums[3 * (i * rows + row)]);
        for (int i = 0; i < s->threads; i++) {
            const double *part = sums + 3 * (i * rows + row);
            if (part[1] == 0) continue; /* a thread without a tile */
            double scale = exp(part[0] - most);
            sum += scale * part[1];
            weighted += scale * (part[2] + (part[0] - most) * part[1]);
        }
        stats[2 * row] = (float)most;
        stats[2 * row + 1] = (float)(1 / sum);
        total += log(sum) - weighted / sum;
    }
    *(double *)r->output[ENTROPY] = total / (double)rows;
    return failed ? dg_fail(err, DG_ERR_INTERNAL, "oneDNN's gemm failed") : DG_OK;
}

static const struct dg_operand prototype_target_inputs[] = {
    [T] = {"src"},
    [T_G] = {"weight_g"},
    [T_V] = {"weight_v"},
    [T_CENTER] = {"center"},
    [T_TEMP] = {"temp", .dtype = DG_F64},
    {0},
};
static const struct dg_operand prototype_target_outputs[] = {
    [TARGET_STATS] = {"stats"},
    [BATCH_MEAN] = {"batch_mean"},
    [ENTROPY] = {"entropy", .dtype = DG_F64},
    {0},
};

const struct dg_op dg_op_prototype_target = {
    .name = "prototype_target",
    .inputs = prototype_target_inputs,
    .outputs = prototype_target_outputs,
    .infer = infer_target,
    .grad = dg_stop_gradient, /* the teacher is detached */
    .cost = cost_target,
    .prepare = prepare_target,
    .run = run_target,
};

/* --- prototype_loss --- */

static enum dg_status check(const struct dg_op_call *call, struct dg_error *err)
{
    const struct dg_desc *in = call->input;
    struct dg_desc stats = dg_desc_make(DG_F32, 2, (int64_t[]){in[TEACHER].dim[0], 2});
    struct dg_desc center = dg_desc_make(DG_F32, 2, (int64_t[]){1, in[V].dim[0]});
    if (!layer_fits(in) || !layer_fits(in + TEACHER) || in[V].dim[0] != in[TEACHER_V].dim[0] ||
        in[TEACHER].dim[0] % 2 || in[S].dim[0] % (in[TEACHER].dim[0] / 2) || !dg_desc_equal(&in[CENTER], &center) ||
        !dg_desc_equal(&in[STATS], &stats) || !dg_desc_is_scalar(&in[TEACHER_TEMP], DG_F64) ||
        !dg_desc_is_scalar(&in[STUDENT_TEMP], DG_F64))
        return dg_fail(err, DG_ERR_INPUT, "features, prototypes, center or temperatures do not fit");
    return DG_OK;
}

static enum dg_status infer_loss(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(check(call, err));
    if (!dg_absent(&call->input[SO_FAR]) && !dg_desc_is_scalar(&call->input[SO_FAR], DG_F64))
        return dg_fail(err, DG_ERR_INPUT, "the loss so far must be a scalar");
    output[LOSS] = dg_desc_scalar(DG_F64);
    output[SAVED_LSE] = dg_desc_make(DG_F32, 1, (int64_t[]){call->input[S].dim[0]});
    return DG_OK;
}

static enum dg_status grad_loss(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS], input[GRAD_INPUTS];
    memcpy(input, b->input, SO_FAR * sizeof *input);
    input[LSE] = b->output[SAVED_LSE];
    input[ACC_G] = b->wants[G] ? b->gradient_so_far(b, G) : DG_NO_VALUE;
    input[ACC_V] = b->gradient_so_far(b, V);
    DG_TRY(b->emit(b, &dg_op_prototype_loss_grad, b->call->attr, input, GRAD_INPUTS, made));
    if (b->wants[SO_FAR]) DG_TRY(b->add_gradient(b, SO_FAR, b->diff_output[LOSS]));
    if (b->wants[S]) DG_TRY(b->add_gradient(b, S, made[DIFF_SRC]));
    if (b->wants[G]) b->set_gradient(b, G, made[DIFF_G]);
    if (b->wants[V]) b->set_gradient(b, V, made[DIFF_V]);
    return DG_OK;
}

/* The teacher's logits are computed again, which is not useful work. */
static struct dg_cost cost_loss(const struct dg_op_call *call)
{
    double student = dg_product_flops(&call->input[S], &call->input[V]),
           teacher = dg_product_flops(&call->input[TEACHER], &call->input[TEACHER_V]);
    return (struct dg_cost){student + teacher, student};
}

static enum dg_status prepare_loss(struct dg_prepare *p, struct dg_error *err)
{
    const struct dg_desc *in = p->call->input;
    return open_state(p, &in[S], &in[TEACHER], false, err);
}

static void pack_pair(const struct state *s, const struct dg_run *r)
{
    pack_features(s, r, &s->student, r->input[S]);
    pack_features(s, r, &s->teacher, r->input[TEACHER]);
}

/* The student's logits and the teacher's targets of a tile; lengths are the student's afterwards. */
static bool tile_pair(const struct state *s, const struct dg_run *r, int64_t first, int64_t count, const struct tile *t)
{
    bool done = tile_logits(s, r, &s->teacher, r->input[TEACHER], r->input[TEACHER_G], r->input[TEACHER_V], first,
                            count, t->teacher_w, t->length, t->targets);
    dg_dino_tile_kernels()->target_probs(s->teacher.rows, count, t->targets, (const float *)r->input[CENTER] + first,
                                         (float)*(const double *)r->input[TEACHER_TEMP], r->input[STATS]);
    return tile_logits(s, r, &s->student, r->input[S], r->input[G], r->input[V], first, count, t->w, t->length,
                       t->logits) &&
           done;
}

/* The kernel arguments for a tile's logits and targets; temp is the student's. */
static struct dg_dino_tile loss_tile(const struct state *s, int64_t count, const struct tile *t, float temp)
{
    return (struct dg_dino_tile){.rows = s->student.rows,
                                 .cols = count,
                                 .batch = s->teacher.rows / 2,
                                 .view0 = s->view0,
                                 .q = t->targets,
                                 .temp = temp};
}

static enum dg_status run_loss(const struct dg_run *r, struct dg_error *err)
{
    const struct state *s = r->state;
    float temp = (float)*(const double *)r->input[STUDENT_TEMP], *lse = r->output[SAVED_LSE];
    double *sums = at(r, s->sums), total = 0;
    int failed = 0;
    pack_pair(s, r);
#pragma omp parallel num_threads(s->threads) reduction(| : failed)
    {
        int thread = omp_get_thread_num();
        struct tile tile = tile_of(s, r, thread);
        double *sum = sums + thread * s->student.rows * 4;
        for (int64_t row = 0; row < s->student.rows; row++) {
            sum[4 * row] = -INFINITY;
            sum[4 * row + 1] = sum[4 * row + 2] = sum[4 * row + 3] = 0;
        }
#pragma omp for schedule(static)
        for (int64_t first = 0; first < s->out; first += TILE) {
            int64_t count = dg_min_i64(TILE, s->out - first);
            failed |= !tile_pair(s, r, first, count, &tile);
            struct dg_dino_tile pairs = loss_tile(s, count, &tile, temp);
            dg_dino_tile_kernels()->loss_sums(&pairs, tile.logits, sum);
        }
    }
    for (int64_t row = 0; row < s->student.rows; row++) {
        double most = -INFINITY, sum = 0, dot[2] = {0, 0};
        for (int i = 0; i < s->threads; i++) most = fmax(most, sums[4 * (i * s->student.rows + row)]);
        for (int i = 0; i < s->threads; i++) {
            const double *part = sums + 4 * (i * s->student.rows + row);
            if (part[1] != 0) sum += exp(part[0] - most) * part[1];
            dot[0] += part[2];
            dot[1] += part[3];
        }
        double log_sum = most + log(sum);
        if (lse) lse[row] = (float)log_sum;
        for (int i = 0; i < 2; i++) /* rows of targets sum to one */
            if (i != s->view0 + row / (s->teacher.rows / 2)) total += log_sum - dot[i];
    }
    *(double *)r->output[LOSS] = (r->input[SO_FAR] ? *(const double *)r->input[SO_FAR] : 0) + total * s->pair_weight;
    return failed ? dg_fail(err, DG_ERR_INTERNAL, "oneDNN's gemm failed") : DG_OK;
}

static const struct dg_operand prototype_loss_inputs[] = {
    [S] = {"src"},
    [G] = {"weight_g"},
    [V] = {"weight_v"},
    [TEACHER] = {"teacher_src"},
    [TEACHER_G] = {"teacher_g"},
    [TEACHER_V] = {"teacher_v"},
    [CENTER] = {"center"},
    [STATS] = {"stats"},
    [TEACHER_TEMP] = {"teacher_temp", .dtype = DG_F64},
    [STUDENT_TEMP] = {"student_temp", .dtype = DG_F64},
    [SO_FAR] = {"loss_so_far", DG_OPTIONAL, .dtype = DG_F64},
    {0},
};
static const struct dg_operand prototype_loss_outputs[] = {
    [LOSS] = {"loss", 0, DG_REUSE(SO_FAR), .dtype = DG_F64},
    [SAVED_LSE] = {"lse", DG_SAVED},
    {0},
};

const struct dg_op dg_op_prototype_loss = {
    .name = "prototype_loss",
    .attrs = dg_dino_loss_attrs,
    .inputs = prototype_loss_inputs,
    .outputs = prototype_loss_outputs,
    .infer = infer_loss,
    .grad = grad_loss,
    .cost = cost_loss,
    .prepare = prepare_loss,
    .run = run_loss,
};

/* --- prototype_loss_grad --- */

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(check(call, err));
    struct dg_desc lse = dg_desc_make(DG_F32, 1, call->input[S].dim);
    if (!dg_desc_equal(&call->input[LSE], &lse)) return dg_fail(err, DG_ERR_INPUT, "lse has the wrong shape");
    output[DIFF_SRC] = call->input[S];
    output[DIFF_G] = call->input[G];
    output[DIFF_V] = call->input[V];
    DG_TRY(dg_want_accumulator(&call->input[ACC_G], &output[DIFF_G], err));
    return dg_want_accumulator(&call->input[ACC_V], &output[DIFF_V], err);
}

static struct dg_cost cost_grad(const struct dg_op_call *call)
{
    double student = dg_product_flops(&call->input[S], &call->input[V]),
           teacher = dg_product_flops(&call->input[TEACHER], &call->input[TEACHER_V]);
    return (struct dg_cost){3 * student + teacher, 2 * student};
}

static enum dg_status prepare_grad(struct dg_prepare *p, struct dg_error *err)
{
    const struct dg_desc *in = p->call->input;
    return open_state(p, &in[S], &in[TEACHER], true, err);
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    const struct state *s = r->state;
    double temp = *(const double *)r->input[STUDENT_TEMP];
    const float *g = r->input[G], *v = r->input[V], *acc_g = r->input[ACC_G], *acc_v = r->input[ACC_V];
    float *diff_src = r->output[DIFF_SRC], *diff_g = r->output[DIFF_G], *diff_v = r->output[DIFF_V],
          *partial = at(r, s->partial);
    int64_t in = s->student.in, size = s->student.rows * in;
    int failed = 0;
    memset(partial, 0, (size_t)(s->threads * size) * sizeof *partial);
    pack_pair(s, r);
#pragma omp parallel for schedule(static) num_threads(s->threads) reduction(| : failed)
    for (int64_t first = 0; first < s->out; first += TILE) {
        int64_t count = dg_min_i64(TILE, s->out - first);
        int thread = omp_get_thread_num();
        struct tile tile = tile_of(s, r, thread);
        failed |= !tile_pair(s, r, first, count, &tile);
        struct dg_dino_tile pairs = loss_tile(s, count, &tile, (float)temp);
        dg_dino_tile_kernels()->loss_backward(&pairs, r->input[LSE], (float)(s->pair_weight / temp), tile.logits);
        failed |= !tile_grads(s, r, r->input[S], count, &tile, diff_src ? partial + thread * size : NULL);
        dg_weight_norm_kernels()->rows_backward(
            &(struct dg_weight_norm_grad_args){.rows = count,
                                               .cols = in,
                                               .g = g + first,
                                               .v = v + first * in,
                                               .length = tile.length,
                                               .diff_w = tile.diff_w,
                                               .acc_g = acc_g ? acc_g + first : NULL,
                                               .acc_v = acc_v ? acc_v + first * in : NULL,
                                               .diff_g = diff_g ? diff_g + first : NULL,
                                               .diff_v = diff_v + first * in});
    }
    for (int64_t i = 0; diff_src && i < size; i++) { /* in the order of threads, so that a run repeats to the bit */
        float sum = 0;
        for (int t = 0; t < s->threads; t++) sum += partial[t * size + i];
        diff_src[i] = sum;
    }
    return failed ? dg_fail(err, DG_ERR_INTERNAL, "oneDNN's gemm failed") : DG_OK;
}

static const struct dg_operand prototype_loss_grad_inputs[] = {
    [S] = {"src"},
    [G] = {"weight_g"},
    [V] = {"weight_v"},
    [TEACHER] = {"teacher_src"},
    [TEACHER_G] = {"teacher_g"},
    [TEACHER_V] = {"teacher_v"},
    [CENTER] = {"center"},
    [STATS] = {"stats"},
    [TEACHER_TEMP] = {"teacher_temp", .dtype = DG_F64},
    [STUDENT_TEMP] = {"student_temp", .dtype = DG_F64},
    [LSE] = {"lse"},
    [ACC_G] = {"acc_g", DG_OPTIONAL},
    [ACC_V] = {"acc_v", DG_OPTIONAL},
    {0},
};
static const struct dg_operand prototype_loss_grad_outputs[] = {
    [DIFF_SRC] = {"diff_src", DG_OPTIONAL},
    [DIFF_G] = {"diff_g", DG_OPTIONAL, DG_REUSE(ACC_G)},
    [DIFF_V] = {"diff_v", 0, DG_REUSE(ACC_V)},
    {0},
};

const struct dg_op dg_op_prototype_loss_grad = {
    .name = "prototype_loss_grad",
    .attrs = dg_dino_loss_attrs,
    .inputs = prototype_loss_grad_inputs,
    .outputs = prototype_loss_grad_outputs,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .cost = cost_grad,
    .prepare = prepare_grad,
    .run = run_grad,
};

/* --- rewrites --- */

/* The student's layer and the loss of its logits. The teacher's layer, which made what the targets are made of, is read again:
 * its logits are not stored. Both networks' heads end in such a layer, or this does not fuse. */
static bool build_loss(const struct dg_match *m, struct dg_new_node *made)
{
    struct dg_match_node target, layer;
    if (!m->find_maker(m, dg_input_of(&m->consumer, "q"), &target) || target.op != &dg_op_dino_target ||
        !m->find_maker(m, dg_input_of(&target, "teacher_logits"), &layer) || layer.op != &dg_op_weight_norm_linear)
        return false;
    made->op = &dg_op_prototype_loss;
    dg_set_attr(made, "views", dg_attr_of(&m->consumer, "views"));
    made->input[S] = dg_input_of(&m->producer, "src");
    made->input[G] = dg_input_of(&m->producer, "weight_g");
    made->input[V] = dg_input_of(&m->producer, "weight_v");
    made->input[TEACHER] = dg_input_of(&layer, "src");
    made->input[TEACHER_G] = dg_input_of(&layer, "weight_g");
    made->input[TEACHER_V] = dg_input_of(&layer, "weight_v");
    made->input[CENTER] = dg_input_of(&target, "center");
    made->input[STATS] = dg_output_of(&target, "stats");
    made->input[TEACHER_TEMP] = dg_input_of(&target, "teacher_temp");
    made->input[STUDENT_TEMP] = dg_input_of(&m->consumer, "student_temp");
    made->input[SO_FAR] = dg_input_of(&m->consumer, "loss_so_far");
    made->output[LOSS] = dg_output_of(&m->consumer, "loss");
    made->output[SAVED_LSE] = dg_output_of(&m->consumer, "lse");
    return true;
}

/* The teacher's layer and its targets, once all losses read their statistics only. */
static bool build_target(const struct dg_match *m, struct dg_new_node *made)
{
    if (dg_is_wanted(&m->consumer, "q")) return false;
    made->op = &dg_op_prototype_target;
    made->input[T] = dg_input_of(&m->producer, "src");
    made->input[T_G] = dg_input_of(&m->producer, "weight_g");
    made->input[T_V] = dg_input_of(&m->producer, "weight_v");
    made->input[T_CENTER] = dg_input_of(&m->consumer, "center");
    made->input[T_TEMP] = dg_input_of(&m->consumer, "teacher_temp");
    made->output[TARGET_STATS] = dg_output_of(&m->consumer, "stats");
    made->output[BATCH_MEAN] = dg_output_of(&m->consumer, "batch_mean");
    made->output[ENTROPY] = dg_output_of(&m->consumer, "entropy");
    return true;
}

const struct dg_rewrite dg_fuse_prototype_loss = {.name = "weight_norm_linear + dino_loss",
                                                  .producer = &dg_op_weight_norm_linear,
                                                  .consumer = &dg_op_dino_loss,
                                                  .phase = DG_FUSE_FORWARD,
                                                  .at_consumer = true,
                                                  .build = build_loss};
const struct dg_rewrite dg_fuse_prototype_target = {.name = "weight_norm_linear + dino_target",
                                                    .producer = &dg_op_weight_norm_linear,
                                                    .consumer = &dg_op_dino_target,
                                                    .phase = DG_FUSE_FORWARD,
                                                    .at_consumer = true,
                                                    .build = build_target};
