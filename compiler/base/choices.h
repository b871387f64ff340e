/* What there is in place of a word that is none, for error messages. */
#ifndef DG_COMPILER_BASE_CHOICES_H
#define DG_COMPILER_BASE_CHOICES_H

#include "compiler/base/arena.h"

/* "; did you mean out?", of the nearest candidate; "" where none is near. `candidate(context, i)` is the i-th of `count`, or NULL. The
 * text is in the arena, like those of the others. */
const char *dg_did_you_mean(struct dg_arena *arena, const char *word,
                            const char *(*candidate)(const void *context, int index), const void *context, int count);
/* The end of a message about `word`: "; did you mean out? It has out, bias and init", with the nearest of the candidates first;
 * without the question where none is near, and "" where there is none. `has` is "it has" or "there are". */
const char *dg_choices(struct dg_arena *arena, const char *has, const char *word,
                       const char *(*candidate)(const void *context, int index), const void *context, int count);
/* The same of ops, of which only the nearest are named, and what lists all. */
const char *dg_op_choices(struct dg_arena *arena, const char *word,
                          const char *(*candidate)(const void *context, int index), int count);

#endif
