/* The embedding API, from libdinograph.so as another program sees it, against dinorun and against a session. */
#include "ops/base/rng.h"
#include "runtime/dinograph.h"
#include "runtime/image/decode.h"
#include "runtime/state/weights.h"
#include "tests/support/library.h"
#include "tests/support/process.h"
#include "tests/support/tiny.h"

#include <fcntl.h>
#include <math.h>
#include <omp.h>
#include <pthread.h>
#include <unistd.h>

enum { PICTURES = 9, ROWS = 7, DIM = 32, SIDE = 32 };

static char plan_path[128], weights[128];
static float expected[PICTURES][DIM]; /* dinorun's */

static const char *picture(int index)
{
    char name[32];
    snprintf(name, sizeof name, "pictures/%02d.%s", index, index % 4 == 3 ? "jpg" : "png");
    return in(name);
}

/* The numbers of a NumPy file: behind the header, whose length stands in bytes 8 and 9. */
static void read_npy(const char *path, void *values, size_t bytes)
{
    size_t size;
    uint8_t *file = read_file(path, &size);
    size_t start = 10 + (size_t)file[8] + 256 * (size_t)file[9];
    assert_int_equal(size, start + bytes);
    memcpy(values, file + start, bytes);
    free(file);
}

static int setup(void **state)
{
    char pictures[80];
    make_test_folder(state);
    snprintf(plan_path, sizeof plan_path, "%s/tiny.plan", test_folder);
    snprintf(weights, sizeof weights, "%s/run/checkpoint.safetensors", test_folder);
    dg_tiny_compile(plan_path, "entries.features.resize=40");
    snprintf(pictures, sizeof pictures, "%s/pictures", test_folder);
    dg_tiny_pictures(pictures, PICTURES);
    const char *dinorun = DG_BUILD_DIR "/dinorun";
    /* Two steps (the first has rate 0), so that student and teacher differ. */
    process_assert_status(RUN(dinorun, "train", plan_path, "--data", in("pictures"), "--out", in("run"), "--steps", "2",
                              "--threads", "2", "--ignore-memory"),
                          0);
    process_assert_status(RUN(dinorun, "features", plan_path, "--weights", weights, "--data", in("pictures"), "--out",
                              in("f.npy"), "--threads", "2"),
                          0);
    read_npy(in("f.npy"), expected, sizeof expected);
    return 0;
}

static dinograph_session *open_session(dinograph_plan **plan)
{
    dinograph_session *session;
    ok(dinograph_plan_open(plan_path, plan));
    ok(dinograph_session_open(*plan, "features", &(dinograph_options){.threads = 2}, &session));
    return session;
}

static void close_session(dinograph_session *session, dinograph_plan *plan)
{
    dinograph_session_close(session);
    dinograph_plan_close(plan);
}

static const float *features_of(dinograph_session *session)
{
    ok(dinograph_run(session));
    const float *features = dinograph_output_data(session, "features");
    assert_non_null(features);
    return features;
}

/* Whether the features of `rows` pictures are dinorun's, from picture `first` on, but for the order of sums. */
static bool are_close(const float *features, int first, int rows)
{
    for (int row = 0; row < rows; row++)
        for (int d = 0; d < DIM; d++)
            if (!(fabsf(features[row * DIM + d] - expected[first + row][d]) <= 1e-4F)) return false;
    return true;
}

static void test_describes(void **state)
{
    (void)state;
    dinograph_plan *plan;
    dinograph_session *session = open_session(&plan);
    assert_int_equal(dinograph_plan_entries(plan), 4);
    assert_string_equal(dinograph_plan_entry(plan, 0), "train");
    assert_string_equal(dinograph_plan_entry(plan, 1), "features");
    assert_null(dinograph_plan_entry(plan, 4));
    assert_null(dinograph_plan_entry(plan, -1));

    dinograph_tensor tensor;
    assert_int_equal(dinograph_inputs(session), 1);
    ok(dinograph_input(session, 0, &tensor));
    assert_string_equal(tensor.name, "images");
    assert_int_equal(tensor.type, DINOGRAPH_F32);
    assert_int_equal(tensor.ndim, 4);
    const int64_t images[8] = {ROWS, SIDE, SIDE, 3};
    assert_memory_equal(tensor.dim, images, sizeof images);
    assert_int_equal(tensor.bytes, ROWS * SIDE * SIDE * 3 * sizeof(float));
    assert_int_equal(dinograph_outputs(session), 1);
    ok(dinograph_output(session, 0, &tensor));
    assert_string_equal(tensor.name, "features");
    const int64_t features[8] = {ROWS, DIM};
    assert_memory_equal(tensor.dim, features, sizeof features);
    fails(dinograph_input(session, 1, &tensor), DINOGRAPH_ERR_USAGE, "has no input 1; it has 1");
    fails(dinograph_output(session, -1, &tensor), DINOGRAPH_ERR_USAGE, "has no output -1");
    close_session(session, plan);
    assert_int_equal(strncmp(dinograph_version(), "0.", 2), 0);
}

