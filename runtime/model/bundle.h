/* Bundles: one file with a plan and the weights that it computes with, to hand on. It is a safetensors file:
 *
 *   dinograph.plan                     u8 [bytes]: the plan's file, 8-byte aligned, to be used where it is mapped
 *   dinograph.head.plan                likewise, of a classifier's features, where they are other ones
 *   cls_token, blocks.0...             the backbone's parameters, as the plan has them, under the official names
 *   dinograph.head.weight, .bias       f32 [classes, dim], [classes]: a classifier, if there is one
 *
 * with the metadata
 *
 *   dinograph.bundle                   version of this format
 *   network.*, computes.*, set.crops.* facts of the network and of how it sees images (runtime/state/facts.h)
 *   images.exif, images.pillow, set.entries.features.resize   how images are read and resized
 *   dinograph.head.classes, .resize    the classifier's, if it says them
 *   crc32, crc32.*                     checksums (runtime/formats/checksum.h)
 *
 * Optimiser, student and position are not in it. The same arguments make the same bytes. As a file of weights it is
 * one of a bare backbone. */
#ifndef DG_RUNTIME_MODEL_BUNDLE_H
#define DG_RUNTIME_MODEL_BUNDLE_H

#include "runtime/model/classifier.h"

struct dg_bundle;

/* Whether the file says at its beginning that it is a bundle, of whatever version, and be it damaged behind that. */
bool dg_is_bundle(const char *path);

/* Maps the file, and checks version and metadata. Its weights are checked where they are loaded. DG_ERR_IO,
 * DG_ERR_INPUT (no bundle, damaged, of another version), DG_ERR_MEMORY. On failure *bundle is NULL. */
enum dg_status dg_bundle_open(const char *path, struct dg_bundle **bundle, struct dg_error *err);
void dg_bundle_close(struct dg_bundle *bundle); /* NULL is fine */

/* DG_BUNDLE_HEAD: of the classifier's features. */
enum dg_bundle_plan { DG_BUNDLE_NETWORK, DG_BUNDLE_HEAD };

/* Opens a plan in the mapped file, where it stays until the bundle is closed. Errors are dg_plan_open's; DG_ERR_INPUT:
 * there is no head. */
enum dg_status dg_bundle_open_plan(const struct dg_bundle *bundle, enum dg_bundle_plan which, struct dg_plan *plan,
                                   struct dg_error *err);

/* A value of its metadata; NULL: there is none. */
const char *dg_bundle_fact(const struct dg_bundle *bundle, const char *key);

/* Its classifier, which is empty (no classes) where there is none. DG_ERR_INPUT: it is damaged. Free it, whatever the
 * status. */
enum dg_status dg_bundle_read_classifier(const struct dg_bundle *bundle, struct dg_classifier *classifier,
                                         struct dg_error *err);

/* What a bundle is made of. */
struct dg_bundle_parts {
    const struct dg_session *session; /* of the entry features, with the weights, of the network's plan */
    const struct dg_knobs *knobs;     /* of that plan: pixels and sizes */
    struct dg_image_rules rules;
    const struct dg_classifier *classifier; /* NULL: none */
    const struct dg_session *head;          /* likewise, of the classifier's features; may be `session` */
};

/* Writes the file, which is complete or absent. DG_ERR_UNSUPPORTED: the two plans, or two entries of one, want other
 * weights. DG_ERR_IO, DG_ERR_MEMORY. */
enum dg_status dg_bundle_write(const char *path, const struct dg_bundle_parts *parts, struct dg_error *err);

#endif
