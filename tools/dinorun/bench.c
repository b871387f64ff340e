/* dinorun bench: times steps of an entry on random input, op by op, or the loader's crops without a network. */
#include "runtime/exec/bench.h"

#include "tools/dinorun/command.h"

#include "runtime/base/memory.h"
#include "runtime/data/bench_crops.h"

#include <inttypes.h>
#include <stdio.h>

static struct {
    struct opened_plan of;
    const char *entry, *data;
    int steps, threads;
    bool nodes;
    int64_t images;
} given = {.steps = 10, .images = 100};

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
static enum dg_status bench_crops(struct dg_error *err)
{
    const struct dg_plan *plan = &given.of.plan;
    int threads = given.threads ? given.threads : dg_default_threads();
    dg_threads_check(threads, &console);
    struct dg_dataset *dataset;
    struct dg_bench_crops_result r = {0};
    DG_TRY(dg_dataset_open(given.data, &dataset, err));
    enum dg_status status = dg_bench_crops(&given.of.knobs, dataset, given.images, threads, &console, &r, err);
    dg_dataset_close(dataset);
    if (status != DG_OK) return status;
    double rate = (double)r.images / r.seconds;
    printf("crops of %s: %" PRId64 " images from their files, %d views each, %d threads\n"
           "%.2f images/s, %.2f for each thread\n",
           dg_plan_string(plan, plan->header->recipe), r.images, r.views, r.threads, rate, rate / r.threads);
    return DG_OK;
}

static void print_result(const char *entry, const struct dg_bench_result *r)
{
    const struct dg_plan *plan = &given.of.plan;
    char peak[32];
    printf("%s of %s: batch %" PRId64 ", %s, %d threads, %d steps\n", entry, dg_plan_string(plan, plan->header->recipe),
           r->batch, r->dtype, r->threads, r->steps);
    print_memory(&r->memory, 0);
    printf("  %-26s %10s\n", "most in use so far", dg_format_bytes(peak, sizeof peak, (double)dg_memory_peak()));
    if (given.nodes) print_nodes(plan, entry, r);
    print_table(r);
    printf("\nstep         %.1f ms (median; best %.1f), %.2f images/s\n", 1e3 * r->seconds, 1e3 * r->best,
           (double)r->batch / r->seconds);
    printf("work         %.1f GFLOP a step, %.1f of them useful: %.1f GFLOP/s\n", r->flops / 1e9, r->useful / 1e9,
           r->useful / r->seconds / 1e9);
    printf("peak         %.1f GFLOP/s (%s matmul 2048x2048x2048 %.1f, 3152x1536x384 %.1f, between the steps)\n",
           r->peak / 1e9, r->dtype, r->peak_of[0] / 1e9, r->peak_of[1] / 1e9);
    printf("share        %.1f %% of the peak\n", 100 * r->useful / r->seconds / r->peak);
}

static enum dg_status time_steps(struct dg_bench_result *r, struct dg_error *err)
{
    DG_TRY(open_plan(&given.of, err));
    if (given.data) return bench_crops(err);
    const struct dg_plan *plan = &given.of.plan;
    const char *entry = given.entry ? given.entry : dg_plan_string(plan, plan->entry[0].name);
    const struct dg_bench_options options = {
        .entry = entry, .steps = given.steps, .threads = given.threads, .log = &console};
    dg_threads_check(given.threads ? given.threads : dg_default_threads(), &console);
    DG_TRY(dg_bench(plan, &given.of.knobs, &options, r, err));
    print_result(entry, r);
    return DG_OK;
}

static int bench(void)
{
    struct dg_error err = {0};
    struct dg_bench_result r = {0};
    time_steps(&r, &err);
    dg_bench_free(&r);
    close_plan(&given.of);
    return exit_status(&err);
}

static const struct dg_flag flags[] = {
    {"entry", "NAME", "what to time: train, features, ...", .text = &given.entry, .unset = "the plan's first"},
    {"steps", "N", "steps to time, after one to warm up", .count = &given.steps, .min = 1, .max = 100000},
    {FLAG_THREADS, .count = &given.threads},
    {"nodes", NULL, "also print every node and its line", .given = &given.nodes},
    {"data", "DIR", "time the recipe's crops of these images instead, without a network", .text = &given.data,
     .without = "entry nodes"},
    {"images", "N", "images to crop, at least", .integer = &given.images, .min = 1, .max = 1000000000, .with = "data"},
    {0}};

const struct dg_command command_bench = {
    .program = "dinorun",
    .name = "bench",
    .summary = "times steps on random input, op by op, against the machine's best matmul; or crops",
    .file = {.name = "PLAN", .value = &given.of.path},
    .flags = flags,
    .run = bench};
