/* Wrong descriptions in, exact text out: place, line, caret, notes. What the tests of diagnostics share. */
#ifndef DG_TESTS_COMPILER_DIAGNOSTICS_H
#define DG_TESTS_COMPILER_DIAGNOSTICS_H

#include "compiler/compile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Lines 1 to 8 of a file: a backbone; lines 9 to 14: a head. */
#define NET                                                                                                            \
    "module: net\n"                                                                                                    \
    "args: {dim: int, drop: 0.0}\n"                                                                                    \
    "nodes:\n"                                                                                                         \
    "  proj: {op: conv2d, out: dim, kernel: 16, stride: 16}\n"                                                         \
    "  tokens: to_tokens\n"                                                                                            \
    "  cls: {op: take_token, index: 0}\n"                                                                              \
    "outputs: {features: cls}\n"                                                                                       \
    "---\n"
#define HEAD                                                                                                           \
    "module: dino_head\n"                                                                                              \
    "args: {out_dim: 8}\n"                                                                                             \
    "nodes:\n"                                                                                                         \
    "  norm: l2_normalize\n"                                                                                           \
    "  last_layer: {op: weight_norm_linear, out: out_dim}\n"                                                           \
    "---\n"

struct wrong_description {
    const char *what;
    const char *set; /* after `--set epochs=3` */
    const char *yaml, *diagnostics;
};

static char folder[] = "/tmp/dinograph-test-XXXXXX";

static inline void write_file(const char *name, const char *text, size_t size)
{
    FILE *file = fopen(name, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Messages name files as they were given: with the folder as the current one they are the same everywhere. */
static inline int setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder) || chdir(folder)) return 1;
    write_file("net.yaml", NET, strlen(NET) - strlen("---\n"));
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    unlink("test.yaml");
    unlink("net.yaml");
    return chdir("/") || rmdir(folder);
}

/* Compiles each of them, as test.yaml. */
static inline void check_diagnostics(const struct wrong_description *cases, size_t count)
{
    int wrong = 0;
    for (size_t i = 0; i < count; i++) {
        const char *const set[] = {"epochs=3", cases[i].set};
        struct dg_compile_options options = {.file = "test.yaml", .set = set, .num_sets = cases[i].set ? 2 : 0};
        struct dg_compile_result result;
        struct dg_error err = {0};
        write_file("test.yaml", cases[i].yaml, strlen(cases[i].yaml));
        enum dg_status status = dg_compile(&options, &result, &err);
        if (status != DG_ERR_INPUT || strcmp(result.diagnostics, cases[i].diagnostics) || !*err.text) {
            print_error("%s: status %d, expected\n%sgot\n%s\n", cases[i].what, (int)status, cases[i].diagnostics,
                        result.diagnostics);
            wrong++;
        }
        dg_compile_result_free(&result);
    }
    assert_int_equal(wrong, 0);
}

#endif
