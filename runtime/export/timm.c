#include "runtime/export/timm.h"

#include "runtime/export/card.h"
#include "runtime/export/weights.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* timm's models, and what theirs are. The last of each kind takes arguments for all others. */
struct vit {
    const char *name;
    enum dg_architecture_kind kind;
    bool registers;
    int64_t dim, depth, heads, patch;
};
static const struct vit vits[] = {{"vit_tiny_patch16_224", DG_ARCHITECTURE_VIT, false, 192, 12, 3, 16},
                                  {"vit_small_patch16_224", DG_ARCHITECTURE_VIT, false, 384, 12, 6, 16},
                                  {"vit_small_patch8_224", DG_ARCHITECTURE_VIT, false, 384, 12, 6, 8},
                                  {"vit_base_patch8_224", DG_ARCHITECTURE_VIT, false, 768, 12, 12, 8},
                                  {"vit_large_patch16_224", DG_ARCHITECTURE_VIT, false, 1024, 24, 16, 16},
                                  {"vit_base_patch16_224", DG_ARCHITECTURE_VIT, false, 768, 12, 12, 16},
                                  {"vit_small_patch14_dinov2", DG_ARCHITECTURE_DINOV2, false, 384, 12, 6, 14},
                                  {"vit_large_patch14_dinov2", DG_ARCHITECTURE_DINOV2, false, 1024, 24, 16, 14},
                                  {"vit_base_patch14_dinov2", DG_ARCHITECTURE_DINOV2, false, 768, 12, 12, 14},
                                  {"vit_small_patch14_reg4_dinov2", DG_ARCHITECTURE_DINOV2, true, 384, 12, 6, 14},
                                  {"vit_large_patch14_reg4_dinov2", DG_ARCHITECTURE_DINOV2, true, 1024, 24, 16, 14},
                                  {"vit_base_patch14_reg4_dinov2", DG_ARCHITECTURE_DINOV2, true, 768, 12, 12, 14},
                                  {"vit_small_patch16_dinov3_qkvb", DG_ARCHITECTURE_DINOV3, true, 384, 12, 6, 16},
                                  {"vit_large_patch16_dinov3_qkvb", DG_ARCHITECTURE_DINOV3, true, 1024, 24, 16, 16},
                                  {"vit_base_patch16_dinov3_qkvb", DG_ARCHITECTURE_DINOV3, true, 768, 12, 12, 16}};

struct resnet {
    const char *name;
    bool basic;
    int64_t blocks[4], groups, width;
};
static const struct resnet resnets[] = {
    {"resnet34", true, {3, 4, 6, 3}, 1, 64},         {"resnet101", false, {3, 4, 23, 3}, 1, 64},
    {"resnet152", false, {3, 8, 36, 3}, 1, 64},      {"wide_resnet50_2", false, {3, 4, 6, 3}, 1, 128},
    {"resnext50_32x4d", false, {3, 4, 6, 3}, 32, 4}, {"resnet18", true, {2, 2, 2, 2}, 1, 64},
    {"resnet50", false, {3, 4, 6, 3}, 1, 64}};

struct convnext {
    const char *name;
    int64_t blocks[4], dims[4];
};
static const struct convnext convnexts[] = {{"convnext_small", {3, 3, 27, 3}, {96, 192, 384, 768}},
                                            {"convnext_base", {3, 3, 27, 3}, {128, 256, 512, 1024}},
                                            {"convnext_large", {3, 3, 27, 3}, {192, 384, 768, 1536}},
                                            {"convnext_tiny", {3, 3, 9, 3}, {96, 192, 384, 768}}};

enum { IMAGE = 224, PLANES = 64, REGISTERS = 4 };
static const double EPS = 1e-6, DINOV3_EPS = 1e-5; /* of timm's layer norms */

static bool is_vit(const struct dg_architecture *n) { return n->kind <= DG_ARCHITECTURE_DINOV3; }

/* It has registers where DINOv3 may have none: there they are an argument. */
static bool is_of(const struct vit *v, const struct dg_architecture *n)
{
    return v->kind == n->kind && (v->registers == (n->registers > 0) || n->kind == DG_ARCHITECTURE_DINOV3);
}

static json_t *four(const int64_t number[4])
{
    return json_pack("[I, I, I, I]", (json_int_t)number[0], (json_int_t)number[1], (json_int_t)number[2],
                     (json_int_t)number[3]);
}

