/* Exports a network as a folder of timm (and of the Hugging Face Hub): timm.create_model('local-dir:DIR', pretrained=True). */
#ifndef DG_RUNTIME_EXPORT_TIMM_H
#define DG_RUNTIME_EXPORT_TIMM_H

#include "runtime/export/source.h"

/* Writes model.safetensors, config.json (architecture, arguments, how images are prepared) and README.md, a model card, to a
 * new folder. DG_ERR_UNSUPPORTED: timm has no such network. DG_ERR_USAGE: the folder is not new. The folder is complete or absent. */
enum dg_status dg_export_timm(const struct dg_export_source *source, const char *path, struct dg_error *err);

#endif
