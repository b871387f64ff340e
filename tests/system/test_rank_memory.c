/* A process that lacks memory for a call that all processes make: it says so and ends them all, and nobody waits. The linker sends
 * allocations of our objects through the functions below; see CMakeLists.txt. This program is also what mpirun starts. */
#include "runtime/comm/agree.h"
#include "runtime/comm/gather.h"
#include "tests/support/check.h"
#include "tests/support/mpirun.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define THIS DG_BUILD_DIR "/test_rank_memory"

static int until_failure; /* allocations; 0: none fails */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);

static bool fails(void) { return until_failure && !--until_failure; }

void *__wrap_malloc(size_t size) { return fails() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { return fails() ? NULL : __real_calloc(count, size); }

enum { LONG = (1 << 20) + 1 }; /* bytes: more than travel at once */

static enum dg_status call(struct dg_comm *comm, const char *name, const char *mine, char *all, struct dg_error *err)
{
    void *received;
    int64_t *length;
    if (!strcmp(name, "agree")) return dg_comm_agree(comm, DG_OK, err);
    bool beside = !strcmp(name, "beside");
    if (beside || !strcmp(name, "long")) {
        DG_TRY((beside ? dg_comm_gather_long_beside : dg_comm_gather_long)(comm, mine, LONG, all, err));
        for (int64_t i = 0; i < dg_comm_ranks(comm) * (int64_t)LONG; i++)
            if (all[i] != (char)(i / LONG + i % LONG % 101)) return dg_fail(err, DG_ERR_INTERNAL, "byte %d", (int)i);
        return DG_OK;
    }
    DG_TRY(dg_comm_gather_each(comm, mine, LONG, &received, &length, err));
    free(received);
    free(length);
    return DG_OK;
}

/* As one process of several: CALL N, whose N-th allocation fails on rank 1. */
static int one_of_several(char **argv)
{
    struct dg_error err = {0};
    struct dg_comm *comm;
    const struct dg_comm_options options = {.stall_limit = 60};
    if (dg_comm_open(&options, &comm, &err) != DG_OK) return 2;
    char *mine = calloc(1, LONG), *all = calloc((size_t)dg_comm_ranks(comm), LONG);
    if (!mine || !all) return 2;
    for (int i = 0; i < LONG; i++) mine[i] = (char)(dg_comm_rank(comm) + i % 101);
    until_failure = dg_comm_rank(comm) == 1 ? atoi(argv[2]) : 0;
    enum dg_status status = call(comm, argv[1], mine, all, &err);
    if (status == DG_OK) status = dg_comm_agree(comm, DG_OK, &err); /* and no later call waits */
    fprintf(stderr, "%s\n", err.text);
    if (dg_comm_failed(comm)) dg_comm_abort(comm, 1);
    dg_comm_close(comm);
    return status == DG_OK ? 0 : 3;
}

static void test_ends(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"agree", "1"},
                                           {"long", "1"},
                                           {"beside", "1"},
                                           {"each", "1"},
                                           {"each", "3"}},
                             *const works[] = {"long", "beside", "each"};
    if (!mpi_usable(&open_mpi)) skip();
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const struct process *p = LAUNCH(&open_mpi, "2", THIS, cases[c][0], cases[c][1]);
        process_assert_status(p, 1);
        process_assert_says(p, p->err, "rank 1: out of memory");
        assert_null(strstr(p->err, "did not come"));
    }
    for (size_t w = 0; w < sizeof works / sizeof *works; w++)
        process_assert_status(LAUNCH(&open_mpi, "2", THIS, works[w], "0"), 0);
}

static int setup(void **state)
{
    (void)state;
    mpi_environment();
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 2) return one_of_several(argv);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ends)};
    return cmocka_run_group_tests(tests, setup, NULL);
}
