#include "runtime/layouts/layouts.h"

#include <stdio.h>
#include <string.h>

/* What transformers' ViTs and DINOv2 have in common: its names of version 4, which its files have, and those of version 5 in memory. */
#define TRANSFORMERS_TOKENS                                                                                            \
    {"embeddings.cls_token", "cls_token", 0}, {"embeddings.position_embeddings", "pos_embed", 0},                      \
        {"embeddings.patch_embeddings.projection.", "patch_embed.proj.", 0},                                           \
        {"embeddings.mask_token", "mask_token", 0}, {"embeddings.register_tokens", "register_tokens", 0},              \
        {"embeddings.distillation_token", "dist_token", 0},                                                            \
    {                                                                                                                  \
        "layernorm.", "norm.", 0                                                                                       \
    }
#define TRANSFORMERS_ATTENTION                                                                                         \
    {"encoder.layer.#.attention.attention.query.", "blocks.#.attn.qkv.", 1},                                           \
        {"encoder.layer.#.attention.attention.key.", "blocks.#.attn.qkv.", 2},                                         \
        {"encoder.layer.#.attention.attention.value.", "blocks.#.attn.qkv.", 3},                                       \
        {"encoder.layer.#.attention.q_proj.", "blocks.#.attn.qkv.", 1},                                                \
        {"encoder.layer.#.attention.k_proj.", "blocks.#.attn.qkv.", 2},                                                \
        {"encoder.layer.#.attention.v_proj.", "blocks.#.attn.qkv.", 3},                                                \
        {"encoder.layer.#.attention.output.dense.", "blocks.#.attn.proj.", 0},                                         \
    {                                                                                                                  \
        "encoder.layer.#.attention.o_proj.", "blocks.#.attn.proj.", 0                                                  \
    }

/* transformers' ViT, DeiT, MAE, MSN and I-JEPA. */
static const struct dg_layout_row transformers_vit[] = {
    TRANSFORMERS_TOKENS,
    TRANSFORMERS_ATTENTION,
    {"encoder.layer.#.layernorm_before.", "blocks.#.norm1.", 0},
    {"encoder.layer.#.layernorm_after.", "blocks.#.norm2.", 0},
    {"encoder.layer.#.intermediate.dense.", "blocks.#.mlp.fc1.", 0},
    {"encoder.layer.#.output.dense.", "blocks.#.mlp.fc2.", 0},
    {"encoder.layer.#.mlp.", "blocks.#.mlp.", 0},
    {"layers.#.layernorm_before.", "blocks.#.norm1.", 0},
    {"layers.#.attention.q_proj.", "blocks.#.attn.qkv.", 1},
    {"layers.#.attention.k_proj.", "blocks.#.attn.qkv.", 2},
    {"layers.#.attention.v_proj.", "blocks.#.attn.qkv.", 3},
    {"layers.#.attention.o_proj.", "blocks.#.attn.proj.", 0},
    {"layers.#.layernorm_after.", "blocks.#.norm2.", 0},
    {"layers.#.mlp.", "blocks.#.mlp.", 0},
    {0},
};

/* transformers' DINOv2, with and without registers. */
static const struct dg_layout_row transformers_dinov2[] = {
    TRANSFORMERS_TOKENS,
    TRANSFORMERS_ATTENTION,
    {"encoder.layer.#.norm1.", "blocks.#.norm1.", 0},
    {"encoder.layer.#.layer_scale1.lambda1", "blocks.#.ls1.gamma", 0},
    {"encoder.layer.#.norm2.", "blocks.#.norm2.", 0},
    {"encoder.layer.#.mlp.weights_in.", "blocks.#.mlp.w12.", 0},
    {"encoder.layer.#.mlp.weights_out.", "blocks.#.mlp.w3.", 0},
    {"encoder.layer.#.mlp.", "blocks.#.mlp.", 0},
    {"encoder.layer.#.layer_scale2.lambda1", "blocks.#.ls2.gamma", 0},
    {0},
};

/* transformers' DINOv3: the names of its files, and with model. those in memory. */
#define DINOV3_BLOCK(layer)                                                                                            \
    {layer ".#.norm1.", "blocks.#.norm1.", 0}, {layer ".#.attention.q_proj.", "blocks.#.attn.qkv.", 1},                \
        {layer ".#.attention.k_proj.", "blocks.#.attn.qkv.", 2},                                                       \
        {layer ".#.attention.v_proj.", "blocks.#.attn.qkv.", 3},                                                       \
        {layer ".#.attention.o_proj.", "blocks.#.attn.proj.", 0},                                                      \
        {layer ".#.layer_scale1.lambda1", "blocks.#.ls1.gamma", 0}, {layer ".#.norm2.", "blocks.#.norm2.", 0},         \
        {layer ".#.mlp.up_proj.", "blocks.#.mlp.fc1.", 0}, {layer ".#.mlp.down_proj.", "blocks.#.mlp.fc2.", 0},        \
    {                                                                                                                  \
        layer ".#.layer_scale2.lambda1", "blocks.#.ls2.gamma", 0                                                       \
    }
