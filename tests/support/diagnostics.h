/* Wrong descriptions in, exact text out: place, line, caret, notes. What the tests of diagnostics share. */
#ifndef DG_TESTS_DIAGNOSTICS_H
#define DG_TESTS_DIAGNOSTICS_H

#include "compiler/compile.h"
#include "tests/support/check.h"
#include "tests/support/files.h"

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

/* Messages name files as they were given: with the folder as the current one they are the same everywhere. */
int enter_diagnostics(void **state);

int leave_diagnostics(void **state);

/* Compiles each of them, as test.yaml. */
void check_diagnostics(const struct wrong_description *cases, size_t count);

#endif
