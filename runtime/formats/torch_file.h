/* Files of torch.save, without PyTorch: the zip form (since 1.6) and the stream form before it.
 *
 *   zip     NAME/data.pkl, the object's pickle; NAME/data/KEY, a storage's bytes, stored and not compressed
 *   stream  five pickles (magic number, version, system, object, list of keys), then for each key its storage: the
 *           number of elements in eight bytes, and the elements
 */
#ifndef DG_RUNTIME_FORMATS_TORCH_FILE_H
#define DG_RUNTIME_FORMATS_TORCH_FILE_H

#include "runtime/formats/pickle.h"

struct dg_torch_file;

/* Maps the file and reads its object, but not its storages. DG_ERR_INPUT says what is wrong with the file. */
enum dg_status dg_torch_open(const char *path, struct dg_torch_file **file, struct dg_error *err);
/* The same with a file in the caller's memory, which must outlive it. */
enum dg_status dg_torch_open_bytes(const void *bytes, size_t size, struct dg_torch_file **file, struct dg_error *err);
void dg_torch_close(struct dg_torch_file *file); /* NULL is fine */

/* What was saved; lives until dg_torch_close. */
const struct dg_pickle_value *dg_torch_object(const struct dg_torch_file *file);
const struct dg_pickle *dg_torch_pickle(const struct dg_torch_file *file);
const char *dg_torch_form(const struct dg_torch_file *file); /* "zip" or "stream" */
uint64_t dg_torch_size(const struct dg_torch_file *file);    /* bytes of the file; all storages together have fewer */

/* All elements of a storage, little-endian, at any alignment. They stay in memory until released (or closed). */
enum dg_status dg_torch_storage(struct dg_torch_file *file, int storage, const void **bytes, struct dg_error *err);
void dg_torch_release(struct dg_torch_file *file, int storage);

#endif
