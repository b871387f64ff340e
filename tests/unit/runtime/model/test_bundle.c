/* Bundles: what is put in comes out, the same makes the same bytes, and one that is damaged is refused. */
#include "runtime/model/bundle.h"
#include "runtime/state/facts.h"
#include "runtime/state/weights.h"
#include "tests/support/check.h"
#include "tests/support/compile.h"
#include "tests/support/files.h"
#include "tests/support/tiny.h"

#include <math.h>
#include <sys/stat.h>

enum { CLASSES = 3, DIM = 32 };

static struct network {
    struct dg_plan plan;
    struct dg_knobs knobs;
    struct dg_session *session;
} network, wide;

static float weight[CLASSES * DIM], bias[CLASSES] = {0.25F, -1, 3};
static const char *const name[] = {"a cat", "tab\there", "b\xc3\xa9"}; /* the last is UTF-8 */
static struct dg_classifier classifier;

/* The call fails with that status, and a text with `text`; it takes `try_err`. */
#define assert_refused(call, status, text_part)                                                                        \
    do {                                                                                                               \
        struct dg_error try_error = {0}, *try_err = &try_error;                                                        \
        assert_int_equal((call), (status));                                                                            \
        if (!strstr(try_err->text, (text_part))) fail_msg("\"%s\" does not say \"%s\"", try_err->text, (text_part));   \
    } while (0)

static void open_network(struct network *n, const char *file, const char *more)
{
    dg_tiny_compile(in(file), more);
    assert_ok(dg_plan_open(in(file), &n->plan, try_err));
    assert_ok(dg_knobs_open(&n->plan, &n->knobs, try_err));
    assert_ok(dg_session_open(&n->plan, "features", &(struct dg_session_options){.threads = 1, .ignore_memory = true},
                              &n->session, try_err));
    assert_ok(dg_session_initialize(n->session, 5, try_err));
}

static void close_network(struct network *n)
{
    dg_session_close(n->session);
    dg_knobs_close(&n->knobs);
    dg_plan_close(&n->plan);
}

static int setup(void **state)
{
    make_test_folder(state);
    open_network(&network, "tiny.plan", NULL);
    open_network(&wide, "large.plan", "entries.features.size=48");
    for (int i = 0; i < CLASSES * DIM; i++) weight[i] = (float)(i % 7) - 3;
    const struct dg_safetensors_item layer[] = {
        {"linear.weight", DG_SAFETENSORS_F32, 2, {CLASSES, DIM}, weight},
        {"linear.bias", DG_SAFETENSORS_F32, 1, {CLASSES}, bias},
    };
    const struct dg_safetensors_meta meta[] = {{"classes", "a cat\ttab\\there\tb\xc3\xa9"},
                                               {"set.entries.features.resize", "40"}};
    assert_ok(dg_safetensors_write(in("head.safetensors"), layer, 2, meta, 2, try_err));
    assert_ok(dg_classifier_read(in("head.safetensors"), &classifier, try_err));
    return 0;
}

static int teardown(void **state)
{
    dg_classifier_free(&classifier);
    close_network(&network);
    close_network(&wide);
    return remove_test_folder(state);
}

static enum dg_status write_bundle(const char *path, const struct dg_session *head, struct dg_error *err)
{
    const struct dg_bundle_parts parts = {.session = network.session,
                                          .knobs = &network.knobs,
                                          .rules = {.exif = true, .pillow = 12},
                                          .classifier = head ? &classifier : NULL,
                                          .head = head};
    return dg_bundle_write(path, &parts, err);
}

static void test_round_trip(void **state)
{
    (void)state;
    assert_ok(write_bundle(in("a.bundle"), network.session, try_err));
    assert_ok(write_bundle(in("b.bundle"), network.session, try_err));
    assert_same_file(in("a.bundle"), in("b.bundle"));
    assert_true(dg_is_bundle(in("a.bundle")));
    assert_false(dg_is_bundle(in("tiny.plan")));
    assert_false(dg_is_bundle(in("head.safetensors")));
    assert_false(dg_is_bundle(in("nothing")));

    struct dg_bundle *bundle;
    struct dg_plan plan, head;
    struct dg_classifier again;
    assert_ok(dg_bundle_open(in("a.bundle"), &bundle, try_err));
    assert_ok(dg_bundle_open_plan(bundle, DG_BUNDLE_NETWORK, &plan, try_err));
    assert_memory_equal(plan.header, network.plan.header, network.plan.header->size);
    assert_ok(dg_bundle_open_plan(bundle, DG_BUNDLE_HEAD, &head, try_err)); /* they are one */
    assert_ptr_equal(head.header, plan.header);
    assert_string_equal(dg_bundle_fact(bundle, "images.exif"), "true");
    assert_string_equal(dg_bundle_fact(bundle, "images.pillow"), "12");
    assert_null(dg_bundle_fact(bundle, "step"));
    assert_null(dg_bundle_fact(bundle, "machine.kernels"));
    assert_ok(dg_bundle_read_classifier(bundle, &again, try_err));
    assert_int_equal(again.classes, CLASSES);
    assert_int_equal(again.dim, DIM);
    assert_int_equal(again.resize, 40);
    assert_memory_equal(again.weight, weight, sizeof weight);
    assert_memory_equal(again.bias, bias, sizeof bias);
    for (int c = 0; c < CLASSES; c++) assert_string_equal(again.name[c], name[c]);
    dg_classifier_free(&again);

    struct dg_session *session;
    assert_ok(dg_session_open(&plan, "features", &(struct dg_session_options){.threads = 1, .ignore_memory = true},
                              &session, try_err));
    assert_ok(dg_weights_load(session, &plan, in("a.bundle"), &(struct dg_weights_options){0}, try_err));
    assert_int_equal(dg_weights_hash(session, 0), dg_weights_hash(network.session, 0));
    dg_session_close(session);
    dg_plan_close(&head);
    dg_plan_close(&plan);
    dg_bundle_close(bundle);
}

