#include "runtime/exec/bench.h"
#include "runtime/data/bench_crops.h"

#include "tools/dinorun/command.h"

#include "runtime/base/memory.h"

#include <inttypes.h>
#include <stdio.h>

static void print_table(const struct dg_bench_result *r)
{
    printf("\n%-26s %6s %10s %6s %10s %10s\n", "operation", "nodes", "ms a step", "share", "GFLOP/s", "GB/s");
    for (int o = 0; o < r->num_ops; o++) {
        const struct dg_bench_op *op = &r->op[o];
        if (op->seconds <= 0) continue;
        printf("%-26s %6d %10.2f %5.1f%% %10.1f %10.1f\n", op->name, op->nodes, 1e3 * op->seconds,
               100 * op->seconds / r->seconds, op->flops / op->seconds / 1e9, op->bytes / op->seconds / 1e9);
    }
}

/* Every node in order, with where it is written: what is slow, and which line to look at. */
static void print_nodes(const struct dg_plan *plan, const char *entry_name, const struct dg_bench_result *r)
{
    struct dg_error err = {0};
    const struct dg_plan_entry *entry;
    if (dg_plan_find_entry(plan, entry_name, &entry, &err) != DG_OK) return; /* cannot be: it has just run */
    printf("\n%10s %10s %10s  %s\n", "ms a step", "GFLOP/s", "GB/s", "operation, node, application, line");
    for (uint32_t n = 0; n < entry->num_ops; n++) {
        const struct dg_plan_op *op = &plan->op[entry->first_op + n];
        double seconds = r->node_seconds[n];
        printf("%10.3f %10.1f %10.1f  %s %s, %s, %s:%d\n", 1e3 * seconds, seconds > 0 ? op->flops / seconds / 1e9 : 0,
               seconds > 0 ? op->bytes / seconds / 1e9 : 0, dg_plan_string(plan, op->op),
               dg_plan_string(plan, op->name), dg_plan_string(plan, op->label), dg_plan_string(plan, op->file),
               op->line);
    }
}

/* The loader alone: what it makes of the images of a folder. */
static enum dg_status bench_crops(const struct dg_plan *plan, const struct dg_knobs *knobs, const char *data,
                                  int64_t images, int threads, struct dg_error *err)
{
    struct dg_dataset *dataset;
    double seconds = 0;
    int64_t read = 0;
    int views = 0;
    DG_TRY(dg_dataset_open(data, &dataset, err));
    enum dg_status status = dg_bench_crops(plan, knobs, dataset, images, threads, &seconds, &read, &views, err);
    dg_dataset_close(dataset);
    if (status == DG_OK)
        printf("crops of %s: %" PRId64 " images from their files, %d views each, %d threads\n"
               "%.2f images/s, %.2f for each thread\n",
               dg_plan_string(plan, plan->header->recipe), read, views, threads, (double)read / seconds,
               (double)read / seconds / threads);
    return status;
}

static int bench(int argc, char **argv)
{
    enum { ENTRY = 256, STEPS, THREADS, NODES, DATA, IMAGES };
    static const struct option flags[] = {{"data", required_argument, NULL, DATA},
                                          {"images", required_argument, NULL, IMAGES},
                                          {"entry", required_argument, NULL, ENTRY},
                                          {"steps", required_argument, NULL, STEPS},
                                          {"threads", required_argument, NULL, THREADS},
                                          {"nodes", no_argument, NULL, NODES},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    const struct command *me = &command_bench;
    const char *entry = NULL, *data = NULL;
    int64_t steps = 10, threads = 0, images = 0;
    bool nodes = false;
    for (int flag; (flag = next_flag(me, argc, argv, flags)) != -1;) {
        switch (flag) {
        case ENTRY: entry = optarg; break;
        case STEPS:
            if (!flag_whole(me, "--steps", optarg, 1, 100000, &steps)) return 2;
            break;
        case THREADS:
            if (!flag_whole(me, "--threads", optarg, 1, 1024, &threads)) return 2;
            break;
        case NODES: nodes = true; break;
        case DATA: data = optarg; break;
        case IMAGES:
            if (!flag_whole(me, "--images", optarg, 1, 1000000000, &images)) return 2;
            break;
        default: return flag == 'h' ? 0 : 2;
        }
    }
    const char *path = plan_argument(me, argc, argv);
    if (!path) return 2;
    if (images && !data) return usage_error(me, "--images goes with --data DIR");
    if (data && (entry || nodes)) return usage_error(me, "--data times crops alone: no --entry and no --nodes");
    struct dg_error err = {0};
    struct dg_plan plan;
    struct dg_knobs knobs = {0};
    struct dg_bench_result r = {0};
    enum dg_status status = open_plan(path, NULL, 0, 0, &plan, &knobs, &err);
    if (status == DG_OK && data) {
        status =
            bench_crops(&plan, &knobs, data, images ? images : 100, threads ? (int)threads : dg_usable_cpus(), &err);
        goto done;
    }
    if (status == DG_OK && !entry) entry = dg_plan_string(&plan, plan.entry[0].name);
    if (status == DG_OK) status = dg_bench(&plan, &knobs, entry, (int)steps, (int)threads, &r, &err);
    if (status == DG_OK) {
        char peak[32];
        printf("%s of %s: batch %" PRId64 ", %s, %d threads, %d steps\n", entry,
               dg_plan_string(&plan, plan.header->recipe), r.batch, r.dtype, r.threads, r.steps);
        print_memory(&r.memory, 0);
        printf("  %-26s %10s\n", "most in use so far", dg_format_bytes(peak, sizeof peak, (double)dg_memory_peak()));
        if (nodes) print_nodes(&plan, entry, &r);
        print_table(&r);
        printf("\nstep         %.1f ms (median; best %.1f), %.2f images/s\n", 1e3 * r.seconds, 1e3 * r.best,
               (double)r.batch / r.seconds);
        printf("work         %.1f GFLOP a step, %.1f of them useful: %.1f GFLOP/s\n", r.flops / 1e9, r.useful / 1e9,
               r.useful / r.seconds / 1e9);
        printf("roof         %.1f GFLOP/s (%s matmul 2048x2048x2048 %.1f, 3152x1536x384 %.1f, between the steps)\n",
               r.roof / 1e9, r.dtype, r.roof_of[0] / 1e9, r.roof_of[1] / 1e9);
        printf("share        %.1f %% of the roof\n", 100 * r.useful / r.seconds / r.roof);
    }
done:
    dg_bench_free(&r);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
    return status == DG_OK ? 0 : fail(&err);
}

const struct command command_bench = {
    .name = "bench",
    .arguments = "PLAN [flags]",
    .summary = "times steps on random input, op by op, against the machine's best matmul; or crops",
    .flags = "  --entry NAME          train, features, ... (the plan's first)\n"
             "  --steps N             to time, after one to warm up (10)\n"
             "  --threads N           (all)\n"
             "  --nodes               also print every node and its line\n"
             "  --data DIR            time the recipe's crops of these images "
             "instead, without a network\n"
             "  --images N            of them, at least (100)\n",
    .run = bench};
