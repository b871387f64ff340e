/* Calls of libdinograph, for the programs that are linked with it: they succeed, or fail with a status and a text. */
#ifndef DG_TESTS_LIBRARY_H
#define DG_TESTS_LIBRARY_H

#include "runtime/dinograph.h"

void ok(dinograph_status status);
void fails(dinograph_status got, dinograph_status want, const char *text);

#endif
