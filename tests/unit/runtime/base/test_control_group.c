/* The CPU quota of control groups, read from folders that look as systems do: version 1, version 2, both, containers. */
#include "runtime/base/control_group.h"
#include "tests/support/check.h"
#include "tests/support/files.h"

#include <sys/stat.h>

/* Writes root/path with all its folders. */
static void put(const char *root, const char *path, const char *text)
{
    char file[512];
    snprintf(file, sizeof file, "%s/%s", root, path);
    for (char *slash = strchr(file + strlen(root) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(file, 0777);
        *slash = '/';
    }
    write_file(file, text, strlen(text));
}

struct machine {
    const char *name, *cgroup; /* what /proc/self/cgroup says */
    const char *file[5][2];    /* below /sys/fs/cgroup */
    double cpus;
};

static const struct machine machines[] = {
    {"no control groups", NULL, {{0}}, 0},
    {"v2 without a quota", "0::/a/b\n", {{"a/b/cpu.max", "max 100000\n"}}, 0},
    {"v2, the own group's", "0::/a/b\n", {{"a/b/cpu.max", "150000 100000\n"}, {"a/cpu.max", "max 100000\n"}}, 1.5},
    {"v2, the parent's is less", "0::/a/b\n", {{"a/b/cpu.max", "400000 100000\n"}, {"a/cpu.max", "30000 10000\n"}}, 3},
    {"v2, the own is less", "0::/a/b\n", {{"a/b/cpu.max", "50000 100000\n"}, {"a/cpu.max", "300000 100000\n"}}, 0.5},
    {"v2, another group's", "0::/a/b\n", {{"a/c/cpu.max", "50000 100000\n"}, {"b/cpu.max", "50000 100000\n"}}, 0},
    {"v2, a container that sees its group as the top", "0::/\n", {{"cpu.max", "200000 100000\n"}}, 2},
    {"v2, a container that sees the host's path", "0::/docker/123\n", {{"cpu.max", "200000 100000\n"}}, 2},
    {"v1",
     "4:cpu,cpuacct:/x\n0::/\n",
     {{"cpu/x/cpu.cfs_quota_us", "250000\n"}, {"cpu/x/cpu.cfs_period_us", "100000\n"}},
     2.5},
    {"v1 without a quota",
     "4:cpu:/x\n",
     {{"cpu/x/cpu.cfs_quota_us", "-1\n"}, {"cpu/x/cpu.cfs_period_us", "100000\n"}},
     0},
    {"v1, a parent's",
     "9:memory:/z\n4:cpuacct,cpu:/x/y\n",
     {{"cpu/x/cpu.cfs_quota_us", "100000\n"}, {"cpu/x/cpu.cfs_period_us", "100000\n"}},
     1},
    {"v1, a container",
     "4:cpu:/docker/123\n",
     {{"cpu/cpu.cfs_quota_us", "100000\n"}, {"cpu/cpu.cfs_period_us", "50000\n"}},
     2},
    {"v1, of cpuset alone",
     "3:cpuset:/x\n",
     {{"cpu/x/cpu.cfs_quota_us", "100000\n"}, {"cpu/x/cpu.cfs_period_us", "100000\n"}},
     0},
    {"both",
     "4:cpu:/x\n0::/y\n",
     {{"cpu/x/cpu.cfs_quota_us", "300000\n"},
      {"cpu/x/cpu.cfs_period_us", "100000\n"},
      {"unified/y/cpu.max", "100000 100000\n"}},
     1},
    {"nonsense", "\n:\n::\n4:cpu\n0::/a\n", {{"a/cpu.max", "many\n"}}, 0},
    {"a quota of nothing", "0::/a\n", {{"a/cpu.max", "0 0\n"}}, 0},
};

static void test_quota(void **state)
{
    (void)state;
    for (size_t m = 0; m < sizeof machines / sizeof *machines; m++) {
        const struct machine *machine = &machines[m];
        char root[64], path[256];
        make_folder(root);
        if (machine->cgroup) put(root, "proc/self/cgroup", machine->cgroup);
        for (int f = 0; f < 5 && machine->file[f][0]; f++) {
            snprintf(path, sizeof path, "sys/fs/cgroup/%s", machine->file[f][0]);
            put(root, path, machine->file[f][1]);
        }
        double cpus = dg_control_group_cpus(root);
        if (cpus < machine->cpus || cpus > machine->cpus)
            fail_msg("%s: %g, not %g", machine->name, cpus, machine->cpus);
        remove_folder(root);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_quota)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
