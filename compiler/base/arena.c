#include "compiler/base/arena.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 256 * 1024, ALIGN = 16 };

struct block {
    struct block *next;
    size_t used, size; /* of the bytes after this header */
    _Alignas(ALIGN) unsigned char bytes[];
};

struct dg_arena {
    struct block *blocks; /* newest first */
    struct block *spare;  /* released, and zeroed: clearing a block is cheaper than fresh pages */
    jmp_buf *out_of_memory;
};

struct dg_arena *dg_arena_create(jmp_buf *out_of_memory)
{
    struct dg_arena *arena = calloc(1, sizeof *arena);
    if (arena) arena->out_of_memory = out_of_memory;
    return arena;
}

static void free_blocks(struct block *block)
{
    for (struct block *next; block; block = next) {
        next = block->next;
        free(block);
    }
}

void dg_arena_free(struct dg_arena *arena)
{
    if (!arena) return;
    free_blocks(arena->blocks);
    free_blocks(arena->spare);
    free(arena);
}

struct dg_arena_mark dg_arena_mark(const struct dg_arena *arena)
{
    return (struct dg_arena_mark){arena->blocks, arena->blocks ? arena->blocks->used : 0};
}

void dg_arena_release(struct dg_arena *arena, struct dg_arena_mark mark)
{
    while (arena->blocks != mark.block) {
        struct block *block = arena->blocks;
        arena->blocks = block->next;
        memset(block->bytes, 0, block->used);
        block->used = 0;
        block->next = arena->spare;
        arena->spare = block;
    }
    if (!arena->blocks) return;
    memset(arena->blocks->bytes + mark.used, 0, arena->blocks->used - mark.used);
    arena->blocks->used = mark.used;
}

/* A zeroed block for `bytes`: a released one, or a new one. */
static struct block *take_block(struct dg_arena *arena, size_t bytes)
{
    for (struct block **at = &arena->spare; *at; at = &(*at)->next)
        if ((*at)->size >= bytes) {
            struct block *block = *at;
            *at = block->next;
            return block;
        }
    struct block *block = calloc(1, sizeof *block + bytes);
    if (!block) longjmp(*arena->out_of_memory, 1);
    block->size = bytes;
    return block;
}

void *dg_arena_alloc(struct dg_arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2) longjmp(*arena->out_of_memory, 1);
    size = (size + ALIGN - 1) / ALIGN * ALIGN;
    struct block *block = arena->blocks;
    if (!block || block->size - block->used < size) {
        block = take_block(arena, size > BLOCK ? size : BLOCK);
        block->next = arena->blocks;
        arena->blocks = block;
    }
    void *result = block->bytes + block->used;
    block->used += size;
    return result;
}

char *dg_arena_strndup(struct dg_arena *arena, const char *text, size_t size)
{
    char *copy = dg_arena_alloc(arena, size + 1);
    memcpy(copy, text, size);
    return copy;
}

char *dg_arena_strdup(struct dg_arena *arena, const char *text) { return dg_arena_strndup(arena, text, strlen(text)); }

char *dg_arena_vprintf(struct dg_arena *arena, const char *format, va_list args)
{
    va_list copy;
    va_copy(copy, args);
    int size = vsnprintf(NULL, 0, format, args);
    char *text = dg_arena_alloc(arena, size < 0 ? 1 : (size_t)size + 1);
    if (size >= 0) vsnprintf(text, (size_t)size + 1, format, copy);
    va_end(copy);
    return text;
}

char *dg_arena_printf(struct dg_arena *arena, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = dg_arena_vprintf(arena, format, args);
    va_end(args);
    return text;
}

void *dg_arena_grow(struct dg_arena *arena, void *array, size_t count, size_t *capacity, size_t element)
{
    if (count < *capacity) return array;
    size_t bigger = *capacity ? *capacity * 2 : 16;
    if (bigger > SIZE_MAX / 2 / element) longjmp(*arena->out_of_memory, 1);
    void *moved = dg_arena_alloc(arena, bigger * element);
    if (count) memcpy(moved, array, count * element);
    *capacity = bigger;
    return moved;
}