/* Files, in batches of which the second is not full: the bytes dinorun writes. Each picture stays in its row of the
 * batch, as oneDNN may sum the last rows of a product in another order. */
static void test_equals_dinorun(void **state)
{
    (void)state;
    dinograph_plan *plan;
    dinograph_session *session = open_session(&plan);
    ok(dinograph_load_weights(session, weights, NULL));
    for (int first = 0; first < PICTURES; first += ROWS) {
        int rows = PICTURES - first < ROWS ? PICTURES - first : ROWS;
        for (int row = 0; row < rows; row++) ok(dinograph_set_image_file(session, row, picture(first + row)));
        assert_memory_equal(features_of(session), expected[first], (size_t)rows * sizeof *expected);
    }

    /* Pixels in memory. */
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    assert_ok(dg_image_decode_file(&decoder, picture(3), &image, try_err));
    ok(dinograph_set_image(session, 3, image.pixels, image.width, image.height));
    assert_memory_equal(features_of(session) + 3 * DIM, expected[3], sizeof *expected);
    dg_image_free(&image);
    dg_image_decoder_free(&decoder);

    ok(dinograph_load_weights(session, weights, "student"));
    assert_memory_not_equal(features_of(session) + 3 * DIM, expected[3], sizeof *expected);
    close_session(session, plan);
}

/* Numbers made by the caller, copied and in place, against the session underneath. */
static void test_equals_session(void **state)
{
    (void)state;
    size_t bytes = ROWS * SIDE * SIDE * 3 * sizeof(float);
    float *numbers = aligned_alloc(64, bytes), *unaligned = malloc(bytes + 64);
    assert_true(numbers && unaligned);
    struct dg_rng rng = dg_rng_make(5, DG_RNG_TEST, 0, 0);
    for (size_t i = 0; i < bytes / sizeof *numbers; i++) numbers[i] = dg_rng_uniform(&rng, -2, 2);

    float want[ROWS][DIM];
    struct dg_plan plan;
    struct dg_session *session;
    assert_ok(dg_plan_open(plan_path, &plan, try_err));
    assert_ok(dg_session_open(&plan, "features", &(struct dg_session_options){.threads = 2}, &session, try_err));
    assert_ok(dg_weights_load(session, &plan, weights, &(struct dg_weights_options){0}, try_err));
    assert_ok(dg_session_pack(session, try_err));
    memcpy(dg_session_input(session, "images", NULL), numbers, bytes);
    assert_ok(dg_session_compute(session, &(struct dg_step_info){0}, try_err));
    memcpy(want, dg_session_output(session, "features", NULL), sizeof want);
    dg_session_close(session);
    dg_plan_close(&plan);

    dinograph_plan *p;
    dinograph_session *s = open_session(&p);
    omp_set_num_threads(1); /* the caller's own choice, which neither matters nor changes */
    ok(dinograph_load_weights(s, weights, "teacher"));
    ok(dinograph_set_input(s, "images", numbers, bytes));
    assert_memory_equal(features_of(s), want, sizeof want);
    ok(dinograph_set_image_file(s, 2, picture(2)));
    assert_memory_equal(features_of(s) + 2 * DIM, expected[2], sizeof *expected);
    assert_memory_equal(dinograph_input_data(s, "images"), numbers, 2 * bytes / ROWS);
    memcpy(unaligned, dinograph_input_data(s, "images"), bytes); /* the picture as the network sees it */
    ok(dinograph_set_input(s, "images", unaligned, bytes));
    assert_memory_equal(features_of(s) + 2 * DIM, expected[2], sizeof *expected);
    assert_null(dinograph_input_data(s, "pictures"));
    ok(dinograph_bind_input(s, "images", numbers, bytes));
    assert_ptr_equal(dinograph_input_data(s, "images"), numbers);
    assert_memory_equal(features_of(s), want, sizeof want);
    fails(dinograph_set_image_file(s, 2, picture(2)), DINOGRAPH_ERR_USAGE, "bound to memory of the caller's");
    uintptr_t odd = ((uintptr_t)unaligned + 63) / 64 * 64 + 4;
    fails(dinograph_bind_input(s, "images", (void *)odd, bytes), DINOGRAPH_ERR_USAGE, "aligned to 64 bytes");
    assert_memory_equal(features_of(s), want, sizeof want); /* what failed had no effect */
    assert_int_equal(omp_get_max_threads(), 1);
    omp_set_num_threads(2);

    /* In a parallel region of the caller's there is but one thread: refused, not computed wrongly. */
    dinograph_status inside = DINOGRAPH_OK;
    char text[256] = "";
#pragma omp parallel num_threads(2)
#pragma omp single
    {
        inside = dinograph_run(s);
        snprintf(text, sizeof text, "%s", dinograph_error());
    }
    assert_int_equal(inside, DINOGRAPH_ERR_USAGE);
    assert_non_null(strstr(text, "opened for 2 threads, and OpenMP gives 1 here"));
    assert_memory_equal(features_of(s), want, sizeof want);

    memset(unaligned, 0, bytes);
    ok(dinograph_set_input(s, "images", unaligned, bytes));
    assert_memory_not_equal(features_of(s), want, sizeof want);
    assert_true(numbers[1] != 0); /* copied over the session's memory, not over the caller's */
    ok(dinograph_set_image_file(s, 0, picture(0)));
    close_session(s, p);
    free(numbers);
    free(unaligned);
}

