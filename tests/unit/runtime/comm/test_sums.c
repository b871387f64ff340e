/* Sums over processes, which are threads here: every process holds the bits that adding up in the order that is
 * asked for gives, with numbers rounded to bf16 where they travel so; and what bf16 changes is bounded by its unit
 * roundoff. */
#include "runtime/comm/sums.h"

#include "ops/base/rng.h"
#include "ops/kernels/bf16.h"
#include "tests/support/check.h"

#include <float.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 6 };

/* ---- a plugin whose processes are the threads of this one ---- */

/* A process's groups, and what it has put there for the others to take. */
struct member {
    int ranks[DG_MPI_GROUPS], world[DG_MPI_GROUPS][MOST]; /* the ranks of each group among all */
    const char *send;
    const int *bytes, *at;
};
static struct member member[MOST];
static pthread_barrier_t all;
static __thread int self;

/* In a thread, from which CMocka cannot return. */
static void must(bool holds)
{
    if (!holds) abort();
}

static bool all_to_all(enum dg_mpi_group group, const void *send, struct dg_mpi_ranges from, void *receive,
                       struct dg_mpi_ranges to)
{
    struct member *mine = &member[self];
    mine->send = send;
    mine->bytes = from.bytes;
    mine->at = from.at;
    pthread_barrier_wait(&all);
    for (int j = 0; j < mine->ranks[group]; j++) {
        const struct member *other = &member[mine->world[group][j]];
        int me = 0;
        while (other->world[group][me] != self) me++;
        must(other->bytes[me] == to.bytes[j]);
        memcpy((char *)receive + to.at[j], other->send + other->at[me], (size_t)to.bytes[j]);
    }
    pthread_barrier_wait(&all);
    return true;
}

static bool all_gather(enum dg_mpi_group group, const void *send, int bytes, void *receive, struct dg_mpi_ranges to)
{
    struct member *mine = &member[self];
    mine->send = send;
    mine->bytes = &bytes;
    pthread_barrier_wait(&all);
    for (int j = 0; j < mine->ranks[group]; j++) {
        const struct member *other = &member[mine->world[group][j]];
        must(*other->bytes == to.bytes[j]);
        memcpy((char *)receive + to.at[j], other->send, (size_t)to.bytes[j]);
    }
    pthread_barrier_wait(&all);
    return true;
}

static const struct dg_mpi_plugin threads = {.all_to_all = all_to_all, .all_gather = all_gather};

/* ---- one sum ---- */

/* `ranks` processes on machines of `together` each (0: one level), and the numbers of each. */
struct sum {
    int ranks, together;
    bool bf16;
    enum dg_sum_kind kind;
    int64_t count;
    void *data[MOST];
    int64_t sent[MOST], between[MOST];
};
static struct sum sum;

static int64_t bytes_of(const struct sum *s) { return s->count * (s->kind == DG_SUM_F64 ? 8 : 4); }

static void set_groups(int rank)
{
    struct member *m = &member[rank];
    *m = (struct member){0};
    for (int r = 0; r < sum.ranks; r++) {
        bool here = sum.together && r / sum.together == rank / sum.together,
             same = sum.together && r % sum.together == rank % sum.together;
        m->world[DG_MPI_ALL][m->ranks[DG_MPI_ALL]++] = r;
        if (here) m->world[DG_MPI_MACHINE][m->ranks[DG_MPI_MACHINE]++] = r;
        if (same) m->world[DG_MPI_ACROSS][m->ranks[DG_MPI_ACROSS]++] = r;
    }
}

static void *process(void *rank)
{
    self = *(int *)rank;
    struct dg_sums sums = {.mpi = &threads, .levels = 1};
    sums.level[0] = (struct dg_sums_level){.group = DG_MPI_ALL, .ranks = sum.ranks, .rank = self, .bf16 = sum.bf16};
    if (sum.together) {
        sums.levels = 2;
        sums.level[0] =
            (struct dg_sums_level){.group = DG_MPI_MACHINE, .ranks = sum.together, .rank = self % sum.together};
        sums.level[1] = (struct dg_sums_level){
            .group = DG_MPI_ACROSS, .ranks = sum.ranks / sum.together, .rank = self / sum.together, .bf16 = sum.bf16};
    }
    struct dg_error err = {0};
    must(dg_sums_open(&sums, &err) == DG_OK);
    must(dg_sums_add(&sums, sum.data[self], sum.count, sum.kind));
    for (int l = 0; l < sums.levels; l++) sum.sent[self] += sum.between[self] = sums.level[l].sent;
    dg_sums_close(&sums);
    return NULL;
}

