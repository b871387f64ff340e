/* All memory of one compile: allocations live until the arena is freed, so compiler code has no other frees.
 * An allocation never returns NULL: when memory runs out, the arena jumps back to the handler that dg_arena_create was
 * given (the top of the compile), which reports it and frees the arena. */
#ifndef DG_COMPILER_BASE_ARENA_H
#define DG_COMPILER_BASE_ARENA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

struct dg_arena;

struct dg_arena *dg_arena_create(jmp_buf *out_of_memory);  /* NULL: out of memory already */
void dg_arena_free(struct dg_arena *arena);                /* NULL is fine */
void *dg_arena_alloc(struct dg_arena *arena, size_t size); /* zeroed, 16-byte aligned */
/* A release frees all that was allocated since the mark was taken. */
struct dg_arena_mark {
    void *block;
    size_t used;
};
struct dg_arena_mark dg_arena_mark(const struct dg_arena *arena);
void dg_arena_release(struct dg_arena *arena, struct dg_arena_mark mark);
char *dg_arena_strdup(struct dg_arena *arena, const char *text);
char *dg_arena_strndup(struct dg_arena *arena, const char *text, size_t size);
char *dg_arena_printf(struct dg_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *dg_arena_vprintf(struct dg_arena *arena, const char *format, va_list args);
/* An array of `count` elements with room for one more; moved and doubled when full. Update *capacity goes with it. */
void *dg_arena_grow(struct dg_arena *arena, void *array, size_t count, size_t *capacity, size_t element);

#endif