/* Bytes in memory are what the file is, in each format. */
static void test_encoded(void **state)
{
    (void)state;
    dinograph_plan *plan;
    dinograph_session *session = open_session(&plan);
    ok(dinograph_load_weights(session, weights, NULL));
    for (int row = 2; row < 4; row++) { /* PNG, JPEG */
        size_t size;
        uint8_t *bytes = read_file(picture(row), &size);
        ok(dinograph_set_image_memory(session, row, bytes, size));
        memset(bytes, 0, size);
        float *seen = malloc(ROWS * SIDE * SIDE * 3 * sizeof *seen);
        assert_non_null(seen);
        memcpy(seen, dinograph_input_data(session, "images"), ROWS * SIDE * SIDE * 3 * sizeof *seen);
        fails(dinograph_set_image_memory(session, row, bytes, size), DINOGRAPH_ERR_INPUT, "the image in memory");
        fails(dinograph_set_image_memory(session, row, bytes, 0), DINOGRAPH_ERR_INPUT, "empty");
        fails(dinograph_set_image_memory(session, row, NULL, 0), DINOGRAPH_ERR_INPUT, "empty");
        fails(dinograph_set_image_memory(session, ROWS, bytes, size), DINOGRAPH_ERR_USAGE, "rows 0 to 6");
        assert_memory_equal(seen, dinograph_input_data(session, "images"), ROWS * SIDE * SIDE * 3 * sizeof *seen);
        free(seen);
        free(bytes);
    }
    for (int row = 0; row < ROWS; row++)
        if (row < 2 || row > 3) ok(dinograph_set_image_file(session, row, picture(row)));
    assert_memory_equal(features_of(session), expected[0], ROWS * sizeof *expected);
    close_session(session, plan);
}

