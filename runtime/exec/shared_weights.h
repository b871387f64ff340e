/* The parameters and packed weights that sessions of one network have in common, in memory once: sessions of plans that were
 * made of one description for images of several sizes, with the weights of one file. A session takes what is there of
 * its own by a key, which says what lies in the bytes, and adds the rest. What no session uses any more is freed.
 * For sessions that are opened, run and closed one after the other, not in several threads. */
#ifndef DG_RUNTIME_EXEC_SHARED_WEIGHTS_H
#define DG_RUNTIME_EXEC_SHARED_WEIGHTS_H

#include "runtime/plan/view.h"

struct dg_shared_weights;
/* A region of memory with weights, and how many uses there are of it. */
struct dg_shared_block;

/* *shared is NULL on failure: DG_ERR_MEMORY. */
enum dg_status dg_shared_weights_open(struct dg_shared_weights **shared, struct dg_error *err);
/* After the sessions that were opened with it. NULL is fine. */
void dg_shared_weights_close(struct dg_shared_weights *shared);
int64_t dg_shared_weights_bytes(const struct dg_shared_weights *shared);

/* The rest is for sessions. */

/* Key of a parameter of an entry: its name, type and shape, and of a position table the grid, to which tables are
 * resized when they are read. */
uint64_t dg_shared_parameter_key(const struct dg_plan *plan, const struct dg_plan_entry *entry, uint32_t tensor);
/* Finds the weights with that key and adds a use of their block; NULL: there are none. */
struct dg_shared_block *dg_shared_weights_find(struct dg_shared_weights *shared, uint64_t key, void **weights);
/* Adds a block with one use: `memory` of dg_region_map, which becomes the block's. NULL: out of memory; it stays the
 * caller's. */
struct dg_shared_block *dg_shared_weights_add(struct dg_shared_weights *shared, void *memory, int64_t bytes);
/* Lets the weights at `weights`, in that block, be found from now on. DG_ERR_MEMORY. */
enum dg_status dg_shared_weights_name(struct dg_shared_weights *shared, struct dg_shared_block *block, uint64_t key,
                                      void *weights, struct dg_error *err);
/* Ends a use. The last one frees the block and what is in it is not found any more. */
void dg_shared_weights_release(struct dg_shared_weights *shared, struct dg_shared_block *block);

#endif
