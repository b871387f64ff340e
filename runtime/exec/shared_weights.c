#include "runtime/exec/shared_weights.h"

#include "runtime/base/memory.h"

#include <stdlib.h>
#include <string.h>

struct dg_shared_block {
    void *memory;
    int64_t bytes;
    int uses;
};

struct named {
    uint64_t key;
    struct dg_shared_block *block;
    void *weights;
};

struct dg_shared_weights {
    struct named *named;
    int64_t count, bytes; /* bytes: of all blocks */
};

enum dg_status dg_shared_weights_open(struct dg_shared_weights **shared, struct dg_error *err)
{
    *shared = calloc(1, sizeof **shared);
    return *shared ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
}

void dg_shared_weights_close(struct dg_shared_weights *shared)
{
    if (!shared) return;
    free(shared->named);
    free(shared);
}

int64_t dg_shared_weights_bytes(const struct dg_shared_weights *shared) { return shared->bytes; }

uint64_t dg_shared_parameter_key(const struct dg_plan *plan, const struct dg_plan_entry *entry, uint32_t tensor)
{
    const struct dg_plan_tensor *parameter = &plan->tensor[tensor];
    const char *name = dg_plan_string(plan, parameter->name);
    int64_t grid[2] = {0};
    dg_plan_position_grid(plan, entry, tensor, grid);
    uint64_t key = dg_fnv1a(DG_FNV_BASIS, name, strlen(name) + 1);
    key = dg_fnv1a(key, &parameter->dtype, sizeof parameter->dtype);
    key = dg_fnv1a(key, parameter->dim, sizeof parameter->dim);
    return dg_fnv1a(key, grid, sizeof grid);
}

struct dg_shared_block *dg_shared_weights_find(struct dg_shared_weights *shared, uint64_t key, void **weights)
{
    for (int64_t i = 0; i < shared->count; i++) {
        if (shared->named[i].key != key) continue;
        *weights = shared->named[i].weights;
        shared->named[i].block->uses++;
        return shared->named[i].block;
    }
    return NULL;
}

struct dg_shared_block *dg_shared_weights_add(struct dg_shared_weights *shared, void *memory, int64_t bytes)
{
    struct dg_shared_block *block = malloc(sizeof *block);
    if (!block) return NULL;
    *block = (struct dg_shared_block){memory, bytes, 1};
    shared->bytes += bytes;
    return block;
}

enum dg_status dg_shared_weights_name(struct dg_shared_weights *shared, struct dg_shared_block *block, uint64_t key,
                                      void *weights, struct dg_error *err)
{
    struct named *grown = realloc(shared->named, (size_t)(shared->count + 1) * sizeof *grown);
    if (!grown) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    shared->named = grown;
    grown[shared->count++] = (struct named){key, block, weights};
    return DG_OK;
}

void dg_shared_weights_release(struct dg_shared_weights *shared, struct dg_shared_block *block)
{
    if (--block->uses) return;
    int64_t left = 0;
    for (int64_t i = 0; i < shared->count; i++)
        if (shared->named[i].block != block) shared->named[left++] = shared->named[i];
    shared->count = left;
    shared->bytes -= block->bytes;
    dg_region_free(block->memory, block->bytes);
    free(block);
}
