/* Models of the embedding API, from libdinograph.so as another program sees it: a run's folder, a bundle and plan with
 * weights have dinorun's features; a classifier has what dinorun linear trained. */
#include "runtime/dinograph.h"
#include "runtime/formats/safetensors.h"
#include "tests/support/library.h"
#include "tests/support/process.h"
#include "tests/support/tiny.h"

#include <math.h>
#include <pthread.h>
#include <sys/stat.h>

#define DINORUN DG_BUILD_DIR "/dinorun"

enum { PICTURES = 9, ROWS = 7, DIM = 32, WIDE = 4 * DIM, CLASSES = 2 };

static float expected[PICTURES][DIM]; /* dinorun's */
static char run[96], bundle[96], head[128];

static const char *picture(int index)
{
    char name[64];
    int within = index < 5 ? index : index - 5;
    snprintf(name, sizeof name, "pictures/%s/%02d.%s", index < 5 ? "a cat" : "b", within,
             within % 4 == 3 ? "jpg" : "png");
    return in(name);
}

static int setup(void **state)
{
    size_t size;
    setenv("OMP_WAIT_POLICY", "passive", 1);
    make_test_folder(state);
    snprintf(run, sizeof run, "%s/run", test_folder);
    snprintf(bundle, sizeof bundle, "%s/run.bundle", test_folder);
    snprintf(head, sizeof head, "%s/run/linear/best.safetensors", test_folder);
    dg_tiny_compile(in("tiny.plan"), "student.with.depth=4");
    assert_int_equal(mkdir(in("pictures"), 0777), 0);
    dg_tiny_pictures(in("pictures/a cat"), 5);
    dg_tiny_pictures(in("pictures/b"), 4);
    /* What a run may have of its own: rules of reading, size before the crop, deviation. */
    process_assert_status(RUN(DINORUN, "train", in("tiny.plan"), "--data", in("pictures"), "--out", run, "--steps", "2",
                              "--pillow", "12", "--exif", "--set", "entries.features.resize=40", "--set",
                              "crops.std.0=0.5", "--ignore-memory"),
                          0);
    process_assert_status(
        RUN(DINORUN, "features", run, "--data", in("pictures"), "--out", in("f.npy"), "--threads", "2"), 0);
    process_assert_status(RUN(DINORUN, "linear", run, "--train", in("pictures"), "--val", in("pictures"), "--set",
                              "epochs=4", "--set", "lr.from=0.5"),
                          0);
    process_assert_status(RUN(DINORUN, "bundle", run, "-o", bundle, "--head", head), 0);
    uint8_t *file = read_file(in("f.npy"), &size);
    memcpy(expected, file + size - sizeof expected, sizeof expected);
    free(file);
    return 0;
}

static const dinograph_options two = {.threads = 2};

/* The bytes of dinorun features. */
static void check_features(dinograph_session *session)
{
    for (int first = 0; first < PICTURES; first += ROWS) {
        int rows = PICTURES - first < ROWS ? PICTURES - first : ROWS;
        for (int row = 0; row < rows; row++) ok(dinograph_set_image_file(session, row, picture(first + row)));
        ok(dinograph_run(session));
        assert_memory_equal(dinograph_output_data(session, "features"), expected[first],
                            (size_t)rows * sizeof *expected);
    }
}

static void test_run_and_bundle(void **state)
{
    (void)state;
    const char *const paths[] = {run, bundle};
    for (int p = 0; p < 2; p++) {
        dinograph_session *session;
        dinograph_info info;
        ok(dinograph_open(paths[p], "features", &two, &session));
        ok(dinograph_session_info(session, &info));
        assert_int_equal(info.resize, 40);
        assert_true(info.std[0] == 0.5);
        assert_int_equal(info.classes, 0);
        assert_int_equal(dinograph_classes(session), 0);
        check_features(session);
        assert_null(dinograph_output_data(session, "logits"));
        dinograph_session_close(session);
    }
}

static void test_entries(void **state)
{
    (void)state;
    static const char *const names[] = {"features", "attention", "tokens", "classifier"};
    dinograph_model *model;
    ok(dinograph_model_open(bundle, NULL, &model));
    assert_int_equal(dinograph_model_entries(model), 4);
    for (int e = 0; e < 4; e++) {
        dinograph_session *session;
        assert_string_equal(dinograph_model_entry(model, e), names[e]);
        ok(dinograph_model_session(model, names[e], &two, &session));
        ok(dinograph_set_image_file(session, 0, picture(0)));
        ok(dinograph_run(session));
        dinograph_session_close(session);
    }
    assert_null(dinograph_model_entry(model, 4));
    assert_null(dinograph_model_entry(model, -1));
    dinograph_session *session = (void *)test_folder;
    fails(dinograph_model_session(model, "train", NULL, &session), DINOGRAPH_ERR_USAGE, "dinorun train");
    assert_null(session);
    fails(dinograph_model_session(model, "feature", NULL, &session), DINOGRAPH_ERR_USAGE, "it has: train, features");
    dinograph_model_close(model);
    ok(dinograph_model_open(run, NULL, &model));
    assert_int_equal(dinograph_model_entries(model), 3);
    fails(dinograph_model_session(model, "classifier", NULL, &session), DINOGRAPH_ERR_USAGE, "has no classifier");
    dinograph_model_close(model);
    dinograph_model_close(NULL);
}

