/* What the folders for other libraries have in common: how they are made, and text files that say what the network is. */
#ifndef DG_RUNTIME_EXPORT_CARD_H
#define DG_RUNTIME_EXPORT_CARD_H

#include "runtime/data/eval_source.h"
#include "runtime/export/architecture.h"
#include "runtime/export/folder.h"
#include "runtime/export/source.h"

#include <jansson.h>

/* How images become the entry's input. */
struct dg_eval_crop dg_export_crop(const struct dg_export_source *source);

/* Writes `object` as a file of the folder, and frees it; NULL: memory was out when it was made. */
enum dg_status dg_export_json(struct dg_new_folder *folder, const char *name, json_t *object, struct dg_error *err);

/* What differs between libraries. */
struct dg_export_library {
    /* DG_ERR_UNSUPPORTED: the library has no such network. */
    enum dg_status (*check)(const struct dg_architecture *network, struct dg_error *err);
    enum dg_status (*write)(const struct dg_export_source *source, const struct dg_architecture *network,
                            struct dg_new_folder *folder, struct dg_error *err);
};

/* Recognises the network and writes the library's files of it to the folder at `path`, which is then complete, or absent on
 * failure. Sets *network and folder->path, for messages. */
enum dg_status dg_export_folder(const struct dg_export_source *source, const char *path,
                                const struct dg_export_library *library, struct dg_architecture *network,
                                struct dg_new_folder *folder, struct dg_error *err);

struct dg_export_card {
    const char *library; /* "timm", as the Hub calls it */
    const char *usage;   /* lines of Python */
};

/* Writes README.md: the Hub's metadata, the network, where its weights are from, how images are prepared, how it is opened. */
enum dg_status dg_export_card(struct dg_new_folder *folder, const struct dg_export_source *source,
                              const struct dg_architecture *network, const struct dg_export_card *card,
                              struct dg_error *err);

#endif
