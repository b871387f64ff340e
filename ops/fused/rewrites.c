/* The table of rewrites. */
#include "ops/op_rewrite.h"

#define DG_REWRITE(name) extern const struct dg_rewrite name;
#include "ops/fused/rewrite_list.h"
#undef DG_REWRITE

static const struct dg_rewrite *const table[] = {
#define DG_REWRITE(name) &name,
#include "ops/fused/rewrite_list.h"
#undef DG_REWRITE
};

int dg_rewrite_count(void) { return (int)(sizeof table / sizeof table[0]); }

const struct dg_rewrite *dg_rewrite_at(int index)
{
    return index >= 0 && index < dg_rewrite_count() ? table[index] : NULL;
}
