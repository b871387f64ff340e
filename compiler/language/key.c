#include "compiler/language/key.h"

#include <string.h>

bool dg_key_is_knob(const struct dg_key *key) { return key->knob || key->kind >= DG_KEY_FLOAT; }

const struct dg_op *dg_optimizer_at(int index)
{
    for (int i = 0; i < dg_op_count(); i++)
        if (dg_op_at(i)->step_inputs && !index--) return dg_op_at(i);
    return NULL;
}

/* Does a control belong to a list, as optim.betas.1 does? *length is that of the list's name then. */
static bool is_element(const char *name, size_t *length)
{
    const char *dot = strrchr(name, '.');
    *length = dot ? (size_t)(dot - name) : 0;
    return dot && dot[1] >= '0' && dot[1] <= '9';
}

const struct dg_key *dg_optimizer_keys(struct dg_arena *arena, const struct dg_op *op)
{
    struct dg_key *keys = NULL;
    size_t count = 0, capacity = 0, length = 0;
    for (const struct dg_step_input *in = op->step_inputs; in->source != DG_STEP_END; in++) {
        if (in->source != DG_STEP_CONTROL || !in->value) continue;
        bool element = is_element(in->name, &length);
        struct dg_key *last = count ? &keys[count - 1] : NULL;
        if (element && last && strlen(last->path) == length && !strncmp(last->path, in->name, length)) {
            last->value = dg_arena_printf(arena, "%.*s, %s]", (int)strlen(last->value) - 1, last->value, in->value);
            last->doc = dg_arena_printf(arena, "%s, and %s", last->doc, in->doc);
            last->count++;
            continue;
        }
        keys = dg_arena_grow(arena, keys, count, &capacity, sizeof *keys);
        keys[count++] = (struct dg_key){.path = element ? dg_arena_strndup(arena, in->name, length) : in->name,
                                        .kind = element ? DG_KEY_LIST : DG_KEY_FLOAT,
                                        .value = element ? dg_arena_printf(arena, "[%s]", in->value) : in->value,
                                        .min = in->min,
                                        .max = in->max,
                                        .count = element,
                                        .doc = in->doc};
    }
    keys = dg_arena_grow(arena, keys, count, &capacity, sizeof *keys);
    keys[count] = (struct dg_key){0};
    return keys;
}

static const struct dg_key *find_key(const struct dg_key *keys, const char *path)
{
    while (keys->path && strcmp(keys->path, path)) keys++;
    return keys->path ? keys : NULL;
}

const struct dg_key *dg_optimizer_keys_of(struct dg_arena *arena, const struct dg_key *row)
{
    if (row->only) return dg_optimizer_keys(arena, dg_op_find(row->only));
    struct dg_key *all = NULL;
    size_t count = 0, capacity = 0;
    all = dg_arena_grow(arena, all, count, &capacity, sizeof *all); /* there is always a row that ends it */
    const struct dg_op *op, *other;
    for (int i = 0; (op = dg_optimizer_at(i)); i++)
        for (const struct dg_key *key = dg_optimizer_keys(arena, op); key->path; key++) {
            if (find_key(all, key->path)) continue;
            const char *names = op->name;
            for (int j = i + 1; (other = dg_optimizer_at(j)); j++)
                if (find_key(dg_optimizer_keys(arena, other), key->path))
                    names = dg_arena_printf(arena, "%s, %s", names, other->name);
            all[count] = *key;
            all[count++].doc = dg_arena_printf(arena, "%s (%s)", key->doc, names);
            all = dg_arena_grow(arena, all, count, &capacity, sizeof *all);
            all[count] = (struct dg_key){0};
        }
    return all;
}