static const struct dg_layout_row transformers_dinov3[] = {
    {"embeddings.cls_token", "cls_token", 0},
    {"embeddings.register_tokens", "storage_tokens", 0},
    {"embeddings.mask_token", "mask_token", 0},
    {"embeddings.patch_embeddings.", "patch_embed.proj.", 0},
    DINOV3_BLOCK("layer"),
    DINOV3_BLOCK("model.layer"),
    {"norm.", "norm.", 0},
    {0},
};

/* timm's DINOv3, a network of its EVA. */
static const struct dg_layout_row timm_dinov3[] = {
    {"cls_token", "cls_token", 0},
    {"reg_token", "storage_tokens", 0},
    {"patch_embed.", "patch_embed.", 0},
    {"blocks.#.gamma_1", "blocks.#.ls1.gamma", 0},
    {"blocks.#.gamma_2", "blocks.#.ls2.gamma", 0},
    {"blocks.#.attn.q_bias", "blocks.#.attn.qkv.bias", 1},
    {"blocks.#.attn.v_bias", "blocks.#.attn.qkv.bias", 3},
    {"blocks.#.attn.qkv.weight", "blocks.#.attn.qkv.weight", 0},
    {"blocks.#.attn.proj.", "blocks.#.attn.proj.", 0},
    {"blocks.#.norm1.", "blocks.#.norm1.", 0},
    {"blocks.#.norm2.", "blocks.#.norm2.", 0},
    {"blocks.#.mlp.", "blocks.#.mlp.", 0},
    {"norm.", "norm.", 0},
    {0},
};

/* timm's DINOv2 with registers: the class token has its position within. */
static const struct dg_layout_row timm_registers[] = {
    {"reg_token", "register_tokens", 0},
    {"pos_embed", "pos_embed", DG_LAYOUT_PATCHES},
    {"cls_token", "cls_token", 0},
    {"patch_embed.", "patch_embed.", 0},
    {"blocks.", "blocks.", 0},
    {"norm.", "norm.", 0},
    {0},
};

/* transformers' ConvNeXt, under timm's names. */
static const struct dg_layout_row transformers_convnext[] = {
    {"embeddings.patch_embeddings.", "stem.0.", 0},
    {"embeddings.layernorm.", "stem.1.", 0},
    {"encoder.stages.#.downsampling_layer.#.", "stages.#.downsample.#.", 0},
    {"encoder.stages.#.layers.#.dwconv.", "stages.#.blocks.#.conv_dw.", 0},
    {"encoder.stages.#.layers.#.layernorm.", "stages.#.blocks.#.norm.", 0},
    {"encoder.stages.#.layers.#.pwconv1.", "stages.#.blocks.#.mlp.fc1.", 0},
    {"encoder.stages.#.layers.#.pwconv2.", "stages.#.blocks.#.mlp.fc2.", 0},
    {"encoder.stages.#.layers.#.layer_scale_parameter", "stages.#.blocks.#.gamma", 0},
    {"layernorm.", "head.norm.", 0},
    {0},
};

/* timm's XCiT, under the authors' names. */
static const struct dg_layout_row timm_xcit[] = {
    {"pos_embed.token_projection.", "pos_embeder.token_projection.", 0},
    {"cls_attn_blocks.#.attn.q.", "cls_attn_blocks.#.attn.qkv.", 1},
    {"cls_attn_blocks.#.attn.k.", "cls_attn_blocks.#.attn.qkv.", 2},
    {"cls_attn_blocks.#.attn.v.", "cls_attn_blocks.#.attn.qkv.", 3},
    {0},
};

/* torchvision's vit_b_16 and its relatives; mlp.linear_1 and linear_2 before version 0.13. */
static const struct dg_layout_row torchvision_vit[] = {
    {"class_token", "cls_token", 0},
    {"conv_proj.", "patch_embed.proj.", 0},
    {"encoder.pos_embedding", "pos_embed", 0},
    {"encoder.layers.encoder_layer_#.ln_1.", "blocks.#.norm1.", 0},
    {"encoder.layers.encoder_layer_#.self_attention.in_proj_", "blocks.#.attn.qkv.", 0},
    {"encoder.layers.encoder_layer_#.self_attention.out_proj.", "blocks.#.attn.proj.", 0},
    {"encoder.layers.encoder_layer_#.ln_2.", "blocks.#.norm2.", 0},
    {"encoder.layers.encoder_layer_#.mlp.0.", "blocks.#.mlp.fc1.", 0},
    {"encoder.layers.encoder_layer_#.mlp.3.", "blocks.#.mlp.fc2.", 0},
    {"encoder.layers.encoder_layer_#.mlp.linear_1.", "blocks.#.mlp.fc1.", 0},
    {"encoder.layers.encoder_layer_#.mlp.linear_2.", "blocks.#.mlp.fc2.", 0},
    {"encoder.ln.", "norm.", 0},
    {"heads.", "head.", 0},
    {0},
};

