/* Compiling descriptions for tests. */
#ifndef DG_TESTS_COMPILE_H
#define DG_TESTS_COMPILE_H

#include "compiler/compile.h"
#include "compiler/plan/emit.h"
#include "runtime/plan/open.h"

/* Must succeed; else the running CMocka test fails with the diagnostics. */
void compile_plan(const struct dg_compile_options *options);

/* Writes a plan of one entry, as laid out, to a file that is gone afterwards, and opens it; the caller closes the plan. */
void open_plan_of(struct dg_arena *arena, struct dg_entry *entry, struct dg_layout *layout, struct dg_plan *plan);

#endif
