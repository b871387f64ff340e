/* Where patches lie, with more before them than one convolution. */
#include "runtime/draw/patches.h"
#include "tests/support/check.h"
#include "tests/support/compile.h"
#include "tests/support/files.h"

/* %s: what comes between the first convolution and the tokens. */
#define NET                                                                                                            \
    "module: net\n"                                                                                                    \
    "params: {cls: {shape: [1, 1, 8]}}\n"                                                                              \
    "nodes:\n"                                                                                                         \
    "  first: {op: conv2d, out: 8, kernel: 3, stride: 2, pad: 1}\n"                                                    \
    "%s"                                                                                                               \
    "  patches: to_tokens\n"                                                                                           \
    "  all: {op: prepend_token, token: cls}\n"                                                                         \
    "  qkv: {op: linear, out: 24}\n"                                                                                   \
    "  core: {op: attention, heads: 2}\n"                                                                              \
    "  token: {op: take_token, index: 0}\n"                                                                            \
    "outputs: {features: token, attention: core.probs}\n"

static struct dg_patches patches_of(const char *between)
{
    char text[2048];
    struct dg_plan plan;
    struct dg_patches patches;
    char *source = strdup(in("net.yaml")), *path = strdup(in("plan"));
    int length = snprintf(text, sizeof text, NET, between);
    write_file(source, text, (size_t)length);
    compile_plan(&(struct dg_compile_options){.file = source, .output = path, .height = 24, .width = 40});
    assert_ok(dg_plan_open(path, &plan, try_err));
    assert_ok(dg_patches_init(&plan, DG_ENTRY_ATTENTION, &patches, try_err));
    dg_plan_close(&plan);
    free(source);
    free(path);
    return patches;
}

static void check(const char *between, int size)
{
    struct dg_patches p = patches_of(between);
    assert_int_equal(p.size, size);
    assert_int_equal(p.rows, 24 / size);
    assert_int_equal(p.cols, 40 / size);
    assert_int_equal(p.first, 1);
}

static void test_sizes(void **state)
{
    (void)state;
    check("", 2);
    check("  pool: {op: max_pool, kernel: 2, stride: 2}\n", 4);
}

/* A shortcut has the stride of what it is beside. */
static void test_shortcut(void **state)
{
    (void)state;
    check("  second: {op: conv2d, out: 8, kernel: 3, stride: 2, pad: 1}\n"
          "  beside: {op: conv2d, out: 8, kernel: 1, stride: 2, from: first}\n"
          "  sum: {op: add, from: [second, beside]}\n",
          4);
}

/* The stride of slice_columns is of channels. */
static void test_channels(void **state)
{
    (void)state;
    check("  wide: {op: conv2d, out: 16, kernel: 1}\n"
          "  some: {op: slice_columns, stride: 2, count: 8}\n",
          2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_shortcut),
                                       cmocka_unit_test(test_channels)};
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
