/* The smallest run there is: graphs/demo.yaml made tiny, pictures for it, and recorded crops. */
#ifndef DG_TESTS_TINY_H
#define DG_TESTS_TINY_H

#include "runtime/formats/safetensors.h"
#include "tests/support/check.h"
#include "tests/support/files.h"

enum { TINY_BATCH = 4, TINY_VIEWS = 4, TINY_GLOBAL = 32, TINY_LOCAL = 16 };

/* Settings that make it tiny: two blocks of width 32, two global and two local crops, drop path on, features of 7 images at a time. */
enum { TINY_SETS = 13 };
extern const char *const dg_tiny_sets[TINY_SETS];

/* Writes the plan, of a step that fits into `memory` bytes (0: any); `more` (may be NULL) goes on top. */
void dg_tiny_compile_within(const char *path, const char *more, int64_t memory);
/* The same for several processes; 0: for one. */
void dg_tiny_compile_ranks(const char *path, const char *more, int64_t ranks);

void dg_tiny_compile(const char *path, const char *more);

/* Pictures 00 to `count` - 1 in a new folder, PNG and JPEG, of many sizes. */
void dg_tiny_pictures(const char *folder, int count);

/* A run's folder with the plan's network untrained: no step is made. */
void dg_tiny_run(const char *plan, const char *pictures, const char *run);

/* Recorded crops: step{S}.crop{V}. */
struct dg_tiny_crops {
    struct dg_safetensors_item *item;
    char (*name)[32];
    int count;
};

struct dg_tiny_crops dg_tiny_crops(int steps);

void dg_tiny_crops_free(struct dg_tiny_crops *crops);

#endif
