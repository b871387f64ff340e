/* Folders that are either complete or absent: they are written under another name beside and renamed. */
#ifndef DG_RUNTIME_EXPORT_FOLDER_H
#define DG_RUNTIME_EXPORT_FOLDER_H

#include "ops/base/base.h"
#include "runtime/base/path.h"

struct dg_new_folder {
    char path[DG_MAX_PATH], temporary[DG_MAX_PATH];
};

/* DG_ERR_USAGE: there is a file of that name, or a folder that is not empty. */
enum dg_status dg_new_folder_open(const char *path, struct dg_new_folder *folder, struct dg_error *err);
/* The path of a file in the folder while it is written; valid until the next call. */
const char *dg_new_folder_file(struct dg_new_folder *folder, const char *name, char path[DG_MAX_PATH]);
/* Writes a file of text. */
enum dg_status dg_new_folder_write(struct dg_new_folder *folder, const char *name, const char *text,
                                   struct dg_error *err);
/* Gives the folder its name. */
enum dg_status dg_new_folder_commit(struct dg_new_folder *folder, struct dg_error *err);
/* Removes what was written; does nothing after a commit. */
void dg_new_folder_abandon(struct dg_new_folder *folder);

#endif