/* Rows that are chosen are computed, and others are not. */
static void test_rows(void **state)
{
    (void)state;
    dinograph_plan *plan;
    dinograph_session *session = open_session(&plan);
    assert_int_equal(dinograph_session_threads(session), 2);
    assert_int_equal(dinograph_rows(session), ROWS);
    ok(dinograph_set_rows(session, 3)); /* also before there are weights */
    ok(dinograph_load_weights(session, weights, NULL));
    for (int row = 0; row < 3; row++) ok(dinograph_set_image_file(session, row, picture(row)));
    fails(dinograph_set_image_file(session, 3, picture(3)), DINOGRAPH_ERR_USAGE, "has chosen the first 3");
    assert_true(are_close(features_of(session), 0, 3));
    ok(dinograph_set_rows(session, 1));
    assert_true(are_close(features_of(session), 0, 1));
    fails(dinograph_set_rows(session, ROWS + 1), DINOGRAPH_ERR_USAGE, "the batch has 7");
    fails(dinograph_set_rows(session, -1), DINOGRAPH_ERR_USAGE, "the batch has 7");
    assert_int_equal(dinograph_rows(session), 1);
    ok(dinograph_set_rows(session, 0)); /* up to the last that was set */
    assert_int_equal(dinograph_rows(session), 3);
    ok(dinograph_set_rows(session, ROWS));
    for (int row = 0; row < ROWS; row++) ok(dinograph_set_image_file(session, row, picture(row)));
    assert_memory_equal(features_of(session), expected[0], ROWS * sizeof *expected);

    /* An input that is bound stays bound. */
    size_t bytes = ROWS * SIDE * SIDE * 3 * sizeof(float);
    float *numbers = aligned_alloc(64, bytes);
    assert_non_null(numbers);
    memcpy(numbers, dinograph_input_data(session, "images"), bytes);
    ok(dinograph_bind_input(session, "images", numbers, bytes));
    ok(dinograph_set_rows(session, 2));
    assert_ptr_equal(dinograph_input_data(session, "images"), numbers);
    assert_true(are_close(features_of(session), 0, 2));
    close_session(session, plan);
    free(numbers);

    /* An image that cannot be read is not set. */
    session = open_session(&plan);
    ok(dinograph_set_image_file(session, 0, picture(0)));
    fails(dinograph_set_image_file(session, 5, in("no.png")), DINOGRAPH_ERR_IO, "no.png");
    assert_int_equal(dinograph_rows(session), 1);
    close_session(session, plan);
}

static void test_info(void **state)
{
    (void)state;
    dinograph_plan *plan;
    dinograph_session *session = open_session(&plan);
    dinograph_info info;
    ok(dinograph_session_info(session, &info));
    assert_int_equal(info.batch, ROWS);
    assert_int_equal(info.dim, DIM);
    assert_int_equal(info.height, SIDE);
    assert_int_equal(info.width, SIDE);
    assert_int_equal(info.resize, 40);
    assert_int_equal(info.patch_size * info.patch_rows, SIDE);
    assert_int_equal(info.patch_size * info.patch_cols, SIDE);
    assert_int_equal(info.first_patch, 1);
    assert_true(info.mean[0] == 0.485 && info.std[2] == 0.225);
    dinograph_session_close(session);
    ok(dinograph_session_open(plan, "attention", NULL, &session));
    dinograph_tensor output;
    ok(dinograph_session_info(session, &info));
    ok(dinograph_output(session, 0, &output));
    assert_int_equal(info.dim, 0);
    assert_int_equal(output.dim[2], info.first_patch + info.patch_rows * info.patch_cols);
    close_session(session, plan);
}

/* Sessions of one plan in threads of their own: each has the features that it has alone. */
struct worker {
    dinograph_plan *plan;
    int first;
    bool wrong;
    char text[256]; /* of its last error */
};

