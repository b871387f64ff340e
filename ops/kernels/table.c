#include "ops/kernels/kernels.h"

#define DG_TEXT_EXPAND(x) #x
#define DG_TEXT(x) DG_TEXT_EXPAND(x)

extern const struct dg_kernel_table DG_K(kernel_table);
const struct dg_kernel_table DG_K(kernel_table) = {
#define DG_KERNEL(name, ...) .name = DG_K(name),
#include "ops/kernels/list.h"
#undef DG_KERNEL
    .level = DG_TEXT(DG_KERNEL_LEVEL),
};
