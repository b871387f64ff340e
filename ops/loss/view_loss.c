/* Losses between the views of an image that dino_loss (ops/loss/dino_loss.c) is not made for: any number of views of the teacher,
 * and the losses that Caron et al. 2021 compare with theirs (table 7, appendix B).
 *
 *   view_loss      (s [V*B,K], target [G*B,K], [student_temp], [loss so far]) -> loss
 *   view_loss_grad (s, target, [student_temp]) -> diff_s
 *
 * Rows are crop-major. Every student view v meets the teacher's views i != v; all G (views - 1) pairs weigh the same, and so do the
 * images. `kind` says what a pair of rows costs, with u = s / max(|s|, 1e-12):
 *
 *   cross_entropy   -sum q ln softmax(s / student_temp), q the target's row
 *   mse             |u - z|^2, z the target's row, of length one: 2 - 2 cos (Grill et al. 2020, equation 2)
 *   infonce         -ln (exp(u z / student_temp) / sum over the images m of exp(u z_m / student_temp)), with the rows of view i (He et
 *                   al. 2020, equation 1, with the batch in the place of the queue)
 *
 * Of infonce the target has the images of the whole batch, [G*B*slices,K], also where s has those of one slice.
 *
 * The loss is an f64 scalar, and differentiation starts from it: view_loss_grad takes its cotangent to be one. */
#include "ops/op.h"

#include <math.h>
#include <omp.h>

extern const struct dg_op dg_op_view_loss_grad;

enum { KIND, VIEWS, GLOBALS };                  /* attributes */
enum { CROSS_ENTROPY, MSE, INFONCE };           /* of KIND; as the choices of loss.kind */
enum { STUDENT, TARGET, STUDENT_TEMP, SO_FAR }; /* inputs; the last of the loss only */
enum { LOSS };
enum { DIFF_STUDENT };
enum { BLOCK = 512 }; /* columns that are summed in f32 */

struct state {
    int64_t rows, cols, batch, view0, globals;
    int64_t keys; /* images of a view of the target: the batch, or of infonce that of all slices */
    int64_t kind;
    int64_t factors; /* of a thread: one for each row of the target */
    double pair_weight;
};

/* A student's row beside the teacher's. */
struct row {
    const float *s;
    int64_t view, image; /* image: of the target's */
    double most, lse;    /* cross_entropy: of s / temp */
    double length;       /* the others: max(|s|, 1e-12) */
    bool clamped;        /* |s| is below that */
};

static const struct dg_attr_spec attrs[] = {
    {.name = "kind", .type = DG_ATTR_INT, .required = true, .min = 0, .max = 2, .internal = true},
    {.name = "views", .type = DG_ATTR_INT, .required = true, .min = 2, .max = 4096, .internal = true},
    {.name = "globals", .type = DG_ATTR_INT, .required = true, .min = 1, .max = 4096, .internal = true},
    {0},
};

/* Slices of which the target has the images. */
static int64_t target_slices(const struct dg_op_call *call)
{
    return call->attr[KIND].i == INFONCE ? dg_slices(call) : 1;
}

static enum dg_status check(const struct dg_op_call *call, struct dg_error *err)
{
    const struct dg_desc *s = &call->input[STUDENT], *target = &call->input[TARGET];
    int64_t views = call->attr[GLOBALS].i * target_slices(call); /* of a slice's images */
    DG_TRY(dg_want_ndim(s, 2, "student logits", err));
    DG_TRY(dg_want_ndim(target, 2, "teacher targets", err));
    bool temp = dg_desc_is_scalar(&call->input[STUDENT_TEMP], DG_F64) ||
                (call->attr[KIND].i == MSE && dg_absent(&call->input[STUDENT_TEMP]));
    if (temp && s->dim[1] == target->dim[1] && target->dim[0] % views == 0 && target->dim[0] >= views &&
        s->dim[0] % (target->dim[0] / views) == 0)
        return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "student logits, teacher targets or temperature do not fit");
}

