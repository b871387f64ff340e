/* How much of the student's forward is computed again for the backward. */
#ifndef DG_COMPILER_PASSES_RECOMPUTE_LEVELS_H
#define DG_COMPILER_PASSES_RECOMPUTE_LEVELS_H

#include "compiler/graph/graph.h"

/* The student's applications of a module are numbered in order of execution: backbone(global), head(global), ... Later ones than
 * these keep all activations. */
enum { DG_MAX_RECOMPUTE_PARTS = 8 };

/* Levels: 0, nothing; 1, results of ops without a matrix product, a few in a row, whose inputs are saved anyway; 2 and up, also
 * the first level - 1 of so many shares of the application's repeated blocks, of which only what other blocks read is saved;
 * DG_RECOMPUTE_PAIRS, all blocks, and only what pairs of blocks read of each other is saved; DG_RECOMPUTE_NORMS, all blocks, but
 * the results of batch norms are saved, so that products are recomputed one at a time. */
enum {
    DG_RECOMPUTE_SHARES = 6,
    DG_RECOMPUTE_PAIRS = 2 + DG_RECOMPUTE_SHARES,
    DG_RECOMPUTE_NORMS,
    DG_MAX_RECOMPUTE = DG_RECOMPUTE_NORMS
};

struct dg_recompute_levels {
    int level[DG_MAX_RECOMPUTE_PARTS]; /* by application */
    bool packing;                      /* each product packs its weights again, and no packed ones are kept */
};

/* Level 1 in all applications, as every optimised plan has. It costs a sweep over memory where it saves one. */
struct dg_recompute_levels dg_recompute_cheap(void);

/* Number of applications with a level; `highest` receives the level above which nothing changes, of each. */
int dg_recompute_parts(const struct dg_graph *graph, int highest[DG_MAX_RECOMPUTE_PARTS]);

#endif
