/* After a session is open, steps allocate nothing of ours. The linker sends every allocation of our objects (not oneDNN's, nor
 * OpenMP's: they are other libraries) through the counters below; see CMakeLists.txt. */
#include "runtime/session.h"
#include "tests/runtime/tiny.h"

#include <sys/mman.h>

static int allocations;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
int __real_posix_memalign(void **memory, size_t alignment, size_t size);
void *__real_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);

void *__wrap_malloc(size_t size)
{
    allocations++;
    return __real_malloc(size);
}
void *__wrap_calloc(size_t count, size_t size)
{
    allocations++;
    return __real_calloc(count, size);
}
void *__wrap_realloc(void *memory, size_t size)
{
    allocations++;
    return __real_realloc(memory, size);
}
void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    allocations++;
    return __real_aligned_alloc(alignment, size);
}
int __wrap_posix_memalign(void **memory, size_t alignment, size_t size)
{
    allocations++;
    return __real_posix_memalign(memory, alignment, size);
}
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    allocations++;
    return __real_mmap(address, size, protection, flags, fd, offset);
}

static void test_steps_allocate_nothing(void **state)
{
    (void)state;
    char folder[64], path[128];
    dg_test_folder(folder);
    snprintf(path, sizeof path, "%s/plan", folder);
    dg_tiny_compile(path, NULL);
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
    dg_test_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_steps_allocate_nothing)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
