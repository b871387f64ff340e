/* Names of files, classes and tensors as they are: any bytes but zero. How they are written into lists and messages, and which
 * of them people take for the same. */
#ifndef DG_RUNTIME_BASE_NAME_H
#define DG_RUNTIME_BASE_NAME_H

#include "ops/base/base.h"

#include <stdio.h>

/* Bytes of the UTF-8 character at `text`, in its shortest form and no surrogate; 0: it is none. */
int dg_utf8_size(const char *text);

/* Room for a name of `length` bytes, escaped. */
#define DG_NAME_ESCAPED(length) (4 * (length) + 1)

/* Writes `name` on one line of valid UTF-8: a backslash as \\, tab, line feed and carriage return as \t, \n and \r,
 * other control characters and bytes that are no UTF-8 as \xHH. What does not fit into `size` is cut off, before a
 * character. Returns `text`. */
const char *dg_name_escape(const char *name, char *text, size_t size);
/* The whole name, so escaped. The caller frees it; NULL: out of memory. */
char *dg_name_escaped(const char *name);
/* Writes the name, so escaped. */
void dg_name_write(FILE *out, const char *name);

/* The inverse, in place. False: a backslash that begins none of these. */
bool dg_name_unescape(char *text);

/* The name in quotes, with every byte that is not ASCII as \xHH: shows in what two names differ that look the same.
 * Returns `text`. */
const char *dg_name_spell(const char *name, char *text, size_t size);

/* What a name is but for case, Unicode's composed and decomposed letters, and blanks at the ends: people take names of
 * the same key for one name. The caller frees it; NULL: out of memory. A build without libunistring knows of case in
 * ASCII and of no forms. */
char *dg_name_key(const char *name);

/* What follows `prefix` in `name`; NULL: the name begins otherwise. */
const char *dg_name_after(const char *name, const char *prefix);

#endif
