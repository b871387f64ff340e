#include "runtime/layouts/groups.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void dg_groups_add(struct dg_groups *groups, const char *name, int components)
{
    const char *end = name;
    for (int c = 0; c < components && end && *end; c++) end = strchr(c ? end + 1 : end, '.');
    int length = end ? (int)(end - name) : (int)strlen(name), g = 0;
    if (length > 60) length = 60;
    groups->all++;
    while (g < groups->used &&
           ((int)strlen(groups->name[g]) != length || strncmp(groups->name[g], name, (size_t)length)))
        g++;
    if (g == DG_GROUPS_MAX) return;
    if (g == groups->used) snprintf(groups->name[groups->used++], sizeof groups->name[0], "%.*s", length, name);
    groups->count[g]++;
}

const char *dg_groups_text(struct dg_groups *groups)
{
    size_t used = 0;
    int64_t listed = 0;
    groups->text[0] = 0;
    for (int g = 0; g < groups->used && used < sizeof groups->text; g++) {
        used += (size_t)snprintf(groups->text + used, sizeof groups->text - used, "%s%s (%" PRId64 ")", g ? ", " : "",
                                 groups->name[g], groups->count[g]);
        listed += groups->count[g];
    }
    if (listed < groups->all && used < sizeof groups->text)
        snprintf(groups->text + used, sizeof groups->text - used, " and %" PRId64 " others", groups->all - listed);
    return groups->text;
}
