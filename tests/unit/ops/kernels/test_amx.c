/* The emulation of AMX's tiles does what Intel's manual says of the instructions: products, their order of sums, denormal numbers
 * as zeros, rows that lie apart in memory. Kernels on tiles are tested through it on any CPU. */
#include "ops/kernels/amx.h"
#include "ops/kernels/bf16.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { N = DG_AMX_ROWS, DEPTH = 2 * DG_AMX_UNITS };

struct operands {
    dg_bf16 left[N][DEPTH], right[DEPTH / 2][2 * N]; /* right[k / 2][2 * n + k % 2] */
    float sum[N][N];
};

/* sum += left right by tiles 1, 6 and 3. */
static void multiply(struct operands *o)
{
    dg_amx_begin();
    dg_amx_load(1, o->sum, sizeof *o->sum);
    dg_amx_load(6, o->left, sizeof *o->left);
    dg_amx_load(3, o->right, sizeof *o->right);
    dg_amx_product(1, 6, 3);
    dg_amx_store(1, o->sum, sizeof *o->sum);
    dg_amx_end();
}

/* Sums of whole numbers are exact. */
static void test_product(void **state)
{
    (void)state;
    struct operands o;
    float before[N][N], a[N][DEPTH], b[DEPTH][N];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) o.sum[i][j] = before[i][j] = (float)(i * 3 - j);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < DEPTH; k++) {
            o.left[i][k] = dg_to_bf16(a[i][k] = (float)((i * 7 + k * 5) % 13 - 6));
            o.right[k / 2][2 * i + k % 2] = dg_to_bf16(b[k][i] = (float)((i * 11 + k * 3) % 17 - 8));
        }
    multiply(&o);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++) {
            for (int k = 0; k < DEPTH; k++) before[i][j] += a[i][k] * b[k][j];
            assert_true(o.sum[i][j] == before[i][j]);
        }
}

/* Result (0, 0) where the first row of left is `x` and the first column of right `y`, and `sum` was there. */
static float dot(const float x[DEPTH], const float y[DEPTH], float sum)
{
    struct operands o = {.sum = {{sum}}};
    for (int k = 0; k < DEPTH; k++) {
        o.left[0][k] = dg_to_bf16(x[k]);
        o.right[k / 2][k % 2] = dg_to_bf16(y[k]);
    }
    multiply(&o);
    return o.sum[0][0];
}

static void test_order(void **state)
{
    (void)state;
    const float ones[DEPTH] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
                               1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    /* One by one each of the products would be lost beside 2^24. */
    assert_true(dot(ones, ones, 0x1p24F) == 0x1p24F + 32);
    /* First numbers of units and second ones are summed apart: 2^24 + 1 - 2^24 loses 1, 1 + 1 + 1 does not. */
    assert_true(dot((const float[DEPTH]){0x1p24F, 1, 1, 1, -0x1p24F, 1}, ones, 0) == 3);
}

static void test_denormal_numbers_are_zeros(void **state)
{
    (void)state;
    const float ones[DEPTH] = {1, 1}, huge[DEPTH] = {0x1p100F};
    assert_true(dot((const float[DEPTH]){0x1p-130F}, huge, 0) == 0);         /* an operand */
    assert_true(dot((const float[DEPTH]){0}, ones, 0x1p-130F) == 0);         /* the sum that is there */
    assert_true(dot((const float[DEPTH]){0x1p-126F}, ones, 0) == 0x1p-126F); /* the smallest that is none */
    assert_true(dot((const float[DEPTH]){0x1.8p-126F, -0x1p-126F}, ones, 0) == 0);
    assert_true(dot((const float[DEPTH]){0x1p-126F}, ones, -0x1.8p-126F) == 0);
}

/* Rows apart; tiles do not touch each other, and a configuration begins with zeros. */
static void test_rows(void **state)
{
    (void)state;
    enum { STRIDE = 80 };
    char from[N][STRIDE], to[N][STRIDE];
    for (size_t i = 0; i < sizeof from; i++) ((char *)from)[i] = (char)(1 + i % 101);
    memset(to, 0, sizeof to);
    dg_amx_begin();
    dg_amx_load(0, from, STRIDE);
    dg_amx_load(7, from, STRIDE);
    dg_amx_zero(0);
    dg_amx_store(7, to, STRIDE);
    for (int i = 0; i < N; i++)
        for (int j = 0; j < STRIDE; j++) assert_int_equal(to[i][j], j < 64 ? from[i][j] : 0);
    dg_amx_store(0, to, STRIDE);
    for (size_t i = 0; i < sizeof to; i++) assert_int_equal(((char *)to)[i], 0);
    dg_amx_end();
    dg_amx_begin();
    dg_amx_store(7, from, STRIDE);
    dg_amx_end();
    for (int i = 0; i < N; i++) assert_int_equal(from[i][3], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_product), cmocka_unit_test(test_order),
                                       cmocka_unit_test(test_denormal_numbers_are_zeros), cmocka_unit_test(test_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