static void test_no_head(void **state)
{
    (void)state;
    struct dg_bundle *bundle;
    struct dg_plan plan;
    struct dg_classifier none;
    assert_ok(write_bundle(in("bare.bundle"), NULL, try_err));
    assert_ok(dg_bundle_open(in("bare.bundle"), &bundle, try_err));
    assert_ok(dg_bundle_read_classifier(bundle, &none, try_err));
    assert_int_equal(none.classes, 0);
    assert_refused(dg_bundle_open_plan(bundle, DG_BUNDLE_HEAD, &plan, try_err), DG_ERR_INPUT, "has no classifier");
    dg_bundle_close(bundle);
}

/* A classifier whose plan has other parameters: it would get other features than it was trained on. */
static void test_other_plan(void **state)
{
    (void)state;
    struct dg_error err = {0};
    struct stat info;
    assert_ok(dg_session_initialize(wide.session, 5, try_err));
    assert_ok(write_bundle(in("two.bundle"), wide.session, try_err)); /* another size of images, the same parameters */
    struct dg_bundle *bundle;
    struct dg_plan plan;
    assert_ok(dg_bundle_open(in("two.bundle"), &bundle, try_err));
    assert_ok(dg_bundle_open_plan(bundle, DG_BUNDLE_HEAD, &plan, try_err));
    assert_memory_equal(plan.header, wide.plan.header, wide.plan.header->size);
    dg_plan_close(&plan);
    dg_bundle_close(bundle);
    assert_ok(dg_session_initialize(wide.session, 6, try_err));
    assert_refused(write_bundle(in("three.bundle"), wide.session, try_err), DG_ERR_UNSUPPORTED, "than the network's");
    assert_int_not_equal(stat(in("three.bundle"), &info), 0);
    err = (struct dg_error){0};
    assert_int_equal(write_bundle(in("none/a.bundle"), NULL, &err), DG_ERR_IO);
}

/* All that a program does with a bundle. */
static enum dg_status use(const char *path, struct dg_error *err)
{
    struct dg_bundle *bundle;
    struct dg_plan plan = {0};
    struct dg_classifier c = {0};
    struct dg_session *session = NULL;
    enum dg_status status = dg_bundle_open(path, &bundle, err);
    if (status == DG_OK) status = dg_bundle_open_plan(bundle, DG_BUNDLE_NETWORK, &plan, err);
    if (status == DG_OK) status = dg_bundle_read_classifier(bundle, &c, err);
    const struct dg_session_options options = {.threads = 1, .ignore_memory = true};
    if (status == DG_OK) status = dg_session_open(&plan, "features", &options, &session, err);
    if (status == DG_OK) status = dg_weights_load(session, &plan, path, &(struct dg_weights_options){0}, err);
    struct dg_knobs knobs = {0};
    if (status == DG_OK) status = dg_knobs_open(&plan, &knobs, err);
    if (status == DG_OK) status = dg_facts_check_weights(path, &knobs, false, NULL, err);
    dg_knobs_close(&knobs);
    dg_session_close(session);
    dg_classifier_free(&c);
    dg_plan_close(&plan);
    dg_bundle_close(bundle);
    return status;
}

/* Whatever byte changes, in header, plan, weights or classifier: it is refused, and says why. */
static void test_damage(void **state)
{
    (void)state;
    size_t size;
    assert_ok(write_bundle(in("whole.bundle"), network.session, try_err));
    assert_ok(use(in("whole.bundle"), try_err));
    uint8_t *bytes = read_file(in("whole.bundle"), &size);
    for (size_t at = 0; at < size; at += size / 199) {
        struct dg_error err = {0};
        bytes[at] ^= 4;
        write_file(in("damaged.bundle"), bytes, size);
        if (use(in("damaged.bundle"), &err) == DG_OK) fail_msg("byte %zu of %zu is not missed", at, size);
        assert_true(err.text[0]);
        bytes[at] ^= 4;
    }
    for (size_t cut = 0; cut < size; cut += size / 23) {
        struct dg_error err = {0};
        write_file(in("cut.bundle"), bytes, cut);
        assert_int_not_equal(use(in("cut.bundle"), &err), DG_OK);
    }
    free(bytes);
}