/* The name of timm's model, and the arguments by which this network differs from it. */
static const char *vit_of(const struct dg_architecture *n, json_t *args)
{
    const struct vit *v = NULL;
    for (size_t i = 0; i < sizeof vits / sizeof *vits; i++) {
        if (!is_of(&vits[i], n)) continue;
        v = &vits[i];
        if (v->dim == n->dim && v->depth == n->depth && v->heads == n->heads && v->patch == n->patch) break;
    }
    if (n->kind == DG_ARCHITECTURE_DINOV3) {
        json_object_set_new(args, "global_pool", json_string("token"));
        json_object_set_new(args, "rope_temperature", json_real(n->base));
    }
    if (v->registers && n->registers != REGISTERS)
        json_object_set_new(args, n->kind == DG_ARCHITECTURE_DINOV3 ? "num_reg_tokens" : "reg_tokens",
                            json_integer(n->registers));
    if (n->height != IMAGE || n->width != IMAGE || n->kind != DG_ARCHITECTURE_VIT)
        json_object_set_new(args, "img_size", json_pack("[I, I]", (json_int_t)n->height, (json_int_t)n->width));
    if (v->patch != n->patch) json_object_set_new(args, "patch_size", json_integer(n->patch));
    if (v->dim != n->dim) json_object_set_new(args, "embed_dim", json_integer(n->dim));
    if (v->depth != n->depth) json_object_set_new(args, "depth", json_integer(n->depth));
    if (v->heads != n->heads) json_object_set_new(args, "num_heads", json_integer(n->heads));
    if (n->hidden != 4 * n->dim) json_object_set_new(args, "mlp_ratio", json_real((double)n->hidden / (double)n->dim));
    return v->name;
}

static const char *resnet_of(const struct dg_architecture *n, json_t *args)
{
    int64_t width = n->block_width / n->groups;
    const struct resnet *r = resnets, *last = resnets + sizeof resnets / sizeof *resnets - 1;
    while (r < last && (r->basic != n->basic || memcmp(r->blocks, n->blocks, sizeof r->blocks) ||
                        r->groups != n->groups || r->width != width))
        r++;
    if (r == last && n->basic) r--;
    if (memcmp(r->blocks, n->blocks, sizeof r->blocks)) json_object_set_new(args, "layers", four(n->blocks));
    if (r->groups != n->groups) json_object_set_new(args, "cardinality", json_integer(n->groups));
    if (r->width != width) json_object_set_new(args, "base_width", json_integer(width));
    return r->name;
}

static const char *convnext_of(const struct dg_architecture *n, json_t *args)
{
    const struct convnext *c = convnexts, *last = convnexts + sizeof convnexts / sizeof *convnexts - 1;
    while (c < last && (memcmp(c->blocks, n->blocks, sizeof c->blocks) || memcmp(c->dims, n->dims, sizeof c->dims)))
        c++;
    if (memcmp(c->blocks, n->blocks, sizeof c->blocks)) json_object_set_new(args, "depths", four(n->blocks));
    if (memcmp(c->dims, n->dims, sizeof c->dims)) json_object_set_new(args, "dims", four(n->dims));
    return c->name;
}

static enum dg_status check(const struct dg_architecture *n, struct dg_error *err)
{
    double eps = n->kind == DG_ARCHITECTURE_DINOV3 ? DINOV3_EPS : EPS;
    if (n->kind != DG_ARCHITECTURE_RESNET && n->eps != eps)
        return dg_fail(err, DG_ERR_UNSUPPORTED,
                       "timm's layer norms have an epsilon of %g, and the network's is %g; --transformers and --onnx "
                       "write it",
                       eps, n->eps);
    if (n->swiglu)
        return dg_fail(err, DG_ERR_UNSUPPORTED,
                       "DINOv2's gated MLPs are not written for timm; --transformers and --onnx write them");
    if (n->kind == DG_ARCHITECTURE_CONVNEXT) return DG_OK;
    if (is_vit(n)) {
        if ((int64_t)((double)n->dim * ((double)n->hidden / (double)n->dim)) == n->hidden) return DG_OK;
        return dg_fail(err, DG_ERR_UNSUPPORTED, "timm cannot have an MLP of %" PRId64 " beside a width of %" PRId64,
                       n->hidden, n->dim);
    }
    if (!n->small && n->planes == PLANES) return DG_OK;
    return dg_fail(err, DG_ERR_UNSUPPORTED,
                   "timm's ResNets begin with a convolution of 7x7 to 64 channels, and this one "
                   "with %s to %" PRId64 "; --onnx writes it",
                   n->small ? "3x3" : "7x7", n->planes);
}

