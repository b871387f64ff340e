/* A pass: one transformation of a graph in place. compiler/pipeline/pipeline.c has the tables, in order; each pass is a file here. */
#ifndef DG_COMPILER_PASSES_PASS_H
#define DG_COMPILER_PASSES_PASS_H

#include "compiler/base/diag.h"
#include "compiler/graph/graph.h"
#include "compiler/passes/recompute_levels.h"

/* What a pass is given. */
struct dg_pass_context {
    struct dg_graph *graph;
    struct dg_diagnostics *diag;
    const char *subject; /* the application or entry, for dumps: "student.backbone(global)" */
    uint32_t first;      /* nodes from this one on may change; those before it may not */
    dg_value *keep;      /* values that leave the graph: they are read, and stay f32 */
    int num_keep;
    bool constant_params; /* evaluation: parameters do not change, so weights may be folded into each other */
    bool bf16;            /* the plan is in bf16 */
    enum dg_math math;    /* of the plan */
    struct dg_recompute_levels recompute;
};

/* What may be true of the nodes from `first` on. A pass requires some of these, and says which of them it preserves; where
 * passes are checked, both are. */
enum dg_graph_fact {
    DG_FACT_FORWARD = 1 << 0,       /* there are forward nodes only: the graph can still be differentiated */
    DG_FACT_F32 = 1 << 1,           /* no value is bf16 yet */
    DG_FACT_NO_RECOMPUTED = 1 << 2, /* no node is a recomputation of another */
    DG_FACT_ALL_IMAGES = 1 << 3,    /* no node leaves out images that drop path drops */
    DG_FACT_OUTPUTS = 1 << 4,       /* `keep` has the values that it had before the pass */
};

enum dg_pass_when { DG_PASS_ALWAYS, DG_PASS_OPTIMIZED, DG_PASS_BF16 };

struct dg_pass {
    const char *name;                      /* NULL ends a table */
    bool (*run)(struct dg_pass_context *); /* false: errors are in diag */
    enum dg_pass_when when;
    uint32_t requires, keeps; /* enum dg_graph_fact */
    const char *summary;      /* for dinoc --passes */
};

/* slice_tokens.c: where one token is read of a value, ops make that token alone as far back as they can. Nodes that nobody reads
 * are dropped. Values in `keep` may become others, of the same shape. */
bool dg_slice_tokens(struct dg_pass_context *c);

/* fuse.c: one node in the place of a node and the only reader of its result, by the rewrites of phases DG_FUSE_FORWARD and, of
 * evaluation entries, DG_FUSE_EVALUATION (ops/op_rewrite.h). Values in `keep` stay what they are. */
bool dg_fuse(struct dg_pass_context *c);

/* prune.c: drops nodes none of whose outputs is read by a remaining node or listed in `keep`. Commit nodes stay. */
bool dg_prune(struct dg_pass_context *c);

/* assign_bf16.c: values become bf16 where the ops around them can read and make it. */
bool dg_assign_bf16(struct dg_pass_context *c);

/* recompute.c: what the backward reads is computed by copies of forward nodes, right before the first backward node that reads
 * it: the same ops on the same inputs with the same random draws, so the same bits. Commit nodes read the originals. */
bool dg_recompute(struct dg_pass_context *c);

/* compact_rows.c: a residual branch whose images drop path drops is run, forward and backward, on the surviving images only. */
bool dg_compact_rows(struct dg_pass_context *c);

/* fuse.c: the same by the rewrites of phase DG_FUSE_LATE, whose results cannot be differentiated or recomputed. */
bool dg_fuse_late(struct dg_pass_context *c);

/* pack_weights.c: weights that several products of a step read are packed once, before the first of them. */
bool dg_pack_weights(struct dg_pass_context *c);

#endif
