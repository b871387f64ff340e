#include "compiler/base/text.h"

#include <string.h>

void dg_text_add(struct dg_text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const char *piece = dg_arena_vprintf(text->arena, format, args);
    va_end(args);
    size_t length = strlen(piece);
    while (text->length + length + 1 > text->capacity)
        text->text = dg_arena_grow(text->arena, text->text, text->capacity, &text->capacity, 1);
    memcpy(text->text + text->length, piece, length + 1);
    text->length += length;
}
