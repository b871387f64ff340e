#include "runtime/layouts/torch_optimizer.h"

#include "runtime/base/name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_STATE = 64, MAX_NUMBER = 64 };

/* A group of the optimiser: the student's parameters as the published code orders them. */
struct group {
    int *entry; /* of the weight file */
    int count;
};

struct reader {
    struct dg_weight_file *file;
    const struct dg_pickle_value *state;
    bool adds; /* false: it looks whether all fits */
    int added;
    const char *why;
    struct dg_error *err;
};

static bool is_dict(const struct dg_pickle_value *value) { return value && value->kind == DG_PICKLE_DICT; }

static bool ends(const char *name, const char *suffix)
{
    size_t length = strlen(name), tail = strlen(suffix);
    return length >= tail && !strcmp(name + length - tail, suffix);
}

/* Weight decay is for what has two dimensions and no name in .bias, each group in the order of the modules. Buffers are no
 * parameters; a frozen weight_g is not the optimiser's. */
static void fill_groups(const struct dg_weight_file *file, struct group group[2], bool frozen_g)
{
    group[0].count = group[1].count = 0;
    for (int e = 0; e < dg_weight_file_count(file); e++) {
        const struct dg_safetensors_tensor *tensor = dg_weight_file_at(file, e);
        const char *name = tensor->name;
        if (!dg_name_after(name, "student.") || ends(name, ".running_mean") || ends(name, ".running_var") ||
            ends(name, ".num_batches_tracked") || (frozen_g && ends(name, "last_layer.weight_g")))
            continue;
        struct group *of = &group[ends(name, ".bias") || tensor->ndim == 1];
        of->entry[of->count++] = e;
    }
}

/* The keys of a group's parameters in "state"; NULL when there is no such group. */
static const struct dg_pickle_value *group_keys(const struct dg_pickle_value *groups, int64_t index)
{
    if (!groups || groups->kind != DG_PICKLE_LIST || index >= groups->list.count) return NULL;
    const struct dg_pickle_value *keys = dg_pickle_get(groups->list.item[index], "params");
    return keys && keys->kind == DG_PICKLE_LIST ? keys : NULL;
}

/* The state under an integer key, or NULL. */
static const struct dg_pickle_value *state_of(const struct dg_pickle_value *state, const struct dg_pickle_value *key)
{
    for (int64_t i = 0; i < state->list.count; i += 2) {
        const struct dg_pickle_value *k = state->list.item[i];
        if (k->kind == DG_PICKLE_INT && key->kind == DG_PICKLE_INT && k->i == key->i) return state->list.item[i + 1];
    }
    return NULL;
}

static bool same_shape(const struct dg_pickle_tensor *a, const struct dg_safetensors_tensor *b)
{
    return a->ndim == b->ndim && !memcmp(a->dim, b->dim, sizeof a->dim);
}

/* Adds a step count: an integer, or a tensor of one number, as newer versions have it. */
static enum dg_status add_step(struct reader *r, const struct dg_pickle_value *step, const char *name)
{
    if (step->kind == DG_PICKLE_INT) return dg_weight_file_add_number(r->file, name, step->i, r->err);
    if (step->kind != DG_PICKLE_TENSOR) return DG_OK;
    float real;
    struct dg_safetensors_tensor tensor;
    DG_TRY(dg_weight_file_add_tensor(r->file, name, step->tensor, r->err));
    int entry = dg_weight_file_count(r->file) - 1;
    if (dg_weight_file_at(r->file, entry)->bytes > sizeof(int64_t))
        return dg_fail(r->err, DG_ERR_INPUT, "a step count of the optimiser is not one number");
    DG_TRY(dg_weight_file_read(r->file, entry, &tensor, r->err));
    if (tensor.dtype == DG_SAFETENSORS_I64 && tensor.bytes == 8) return DG_OK;
    if (tensor.dtype != DG_SAFETENSORS_F32 || tensor.bytes != sizeof real)
        return dg_fail(r->err, DG_ERR_INPUT, "a step count of the optimiser is not one number");
    memcpy(&real, tensor.data, sizeof real);
    if (!(real >= 0 && real < 0x1p53f))
        return dg_fail(r->err, DG_ERR_INPUT, "a step count of the optimiser is %g", (double)real);
    dg_weight_file_set_number(r->file, entry, (int64_t)real);
    return DG_OK;
}

