/* Texts as protocol 0 of pickle has them: lines of printable characters, with escapes. */
#ifndef DG_RUNTIME_FORMATS_PICKLE_LINE_H
#define DG_RUNTIME_FORMATS_PICKLE_LINE_H

#include "ops/base/base.h"

/* Python 2's str, as repr() prints it: 'quoted', with \\, \', \n, \x41. Writes its bytes to out [length], and returns
 * how many; -1: it is none. */
int64_t dg_pickle_unquote(const char *line, int64_t length, char *out);

/* unicode, raw-unicode-escape: latin-1, with \u0041 and \U00000041. Writes it as UTF-8 to out [2 * length], and returns
 * its bytes; -1: it is none. */
int64_t dg_pickle_unescape(const char *line, int64_t length, char *out);

#endif
