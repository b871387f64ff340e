/* Exports a network as a folder of transformers (and of the Hugging Face Hub): AutoModel.from_pretrained('DIR'). */
#ifndef DG_RUNTIME_EXPORT_TRANSFORMERS_H
#define DG_RUNTIME_EXPORT_TRANSFORMERS_H

#include "runtime/export/source.h"

/* Writes model.safetensors, config.json, preprocessor_config.json and README.md, a model card, to a new folder: of a ViTModel, whose
 * features are last_hidden_state[:, 0], or a ResNetModel, whose are pooler_output. DG_ERR_UNSUPPORTED: transformers has no
 * such network. DG_ERR_USAGE: the folder is not new. The folder is complete or absent. */
enum dg_status dg_export_transformers(const struct dg_export_source *source, const char *path, struct dg_error *err);

#endif