static enum dg_status infer_loss(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(check(call, err));
    if (!dg_absent(&call->input[SO_FAR]) && !dg_desc_is_scalar(&call->input[SO_FAR], DG_F64))
        return dg_fail(err, DG_ERR_INPUT, "the loss so far must be a scalar");
    output[LOSS] = dg_desc_scalar(DG_F64);
    return DG_OK;
}

static enum dg_status grad_loss(struct dg_grad_builder *b)
{
    dg_value made[DG_MAX_OUTPUTS], input[] = {b->input[STUDENT], b->input[TARGET], b->input[STUDENT_TEMP]};
    DG_TRY(b->emit(b, &dg_op_view_loss_grad, b->call->attr, input, 3, made));
    if (b->wants[SO_FAR])
        DG_TRY(b->add_gradient(b, SO_FAR, b->diff_output[LOSS])); /* the loss so far has the weight one */
    return b->wants[STUDENT] ? b->add_gradient(b, STUDENT, made[DIFF_STUDENT]) : DG_OK;
}

static enum dg_status prepare(struct dg_prepare *p, struct dg_error *err)
{
    struct state *s = dg_op_state(p, sizeof *s, err);
    if (!s) return DG_ERR_MEMORY;
    const struct dg_desc *logits = &p->call->input[STUDENT];
    *s = (struct state){.rows = logits->dim[0],
                        .cols = logits->dim[1],
                        .view0 = p->view0,
                        .globals = p->call->attr[GLOBALS].i,
                        .kind = p->call->attr[KIND].i};
    s->keys = p->call->input[TARGET].dim[0] / s->globals;
    s->batch = s->keys / target_slices(p->call);
    int64_t pairs = s->globals * (p->call->attr[VIEWS].i - 1);
    s->pair_weight = 1.0 / ((double)(s->batch * dg_slices(p->call)) * (double)pairs);
    /* The cost of each row, and for each thread a factor of each of the teacher's rows. */
    s->factors = s->kind == CROSS_ENTROPY ? 0 : p->call->input[TARGET].dim[0];
    dg_op_scratch(p, (s->rows + p->threads * s->factors) * (int64_t)sizeof(double));
    return DG_OK;
}

static double dot(const float *a, const float *b, int64_t count)
{
    double sum = 0;
    for (int64_t first = 0; first < count; first += BLOCK) { /* f32 within a block, f64 across */
        int64_t end = dg_min_i64(first + BLOCK, count);
        float part = 0;
#pragma omp simd reduction(+ : part)
        for (int64_t k = first; k < end; k++) part += a[k] * b[k];
        sum += part;
    }
    return sum;
}

static struct row row_of(const struct state *s, const struct dg_run *r, int64_t index)
{
    struct row row = {.s = (const float *)r->input[STUDENT] + index * s->cols,
                      .view = s->view0 + index / s->batch,
                      .image = index % s->batch};
    if (s->keys > s->batch) row.image += r->step->slice * s->batch;
    if (s->kind != CROSS_ENTROPY) {
        double length = sqrt(dot(row.s, row.s, s->cols));
        row.clamped = length < 1e-12;
        row.length = row.clamped ? 1e-12 : length;
        return row;
    }
    double temp = *(const double *)r->input[STUDENT_TEMP], sum = 0;
    row.most = -INFINITY;
    for (int64_t k = 0; k < s->cols; k++) row.most = fmax(row.most, (double)row.s[k]);
    for (int64_t k = 0; k < s->cols; k++) sum += exp(((double)row.s[k] - row.most) / temp);
    row.lse = row.most / temp + log(sum);
    return row;
}

