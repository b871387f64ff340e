/* Compiling descriptions for tests. */
#ifndef DG_TESTS_COMPILE_H
#define DG_TESTS_COMPILE_H

#include "compiler/compile.h"

/* Must succeed; else the running CMocka test fails with the diagnostics. */
void compile_plan(const struct dg_compile_options *options);

#endif
