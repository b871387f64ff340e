/* A small ResNet through compiler and runtime: fused and folded plans give what plain ones give; batch norm's running
 * statistics in a training step, for each way of keeping the teacher's. */
#include "runtime/exec/session.h"
#include "tests/support/values.h"

#include "tests/support/check.h"
#include "tests/support/compile.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

struct opened {
    struct dg_plan plan;
    struct dg_session *session;
    struct dg_knobs knobs;
};

static void open_plan(struct opened *o, const char *file, const char *name, const char *const *set, int num_sets,
                      bool plain, const char *entry)
{
    char path[] = "/tmp/dinograph-resnet-XXXXXX", source[256];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    *o = (struct opened){0};
    close(fd);
    snprintf(source, sizeof source, "%s/graphs/%s", DG_SOURCE_DIR, file);
    struct dg_compile_options options = {.file = source,
                                         .name = name,
                                         .output = path,
                                         .set = set,
                                         .num_sets = num_sets,
                                         .batch = 3,
                                         .height = name ? 33 : 0,
                                         .width = name ? 47 : 0,
                                         .plain = plain};
    compile_plan(&options);
    assert_ok(dg_plan_open(path, &o->plan, try_err));
    unlink(path);
    assert_ok(dg_session_open(&o->plan, entry, &(struct dg_session_options){.threads = 2}, &o->session, try_err));
}

static void close_plan(struct opened *o)
{
    dg_session_close(o->session);
    dg_knobs_close(&o->knobs);
    dg_plan_close(&o->plan);
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

/* Weights and statistics by name, so that two plans get the same; variances and scales positive and not one. */
static void fill_params(struct opened *o)
{
    const struct dg_plan_entry *entry = dg_session_entry(o->session);
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &o->plan.tensor[t];
        if (tensor->region != DG_REGION_PARAM || tensor->dtype != DG_F32) continue;
        const char *name = dg_plan_string(&o->plan, tensor->name);
        int64_t fan = 1;
        for (int d = 1; d < tensor->ndim; d++) fan *= tensor->dim[d];
        bool positive = ends_with(name, "running_var") || (ends_with(name, ".weight") && tensor->ndim == 1);
        float bound = tensor->ndim == 1 ? 0.5f : 1.7f / sqrtf((float)fan);
        dg_named_uniform(name, (int64_t)tensor->bytes / 4, positive ? 0.5f : -bound, positive ? 1.5f : bound,
                         dg_session_data(o->session, t));
    }
}

static uint32_t count_ops(const struct opened *o, const char *name)
{
    const struct dg_plan_entry *entry = dg_session_entry(o->session);
    uint32_t count = 0;
    for (uint32_t n = entry->first_op; n < entry->first_op + entry->num_ops; n++)
        count += !strcmp(dg_plan_string(&o->plan, o->plan.op[n].op), name);
    return count;
}

static double difference(const float *got, const float *want, int64_t count)
{
    double error = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        error += pow((double)got[i] - (double)want[i], 2);
        norm += pow((double)want[i], 2);
    }
    assert_true(norm > 0);
    return sqrt(error / norm);
}

static void test_folded(void **state)
{
    (void)state;
    static const struct {
        const char *name, *set[2];
        uint32_t norms;
    } nets[] = {{"resnet50", {"blocks=[2, 1, 1, 1]", "planes=16"}, 20},
                {"resnet_basic", {"planes=16", "small=true"}, 20},
                {"resnet18", {"planes=24", "small=false"}, 20}};
    for (size_t n = 0; n < sizeof nets / sizeof *nets; n++) {
        struct opened folded, plain;
        open_plan(&folded, "resnet.yaml", nets[n].name, nets[n].set, 2, false, "features");
        open_plan(&plain, "resnet.yaml", nets[n].name, nets[n].set, 2, true, "features");
        assert_int_equal(count_ops(&folded, "batch_norm"), 0);
        assert_int_equal(count_ops(&folded, "relu"), 0);
        assert_int_equal(count_ops(&plain, "batch_norm"), nets[n].norms);
        struct opened *both[] = {&folded, &plain};
        const float *features[2];
        const struct dg_plan_tensor *tensor;
        for (int i = 0; i < 2; i++) {
            fill_params(both[i]);
            assert_ok(dg_session_pack(both[i]->session, try_err));
            float *images = dg_session_input(both[i]->session, "images", &tensor);
            dg_named_uniform("images", (int64_t)tensor->bytes / 4, -2, 2, images);
            assert_ok(dg_session_compute(both[i]->session, &(struct dg_step_info){0}, try_err));
            features[i] = dg_session_output(both[i]->session, "features", &tensor);
        }
        double far = difference(features[0], features[1], (int64_t)tensor->bytes / 4);
        if (!(far < 2e-6)) fail_msg("%s: folded and plain differ by %g", nets[n].name, far);
        close_plan(&folded);
        close_plan(&plain);
    }
}

/* --- a training step --- */

static const char *const small_step[] = {"student.with.planes=8",
                                         "head.with.bn=true",
                                         "head.with.out_dim=32",
                                         "head.with.hidden=24",
                                         "head.with.bottleneck=8",
                                         "crops.local.count=2",
                                         "batch=3",
                                         "lr=0.01"};
enum { SMALL_SETS = sizeof small_step / sizeof *small_step };

