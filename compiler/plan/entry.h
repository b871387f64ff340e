/* One entry of a plan: a graph that is final, and what the plan must say about it. */
#ifndef DG_COMPILER_PLAN_ENTRY_H
#define DG_COMPILER_PLAN_ENTRY_H

#include "compiler/graph/graph.h"

struct dg_entry {
    const char *name; /* "train", "features", ... */
    const char *bind; /* what is put before its parameters' names to find them in a checkpoint: "teacher.backbone." */
    struct dg_graph *graph;
    int64_t batch;        /* images */
    bool constant_params; /* evaluation: weights may be packed once */
    bool bf16;
    dg_value *input, *output; /* by their names in the graph */
    int num_inputs, num_outputs;
};

#endif