static void run(void)
{
    pthread_t thread[MOST];
    int rank[MOST];
    pthread_barrier_init(&all, NULL, (unsigned)sum.ranks);
    for (int r = 0; r < sum.ranks; r++) set_groups(r);
    for (int r = 0; r < sum.ranks; r++) {
        rank[r] = r;
        assert_int_equal(pthread_create(&thread[r], NULL, process, &rank[r]), 0);
    }
    for (int r = 0; r < sum.ranks; r++) pthread_join(thread[r], NULL);
    pthread_barrier_destroy(&all);
}

/* ---- what it must be ---- */

static float as_sent(float x, bool bf16) { return bf16 ? dg_from_bf16(dg_to_bf16(x)) : x; }

/* The sum of one number of each process. */
static float expected_f32(const float x[MOST])
{
    bool bf16 = sum.bf16 && sum.kind == DG_SUM_GRADIENTS;
    int together = sum.together ? sum.together : 1, groups = sum.ranks / together;
    float total = 0;
    for (int g = 0; g < groups; g++) {
        float part = x[g * together];
        for (int r = 1; r < together; r++) part += x[g * together + r];
        if (groups > 1) part = as_sent(part, bf16);
        total = g ? total + part : part;
    }
    return groups > 1 ? as_sent(total, bf16) : total;
}

static double expected_f64(const double x[MOST])
{
    int together = sum.together ? sum.together : 1;
    double total = 0;
    for (int g = 0; g < sum.ranks / together; g++) {
        double part = x[g * together];
        for (int r = 1; r < together; r++) part += x[g * together + r];
        total = g ? total + part : part;
    }
    return total;
}

/* How far a sum through bf16 may be from the true one: each number is rounded, added up in f32, and the sum is
 * rounded. */
static double bound(const float x[MOST])
{
    double size = 0, bf16 = 0x1p-8, f32 = FLT_EPSILON / 2;
    for (int r = 0; r < sum.ranks; r++) size += fabs((double)x[r]);
    return size * ((1 + bf16) * pow(1 + f32, sum.ranks - 1) * (1 + bf16) - 1);
}

static void check_f32(void)
{
    float *given = malloc((size_t)(sum.ranks * sum.count) * sizeof *given);
    assert_non_null(given);
    bool rounds = sum.bf16 && sum.kind == DG_SUM_GRADIENTS, differs = false;
    for (int r = 0; r < sum.ranks; r++) memcpy(given + r * sum.count, sum.data[r], (size_t)bytes_of(&sum));
    run();
    for (int64_t i = 0; i < sum.count; i++) {
        float x[MOST];
        double exact = 0;
        for (int r = 0; r < sum.ranks; r++) exact += (double)(x[r] = given[r * sum.count + i]);
        float want = expected_f32(x);
        for (int r = 0; r < sum.ranks; r++)
            if (memcmp((float *)sum.data[r] + i, &want, sizeof want))
                fail_msg("rank %d of %d, number %d: %.9g and not %.9g", r, sum.ranks, (int)i,
                         (double)((float *)sum.data[r])[i], (double)want);
        if (rounds && fabs((double)want - exact) > bound(x))
            fail_msg("number %d: %.9g for %.17g", (int)i, (double)want, exact);
        differs |= (double)want != exact;
    }
    assert_true(!rounds || sum.count < 100 || sum.ranks == sum.together || differs);
    free(given);
}

static void check_f64(void)
{
    double *given = malloc((size_t)(sum.ranks * sum.count) * sizeof *given);
    assert_non_null(given);
    for (int r = 0; r < sum.ranks; r++) memcpy(given + r * sum.count, sum.data[r], (size_t)bytes_of(&sum));
    run();
    for (int64_t i = 0; i < sum.count; i++) {
        double x[MOST];
        for (int r = 0; r < sum.ranks; r++) x[r] = given[r * sum.count + i];
        double want = expected_f64(x);
        for (int r = 0; r < sum.ranks; r++) assert_memory_equal((double *)sum.data[r] + i, &want, sizeof want);
    }
    free(given);
}

