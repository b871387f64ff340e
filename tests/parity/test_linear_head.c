/* Ten epochs of a linear probe's head on made-up features against PyTorch (tests/reference/make_linear.py). */
#include "runtime/exec/knobs.h"
#include "runtime/exec/session.h"
#include "tests/support/check.h"
#include "tests/support/compile.h"
#include "tests/support/files.h"
#include "tests/support/values.h"

#include <jansson.h>
#include <math.h>

enum { CLASSES = 5, DIM = 16, TRAIN = 70, VAL = 60, BATCH = 16, T_EPOCHS = 10 };

/* Row i of a split, as tests/reference/make_linear.py makes it. */
static void made_row(const char *split, int i, float *row)
{
    float own[DIM];
    char name[64];
    snprintf(name, sizeof name, "linear.class%d", i % CLASSES);
    dg_named_uniform(name, DIM, -1, 1, row);
    snprintf(name, sizeof name, "linear.%s%d", split, i);
    dg_named_uniform(name, DIM, -1, 1, own);
    for (int d = 0; d < DIM; d++) row[d] += 2 * own[d];
}

struct head {
    struct dg_plan plan;
    struct dg_knobs knobs;
    struct dg_session *session;
    float *features;
    int64_t *labels;
    const float *logits;
    const double *loss;
};

/* Fills the rows of the split that `order` names; rows beyond `count` do not count, and hold what must not be seen. */
static void fill(struct head *h, const char *split, const int *order, int count)
{
    for (int r = 0; r < BATCH; r++) {
        h->labels[r] = r < count ? order[r] % CLASSES : -1;
        made_row(split, r < count ? order[r] : 999, h->features + (ptrdiff_t)r * DIM);
    }
    assert_ok(dg_session_compute(h->session, &(struct dg_step_info){0}, try_err));
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void check_number(double got, double want, double tolerance, const char *what, int epoch)
{
    if (!(fabs(got - want) <= tolerance)) fail_msg("epoch %d: %s is %.9g, PyTorch has %.9g", epoch, what, got, want);
}

static void run_like_pytorch(struct head *h, const json_t *epochs)
{
    struct dg_run_length length = {(TRAIN + BATCH - 1) / BATCH, T_EPOCHS};
    assert_ok(dg_knobs_check(&h->knobs, dg_session_entry(h->session), length, try_err));
    for (int e = 0, step = 0; e < T_EPOCHS; e++) {
        const json_t *want = json_array_get(epochs, (size_t)e);
        double loss = 0, val_loss = 0, hits[2] = {0, 0};
        check_number(dg_control_value(&h->knobs, "lr", step, length), number(want, "lr"), 1e-12, "lr", e);
        for (int first = 0; first < TRAIN; first += BATCH, step++) {
            int order[BATCH], count = TRAIN - first < BATCH ? TRAIN - first : BATCH;
            for (int k = 0; k < count; k++) order[k] = (37 * (first + k) + 11 * e) % TRAIN;
            dg_session_set_controls(h->session, &h->knobs, step, length);
            fill(h, "train", order, count);
            loss += *h->loss * count;
            assert_ok(dg_session_commit(h->session, &(struct dg_step_info){.step = step}, try_err));
        }
        for (int first = 0; first < VAL; first += BATCH) {
            int order[BATCH], count = VAL - first < BATCH ? VAL - first : BATCH;
            for (int k = 0; k < count; k++) order[k] = first + k;
            fill(h, "val", order, count);
            val_loss += *h->loss * count;
            for (int k = 0; k < count; k++) {
                const float *x = h->logits + (ptrdiff_t)k * CLASSES;
                int before = 0;
                for (int c = 0; c < CLASSES; c++) before += x[c] > x[order[k] % CLASSES];
                hits[0] += before < 1;
                hits[1] += before < 3;
            }
        }
        check_number(loss / TRAIN, number(want, "loss"), 1e-5, "the loss", e);
        check_number(val_loss / VAL, number(want, "val_loss"), 1e-5, "the validation loss", e);
        check_number(100 * hits[0] / VAL, number(want, "top1"), 0.2, "top-1", e);
        check_number(100 * hits[1] / VAL, number(want, "top3"), 0.2, "top-3", e);
    }
}

static void test_pytorch(void **state)
{
    (void)state;
    json_error_t error;
    json_t *expected = json_load_file(DG_SOURCE_DIR "/tests/fixtures/linear.json", 0, &error);
    if (!expected) fail_msg("%s", error.text);
    static const char *const set[] = {"backbone=vit",  "with={dim: 8, heads: 2, depth: 2, patch: 8, image: 16}",
                                      "crops.size=16", "blocks=2",
                                      "classes=5",     "batch=16",
                                      "epochs=10",     "lr.from=0.1"};
    struct dg_compile_options compile = {.file = DG_SOURCE_DIR "/graphs/linear.yaml",
                                         .output = in("pytorch.plan"),
                                         .set = set,
                                         .num_sets = sizeof set / sizeof *set};
    compile_plan(&compile);
    struct head h;
    assert_ok(dg_plan_open(in("pytorch.plan"), &h.plan, try_err));
    assert_ok(dg_knobs_open(&h.plan, &h.knobs, try_err));
    struct dg_session_options options = {.threads = 2, .ignore_memory = true};
    assert_ok(dg_session_open(&h.plan, "train", &options, &h.session, try_err));
    assert_ok(dg_session_initialize(h.session, 0, try_err));
    h.features = dg_session_input(h.session, "features", NULL);
    h.labels = dg_session_input(h.session, "labels", NULL);
    h.logits = dg_session_output(h.session, "logits", NULL);
    h.loss = dg_session_output(h.session, "loss", NULL);
    float *weight = NULL, *bias = NULL;
    const struct dg_plan_entry *entry = dg_session_entry(h.session);
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        const char *name = dg_plan_string(&h.plan, h.plan.tensor[t].name);
        if (!strcmp(name, "linear.weight")) weight = dg_session_data(h.session, t);
        if (!strcmp(name, "linear.bias")) bias = dg_session_data(h.session, t);
    }
    assert_true(weight && bias);
    double square = 0;
    for (int i = 0; i < CLASSES * DIM; i++) square += (double)weight[i] * (double)weight[i];
    assert_true(sqrt(square / (CLASSES * DIM)) > 0.007 && sqrt(square / (CLASSES * DIM)) < 0.013); /* N(0, 0.01) */
    for (int c = 0; c < CLASSES; c++) assert_true(bias[c] == 0);

    dg_named_uniform("linear.weight", (int64_t)CLASSES * DIM, -0.02f, 0.02f, weight);
    run_like_pytorch(&h, json_object_get(expected, "epochs"));
    double proj[DG_PROJECTIONS];
    const json_t *weight_end = json_object_get(expected, "weight"), *bias_end = json_object_get(expected, "bias");
    dg_projections("linear.weight", weight, (int64_t)CLASSES * DIM, 1, proj);
    for (size_t j = 0; j < DG_PROJECTIONS; j++)
        check_number(proj[j], json_number_value(json_array_get(json_object_get(weight_end, "proj"), j)), 1e-4,
                     "a sum of the weights", T_EPOCHS);
    for (size_t c = 0; c < CLASSES; c++)
        check_number(bias[c], json_number_value(json_array_get(bias_end, c)), 1e-5, "a bias", T_EPOCHS);
    dg_session_close(h.session);
    dg_knobs_close(&h.knobs);
    dg_plan_close(&h.plan);
    json_decref(expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_pytorch)};
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