/* The cosines of the row and all images of the teacher's view, divided by the temperature, into `like`; returns their lse. */
static double compare_images(const struct state *s, const struct dg_run *r, const struct row *row, int64_t view,
                             double *like)
{
    const float *z = (const float *)r->input[TARGET] + view * s->keys * s->cols;
    double temp = *(const double *)r->input[STUDENT_TEMP], most = -INFINITY, sum = 0;
    for (int64_t m = 0; m < s->keys; m++) {
        like[m] = dot(row->s, z + m * s->cols, s->cols) / (row->length * temp);
        most = fmax(most, like[m]);
    }
    for (int64_t m = 0; m < s->keys; m++) sum += exp(like[m] - most);
    return most + log(sum);
}

/* |u - z|^2, not 2 - 2 cos, which is a difference of numbers near one where the views agree. */
static double square_distance(const struct state *s, const struct row *row, const float *z)
{
    double sum = 0;
    for (int64_t k = 0; k < s->cols; k++) {
        double apart = (double)row->s[k] / row->length - (double)z[k];
        sum += apart * apart;
    }
    return sum;
}

static double pair_cost(const struct state *s, const struct dg_run *r, const struct row *row, int64_t view,
                        double *like)
{
    const float *target = (const float *)r->input[TARGET] + (view * s->keys + row->image) * s->cols;
    if (s->kind == INFONCE) return compare_images(s, r, row, view, like) - like[row->image];
    if (s->kind == MSE) return square_distance(s, row, target);
    return row->lse - dot(row->s, target, s->cols) / *(const double *)r->input[STUDENT_TEMP]; /* rows of q sum to one */
}

/* What the calling thread has room for, [globals, keys]; none for the cross-entropy. */
static double *factors_of_thread(const struct state *s, const struct dg_run *r)
{
    return (double *)r->scratch + s->rows + omp_get_thread_num() * s->factors;
}

static enum dg_status run_loss(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
    double *term = r->scratch, sum = 0;
#pragma omp parallel for schedule(static) num_threads(r->threads)
    for (int64_t i = 0; i < s->rows; i++) {
        struct row row = row_of(s, r, i);
        term[i] = 0;
        for (int64_t view = 0; view < s->globals; view++)
            if (view != row.view) term[i] += pair_cost(s, r, &row, view, factors_of_thread(s, r));
    }
    for (int64_t i = 0; i < s->rows; i++) sum += term[i]; /* in order, so that the sum does not depend on threads */
    *(double *)r->output[LOSS] = (r->input[SO_FAR] ? *(const double *)r->input[SO_FAR] : 0) + sum * s->pair_weight;
    return DG_OK;
}

static const struct dg_operand loss_inputs[] = {
    [STUDENT] = {"student_logits"},
    [TARGET] = {"target"},
    [STUDENT_TEMP] = {"student_temp", DG_OPTIONAL, .dtype = DG_F64},
    [SO_FAR] = {"loss_so_far", DG_OPTIONAL, .dtype = DG_F64},
    {0},
};
static const struct dg_operand loss_outputs[] = {[LOSS] = {"loss", 0, DG_REUSE(SO_FAR), .dtype = DG_F64}, {0}};

const struct dg_op dg_op_view_loss = {
    .name = "view_loss",
    .attrs = attrs,
    .inputs = loss_inputs,
    .outputs = loss_outputs,
    .infer = infer_loss,
    .grad = grad_loss,
    .prepare = prepare,
    .run = run_loss,
};

static enum dg_status infer_grad(const struct dg_op_call *call, struct dg_desc *output, struct dg_error *err)
{
    DG_TRY(check(call, err));
    output[DIFF_STUDENT] = call->input[STUDENT];
    return DG_OK;
}