/* mmpretrain's, of MMSelfSup before. */
static const struct dg_layout_row mmpretrain_vit[] = {
    {"patch_embed.projection.", "patch_embed.proj.", 0},
    {"layers.#.ln1.", "blocks.#.norm1.", 0},
    {"layers.#.attn.", "blocks.#.attn.", 0},
    {"layers.#.ln2.", "blocks.#.norm2.", 0},
    {"layers.#.ffn.layers.0.0.", "blocks.#.mlp.fc1.", 0},
    {"layers.#.ffn.layers.1.", "blocks.#.mlp.fc2.", 0},
    {"ln1.", "norm.", 0},
    {0},
};

/* DINOv2's blocks in chunks, as its training writes them: blocks.<chunk>.<block>. */
static const struct dg_layout_row chunks[] = {{"blocks.*.#.", "blocks.#.", 0}, {0}};

/* nn.Sequential(*list(resnet.children())[:-1]): lightly's and many tutorials' backbones. */
static const struct dg_layout_row sequential_resnet[] = {
    {"0.", "conv1.", 0},
    {"1.", "bn1.", 0},
    {"4.", "layer1.", 0},
    {"5.", "layer2.", 0},
    {"6.", "layer3.", 0},
    {"7.", "layer4.", 0},
    {0},
};

/* transformers' ResNet. */
#define STAGE(theirs, ours)                                                                                            \
    {"encoder.stages." theirs ".layers.#.layer.0.convolution.", "layer" ours ".#.conv1.", 0},                          \
        {"encoder.stages." theirs ".layers.#.layer.0.normalization.", "layer" ours ".#.bn1.", 0},                      \
        {"encoder.stages." theirs ".layers.#.layer.1.convolution.", "layer" ours ".#.conv2.", 0},                      \
        {"encoder.stages." theirs ".layers.#.layer.1.normalization.", "layer" ours ".#.bn2.", 0},                      \
        {"encoder.stages." theirs ".layers.#.layer.2.convolution.", "layer" ours ".#.conv3.", 0},                      \
        {"encoder.stages." theirs ".layers.#.layer.2.normalization.", "layer" ours ".#.bn3.", 0},                      \
        {"encoder.stages." theirs ".layers.#.shortcut.convolution.", "layer" ours ".#.downsample.0.", 0},              \
    {                                                                                                                  \
        "encoder.stages." theirs ".layers.#.shortcut.normalization.", "layer" ours ".#.downsample.1.", 0               \
    }
static const struct dg_layout_row transformers_resnet[] = {
    {"embedder.embedder.convolution.", "conv1.", 0},
    {"embedder.embedder.normalization.", "bn1.", 0},
    STAGE("0", "1"),
    STAGE("1", "2"),
    STAGE("2", "3"),
    STAGE("3", "4"),
    {0},
};

#define TRANSFORMERS_PATCHES "embeddings.patch_embeddings.projection.weight"

