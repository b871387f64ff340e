#include "runtime/export/transformers.h"

#include "runtime/export/card.h"
#include "runtime/export/weights.h"
#include "runtime/layouts/layouts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { BICUBIC = 3 }; /* Pillow's number of it */
#define CLASS_TOKEN "last_hidden_state[:, 0]"

/* Width of the gated MLP of transformers' DINOv2. */
static int64_t gated_width(int64_t dim) { return (4 * dim * 2 / 3 + 7) / 8 * 8; }

static enum dg_status check_dinov2(const struct dg_architecture *n, struct dg_error *err)
{
    if (n->height != n->width)
        return dg_fail(err, DG_ERR_UNSUPPORTED,
                       "transformers' DINOv2 has a square grid of positions, and this one is for images of %" PRId64
                       "x%" PRId64 "; --timm and --onnx write it",
                       n->height, n->width);
    if (n->swiglu ? n->hidden == gated_width(n->dim) : n->hidden % n->dim == 0) return DG_OK;
    return dg_fail(err, DG_ERR_UNSUPPORTED,
                   "transformers' DINOv2 cannot have an MLP of %" PRId64 " beside a width of %" PRId64
                   "; --onnx writes it",
                   n->hidden, n->dim);
}

static enum dg_status check(const struct dg_architecture *n, struct dg_error *err)
{
    if (n->kind == DG_ARCHITECTURE_DINOV2) return check_dinov2(n, err);
    if (n->kind != DG_ARCHITECTURE_RESNET) return DG_OK;
    if (n->small)
        return dg_fail(
            err, DG_ERR_UNSUPPORTED,
            "transformers' ResNets begin with a convolution of 7x7, and this one with 3x3; --onnx writes it");
    if (n->basic || (n->groups == 1 && n->block_width == n->planes)) return DG_OK;
    return dg_fail(err, DG_ERR_UNSUPPORTED,
                   "transformers has neither wide nor grouped ResNets: this one has 3x3 convolutions of %" PRId64
                   " channels in %" PRId64 " groups; --timm and --onnx write it",
                   n->block_width, n->groups);
}

static json_t *vit_config(const struct dg_architecture *n)
{
    json_t *size = n->height == n->width ? json_integer(n->height)
                                         : json_pack("[I, I]", (json_int_t)n->height, (json_int_t)n->width);
    return json_pack("{s:[s], s:s, s:I, s:I, s:I, s:I, s:s, s:f, s:f, s:f, s:f, s:o, s:I, s:i, s:b, s:s}",
                     "architectures", "ViTModel", "model_type", "vit", "hidden_size", (json_int_t)n->dim,
                     "num_hidden_layers", (json_int_t)n->depth, "num_attention_heads", (json_int_t)n->heads,
                     "intermediate_size", (json_int_t)n->hidden, "hidden_act", "gelu", "hidden_dropout_prob", 0.0,
                     "attention_probs_dropout_prob", 0.0, "initializer_range", 0.02, "layer_norm_eps", n->eps,
                     "image_size", size, "patch_size", (json_int_t)n->patch, "num_channels", 3, "qkv_bias", 1,
                     "torch_dtype", "float32");
}

static json_t *dinov2_config(const struct dg_architecture *n)
{
    json_t *config =
        json_pack("{s:[s], s:s, s:I, s:I, s:I, s:I, s:b, s:s, s:b, s:f, s:f, s:f, s:f, s:I, s:I, s:i, s:s}",
                  "architectures", n->registers ? "Dinov2WithRegistersModel" : "Dinov2Model", "model_type",
                  n->registers ? "dinov2_with_registers" : "dinov2", "hidden_size", (json_int_t)n->dim,
                  "num_hidden_layers", (json_int_t)n->depth, "num_attention_heads", (json_int_t)n->heads, "mlp_ratio",
                  (json_int_t)(n->swiglu ? 4 : n->hidden / n->dim), "use_swiglu_ffn", n->swiglu, "hidden_act", "gelu",
                  "qkv_bias", 1, "layerscale_value", 1.0, "drop_path_rate", 0.0, "initializer_range", 0.02,
                  "layer_norm_eps", n->eps, "image_size", (json_int_t)n->height, "patch_size", (json_int_t)n->patch,
                  "num_channels", 3, "torch_dtype", "float32");
    if (n->registers) json_object_set_new(config, "num_register_tokens", json_integer(n->registers));
    return config;
}