/* Logits are the layer's, of the features that the session gives, and classes have their names. Of run and head they
 * are those of the bundle. */
static void test_classifier(void **state)
{
    (void)state;
    const dinograph_model_options with_head = {.head = head};
    dinograph_model *of_run, *of_bundle;
    dinograph_session *session;
    dinograph_tensor tensor;
    float logits[2][CLASSES];
    ok(dinograph_model_open(run, &with_head, &of_run));
    ok(dinograph_model_open(bundle, NULL, &of_bundle));
    struct dg_safetensors *file;
    float weight[CLASSES][WIDE], bias[CLASSES];
    assert_ok(dg_safetensors_open(head, &file, try_err));
    assert_ok(dg_safetensors_read_f32(dg_safetensors_find(file, "linear.weight"), weight[0]));
    assert_ok(dg_safetensors_read_f32(dg_safetensors_find(file, "linear.bias"), bias));
    dg_safetensors_close(file);
    for (int m = 0; m < 2; m++) {
        ok(dinograph_model_session(m ? of_bundle : of_run, "classifier", &two, &session));
        assert_int_equal(dinograph_classes(session), CLASSES);
        assert_string_equal(dinograph_class(session, 0), "a cat");
        assert_string_equal(dinograph_class(session, 1), "b");
        assert_null(dinograph_class(session, 2));
        assert_null(dinograph_class(session, -1));
        assert_int_equal(dinograph_outputs(session), 3);
        ok(dinograph_output(session, 2, &tensor));
        assert_string_equal(tensor.name, "probabilities");
        assert_int_equal(tensor.dim[1], CLASSES);
        fails(dinograph_output(session, 3, &tensor), DINOGRAPH_ERR_USAGE, "has no output 3");
        assert_null(dinograph_output_data(session, "logits"));
        fails(dinograph_load_weights(session, head, NULL), DINOGRAPH_ERR_USAGE, "takes no others");
        ok(dinograph_set_image_file(session, 0, picture(0)));
        ok(dinograph_run(session));
        const float *features = dinograph_output_data(session, "features");
        const float *got = dinograph_output_data(session, "logits"),
                    *p = dinograph_output_data(session, "probabilities");
        assert_true(fabsf(p[0] + p[1] - 1) <= 1e-6F);
        for (int c = 0; c < CLASSES; c++) {
            double want = bias[c];
            for (int d = WIDE - 1; d >= 0; d--) want += (double)weight[c][d] * features[d];
            assert_true(fabs(got[c] - want) <= 1e-6 * (1 + fabs(want)));
            assert_true(fabs(p[c] - 1 / (1 + exp((double)got[1 - c] - got[c]))) <= 1e-6);
        }
        memcpy(logits[m], got, sizeof *logits);
        dinograph_session_close(session);
    }
    assert_memory_equal(logits[0], logits[1], sizeof *logits);
    dinograph_model_close(of_run);
    dinograph_model_close(of_bundle);
}

/* How often it is right is what dinorun linear counts. */
static void test_accuracy(void **state)
{
    (void)state;
    dinograph_session *session;
    int right = 0;
    char text[64];
    ok(dinograph_open(bundle, "classifier", &two, &session));
    for (int i = 0; i < PICTURES; i++) {
        ok(dinograph_set_image_file(session, 0, picture(i)));
        ok(dinograph_run(session));
        const float *p = dinograph_output_data(session, "probabilities");
        right += (p[1] > p[0]) == (i >= 5);
    }
    dinograph_session_close(session);
    snprintf(text, sizeof text, "top-1 %.2f %%", 100.0 * right / PICTURES);
    const struct process *linear = RUN(DINORUN, "linear", run, "--val", in("pictures"), "--evaluate", head);
    process_assert_status(linear, 0);
    process_assert_says(linear, linear->out, text);
}

static void test_plan_and_weights(void **state)
{
    (void)state;
    char weights[128];
    snprintf(weights, sizeof weights, "%s/run/checkpoint.safetensors", test_folder);
    const dinograph_model_options teacher = {.weights = weights}, student = {.weights = weights, .from = "student"};
    dinograph_model *model;
    dinograph_session *session;
    dinograph_info info;
    ok(dinograph_model_open(in("tiny.plan"), &teacher, &model));
    ok(dinograph_model_session(model, "features", NULL, &session));
    ok(dinograph_session_info(session, &info));
    assert_int_equal(info.resize, 37); /* the plan's */
    assert_true(info.std[0] == 0.5);   /* of the weights */
    dinograph_session_close(session);
    dinograph_model_close(model);
    ok(dinograph_model_open(run, &student, &model));
    ok(dinograph_model_session(model, "features", &two, &session));
    for (int row = 0; row < ROWS; row++) ok(dinograph_set_image_file(session, row, picture(row)));
    ok(dinograph_run(session));
    assert_memory_not_equal(dinograph_output_data(session, "features"), expected[0], sizeof *expected);
    dinograph_session_close(session);
    dinograph_model_close(model);
}

