#include "compiler/base/choices.h"

#include "compiler/base/text.h"
#include "ops/base/base.h"

#include <ctype.h>

/* Names that are left; the nearest is taken out first. */
struct left {
    const char **name;
    int count;
};

static const char *name_at(const void *context, int index) { return ((const struct left *)context)->name[index]; }

/* The place of the least distance, the first of several. */
static int nearest(const struct left *left, const char *word)
{
    int best = -1, least = 0;
    for (int i = 0; i < left->count; i++) {
        int distance = left->name[i] ? dg_edit_distance(word, left->name[i]) : 0;
        if (left->name[i] && (best < 0 || distance < least)) {
            best = i;
            least = distance;
        }
    }
    return best;
}

/* `most` names. */
static const char *choices(struct dg_text *text, const char *has, const char *word, struct left *left, int most)
{
    int number = 0;
    for (int i = 0; i < left->count; i++) number += left->name[i] != NULL;
    if (!number) return "";
    const char *near = dg_nearest_name(word, name_at, left, left->count);
    if (number == 1 && *has == 't') has = "there is";
    if (near)
        dg_text_add(text, "; did you mean %s? %c%s ", near, toupper((unsigned char)*has), has + 1);
    else
        dg_text_add(text, "; %s ", has);
    for (int i, named = 0; named < most && (i = nearest(left, word)) >= 0; named++) {
        dg_text_add(text, "%s%s", !named ? "" : named == number - 1 ? " and " : ", ", left->name[i]);
        left->name[i] = NULL;
    }
    return text->text;
}

const char *dg_did_you_mean(struct dg_arena *arena, const char *word,
                            const char *(*candidate)(const void *context, int index), const void *context, int count)
{
    const char *near = dg_nearest_name(word, candidate, context, count);
    return near ? dg_arena_printf(arena, "; did you mean %s?", near) : "";
}

static struct left left_of(struct dg_arena *arena, const char *(*candidate)(const void *context, int index),
                           const void *context, int count)
{
    struct left left = {dg_arena_alloc(arena, ((size_t)count + 1) * sizeof *left.name), count};
    for (int i = 0; i < count; i++) left.name[i] = candidate(context, i);
    return left;
}

const char *dg_choices(struct dg_arena *arena, const char *has, const char *word,
                       const char *(*candidate)(const void *context, int index), const void *context, int count)
{
    struct left left = left_of(arena, candidate, context, count);
    return choices(&(struct dg_text){.arena = arena}, has, word, &left, count);
}

const char *dg_op_choices(struct dg_arena *arena, const char *word,
                          const char *(*candidate)(const void *context, int index), int count)
{
    enum { NEAREST = 8 };
    struct left left = left_of(arena, candidate, NULL, count);
    struct dg_text text = {.arena = arena};
    choices(&text, "there are", word, &left, NEAREST);
    dg_text_add(&text, " and others, which dinoc --ops lists");
    return text.text;
}
