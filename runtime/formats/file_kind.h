/* What a file is that is none of weights. */
#ifndef DG_RUNTIME_FORMATS_FILE_KIND_H
#define DG_RUNTIME_FORMATS_FILE_KIND_H

#include <stddef.h>

/* Says what the file that begins with these bytes is, and what to do with it: "a Git LFS pointer, not the file itself; get it
 * with git lfs pull". NULL: nothing that is known. */
const char *dg_file_kind(const void *bytes, size_t size);

#endif