static void test_errors(void **state)
{
    (void)state;
    dinograph_model *model = (void *)test_folder;
    dinograph_session *session = (void *)test_folder;
    fails(dinograph_model_open(in("nothing"), NULL, &model), DINOGRAPH_ERR_IO, "nothing");
    assert_null(model);
    fails(dinograph_model_open(in("tiny.plan"), NULL, &model), DINOGRAPH_ERR_USAGE, "which has no weights");
    fails(dinograph_model_open(in("pictures"), NULL, &model), DINOGRAPH_ERR_USAGE, "is it a run's folder?");
    fails(dinograph_model_open(head, NULL, &model), DINOGRAPH_ERR_INPUT, "this is not a plan");
    const dinograph_model_options all[] = {
        {.weights = head}, {.from = "centre"}, {.head = picture(0)}, {.reserved = {run}}, {.from = "student"}};
    fails(dinograph_model_open(bundle, &all[0], &model), DINOGRAPH_ERR_USAGE, "it takes no others");
    fails(dinograph_model_open(run, &all[1], &model), DINOGRAPH_ERR_USAGE, "teacher or student");
    fails(dinograph_model_open(run, &all[2], &model), DINOGRAPH_ERR_INPUT, "00.png");
    fails(dinograph_model_open(run, &all[3], &model), DINOGRAPH_ERR_USAGE, "reserved");
    fails(dinograph_model_open(bundle, &all[4], &model), DINOGRAPH_ERR_USAGE, "it takes no others");
    assert_null(model);
    fails(dinograph_open(run, "classifier", NULL, &session), DINOGRAPH_ERR_USAGE, "has no classifier");
    assert_null(session);
    fails(dinograph_open(in("nothing"), "features", NULL, &session), DINOGRAPH_ERR_IO, "nothing");

    /* A classifier on the student, which is not what it was trained on; and without its plan, on other features. */
    const dinograph_model_options student = {.from = "student", .head = head};
    ok(dinograph_model_open(run, &student, &model));
    fails(dinograph_model_session(model, "classifier", NULL, &session), DINOGRAPH_ERR_INPUT,
          "the backbone's weights are not the ones");
    assert_null(session);
    ok(dinograph_model_session(model, "features", NULL, &session));
    dinograph_session_close(session);
    dinograph_model_close(model);
    copy_file(head, in("alone.safetensors"));
    const dinograph_model_options alone = {.head = in("alone.safetensors")};
    fails(dinograph_model_open(run, &alone, &model), DINOGRAPH_ERR_USAGE,
          "is for 128 features an image, and the plan has 32");

    size_t size;
    uint8_t *bytes = read_file(bundle, &size);
    bytes[size - 40] ^= 1; /* of the classifier */
    write_file(in("damaged.bundle"), bytes, size);
    fails(dinograph_model_open(in("damaged.bundle"), NULL, &model), DINOGRAPH_ERR_INPUT, "is damaged");
    bytes[size - 40] ^= 1;
    bytes[size - 8192] ^= 1; /* of the weights */
    write_file(in("damaged.bundle"), bytes, size);
    fails(dinograph_open(in("damaged.bundle"), "features", NULL, &session), DINOGRAPH_ERR_INPUT, "is damaged");
    free(bytes);
}

/* Sessions of one model, opened and used by threads at once. */
struct worker {
    const dinograph_model *model;
    bool wrong;
    char text[256]; /* of its last error */
};

static void *work(void *context)
{
    struct worker *w = context;
    char path[128];
    dinograph_session *session;
    w->wrong = dinograph_model_session(w->model, "features", &(dinograph_options){.threads = 1}, &session);
    for (int i = 0; i < 3 && !w->wrong; i++) {
        snprintf(path, sizeof path, "%s/pictures/b/%02d.png", test_folder, i);
        w->wrong = dinograph_set_image_file(session, 0, path) || dinograph_run(session);
        const float *features = dinograph_output_data(session, "features");
        for (int d = 0; d < DIM && !w->wrong; d++) w->wrong = !(fabsf(features[d] - expected[5 + i][d]) <= 1e-4F);
    }
    snprintf(w->text, sizeof w->text, "%s", dinograph_error());
    dinograph_session_close(session);
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    enum { WORKERS = 3 };
    struct worker worker[WORKERS];
    pthread_t thread[WORKERS];
    dinograph_model *model;
    ok(dinograph_model_open(bundle, NULL, &model));
    for (int i = 0; i < WORKERS; i++) {
        worker[i] = (struct worker){.model = model};
        assert_int_equal(pthread_create(&thread[i], NULL, work, &worker[i]), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        if (worker[i].wrong) fail_msg("worker %d: %s", i, worker[i].text);
    }
    dinograph_model_close(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_run_and_bundle),   cmocka_unit_test(test_entries),
                                       cmocka_unit_test(test_classifier),       cmocka_unit_test(test_accuracy),
                                       cmocka_unit_test(test_plan_and_weights), cmocka_unit_test(test_errors),
                                       cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}
