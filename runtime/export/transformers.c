#include "runtime/export/transformers.h"

#include "runtime/export/card.h"
#include "runtime/export/weights.h"
#include "runtime/layouts/layouts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { BICUBIC = 3 }; /* Pillow's number of it */

static enum dg_status check(const struct dg_architecture *n, struct dg_error *err)
{
    if (n->kind == DG_ARCHITECTURE_VIT) return DG_OK;
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

/* The tensors under transformers' names; query, key and value apart, as rows of ours. */
struct renamed {
    struct dg_safetensors_item *item;
    char (*name)[DG_LAYOUT_NAME];
    int count;
};

static enum dg_status rename_all(const struct dg_export_weights *weights, const struct dg_name_layout *layout,
                                 struct renamed *made, struct dg_error *err)
{
    size_t most = (size_t)weights->count * DG_LAYOUT_PARTS;
    made->item = calloc(most, sizeof *made->item);
    made->name = calloc(most, sizeof *made->name);
    if (!made->item || !made->name) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (int i = 0; i < weights->count; i++) {
        const struct dg_safetensors_item *ours = &weights->item[i];
        bool known = false;
        for (int part = 0; part <= DG_LAYOUT_PARTS; part++) {
            if (!dg_layout_translate_back(layout, ours->name, part, made->name[made->count])) continue;
            struct dg_safetensors_item *item = &made->item[made->count];
            *item = *ours;
            item->name = made->name[made->count++];
            known = true;
            if (!part) break;
            item->dim[0] /= DG_LAYOUT_PARTS;
            int64_t numbers = item->dim[0];
            for (int d = 1; d < item->ndim; d++) numbers *= item->dim[d];
            item->data = (const float *)ours->data + (part - 1) * numbers;
        }
        if (!known) return dg_fail(err, DG_ERR_INTERNAL, "transformers has no name for %s", ours->name);
    }
    return DG_OK;
}

static enum dg_status write_weights(const struct dg_export_source *source, bool vit, const char *path,
                                    struct dg_error *err)
{
    const struct dg_name_layout *layout = dg_layout_find(vit ? "encoder.layer.0.layernorm_before.weight"
                                                             : "encoder.stages.0.layers.0.layer.0.convolution.weight");
    struct dg_export_weights weights;
    struct renamed made = {0};
    enum dg_status status = dg_export_weights_init(source, &weights, err);
    if (status == DG_OK) status = rename_all(&weights, layout, &made, err);
    if (status == DG_OK)
        status =
            dg_safetensors_write(path, made.item, made.count, &(struct dg_safetensors_meta){"format", "pt"}, 1, err);
    free(made.item);
    free(made.name);
    dg_export_weights_free(&weights);
    return status;
}

static enum dg_status write_files(const struct dg_export_source *source, const struct dg_architecture *network,
                                  struct dg_new_folder *folder, struct dg_error *err)
{
    bool vit = network->kind == DG_ARCHITECTURE_VIT;
    char path[DG_MAX_PATH], usage[512];
    snprintf(usage, sizeof usage,
             "from transformers import AutoImageProcessor, AutoModel\n\n"
             "processor = AutoImageProcessor.from_pretrained('FOLDER')\n"
             "model = AutoModel.from_pretrained('FOLDER'%s)\n"
             "features = model(**processor(image, return_tensors='pt')).%s\n",
             vit ? ", add_pooling_layer=False" : "", vit ? "last_hidden_state[:, 0]" : "pooler_output.flatten(1)");
    const struct dg_export_card card = {.library = "transformers", .usage = usage};
    DG_TRY(write_weights(source, vit, dg_new_folder_file(folder, "model.safetensors", path), err));
    DG_TRY(dg_export_json(folder, "config.json", vit ? vit_config(network) : resnet_config(network), err));
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
           network.kind == DG_ARCHITECTURE_VIT ? ", add_pooling_layer=False" : "");
    return DG_OK;
}
