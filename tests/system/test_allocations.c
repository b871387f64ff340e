/* After a session is open, steps allocate nothing of ours; and every allocation of ours may fail: whatever asked for it ends
 * with an error, and gives back what it had (which the sanitizer's build sees). The linker sends every allocation of our
 * objects (not oneDNN's, nor OpenMP's: they are other libraries) through the functions below; see CMakeLists.txt. */
#include "runtime/dinograph.h"
#include "runtime/exec/session.h"
#include "runtime/model/bundle.h"
#include "runtime/train/train.h"
#include "tests/support/tiny.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

static atomic_int allocations;
static int failing;  /* the number of the allocation that fails; 0: none */
static bool passing; /* these do not count */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **memory, size_t alignment, size_t size);
void *__real_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
char *__wrap_strdup(const char *text);
enum dg_status __real_dg_session_open(const struct dg_plan *plan, const char *entry,
                                      const struct dg_session_options *options, struct dg_session **session,
                                      struct dg_error *err);
enum dg_status __wrap_dg_session_open(const struct dg_plan *plan, const char *entry,
                                      const struct dg_session_options *options, struct dg_session **session,
                                      struct dg_error *err);

static bool fails(void) { return !passing && atomic_fetch_add(&allocations, 1) + 1 == failing; }

void *__wrap_malloc(size_t size) { return fails() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { return fails() ? NULL : __real_calloc(count, size); }
void *__wrap_realloc(void *memory, size_t size) { return fails() ? NULL : __real_realloc(memory, size); }
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, size);
}
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size)
{
    return fails() ? ENOMEM : __real_posix_memalign(memory, alignment, size);
}
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    if (!fails()) return __real_mmap(address, size, protection, flags, fd, offset);
    errno = ENOMEM;
    return MAP_FAILED;
}
char *__wrap_strdup(const char *text) { return fails() ? NULL : __real_strdup(text); }

/* Sessions have a sweep of their own; elsewhere they would make it long. */
static bool sessions_pass;
enum dg_status __wrap_dg_session_open(const struct dg_plan *plan, const char *entry,
                                      const struct dg_session_options *options, struct dg_session **session,
                                      struct dg_error *err)
{
    passing = sessions_pass;
    enum dg_status status = __real_dg_session_open(plan, entry, options, session, err);
    passing = false;
    return status;
}

static char path[128];

static int setup(void **state)
{
    make_test_folder(state);
    snprintf(path, sizeof path, "%s/plan", test_folder);
    dg_tiny_compile(path, "student.with.depth=1");
    char pictures[128];
    snprintf(pictures, sizeof pictures, "%s/pictures", test_folder);
    dg_tiny_pictures(pictures, 8);
    return 0;
}

static void test_steps_allocate_nothing(void **state)
{
    (void)state;
    struct dg_plan plan;
    struct dg_knobs knobs;
    struct dg_session *session;
    assert_ok(dg_plan_open(path, &plan, try_err));
    assert_ok(dg_knobs_open(&plan, &knobs, try_err));
    allocations = 0;
    assert_ok(dg_session_open(&plan, "train", &(struct dg_session_options){.threads = 2}, &session, try_err));
    assert_true(allocations > 0); /* the counters count */
    assert_ok(dg_session_initialize(session, 0, try_err));
    const struct dg_plan_tensor *tensor;
    float *crops = dg_session_input(session, "crops.global", &tensor);
    allocations = 0;
    for (int step = 0; step < 3; step++) {
        struct dg_step_info info = {.step = step};
        dg_session_set_controls(session, &knobs, step, (struct dg_run_length){5, 3});
        dg_session_bind(session, tensor, crops);
        assert_ok(dg_session_compute(session, &info, try_err));
        assert_ok(dg_session_commit(session, &info, try_err));
    }
    assert_int_equal(allocations, 0);
    dg_session_close(session);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
}

/* Runs `attempt` with the first allocation failing, then the second, until there is none left to fail. How many there were. */
static int sweep(enum dg_status (*attempt)(struct dg_error *err))
{
    for (int n = 1;; n++) {
        struct dg_error err = {0};
        allocations = 0;
        failing = n;
        enum dg_status status = attempt(&err);
        failing = 0;
        if (allocations < n) {
            if (status != DG_OK) fail_msg("nothing failed: %s", err.text);
            return n - 1;
        }
        if (status != DG_OK && !err.text[0]) fail_msg("allocation %d fails without a word", n);
        if (status == DG_ERR_INTERNAL) fail_msg("allocation %d: %s", n, err.text);
    }
}

static enum dg_status open_session(const char *entry, struct dg_error *err)
{
    struct dg_plan plan;
    struct dg_knobs knobs = {0};
    struct dg_session *session = NULL;
    enum dg_status status = dg_plan_open(path, &plan, err);
    if (status == DG_OK) status = dg_knobs_open(&plan, &knobs, err);
    if (status == DG_OK)
        status = dg_session_open(&plan, entry, &(struct dg_session_options){.threads = 1}, &session, err);
    if (status == DG_OK) status = dg_session_initialize(session, 0, err);
    dg_session_close(session);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
    return status;
}

static enum dg_status open_train(struct dg_error *err) { return open_session("train", err); }
static enum dg_status open_features(struct dg_error *err) { return open_session("features", err); }

static void test_opening(void **state)
{
    (void)state;
    int train = sweep(open_train), features = sweep(open_features);
    print_message("%d allocations to open a training step, %d to open features\n", train, features);
    assert_true(train > 50 && features > 20);
}