/* timm resizes to floor(size / crop_pct). */
static double crop_share(const struct dg_eval_crop *crop)
{
    double share = (double)crop->width / crop->resize;
    char text[32];
    snprintf(text, sizeof text, "%.15g", share); /* as it stands in the file */
    if (floor(crop->width / strtod(text, NULL)) == crop->resize) return share;
    return crop->width / (crop->resize + 0.5);
}

static json_t *config_of(const struct dg_export_source *source, const struct dg_architecture *n)
{
    static const char *const first[] = {[DG_ARCHITECTURE_RESNET] = "conv1", [DG_ARCHITECTURE_CONVNEXT] = "stem.0"},
                             *const last[] = {[DG_ARCHITECTURE_RESNET] = "fc", [DG_ARCHITECTURE_CONVNEXT] = "head.fc"};
    bool vit = is_vit(n);
    struct dg_eval_crop crop = dg_export_crop(source);
    json_t *args = json_object();
    if (!args) return NULL;
    const char *name = vit                                 ? vit_of(n, args)
                       : n->kind == DG_ARCHITECTURE_RESNET ? resnet_of(n, args)
                                                           : convnext_of(n, args);
    json_t *images =
        json_pack("{s:s, s:b, s:[i, i, i], s:b, s:s, s:f, s:s, s:[f, f, f], s:[f, f, f], s:i, s:s, s:s}", "tag", "dino",
                  "custom_load", 0, "input_size", 3, crop.height, crop.width, "fixed_input_size", vit, "interpolation",
                  "bicubic", "crop_pct", crop_share(&crop), "crop_mode", "center", "mean", crop.mean[0], crop.mean[1],
                  crop.mean[2], "std", crop.std[0], crop.std[1], crop.std[2], "num_classes", 0, "first_conv",
                  vit ? "patch_embed.proj" : first[n->kind], "classifier", vit ? "head" : last[n->kind]);
    return json_pack("{s:s, s:i, s:I, s:s, s:o, s:o}", "architecture", name, "num_classes", 0, "num_features",
                     (json_int_t)n->features, "global_pool", vit ? "token" : "avg", "model_args", args,
                     "pretrained_cfg", images);
}

static enum dg_status write_files(const struct dg_export_source *source, const struct dg_architecture *n,
                                  struct dg_new_folder *folder, struct dg_error *err)
{
    static const struct dg_export_card card = {
        .library = "timm",
        .usage =
            "import timm\n\nmodel = timm.create_model('local-dir:FOLDER', pretrained=True).eval()  # or 'hf-hub:NAME'\n"
            "transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))\n"
            "features = model(transform(image).unsqueeze(0))  # image: PIL.Image in RGB\n"};
    char path[DG_MAX_PATH];
    struct dg_export_weights weights;
    const char *sign = n->kind == DG_ARCHITECTURE_DINOV3                   ? "blocks.0.gamma_1"
                       : n->kind == DG_ARCHITECTURE_DINOV2 && n->registers ? "pos_embed"
                                                                           : NULL;
    enum dg_status status = dg_export_weights_init(source, &weights, err);
    if (status == DG_OK && sign) status = dg_export_weights_rename(&weights, dg_layout_find(sign), err);
    if (status == DG_OK)
        status = dg_safetensors_write(dg_new_folder_file(folder, "model.safetensors", path), weights.item,
                                      weights.count, &(struct dg_safetensors_meta){"format", "pt"}, 1, err);
    dg_export_weights_free(&weights);
    if (status == DG_OK) status = dg_export_json(folder, "config.json", config_of(source, n), err);
    return status == DG_OK ? dg_export_card(folder, source, n, &card, err) : status;
}

enum dg_status dg_export_timm(const struct dg_export_source *source, const char *path, struct dg_error *err)
{
    static const struct dg_export_library library = {check, write_files};
    struct dg_architecture network;
    struct dg_new_folder folder;
    char text[128];
    DG_TRY(dg_export_folder(source, path, &library, &network, &folder, err));
    if (network.height != network.width)
        dg_log(
            source->log, DG_LOG_WARNING, DG_LOG_LOAD,
            "timm resizes to images that are not square in another way: prepare them as README.md in the folder says");
    dg_log(source->log, DG_LOG_INFO, DG_LOG_LOAD,
           "%s: %s, for timm.create_model('local-dir:%s', pretrained=True): model.safetensors, config.json, README.md",
           folder.path, dg_architecture_text(&network, text, sizeof text), folder.path);
    return DG_OK;
}