/* Positions are not moved at random, as they are not here; keys have a bias, which is trained here. */
static json_t *dinov3_config(const struct dg_architecture *n)
{
    json_t *size = n->height == n->width ? json_integer(n->height)
                                         : json_pack("[I, I]", (json_int_t)n->height, (json_int_t)n->width);
    return json_pack(
        "{s:[s], s:s, s:I, s:I, s:I, s:I, s:s, s:I, s:b, s:b, s:b, s:b, s:b, s:b, s:f, s:f, s:n, s:n, s:n, "
        "s:f, s:f, s:o, s:I, s:i, s:s}",
        "architectures", "DINOv3ViTModel", "model_type", "dinov3_vit", "hidden_size", (json_int_t)n->dim,
        "num_hidden_layers", (json_int_t)n->depth, "num_attention_heads", (json_int_t)n->heads, "intermediate_size",
        (json_int_t)n->hidden, "hidden_act", "gelu", "num_register_tokens", (json_int_t)n->registers, "query_bias", 1,
        "key_bias", 1, "value_bias", 1, "proj_bias", 1, "mlp_bias", 1, "use_gated_mlp", 0, "layerscale_value", 1.0,
        "rope_theta", n->base, "pos_embed_shift", "pos_embed_jitter", "pos_embed_rescale", "initializer_range", 0.02,
        "layer_norm_eps", n->eps, "image_size", size, "patch_size", (json_int_t)n->patch, "num_channels", 3,
        "torch_dtype", "float32");
}

static json_t *convnext_config(const struct dg_architecture *n)
{
    return json_pack("{s:[s], s:s, s:[I, I, I, I], s:[I, I, I, I], s:i, s:i, s:s, s:f, s:f, s:f, s:i, s:I, s:s}",
                     "architectures", "ConvNextModel", "model_type", "convnext", "hidden_sizes", (json_int_t)n->dims[0],
                     (json_int_t)n->dims[1], (json_int_t)n->dims[2], (json_int_t)n->dims[3], "depths",
                     (json_int_t)n->blocks[0], (json_int_t)n->blocks[1], (json_int_t)n->blocks[2],
                     (json_int_t)n->blocks[3], "num_stages", 4, "patch_size", 4, "hidden_act", "gelu", "layer_norm_eps",
                     n->eps, "layer_scale_init_value", 1e-6, "drop_path_rate", 0.0, "num_channels", 3, "image_size",
                     (json_int_t)n->height, "torch_dtype", "float32");
}

static json_t *resnet_config(const struct dg_architecture *n)
{
    json_int_t width = n->planes * (n->basic ? 1 : 4);
    return json_pack("{s:[s], s:s, s:I, s:[I, I, I, I], s:[I, I, I, I], s:s, s:s, s:b, s:b, s:i, s:s}", "architectures",
                     "ResNetModel", "model_type", "resnet", "embedding_size", (json_int_t)n->planes, "hidden_sizes",
                     width, 2 * width, 4 * width, 8 * width, "depths", (json_int_t)n->blocks[0],
                     (json_int_t)n->blocks[1], (json_int_t)n->blocks[2], (json_int_t)n->blocks[3], "layer_type",
                     n->basic ? "basic" : "bottleneck", "hidden_act", "relu", "downsample_in_first_stage", 0,
                     "downsample_in_bottleneck", 0, "num_channels", 3, "torch_dtype", "float32");
}

/* ViTImageProcessor cannot crop; BitImageProcessor resizes the short side and crops, also for DINOv2. */
static json_t *images_config(const struct dg_export_source *source)
{
    struct dg_eval_crop crop = dg_export_crop(source);
    return json_pack("{s:s, s:b, s:b, s:{s:i}, s:i, s:b, s:{s:i, s:i}, s:b, s:f, s:b, s:[f, f, f], s:[f, f, f]}",
                     "image_processor_type", "BitImageProcessor", "do_convert_rgb", 1, "do_resize", 1, "size",
                     "shortest_edge", crop.resize, "resample", BICUBIC, "do_center_crop", 1, "crop_size", "height",
                     crop.height, "width", crop.width, "do_rescale", 1, "rescale_factor", 1.0 / 255, "do_normalize", 1,
                     "image_mean", crop.mean[0], crop.mean[1], crop.mean[2], "image_std", crop.std[0], crop.std[1],
                     crop.std[2]);
}

