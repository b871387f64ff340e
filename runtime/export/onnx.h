/* Exports a network with its weights as an ONNX file, from the evaluation entry of a plan. */
#ifndef DG_RUNTIME_EXPORT_ONNX_H
#define DG_RUNTIME_EXPORT_ONNX_H

#include "runtime/export/source.h"

/* Writes the file: input `images` f32 [batch, 3, height, width], normalised pixels; output `features` f32 [batch, ...];
 * opset DG_ONNX_OPSET; any batch. How images become pixels is in the model's metadata. Parameters have their names, those
 * that other arithmetic needs otherwise (transposed, batch norm folded in, position tables resized) a name behind it.
 * Everything computes in f32, also where the plan does not. Above 2 GiB the weights
 * are in a file beside it, PATH.data. DG_ERR_UNSUPPORTED: an op of the entry has no form in ONNX, which is named. Nothing is written on
 * failure. */
enum dg_status dg_export_onnx(const struct dg_export_source *source, const char *path, struct dg_error *err);

#endif