static void open_step(struct opened *o, const char *more, bool plain)
{
    const char *set[SMALL_SETS + 1];
    memcpy(set, small_step, sizeof small_step);
    set[SMALL_SETS] = more;
    open_plan(o, "cifar10_resnet.yaml", NULL, set, SMALL_SETS + (more != NULL), plain, "train");
    assert_ok(dg_session_initialize(o->session, 5, try_err));
    assert_ok(dg_knobs_open(&o->plan, &o->knobs, try_err));
    static const char *const inputs[] = {"crops.global", "crops.local"};
    for (int i = 0; i < 2; i++) {
        const struct dg_plan_tensor *tensor;
        float *crops = dg_session_input(o->session, inputs[i], &tensor);
        dg_named_uniform(inputs[i], (int64_t)tensor->bytes / 4, -2, 2, crops);
    }
}

static double step(struct opened *o, int64_t s)
{
    struct dg_step_info info = {.seed = 5, .step = s};
    dg_session_set_controls(o->session, &o->knobs, s, (struct dg_run_length){10, 1});
    assert_ok(dg_session_compute(o->session, &info, try_err));
    double loss = *(const double *)dg_session_output(o->session, "loss", NULL);
    assert_ok(dg_session_commit(o->session, &info, try_err));
    return loss;
}

static const void *param(const struct opened *o, const char *name)
{
    const struct dg_plan_entry *entry = dg_session_entry(o->session);
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++)
        if (!strcmp(dg_plan_string(&o->plan, o->plan.tensor[t].name), name)) return dg_session_data(o->session, t);
    fail_msg("no tensor %s", name);
    return NULL;
}

static int64_t tracked(const struct opened *o, const char *name) { return *(const int64_t *)param(o, name); }

static void test_statistics_of_a_step(void **state)
{
    (void)state;
    struct opened o;
    open_step(&o, NULL, false);
    for (int s = 1; s <= 2; s++) {
        step(&o, s - 1);
        /* The student's backbone sees two resolutions, its head all crops at once, the teacher the global ones. */
        assert_int_equal(tracked(&o, "student.backbone.bn1.num_batches_tracked"), 2 * s);
        assert_int_equal(tracked(&o, "student.head.mlp.1.num_batches_tracked"), s);
        assert_int_equal(tracked(&o, "teacher.backbone.bn1.num_batches_tracked"), s);
        assert_int_equal(tracked(&o, "teacher.head.mlp.4.num_batches_tracked"), s);
    }
    const float *student = param(&o, "student.backbone.bn1.running_mean"),
                *teacher = param(&o, "teacher.backbone.bn1.running_mean");
    assert_true(fabsf(student[0]) > 0 && fabsf(teacher[0]) > 0 && student[0] != teacher[0]);
    close_plan(&o);

    /* copy: the student's, bit for bit. */
    open_step(&o, "teacher.buffers=copy", false);
    step(&o, 0);
    step(&o, 1);
    assert_memory_equal(param(&o, "student.backbone.bn1.running_var"), param(&o, "teacher.backbone.bn1.running_var"),
                        8 * sizeof(float));
    assert_int_equal(tracked(&o, "teacher.backbone.bn1.num_batches_tracked"), 4);
    close_plan(&o);

    /* ema: as weights; the first step leaves (1 - m) of the student's mean, which began at 0. */
    open_step(&o, "teacher.buffers=ema", false);
    step(&o, 0);
    student = param(&o, "student.backbone.bn1.running_mean");
    teacher = param(&o, "teacher.backbone.bn1.running_mean");
    for (int c = 0; c < 8; c++) assert_true(fabs(teacher[c] - 0.01 * student[c]) < 1e-6 * fabs(student[c]));
    close_plan(&o);
}

/* All that outlives a step, by name. */
static void copy_state(struct opened *to, struct opened *from)
{
    const struct dg_plan_entry *a = dg_session_entry(to->session), *b = dg_session_entry(from->session);
    for (uint32_t t = a->first_tensor; t < a->first_tensor + a->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &to->plan.tensor[t];
        if (tensor->region != DG_REGION_PARAM && tensor->region != DG_REGION_STATE) continue;
        const char *name = dg_plan_string(&to->plan, tensor->name);
        uint32_t s = b->first_tensor, end = s + b->num_tensors;
        while (s < end && strcmp(dg_plan_string(&from->plan, from->plan.tensor[s].name), name)) s++;
        if (s == end) fail_msg("only one plan has %s", name);
        assert_int_equal(from->plan.tensor[s].bytes, tensor->bytes);
        memcpy(dg_session_data(to->session, t), dg_session_data(from->session, s), tensor->bytes);
    }
}

/* The same losses with and without fusion, in every form of the step; the head apart is another network. Each step of the plain
 * plan starts from the state of the fused one, as what is rounding at first grows from step to step, on some CPUs faster. */
static void test_fused_steps(void **state)
{
    (void)state;
    /* A loss is made of logits within 1 / student_temp = 10 of 0, of which 2e-6 may be rounding, as it may of features. */
    const double rounding = 2 * 10 * 2e-6;
    const char *const more[] = {NULL, "head.with.bn=false", "optim.kind=sgd", "optim.kind=lars"};
    for (int m = 0; m < 4; m++) {
        struct opened fused, plain;
        open_step(&fused, more[m], false);
        open_step(&plain, more[m], true);
        assert_int_equal(count_ops(&fused, "relu"), 0);
        assert_true(count_ops(&plain, "relu") > 0);
        double first = 0, last = 0;
        for (int s = 0; s < 6; s++) {
            copy_state(&plain, &fused);
            double a = step(&fused, s), b = step(&plain, s);
            if (!(fabs(a - b) <= rounding)) fail_msg("step %d: %.9g fused, %.9g plain", s, a, b);
            if (!s) first = a;
            last = a;
        }
        assert_true(isfinite(last) && first > 0);
        close_plan(&fused);
        close_plan(&plain);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_folded), cmocka_unit_test(test_statistics_of_a_step),
                                       cmocka_unit_test(test_fused_steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
