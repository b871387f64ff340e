#include "runtime/base/control_group.h"

#include <string.h>

enum { MAX_LINE = 1024, MAX_FOLDER = 2048 };

FILE *dg_control_group_file(const char *folder, const char *name)
{
    char path[MAX_FOLDER + 64];
    if (snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) return NULL;
    return fopen(path, "re");
}

int64_t dg_control_group_number(const char *folder, const char *name)
{
    FILE *file = dg_control_group_file(folder, name);
    long long value = -1;
    if (!file) return -1;
    if (fscanf(file, "%lld", &value) != 1) value = -1;
    fclose(file);
    return value;
}

/* Visits MOUNT/path, its parents, and MOUNT itself. In a container MOUNT often is the group, and `path` its name on the
 * host, which is not there. */
static void visit_upwards(const char *root, const char *mount, const char *path, enum dg_control_group_version version,
                          dg_control_group_visitor *visit, void *context)
{
    char folder[MAX_FOLDER];
    int top = snprintf(folder, sizeof folder, "%s%s", root, mount);
    if (top + (int)strlen(path) >= (int)sizeof folder) return;
    memcpy(folder + top, path, strlen(path) + 1);
    for (;;) {
        size_t length = strlen(folder);
        if (length > (size_t)top && folder[length - 1] == '/') {
            folder[length - 1] = 0;
            continue;
        }
        visit(context, version, folder);
        char *slash = strrchr(folder, '/');
        if (length <= (size_t)top || !slash) return;
        *slash = 0;
    }
}

/* True if `list`, names with commas between them, has `name`. */
static bool has_name(const char *list, const char *end, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = list; at < end;) {
        size_t size = strcspn(at, ",:");
        if (size == length && !memcmp(at, name, length)) return true;
        at += size + 1;
    }
    return false;
}

void dg_control_groups_visit(const char *root, const char *controller, dg_control_group_visitor *visit, void *context)
{
    char line[MAX_LINE], mount[MAX_LINE];
    snprintf(line, sizeof line, "%s/proc/self/cgroup", root);
    FILE *file = fopen(line, "re");
    while (file && fgets(line, sizeof line, file)) { /* "4:cpu,cpuacct:/a/b", and "0::/a/b" of version 2 */
        line[strcspn(line, "\n")] = 0;
        char *names = strchr(line, ':'), *path = names ? strchr(++names, ':') : NULL;
        if (!path) continue;
        *path++ = 0;
        if (!*names && !strncmp(line, "0:", 2)) {
            visit_upwards(root, "/sys/fs/cgroup", path, DG_CONTROL_GROUP_V2, visit, context);
            visit_upwards(root, "/sys/fs/cgroup/unified", path, DG_CONTROL_GROUP_V2, visit, context);
        } else if (has_name(names, path - 1, controller)) {
            snprintf(mount, sizeof mount, "/sys/fs/cgroup/%s", controller); /* also where it is mounted with others */
            visit_upwards(root, mount, path, DG_CONTROL_GROUP_V1, visit, context);
        }
    }
    if (file) fclose(file);
}

/* Lowers *cpus to what a group's quota allows: microseconds of CPU time in each period. */
static void visit_quota(void *context, enum dg_control_group_version version, const char *folder)
{
    double *cpus = context;
    long long quota = -1, period = -1;
    if (version == DG_CONTROL_GROUP_V2) {
        FILE *file = dg_control_group_file(folder, "cpu.max"); /* "150000 100000"; "max 100000" */
        if (file && fscanf(file, "%lld %lld", &quota, &period) != 2) quota = -1;
        if (file) fclose(file);
    } else {
        quota = dg_control_group_number(folder, "cpu.cfs_quota_us");
        period = dg_control_group_number(folder, "cpu.cfs_period_us");
    }
    if (quota <= 0 || period <= 0) return;
    double own = (double)quota / (double)period;
    if (!*cpus || own < *cpus) *cpus = own;
}

double dg_control_group_cpus(const char *root)
{
    double cpus = 0;
    dg_control_groups_visit(root, "cpu", visit_quota, &cpus);
    return cpus;
}