static void test_versions(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = read_file(in("whole.bundle"), &size);
    uint8_t *plan = memmem(bytes, size, DG_PLAN_MAGIC, 8);
    assert_non_null(plan);
    ((struct dg_plan_header *)(void *)plan)->version++;
    write_file(in("later.bundle"), bytes, size);
    assert_refused(use(in("later.bundle"), try_err), DG_ERR_INPUT, "compile it again");
    free(bytes);

    const struct dg_safetensors_meta meta[] = {{"dinograph.bundle", "2"}};
    assert_ok(dg_safetensors_write(in("two"), NULL, 0, meta, 1, try_err));
    assert_refused(use(in("two"), try_err), DG_ERR_INPUT, "a bundle of version 2, this program reads version 1");
    assert_refused(use(in("head.safetensors"), try_err), DG_ERR_INPUT, "this is not a bundle");
}

/* Logits and probabilities against sums in another order; they do not depend on the number of threads. */
static void test_classifier(void **state)
{
    (void)state;
    enum { ROWS = 5 };
    float features[ROWS * DIM], logits[2][ROWS * CLASSES], p[2][ROWS * CLASSES];
    for (int i = 0; i < ROWS * DIM; i++) features[i] = sinf((float)i);
    for (int t = 0; t < 2; t++) dg_classifier_run(&classifier, features, ROWS, 1 + t, logits[t], p[t]);
    assert_memory_equal(logits[0], logits[1], sizeof *logits);
    assert_memory_equal(p[0], p[1], sizeof *p);
    for (int r = 0; r < ROWS; r++) {
        double sum = 0, total = 0, want[CLASSES];
        for (int c = 0; c < CLASSES; c++) {
            want[c] = 0;
            for (int d = DIM - 1; d >= 0; d--) want[c] += (double)weight[c * DIM + d] * features[r * DIM + d];
            want[c] += bias[c];
            assert_true(fabs(logits[0][r * CLASSES + c] - want[c]) <= 1e-6 * (1 + fabs(want[c])));
            sum += exp(want[c]);
        }
        for (int c = 0; c < CLASSES; c++) {
            total += p[0][r * CLASSES + c];
            assert_true(fabs(p[0][r * CLASSES + c] - exp(want[c]) / sum) <= 1e-6);
        }
        assert_true(fabs(total - 1) <= 1e-6);
    }
}

static void test_bad_heads(void **state)
{
    (void)state;
    struct dg_classifier c;
    float nan_bias[CLASSES] = {0, NAN, 0};
    struct dg_safetensors_item layer[] = {{"linear.weight", DG_SAFETENSORS_F32, 2, {CLASSES, DIM}, weight},
                                          {"linear.bias", DG_SAFETENSORS_F32, 1, {CLASSES}, nan_bias}};
    assert_ok(dg_safetensors_write(in("bad"), layer, 2, NULL, 0, try_err));
    assert_refused(dg_classifier_read(in("bad"), &c, try_err), DG_ERR_INPUT, "linear.bias is nan at number 1 of 3");
    dg_classifier_free(&c);
    assert_ok(dg_safetensors_write(in("bad"), layer, 1, NULL, 0, try_err));
    assert_refused(dg_classifier_read(in("bad"), &c, try_err), DG_ERR_INPUT, "it has no linear.bias");
    dg_classifier_free(&c);
    layer[1].data = bias;
    layer[1].dim[0] = CLASSES - 1;
    assert_ok(dg_safetensors_write(in("bad"), layer, 2, NULL, 0, try_err));
    assert_refused(dg_classifier_read(in("bad"), &c, try_err), DG_ERR_INPUT, "no linear layer");
    dg_classifier_free(&c);
    layer[1].dim[0] = CLASSES;
    const struct dg_safetensors_meta few[] = {{"classes", "one\ttwo"}};
    assert_ok(dg_safetensors_write(in("bad"), layer, 2, few, 1, try_err));
    assert_refused(dg_classifier_read(in("bad"), &c, try_err), DG_ERR_INPUT, "the names of its 3 classes are damaged");
    dg_classifier_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trip), cmocka_unit_test(test_no_head),
                                       cmocka_unit_test(test_other_plan), cmocka_unit_test(test_damage),
                                       cmocka_unit_test(test_versions),   cmocka_unit_test(test_classifier),
                                       cmocka_unit_test(test_bad_heads)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
