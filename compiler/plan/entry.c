#include "compiler/plan/entry.h"

struct dg_slots dg_no_slots(void)
{
    struct dg_slots slots;
    for (int s = 0; s < DG_SLOTS; s++) slots.of[s] = DG_NO_VALUE;
    return slots;
}

int dg_slots_list(const struct dg_slots *slots, int first, int end, dg_value list[DG_SLOTS])
{
    int count = 0;
    for (int s = first; s < end; s++)
        if (slots->of[s] != DG_NO_VALUE) list[count++] = slots->of[s];
    return count;
}