/* A run of two steps: its folder, pictures, loader, checkpoints, log. */
static enum dg_status train(struct dg_error *err)
{
    struct dg_plan plan;
    struct dg_knobs knobs = {0};
    char pictures[128], out[128];
    snprintf(pictures, sizeof pictures, "%s/pictures", test_folder);
    snprintf(out, sizeof out, "%s/run", test_folder);
    enum dg_status status = dg_plan_open(path, &plan, err);
    if (status == DG_OK) status = dg_knobs_open(&plan, &knobs, err);
    if (status == DG_OK) status = dg_knobs_set(&knobs, "checkpoint.keep=0.5", err);
    struct dg_train_options o = {
        .data = DG_FOLDER(pictures), .out = out, .steps = 2, .threads = 1, .ignore_memory = true, .resume = true};
    if (status == DG_OK) status = dg_train(&plan, &knobs, &o, err);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
    int kept = passing;
    passing = true;
    if (!access(out, F_OK)) remove_folder(out);
    passing = kept;
    return status;
}

static void test_run(void **state)
{
    (void)state;
    sessions_pass = true;
    int count = sweep(train);
    sessions_pass = false;
    print_message("%d allocations around the session in a run of two steps\n", count);
    assert_true(count > 50);
}

enum { DIM = 32, CLASSES = 3, LOOKED_AT = 2 };

static char bundle[128];
static struct {
    void *bytes; /* an encoded image */
    size_t size;
    float features[DIM], logits[CLASSES];
} looked;

/* A bundle of initial weights with a classifier. */
static void write_bundle(void)
{
    struct dg_plan plan;
    struct dg_knobs knobs;
    struct dg_session *session;
    struct dg_classifier classifier;
    float numbers[CLASSES * DIM];
    for (int i = 0; i < CLASSES * DIM; i++) numbers[i] = (float)(i % 5) - 2;
    const struct dg_safetensors_tensor weight = {
        .name = "w", .dtype = DG_SAFETENSORS_F32, .ndim = 2, .dim = {CLASSES, DIM}, numbers, sizeof numbers};
    const struct dg_safetensors_tensor bias = {
        .name = "b", .dtype = DG_SAFETENSORS_F32, .ndim = 1, .dim = {CLASSES}, numbers, CLASSES * sizeof *numbers};
    assert_ok(dg_classifier_init(&classifier, &weight, &bias, "one\ttwo\tthree", NULL, try_err));
    assert_ok(dg_plan_open(path, &plan, try_err));
    assert_ok(dg_knobs_open(&plan, &knobs, try_err));
    assert_ok(dg_session_open(&plan, "features", &(struct dg_session_options){.threads = 1}, &session, try_err));
    assert_ok(dg_session_initialize(session, 3, try_err));
    snprintf(bundle, sizeof bundle, "%s/bundle", test_folder);
    const struct dg_bundle_parts parts = {
        .session = session, .knobs = &knobs, .classifier = &classifier, .head = session};
    assert_ok(dg_bundle_write(bundle, &parts, try_err));
    dg_session_close(session);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
    dg_classifier_free(&classifier);
}

/* Notes, the first time, what comes out of row 0; then it is the same to rounding, whatever failed before. */
static void compare(const dinograph_session *session)
{
    const float *features = dinograph_output_data(session, "features"),
                *logits = dinograph_output_data(session, "logits");
    static bool known;
    if (!known) memcpy(looked.features, features, sizeof looked.features);
    if (!known) memcpy(looked.logits, logits, sizeof looked.logits);
    known = true;
    for (int d = 0; d < DIM; d++) assert_true(fabsf(features[d] - looked.features[d]) <= 1e-4F);
    for (int c = 0; c < CLASSES; c++) assert_true(fabsf(logits[c] - looked.logits[c]) <= 1e-2F);
}

/* A call of the session: one that fails has no effect, so it succeeds the second time. */
#define CALL(call)                                                                                                     \
    do {                                                                                                               \
        if ((call) != DINOGRAPH_OK && (call) != DINOGRAPH_OK) fail_msg("%s: %s", #call, dinograph_error());            \
    } while (0)

static void look(dinograph_session *session)
{
    CALL(dinograph_set_image_memory(session, 0, looked.bytes, looked.size));
    CALL(dinograph_run(session));
    compare(session);
    int64_t rows = dinograph_rows(session);
    dinograph_status status = dinograph_set_rows(session, LOOKED_AT);
    if (status) assert_int_equal(dinograph_rows(session), rows);
    CALL(dinograph_run(session));
    compare(session);
    CALL(dinograph_set_rows(session, LOOKED_AT + 1));
    CALL(dinograph_run(session));
    compare(session);
}

static enum dg_status use_library(struct dg_error *err)
{
    dinograph_model *model;
    dinograph_session *session = NULL;
    dinograph_status status = dinograph_model_open(bundle, NULL, &model);
    if (status == DINOGRAPH_OK)
        status = dinograph_model_session(model, "classifier", &(dinograph_options){.threads = 1}, &session);
    if (status == DINOGRAPH_OK) look(session);
    if (status) snprintf(err->text, sizeof err->text, "%s", dinograph_error());
    dinograph_session_close(session);
    dinograph_model_close(model);
    return (enum dg_status)status;
}

static void test_library(void **state)
{
    (void)state;
    char image[128];
    snprintf(image, sizeof image, "%s/pictures/00.png", test_folder);
    looked.bytes = read_file(image, &looked.size);
    write_bundle();
    sessions_pass = true;
    int count = sweep(use_library);
    sessions_pass = false;
    print_message("%d allocations of the library around the opening of a session\n", count);
    assert_true(count > 50);
    free(looked.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps_allocate_nothing), cmocka_unit_test(test_opening),
                                       cmocka_unit_test(test_run), cmocka_unit_test(test_library)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}
