/* The networks that other libraries have by name, recognised in a plan. */
#ifndef DG_RUNTIME_EXPORT_ARCHITECTURE_H
#define DG_RUNTIME_EXPORT_ARCHITECTURE_H

#include "runtime/plan/view.h"

enum dg_architecture_kind {
    DG_ARCHITECTURE_VIT,
    DG_ARCHITECTURE_DINOV2,
    DG_ARCHITECTURE_DINOV3,
    DG_ARCHITECTURE_RESNET,
    DG_ARCHITECTURE_CONVNEXT
};

struct dg_architecture {
    enum dg_architecture_kind kind;
    int64_t height, width, features; /* of images; of the output */
    double eps;                      /* of all layer norms */
    /* A Vision Transformer: pre-norm blocks, a class token, learned positions, exact GELU; `patch` pixels, `hidden` of the MLP.
     * DINOv2 is one with layer scale, DINOv3 with rotary positions besides; both may have registers. */
    int64_t dim, depth, heads, patch, hidden, registers;
    bool swiglu; /* DINOv2: a gated MLP */
    double base; /* DINOv3: of the rotary positions */
    /* A ResNet as torchvision has them: blocks of each stage; `planes` of the first, `width` of the 3x3 convolution of its blocks. */
    int64_t blocks[4], planes, block_width, groups;
    bool basic; /* blocks of two 3x3 convolutions, not bottlenecks */
    bool small; /* a stem of one 3x3 convolution, without pooling */
    /* A ConvNeXt has `blocks` too: depthwise convolutions of 7x7, MLPs four times as wide, layer scale; channels of each stage. */
    int64_t dims[4];
};

/* Recognises the network of an evaluation entry by what it computes, operation by operation, however it is fused, and by the names of
 * its parameters. DG_ERR_UNSUPPORTED: it is none of them, by an operation that is named if there is one. */
enum dg_status dg_architecture_recognise(const struct dg_plan *plan, const struct dg_plan_entry *entry,
                                         struct dg_architecture *network, struct dg_error *err);

/* "a ViT of 12 blocks, 384 wide, of 6 heads, with patches of 16 pixels": for messages. Returns `text`. */
const char *dg_architecture_text(const struct dg_architecture *network, char *text, size_t size);

#endif