/* Reads the state of one parameter, entry `e` of the file. */
static enum dg_status read_state(struct reader *r, const struct dg_pickle_value *state, int e)
{
    static const struct {
        const char *theirs, *ours;
    } kinds[] = {{"exp_avg", "exp_avg"},
                 {"exp_avg_sq", "exp_avg_sq"},
                 {"momentum_buffer", "momentum"}, /* SGD */
                 {"mu", "momentum"}};             /* the published LARS */
    char name[2 * DG_LAYOUT_NAME];
    if (state->list.count > 2 * MAX_STATE) { /* it is searched many times */
        r->why = "it keeps too much of a parameter";
        return DG_OK;
    }
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        const struct dg_pickle_value *value = dg_pickle_get(state, kinds[k].theirs);
        if (!value || value->kind != DG_PICKLE_TENSOR) continue;
        if (!same_shape(value->tensor, dg_weight_file_at(r->file, e))) {
            r->why = "a moment has another shape than its parameter";
            return DG_OK;
        }
        snprintf(name, sizeof name, "optim.%s.%s", kinds[k].ours, dg_weight_file_at(r->file, e)->name);
        if (r->adds) DG_TRY(dg_weight_file_add_tensor(r->file, name, value->tensor, r->err));
        r->added++;
    }
    const struct dg_pickle_value *step = dg_pickle_get(state, "step");
    if (!step || (step->kind != DG_PICKLE_INT && step->kind != DG_PICKLE_TENSOR)) return DG_OK;
    snprintf(name, sizeof name, "optim.step.%s", dg_weight_file_at(r->file, e)->name);
    if (r->adds) DG_TRY(add_step(r, step, name));
    r->added++;
    return DG_OK;
}

static enum dg_status read_group(struct reader *r, const struct dg_pickle_value *keys, const struct group *group)
{
    for (int p = 0; p < group->count && !r->why; p++) {
        const struct dg_pickle_value *of = state_of(r->state, keys->list.item[p]);
        if (is_dict(of)) DG_TRY(read_state(r, of, group->entry[p]));
    }
    return DG_OK;
}

/* The optimiser numbers its parameters; the order of the groups says which number is which. */
static enum dg_status read_groups(struct reader *r, const struct dg_pickle_value *groups, struct group group[2])
{
    const struct dg_pickle_value *keys[2] = {group_keys(groups, 0), group_keys(groups, 1)};
    for (int frozen = 0; frozen < 2; frozen++) {
        fill_groups(r->file, group, frozen);
        if (keys[0] && group[0].count == keys[0]->list.count) break;
    }
    if (!is_dict(r->state) || !keys[0] || !keys[1] || keys[0]->list.count != group[0].count ||
        keys[1]->list.count != group[1].count)
        r->why = "its groups are not those of the published code";
    else if (r->state->list.count > 2 * DG_TENSOR_FILE_MAX)
        r->why = "it has too many entries";
    for (int adds = 0; adds < 2 && !r->why; adds++) {
        r->adds = adds;
        r->added = 0;
        for (int g = 0; g < 2; g++) DG_TRY(read_group(r, keys[g], &group[g]));
    }
    return DG_OK;
}

enum dg_status dg_torch_optimizer_add(struct dg_weight_file *file, int *added, const char **why, struct dg_error *err)
{
    const struct dg_pickle_value *object = dg_tensor_file_object(dg_weight_file_tensors(file)),
                                 *optimizer = object ? dg_pickle_get(object, "optimizer") : NULL;
    *added = 0;
    *why = NULL;
    if (!is_dict(optimizer)) return DG_OK;
    struct reader r = {.file = file, .state = dg_pickle_get(optimizer, "state"), .err = err};
    size_t most = (size_t)dg_weight_file_count(file) + 1;
    struct group group[2] = {{.entry = calloc(most, sizeof(int))}, {.entry = calloc(most, sizeof(int))}};
    enum dg_status status = group[0].entry && group[1].entry ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (status == DG_OK) status = read_groups(&r, dg_pickle_get(optimizer, "param_groups"), group);
    free(group[0].entry);
    free(group[1].entry);
    *why = r.why;
    *added = r.why ? 0 : r.added;
    return status;
}