/* What differs between the networks. */
static const struct family {
    const char *sign;     /* a name of the layout in runtime/layouts */
    const char *features; /* in Python, of the model's result */
    json_t *(*config)(const struct dg_architecture *n);
    bool pools; /* a pooling layer may be left out */
} families[] = {
    [DG_ARCHITECTURE_VIT] = {"encoder.layer.0.layernorm_before.weight", CLASS_TOKEN, vit_config, true},
    [DG_ARCHITECTURE_DINOV2] = {"encoder.layer.0.norm1.weight", CLASS_TOKEN, dinov2_config, false},
    [DG_ARCHITECTURE_DINOV3] = {"layer.0.norm1.weight", CLASS_TOKEN, dinov3_config, false},
    [DG_ARCHITECTURE_RESNET] = {"encoder.stages.0.layers.0.layer.0.convolution.weight", "pooler_output.flatten(1)",
                                resnet_config, false},
    [DG_ARCHITECTURE_CONVNEXT] = {"encoder.stages.0.layers.0.dwconv.weight", "pooler_output", convnext_config, false},
};

/* What the models have and evaluation does not read: the token of masked patches, no registers. */
static enum dg_status add_unread(const struct dg_architecture *n, struct dg_export_weights *weights,
                                 struct dg_error *err)
{
    if (n->kind == DG_ARCHITECTURE_DINOV2)
        return dg_export_weights_add_zeros(weights, "embeddings.mask_token", 2, (int64_t[]){1, n->dim}, err);
    if (n->kind != DG_ARCHITECTURE_DINOV3) return DG_OK;
    DG_TRY(dg_export_weights_add_zeros(weights, "embeddings.mask_token", 3, (int64_t[]){1, 1, n->dim}, err));
    if (n->registers) return DG_OK;
    return dg_export_weights_add_zeros(weights, "embeddings.register_tokens", 3, (int64_t[]){1, 0, n->dim}, err);
}

static enum dg_status write_weights(const struct dg_export_source *source, const struct dg_architecture *n,
                                    const char *path, struct dg_error *err)
{
    struct dg_export_weights weights;
    enum dg_status status = dg_export_weights_init(source, &weights, err);
    if (status == DG_OK) status = dg_export_weights_rename(&weights, dg_layout_find(families[n->kind].sign), err);
    if (status == DG_OK) status = add_unread(n, &weights, err);
    if (status == DG_OK)
        status = dg_safetensors_write(path, weights.item, weights.count, &(struct dg_safetensors_meta){"format", "pt"},
                                      1, err);
    dg_export_weights_free(&weights);
    return status;
}

static enum dg_status write_files(const struct dg_export_source *source, const struct dg_architecture *network,
                                  struct dg_new_folder *folder, struct dg_error *err)
{
    const struct family *family = &families[network->kind];
    char path[DG_MAX_PATH], usage[512];
    snprintf(usage, sizeof usage,
             "from transformers import AutoImageProcessor, AutoModel\n\n"
             "processor = AutoImageProcessor.from_pretrained('FOLDER')\n"
             "model = AutoModel.from_pretrained('FOLDER'%s)\n"
             "features = model(**processor(image, return_tensors='pt')).%s\n",
             family->pools ? ", add_pooling_layer=False" : "", family->features);
    const struct dg_export_card card = {.library = "transformers", .usage = usage};
    DG_TRY(write_weights(source, network, dg_new_folder_file(folder, "model.safetensors", path), err));
    DG_TRY(dg_export_json(folder, "config.json", family->config(network), err));
    DG_TRY(dg_export_json(folder, "preprocessor_config.json", images_config(source), err));
    return dg_export_card(folder, source, network, &card, err);
}

enum dg_status dg_export_transformers(const struct dg_export_source *source, const char *path, struct dg_error *err)
{
    static const struct dg_export_library library = {check, write_files};
    struct dg_architecture network;
    struct dg_new_folder folder;
    char text[128];
    DG_TRY(dg_export_folder(source, path, &library, &network, &folder, err));
    dg_log(source->log, DG_LOG_INFO, DG_LOG_LOAD,
           "%s: %s, for AutoModel.from_pretrained('%s'%s): model.safetensors, config.json, preprocessor_config.json, "
           "README.md",
           folder.path, dg_architecture_text(&network, text, sizeof text), folder.path,
           families[network.kind].pools ? ", add_pooling_layer=False" : "");
    return DG_OK;
}
