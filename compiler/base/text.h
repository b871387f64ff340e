/* A text that grows in the arena. */
#ifndef DG_COMPILER_BASE_TEXT_H
#define DG_COMPILER_BASE_TEXT_H

#include "compiler/base/arena.h"

struct dg_text {
    struct dg_arena *arena;
    char *text;
    size_t length, capacity;
};
void dg_text_add(struct dg_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