/* Fills the factors of the teacher's rows in d loss / d u, [globals, keys]. Returns u d loss / d u but for its part from u itself. */
static double factors_of(const struct state *s, const struct dg_run *r, const struct row *row, double *factor)
{
    double inner = 0;
    for (int64_t view = 0; view < s->globals; view++) {
        double *of = factor + view * s->keys;
        for (int64_t m = 0; s->kind == MSE && m < s->keys; m++) of[m] = 0;
        if (s->kind == MSE && view != row->view) {
            const float *z = (const float *)r->input[TARGET] + (view * s->keys + row->image) * s->cols;
            of[row->image] = -2 * s->pair_weight;
            inner += of[row->image] * dot(row->s, z, s->cols) / row->length;
        }
        if (s->kind == MSE) continue;
        double temp = *(const double *)r->input[STUDENT_TEMP], weight = s->pair_weight / temp;
        double lse = compare_images(s, r, row, view, of);
        for (int64_t m = 0; m < s->keys; m++) {
            double like = of[m];
            of[m] = view == row->view ? 0 : weight * (exp(like - lse) - (m == row->image));
            inner += of[m] * like * temp;
        }
    }
    return inner;
}

/* Of losses on directions: with g = d loss / d u, d loss / d s = (g - u (u g)) / |s|. dx may be the student's row. */
static void direction_backward(const struct state *s, const struct dg_run *r, const struct row *row, double *factor,
                               float *dx)
{
    double inner = factors_of(s, r, row, factor);
    float along = row->clamped ? 0 : (float)(inner / row->length), scale = (float)(1 / row->length);
    for (int64_t first = 0; first < s->cols; first += BLOCK) {
        int64_t count = dg_min_i64(BLOCK, s->cols - first);
        float g[BLOCK] = {0};
        for (int64_t m = 0; m < s->globals * s->keys; m++) {
            const float *z = (const float *)r->input[TARGET] + m * s->cols + first;
            float f = (float)factor[m];
            if (factor[m] == 0) continue;
#pragma omp simd
            for (int64_t k = 0; k < count; k++) g[k] += f * z[k];
        }
        for (int64_t k = 0; k < count; k++) dx[first + k] = (g[k] - along * row->s[first + k]) * scale;
    }
}

static void cross_entropy_backward(const struct state *s, const struct dg_run *r, const struct row *row, float *dx)
{
    double temp = *(const double *)r->input[STUDENT_TEMP], weight = s->pair_weight / temp;
    int64_t met = s->globals - (row->view < s->globals);
    for (int64_t k = 0; k < s->cols; k++) {
        double sum = (double)met * exp((double)row->s[k] / temp - row->lse);
        for (int64_t view = 0; view < s->globals; view++)
            if (view != row->view)
                sum -= (double)((const float *)r->input[TARGET])[(view * s->keys + row->image) * s->cols + k];
        dx[k] = (float)(sum * weight);
    }
}

static enum dg_status run_grad(const struct dg_run *r, struct dg_error *err)
{
    (void)err;
    const struct state *s = r->state;
#pragma omp parallel for schedule(static) num_threads(r->threads)
    for (int64_t i = 0; i < s->rows; i++) {
        struct row row = row_of(s, r, i);
        float *dx = (float *)r->output[DIFF_STUDENT] + i * s->cols;
        if (s->kind == CROSS_ENTROPY)
            cross_entropy_backward(s, r, &row, dx);
        else
            direction_backward(s, r, &row, factors_of_thread(s, r), dx);
    }
    return DG_OK;
}

static const struct dg_operand grad_inputs[] = {
    [STUDENT] = {"student_logits"},
    [TARGET] = {"target"},
    [STUDENT_TEMP] = {"student_temp", DG_OPTIONAL, .dtype = DG_F64},
    {0},
};
static const struct dg_operand grad_outputs[] = {[DIFF_STUDENT] = {"diff_s", 0, DG_REUSE(STUDENT)}, {0}};

const struct dg_op dg_op_view_loss_grad = {
    .name = "view_loss_grad",
    .attrs = attrs,
    .inputs = grad_inputs,
    .outputs = grad_outputs,
    .infer = infer_grad,
    .grad = dg_no_gradient,
    .prepare = prepare,
    .run = run_grad,
};