/* Sets up a sum of numbers of many sizes. */
static void set_up(int ranks, int together, bool bf16, enum dg_sum_kind kind, int64_t count)
{
    sum = (struct sum){.ranks = ranks, .together = together, .bf16 = bf16, .kind = kind, .count = count};
    for (int r = 0; r < ranks; r++) {
        struct dg_rng rng = dg_rng_make(11, DG_RNG_TEST, (uint64_t)r, (uint64_t)count);
        sum.data[r] = malloc((size_t)bytes_of(&sum));
        assert_non_null(sum.data[r]);
        for (int64_t i = 0; i < count; i++) {
            float x = ldexpf(dg_rng_uniform(&rng, -1, 1), (int)(i % 41) - 20);
            if (kind == DG_SUM_F64)
                ((double *)sum.data[r])[i] = (double)x / 3;
            else
                ((float *)sum.data[r])[i] = x;
        }
    }
}

static void take_down(void)
{
    for (int r = 0; r < sum.ranks; r++) free(sum.data[r]);
}

static void try_all(int ranks, int together)
{
    static const int64_t counts[] = {1, 5, 1003};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (int kind = DG_SUM_F32; kind <= DG_SUM_GRADIENTS; kind++)
            for (int bf16 = 0; bf16 < 2; bf16++) {
                set_up(ranks, together, bf16, kind, counts[c]);
                if (kind == DG_SUM_F64)
                    check_f64();
                else
                    check_f32();
                take_down();
            }
}

static void test_in_the_order_of_ranks(void **state)
{
    (void)state;
    for (int ranks = 2; ranks <= MOST; ranks++) try_all(ranks, 0);
}

/* First the processes of a machine, then machines; also with one machine, and with one process on each. */
static void test_machine_by_machine(void **state)
{
    (void)state;
    try_all(4, 2);
    try_all(6, 2);
    try_all(6, 3);
    try_all(3, 3);
    try_all(3, 1);
}

/* More than one chunk, whose last is short. */
static void test_chunks(void **state)
{
    (void)state;
    set_up(2, 0, false, DG_SUM_F32, (16 << 20) / 4 + 3);
    check_f32();
    take_down();
    set_up(3, 0, true, DG_SUM_GRADIENTS, (16 << 20) / 4 + 3);
    check_f32();
    take_down();
    set_up(4, 2, true, DG_SUM_GRADIENTS, (16 << 20) / 4 + 3);
    check_f32();
    take_down();
}

/* What is not finite stays so on all, and nothing else becomes so. */
static void test_not_finite(void **state)
{
    (void)state;
    set_up(3, 0, true, DG_SUM_GRADIENTS, 4);
    float *x = sum.data[1];
    x[0] = NAN;
    x[1] = INFINITY;
    x[2] = FLT_MAX; /* above the largest of bf16 */
    run();
    for (int r = 0; r < sum.ranks; r++) {
        const float *y = sum.data[r];
        assert_true(isnan(y[0]) && isinf(y[1]) && isinf(y[2]) && isfinite(y[3]));
    }
    take_down();
}

/* Each sends no more than 2 (P - 1) / P of the bytes; with bf16 half of that; and machine by machine a machine's
 * share leaves it once. */
static void test_traffic(void **state)
{
    (void)state;
    enum { COUNT = 4 * 3000 };
    static const struct {
        int ranks, together;
        bool bf16;
        double all, between; /* of the bytes of the array */
    } cases[] = {{2, 0, false, 1, 1},
                 {4, 0, false, 1.5, 1.5},
                 {4, 0, true, 0.75, 0.75},
                 {4, 2, false, 1.5, 0.5},
                 {4, 2, true, 1.25, 0.25}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        set_up(cases[c].ranks, cases[c].together, cases[c].bf16, DG_SUM_GRADIENTS, COUNT);
        run();
        for (int r = 0; r < sum.ranks; r++) {
            assert_int_equal(sum.sent[r], (int64_t)(cases[c].all * 4 * COUNT));
            assert_int_equal(sum.between[r], (int64_t)(cases[c].between * 4 * COUNT));
        }
        take_down();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_in_the_order_of_ranks),
                                       cmocka_unit_test(test_machine_by_machine), cmocka_unit_test(test_chunks),
                                       cmocka_unit_test(test_not_finite), cmocka_unit_test(test_traffic)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