static void *work(void *context)
{
    struct worker *w = context;
    const dinograph_options options = {.threads = 1};
    dinograph_session *session;
    w->wrong = dinograph_session_open(w->plan, "features", &options, &session) != DINOGRAPH_OK ||
               dinograph_load_weights(session, weights, NULL) != DINOGRAPH_OK;
    char none[160], path[128]; /* in() has one buffer */
    snprintf(none, sizeof none, "%s/none-%d.png", test_folder, w->first);
    for (int round = 0; round < 4 && !w->wrong; round++) {
        w->wrong |= dinograph_set_image_file(session, 0, none) != DINOGRAPH_ERR_IO || !strstr(dinograph_error(), none);
        for (int row = 0; row < 3; row++) {
            int index = w->first + row;
            snprintf(path, sizeof path, "%s/pictures/%02d.%s", test_folder, index, index % 4 == 3 ? "jpg" : "png");
            w->wrong |= dinograph_set_image_file(session, row, path) != DINOGRAPH_OK;
        }
        w->wrong |= dinograph_run(session) != DINOGRAPH_OK;
        w->wrong = w->wrong || !are_close(dinograph_output_data(session, "features"), w->first, 3);
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
    dinograph_plan *plan;
    ok(dinograph_plan_open(plan_path, &plan));
    for (int i = 0; i < WORKERS; i++) {
        worker[i] = (struct worker){.plan = plan, .first = 3 * i};
        assert_int_equal(pthread_create(&thread[i], NULL, work, &worker[i]), 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        assert_int_equal(pthread_join(thread[i], NULL), 0);
        if (worker[i].wrong) fail_msg("worker %d: %s", i, worker[i].text);
    }
    dinograph_plan_close(plan);
}

/* Fewer threads than asked for: the same features, to rounding. */
static void test_thread_limit(void **state)
{
    (void)state;
    float limited[PICTURES][DIM];
    setenv("OMP_THREAD_LIMIT", "1", 1);
    process_assert_status(RUN(DG_BUILD_DIR "/dinorun", "features", plan_path, "--weights", weights, "--data",
                              in("pictures"), "--out", in("limited.npy"), "--threads", "2"),
                          0);
    unsetenv("OMP_THREAD_LIMIT");
    read_npy(in("limited.npy"), limited, sizeof limited);
    for (int i = 0; i < PICTURES; i++)
        for (int d = 0; d < DIM; d++) assert_true(fabsf(limited[i][d] - expected[i][d]) <= 1e-4F);
}

static void test_errors(void **state)
{
    (void)state;
    dinograph_plan *plan = (void *)test_folder;
    fails(dinograph_plan_open(in("no.plan"), &plan), DINOGRAPH_ERR_IO, "no.plan");
    assert_null(plan);
    fails(dinograph_plan_open(weights, &plan), DINOGRAPH_ERR_INPUT, "checkpoint.safetensors");
    size_t size;
    uint8_t *bytes = read_file(plan_path, &size);
    bytes[size / 2] ^= 1;
    write_file(in("damaged.plan"), bytes, size);
    free(bytes);
    fails(dinograph_plan_open(in("damaged.plan"), &plan), DINOGRAPH_ERR_INPUT, "damaged.plan");
    dinograph_plan_close(NULL);
    dinograph_session_close(NULL);

    ok(dinograph_plan_open(plan_path, &plan));
    dinograph_session *session = (void *)test_folder;
    fails(dinograph_session_open(plan, "feature", NULL, &session), DINOGRAPH_ERR_USAGE,
          "it has: train, features, attention, tokens");
    assert_null(session);
    fails(dinograph_session_open(plan, "train", NULL, &session), DINOGRAPH_ERR_USAGE, "dinorun train");
    fails(dinograph_session_open(plan, "features", &(dinograph_options){.threads = -1}, &session), DINOGRAPH_ERR_USAGE,
          "threads is -1");
    fails(dinograph_session_open(plan, "features", &(dinograph_options){.reserved = {1}}, &session),
          DINOGRAPH_ERR_USAGE, "reserved");
    const char *level = getenv("DINOGRAPH_CPU");
    char before[16];
    snprintf(before, sizeof before, "%s", level ? level : "");
    setenv("DINOGRAPH_CPU", "avx9", 1);
    fails(dinograph_session_open(plan, "features", NULL, &session), DINOGRAPH_ERR_USAGE, "there is no level avx9");
    assert_null(session);
    setenv("DINOGRAPH_CPU", before, 1);
    ok(dinograph_session_open(plan, "features", NULL, &session));

    fails(dinograph_run(session), DINOGRAPH_ERR_USAGE, "no weights yet");
    assert_null(dinograph_output_data(session, "features"));
    fails(dinograph_load_weights(session, in("none.safetensors"), NULL), DINOGRAPH_ERR_IO, "none.safetensors");
    fails(dinograph_load_weights(session, plan_path, NULL), DINOGRAPH_ERR_INPUT, "tiny.plan");
    fails(dinograph_load_weights(session, weights, "centre"), DINOGRAPH_ERR_USAGE, "teacher or student");
    fails(dinograph_run(session), DINOGRAPH_ERR_USAGE, "no weights yet");

    float few[12] = {0};
    fails(dinograph_set_input(session, "images", few, sizeof few), DINOGRAPH_ERR_USAGE,
          "f32 [7, 32, 32, 3], 86016 bytes, and 48 were given");
    fails(dinograph_bind_input(session, "images", few, sizeof few), DINOGRAPH_ERR_USAGE, "48 were given");
    fails(dinograph_set_input(session, "image", few, sizeof few), DINOGRAPH_ERR_USAGE,
          "has no input image; it has: images");
    uint8_t pixel[3] = {0};
    fails(dinograph_set_image(session, ROWS, pixel, 1, 1), DINOGRAPH_ERR_USAGE, "rows 0 to 6");
    fails(dinograph_set_image(session, -1, pixel, 1, 1), DINOGRAPH_ERR_USAGE, "rows 0 to 6");
    fails(dinograph_set_image(session, 0, pixel, 1, 0), DINOGRAPH_ERR_INPUT, "1 x 0 pixels");
    ok(dinograph_set_image(session, 0, pixel, 1, 1));
    fails(dinograph_set_image_file(session, 0, weights), DINOGRAPH_ERR_INPUT, "checkpoint.safetensors");
    fails(dinograph_set_image_file(session, 0, in("no.png")), DINOGRAPH_ERR_IO, "no.png");

    ok(dinograph_load_weights(session, weights, NULL));
    ok(dinograph_run(session));
    assert_non_null(dinograph_output_data(session, "features"));
    assert_null(dinograph_output_data(session, "images"));
    fails(dinograph_load_weights(session, plan_path, NULL), DINOGRAPH_ERR_INPUT, "tiny.plan");
    assert_null(dinograph_output_data(session, "features"));
    fails(dinograph_run(session), DINOGRAPH_ERR_USAGE, "no weights yet");
    close_session(session, plan);

    /* Weights of another shape name the tensor. */
    dg_tiny_compile(in("wide.plan"), "student.with.dim=64");
    ok(dinograph_plan_open(in("wide.plan"), &plan));
    ok(dinograph_session_open(plan, "features", NULL, &session));
    fails(dinograph_load_weights(session, weights, NULL), DINOGRAPH_ERR_INPUT, "cls_token is [1, 1, 32]");
    close_session(session, plan);
}

/* Runs an image with traces on, and standard error in a file. */
static void test_trace(void **state)
{
    (void)state;
    dinograph_plan *plan;
    dinograph_session *session = NULL;
    setenv("DINOGRAPH_TRACE", "load,memory", 1);
    assert_int_equal(dinograph_plan_open(plan_path, &plan), DINOGRAPH_ERR_USAGE);
    assert_null(plan);
    assert_string_equal(dinograph_error(),
                        "DINOGRAPH_TRACE: there is no topic memory; there are op, load, mem, plan, run");
    setenv("DINOGRAPH_TRACE", "load,plan", 1);
    fflush(stderr);
    int terminal = dup(STDERR_FILENO), file = open(in("trace"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(terminal >= 0 && file >= 0 && dup2(file, STDERR_FILENO) >= 0);
    dinograph_status status = dinograph_plan_open(plan_path, &plan);
    if (status == DINOGRAPH_OK) status = dinograph_session_open(plan, "features", NULL, &session);
    if (status == DINOGRAPH_OK) status = dinograph_load_weights(session, weights, NULL);
    if (status == DINOGRAPH_OK) status = dinograph_set_image_file(session, 0, picture(0));
    if (status == DINOGRAPH_OK) status = dinograph_run(session);
    fflush(stderr);
    dup2(terminal, STDERR_FILENO);
    close(terminal);
    close(file);
    unsetenv("DINOGRAPH_TRACE");
    ok(status);
    dinograph_session_close(session);
    dinograph_plan_close(plan);
    size_t size;
    char *text = (char *)read_file(in("trace"), &size);
    text[size - 1] = 0; /* the last line end */
    static const char *const records[] = {"plan knob ", "\nplan entry features of ", "\nload weights ",
                                          "\nload image "};
    for (size_t r = 0; r < sizeof records / sizeof *records; r++)
        if (!strstr(text, records[r])) fail_msg("no \"%s\" in: %s", records[r], text);
    assert_null(strstr(text, "\nop ")); /* nor what was not asked for */
    assert_null(strstr(text, "\nmem "));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_describes),      cmocka_unit_test(test_equals_dinorun),
                                       cmocka_unit_test(test_equals_session), cmocka_unit_test(test_encoded),
                                       cmocka_unit_test(test_rows),           cmocka_unit_test(test_info),
                                       cmocka_unit_test(test_threads),        cmocka_unit_test(test_thread_limit),
                                       cmocka_unit_test(test_errors),         cmocka_unit_test(test_trace)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}
