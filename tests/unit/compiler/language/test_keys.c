/* The tables of keys: what all that reads them rests on. */
#include "compiler/language/recipe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct dg_key *find(const struct dg_key *keys, const char *path, size_t length)
{
    for (; keys->path; keys++)
        if (strlen(keys->path) == length && !strncmp(keys->path, path, length)) return keys;
    return NULL;
}

/* Each key is there once, behind the mapping it is in, and says what it is. */
static void check_table(const struct dg_key *keys)
{
    for (const struct dg_key *key = keys; key->path; key++) {
        if (find(keys, key->path, strlen(key->path)) != key) fail_msg("%s is there twice", key->path);
        if (!key->doc || key->doc[strlen(key->doc) - 1] != '.') fail_msg("%s says no sentence", key->path);
        const char *dot = strrchr(key->path, '.');
        const struct dg_key *group = dot ? find(keys, key->path, (size_t)(dot - key->path)) : NULL;
        if (dot && (!group || group > key)) fail_msg("%s is not behind its mapping", key->path);
        if (key->required && (key->value || key->derive)) fail_msg("%s is required and has a default", key->path);
        if (key->derive && !key->derived) fail_msg("%s does not say what its default is", key->path);
        if (key->kind == DG_KEY_ARGUMENT && !find(keys, group->path, strlen(group->path)))
            fail_msg("%s is no argument of a module", key->path);
    }
}

static void test_tables(void **state)
{
    (void)state;
    check_table(dg_train_keys);
    check_table(dg_probe_keys);
}

/* What an optimiser reads is a key of its own, with a default in its range, or one that every recipe has. */
static void test_optimizers(void **state)
{
    (void)state;
    struct dg_arena *arena = NULL;
    jmp_buf out_of_memory;
    if (setjmp(out_of_memory)) fail_msg("out of memory");
    arena = dg_arena_create(&out_of_memory);
    const struct dg_op *op;
    int count = 0;
    for (; (op = dg_optimizer_at(count)); count++) {
        const struct dg_key *own = dg_optimizer_keys(arena, op);
        for (const struct dg_step_input *in = op->step_inputs; in->source != DG_STEP_END; in++) {
            if (in->source != DG_STEP_CONTROL && in->source != DG_STEP_AVERAGE && in->source != DG_STEP_FREEZE &&
                in->source != DG_STEP_RATE)
                continue;
            const char *dot = strrchr(in->name, '.');
            size_t length = dot && dot[1] >= '0' && dot[1] <= '9' ? (size_t)(dot - in->name) : strlen(in->name);
            if (!find(in->value ? own : dg_train_keys, in->name, length))
                fail_msg("%s reads %s, which is no key", op->name, in->name);
            if (in->value && (strncmp(in->name, "optim.", 6) || !in->doc))
                fail_msg("%s: %s is no documented key of optim", op->name, in->name);
        }
    }
    assert_true(count >= 3);
    dg_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tables), cmocka_unit_test(test_optimizers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