const struct dg_name_layout dg_layouts[] = {
    {"a DINOv3 (the official names)", {"patch_embed.proj.weight", "storage_tokens"}, NULL, 1e-5, false},
    {"a DINOv3 (timm's names)", {"blocks.0.gamma_1", "reg_token"}, timm_dinov3, 1e-5, true},
    {"a Vision Transformer with registers (timm's names)", {"pos_embed", "reg_token"}, timm_registers, 1e-6, false},
    {"a Vision Transformer (the official names, timm's)",
     {"patch_embed.proj.weight", "blocks.0.norm1.weight"},
     NULL,
     1e-6,
     false},
    {"a Vision Transformer (DINOv2's names, in chunks)",
     {"patch_embed.proj.weight", "blocks.0.0.norm1.weight"},
     chunks,
     1e-6,
     false},
    {"a Vision Transformer (transformers' names)",
     {TRANSFORMERS_PATCHES, "encoder.layer.0.layernorm_before.weight"},
     transformers_vit,
     1e-12,
     false},
    {"a Vision Transformer (transformers' names)",
     {TRANSFORMERS_PATCHES, "layers.0.layernorm_before.weight"},
     transformers_vit,
     1e-12,
     false},
    {"a DINOv2 (transformers' names)",
     {TRANSFORMERS_PATCHES, "encoder.layer.0.norm1.weight"},
     transformers_dinov2,
     1e-6,
     false},
    {"a DINOv3 (transformers' names)",
     {"embeddings.patch_embeddings.weight", "layer.0.norm1.weight"},
     transformers_dinov3,
     1e-5,
     true},
    {"a DINOv3 (transformers' names)",
     {"embeddings.patch_embeddings.weight", "model.layer.0.norm1.weight"},
     transformers_dinov3,
     1e-5,
     true},
    {"a Vision Transformer (torchvision's names)",
     {"conv_proj.weight", "encoder.layers.encoder_layer_0.ln_1.weight"},
     torchvision_vit,
     1e-6,
     false},
    {"a Vision Transformer (mmpretrain's names)",
     {"patch_embed.projection.weight", "layers.0.ln1.weight"},
     mmpretrain_vit,
     1e-6,
     false},
    {"an XCiT (timm's names)",
     {"pos_embed.token_projection.weight", "cls_attn_blocks.0.attn.q.weight"},
     timm_xcit,
     1e-6,
     false},
    {"a ConvNeXt (transformers' names)",
     {"embeddings.patch_embeddings.weight", "encoder.stages.0.layers.0.dwconv.weight"},
     transformers_convnext,
     0,
     false},
    {"a ResNet (torchvision's names, timm's)", {"layer1.0.conv1.weight", NULL}, NULL, 0, false},
    {"a ResNet (the numbers of nn.Sequential)", {"4.0.conv1.weight", "0.weight"}, sequential_resnet, 0, false},
    {"a ResNet (transformers' names)",
     {"embedder.embedder.convolution.weight", "encoder.stages.0.layers.0.layer.0.convolution.weight"},
     transformers_resnet,
     0,
     false},
};
const int dg_layout_count = sizeof dg_layouts / sizeof *dg_layouts;

enum { MAX_NUMBERS = 4 };

struct number {
    const char *digits;
    int count;
};

/* Matches the beginning of `name`, and notes the numbers of #. Returns what follows the pattern; NULL: another name. A pattern
 * that does not end in . or _ is a name to its end. */
static const char *match(const char *pattern, const char *name, struct number number[MAX_NUMBERS])
{
    int numbers = 0;
    const char *p = pattern;
    for (; *p; p++) {
        if (*p != '#' && *p != '*') {
            if (*name++ != *p) return NULL;
            continue;
        }
        int digits = (int)strspn(name, "0123456789");
        if (!digits) return NULL;
        if (*p == '#') number[numbers++] = (struct number){name, digits};
        name += digits;
    }
    bool open = p > pattern && (p[-1] == '.' || p[-1] == '_');
    return open || !*name ? name : NULL;
}

static void put(char name[DG_LAYOUT_NAME], const char *pattern, const struct number *number, const char *rest)
{
    size_t used = 0;
    for (; *pattern && used + 1 < DG_LAYOUT_NAME; pattern++) {
        if (*pattern != '#') {
            name[used++] = *pattern;
            continue;
        }
        for (int d = 0; d < number->count && used + 1 < DG_LAYOUT_NAME; d++) name[used++] = number->digits[d];
        number++;
    }
    snprintf(name + used, DG_LAYOUT_NAME - used, "%s", rest);
}

int dg_layout_translate(const struct dg_name_layout *layout, const char *theirs, char ours[DG_LAYOUT_NAME])
{
    for (const struct dg_layout_row *row = layout->row; row && row->theirs; row++) {
        struct number number[MAX_NUMBERS];
        const char *rest = match(row->theirs, theirs, number);
        if (!rest) continue;
        put(ours, row->ours, number, rest);
        return row->part;
    }
    snprintf(ours, DG_LAYOUT_NAME, "%s", theirs);
    return 0;
}

bool dg_layout_translate_back(const struct dg_name_layout *layout, const char *ours, int part,
                              char theirs[DG_LAYOUT_NAME])
{
    for (const struct dg_layout_row *row = layout->row; row && row->theirs; row++) {
        struct number number[MAX_NUMBERS];
        bool lost = strchr(row->theirs, '*'); /* a number that is not taken over: there is no way back */
        const char *rest = lost || row->part != part ? NULL : match(row->ours, ours, number);
        if (!rest) continue;
        put(theirs, row->theirs, number, rest);
        return true;
    }
    snprintf(theirs, DG_LAYOUT_NAME, "%s", ours);
    return false;
}

const struct dg_name_layout *dg_layout_find(const char *name)
{
    for (int n = 0; n < dg_layout_count; n++)
        for (int s = 0; s < 2; s++)
            if (dg_layouts[n].sign[s] && !strcmp(dg_layouts[n].sign[s], name)) return &dg_layouts[n];
    return NULL;
}
