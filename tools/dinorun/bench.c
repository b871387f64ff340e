/* dinorun bench: times steps of an entry on random input, op by op, or the loader's crops without a network. */
#include "runtime/exec/bench.h"

#include "tools/dinorun/command.h"
#include "tools/dinorun/json.h"
#include "tools/dinorun/regions.h"

#include "ops/kernels/rates.h"
#include "runtime/base/memory.h"
#include "runtime/data/bench_crops.h"
#include "runtime/train/rank_start.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RATE_RUNS = 10, MOST_RANKS = 1024 };

static struct {
    struct opened_plan of;
    const char *entry;
    struct dg_flag_values data;
    int steps, threads;
    bool nodes, regions;
    struct dg_comm *comm; /* the processes that share the step; NULL: there is one */
    struct sum_flags sums;
    int64_t images;
    struct json_output json;
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
static void print_nodes(const struct dg_plan *plan, const struct dg_plan_entry *entry, const struct dg_bench_result *r)
{
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
    const struct dg_data data = data_of(&given.data, NULL, &(struct image_flags){0});
    struct dg_dataset *dataset;
    struct dg_bench_crops_result r = {0};
    DG_TRY(dg_dataset_open(&data, DG_LABELS_UNUSED, &console, &dataset, err));
    enum dg_status status = dg_bench_crops(&given.of.knobs, dataset, given.images, threads, &console, &r, err);
    dg_dataset_close(dataset);
    if (status != DG_OK) return status;
    double rate = (double)r.images / r.seconds;
    printf("crops of %s: %" PRId64 " images from their files, %d views each, %d threads\n"
           "%.2f images/s, %.2f for each thread\n",
           dg_plan_string(plan, plan->header->recipe), r.images, r.views, r.threads, rate, rate / r.threads);
    return json_write(&given.json,
                      json_pack("{s:o, s:o, s:I, s:I, s:i, s:f, s:f}", "machine", json_machine(), "recipe",
                                dg_json_text(dg_plan_string(plan, plan->header->recipe)), "images",
                                (json_int_t)r.images, "views", (json_int_t)r.views, "threads", r.threads, "seconds",
                                r.seconds, "images_per_s", rate),
                      err);
}

/* ---- parallel regions ---- */

/* What has been seen of them in the timed steps. */
static struct {
    struct regions *node;         /* [ops of the entry] */
    struct regions all, last_end; /* last_end: what was counted when the last op ended */
} seen;

static void step_begins(void *context, int threads)
{
    (void)context;
    seen.last_end = (struct regions){0};
    regions_start(threads);
}

static void add_regions(struct regions *sum, struct regions r)
{
    sum->count += r.count;
    sum->seconds += r.seconds;
    sum->small += r.small;
    sum->small_seconds += r.small_seconds;
}

static void op_ends(void *context, uint32_t op, double seconds)
{
    (void)context, (void)seconds;
    struct regions now = regions_now(), last = seen.last_end;
    seen.last_end = now;
    add_regions(&seen.node[op], (struct regions){now.count - last.count, now.seconds - last.seconds,
                                                 now.small - last.small, now.small_seconds - last.small_seconds});
}

static void step_ends(void *context)
{
    (void)context;
    add_regions(&seen.all, regions_stop());
}

/* The regions of each kind of op, and its time outside of them. */
static void print_op_regions(const struct dg_plan *plan, const struct dg_plan_entry *entry,
                             const struct dg_bench_result *r)
{
    printf("\n%-26s %10s %10s %10s %12s\n", "operation", "regions", "serial ms", "small", "small's ms");
    for (int o = 0; o < r->num_ops; o++) {
        struct regions sum = {0};
        double seconds = 0;
        for (uint32_t n = 0; n < entry->num_ops; n++)
            if (!strcmp(dg_plan_string(plan, plan->op[entry->first_op + n].op), r->op[o].name)) {
                add_regions(&sum, seen.node[n]);
                seconds += r->node_seconds[n];
            }
        if (r->op[o].seconds <= 0) continue;
        printf("%-26s %10.0f %10.3f %10.0f %12.2f\n", r->op[o].name, (double)sum.count / r->steps,
               1e3 * (seconds - sum.seconds / r->steps), (double)sum.small / r->steps,
               1e3 * sum.small_seconds / r->steps);
    }
}

/* What would bound the step on many threads: time outside of regions, and regions too short to be shared by so many. */
static void print_regions(const struct dg_plan *plan, const struct dg_plan_entry *entry,
                          const struct dg_bench_result *r)
{
    if (!regions_are_counted()) {
        printf("parallel     not known: this OpenMP library is not GCC's\n");
        return;
    }
    double steps = r->steps, inside = seen.all.seconds / steps, serial = r->mean - inside;
    double many = serial + inside * r->threads / MANY_THREADS;
    if (given.regions) print_op_regions(plan, entry, r);
    printf("parallel     %.0f regions a step, serial %.2f ms: %.2f %% of a step here, %.1f %% of one on %d threads\n",
           (double)seen.all.count / steps, 1e3 * serial, 100 * serial / r->mean, 100 * serial / many, MANY_THREADS);
    printf("small        %.0f of the regions have less than %.0f us of work for each of %d threads: %.2f ms here%s\n",
           (double)seen.all.small / steps, 1e6 * SMALL_WORK, MANY_THREADS, 1e3 * seen.all.small_seconds / steps,
           given.regions ? "" : "; --regions lists them");
}

/* ---- the result ---- */

/* How long the recipe takes on ImageNet at this rate, for entries that train. */
static void print_days(const struct dg_plan_entry *entry, double rate)
{
    double epochs = dg_knobs_value(&given.of.knobs, "epochs", 0);
    if (entry->first_commit == entry->num_ops || epochs <= 0) return;
    printf("ImageNet     %d images, %g epochs: %.1f days on this machine\n", IMAGENET_IMAGES, epochs,
           imagenet_days(epochs, rate));
}

/* What the instruction gives on this machine, in GFLOP/s: the best of some runs, since others may compute, too. */
static double best_rate(enum dg_product product, int threads)
{
    double best = 0;
    for (int run = 0; run < RATE_RUNS; run++) {
        double rate = dg_product_rate_of(product, threads);
        if (rate > best) best = rate;
    }
    return best;
}

/* What several processes exchange, and what each of them has taken: the slowest makes the step. */
static enum dg_status print_exchange(const struct dg_bench_result *r, struct dg_error *err)
{
    struct {
        double seconds, waited, used, planned;
    } mine = {r->seconds, r->waited, (double)dg_memory_peak(), (double)r->memory.total}, all[MOST_RANKS];
    int ranks = dg_comm_ranks(given.comm);
    double bytes = 0;
    char text[32], planned[32], sums[160];
    if (ranks < 2) return DG_OK;
    if (ranks > MOST_RANKS) return dg_fail(err, DG_ERR_USAGE, "bench takes up to %d processes", MOST_RANKS);
    DG_TRY(dg_comm_gather(given.comm, &mine, sizeof mine, all, err));
    if (dg_comm_rank(given.comm)) return DG_OK;
    for (uint32_t s = 0; s < r->num_ranges; s++) bytes += (double)dg_exchange_bytes(&r->range[s]);
    struct dg_comm_sent sent = dg_comm_sent(given.comm);
    double steps = r->steps + 1, least = 2.0 * (ranks - 1) / ranks * bytes; /* one to warm up */
    printf("exchange     %s of sums a step, in %u parts, by %d processes; %s; sums %s\n",
           dg_format_bytes(text, sizeof text, bytes), r->num_ranges, ranks, dg_comm_library(given.comm),
           dg_comm_sums_text(given.comm, sums, sizeof sums));
    printf("traffic      ");
    if (sent.all) printf("%s sent by each a step, ", dg_format_bytes(text, sizeof text, (double)sent.all / steps));
    if (dg_comm_together(given.comm) > 1)
        printf("%s of them between machines, ", dg_format_bytes(text, sizeof text, (double)sent.between / steps));
    printf("%s is the least for sums in f32\n", dg_format_bytes(text, sizeof text, least));
    if (r->joins)
        printf("rows of all  %" PRId64 " exchanges in the middle of the step, %s from each process to each other\n",
               r->joins, dg_format_bytes(text, sizeof text, (double)r->joined_bytes));
    for (int p = 0; p < ranks; p++)
        printf("  rank %-6d %s: %.1f ms a step, %.1f of them waiting for sums; most memory in use %s, planned %s\n", p,
               dg_comm_host(given.comm, p), 1e3 * all[p].seconds, 1e3 * all[p].waited,
               dg_format_bytes(text, sizeof text, all[p].used),
               dg_format_bytes(planned, sizeof planned, all[p].planned));
    return DG_OK;
}

/* Times in seconds, of a step; work in FLOP. */
static json_t *nodes_of(const struct dg_plan_entry *entry, const struct dg_bench_result *r)
{
    const struct dg_plan *plan = &given.of.plan;
    json_t *nodes = json_array();
    for (uint32_t n = 0; n < entry->num_ops; n++) {
        const struct dg_plan_op *op = &plan->op[entry->first_op + n];
        json_array_append_new(nodes, json_pack("{s:o, s:o, s:o, s:o, s:i, s:f, s:f, s:f}", "op",
                                               dg_json_text(dg_plan_string(plan, op->op)), "node",
                                               dg_json_text(dg_plan_string(plan, op->name)), "application",
                                               dg_json_text(dg_plan_string(plan, op->label)), "file",
                                               dg_json_text(dg_plan_string(plan, op->file)), "line", op->line,
                                               "seconds", r->node_seconds[n], "flops", op->flops, "bytes", op->bytes));
    }
    return nodes;
}

static json_t *ops_of(const struct dg_bench_result *r)
{
    json_t *ops = json_array();
    for (int o = 0; o < r->num_ops; o++)
        json_array_append_new(ops,
                              json_pack("{s:s, s:i, s:f, s:f, s:f}", "op", r->op[o].name, "nodes", r->op[o].nodes,
                                        "seconds", r->op[o].seconds, "flops", r->op[o].flops, "bytes", r->op[o].bytes));
    return ops;
}

/* `instruction`: FLOP/s. */
static json_t *result_of(const struct dg_plan_entry *entry, const struct dg_bench_result *r, double instruction)
{
    const struct dg_plan *plan = &given.of.plan;
    json_t *seconds = json_pack("{s:f, s:f, s:f}", "median", r->seconds, "best", r->best, "mean", r->mean);
    json_t *result =
        json_pack("{s:o, s:o, s:o, s:I, s:s, s:i, s:i, s:i, s:o, s:f, s:f, s:f, s:f, s:f, s:o, s:o}", "machine",
                  json_machine(), "recipe", dg_json_text(dg_plan_string(plan, plan->header->recipe)), "entry",
                  dg_json_text(dg_plan_string(plan, entry->name)), "batch", (json_int_t)r->batch, "type", r->dtype,
                  "threads", r->threads, "processes", dg_comm_ranks(given.comm), "steps", r->steps, "seconds", seconds,
                  "images_per_s", (double)r->batch / r->seconds, "flops", r->flops, "useful", r->useful, "peak",
                  r->peak, "instruction", instruction, "memory", json_memory(&r->memory), "ops", ops_of(r));
    if (given.nodes) json_object_set_new(result, "nodes", nodes_of(entry, r));
    return result;
}

static enum dg_status print_result(const struct dg_plan_entry *record, const struct dg_bench_result *r,
                                   struct dg_error *err)
{
    const struct dg_plan *plan = &given.of.plan;
    const char *entry = dg_plan_string(plan, record->name);
    double rate = (double)r->batch / r->seconds;
    int ranks = dg_comm_ranks(given.comm); /* flops are those of all of them */
    char peak[32];
    printf("%s of %s: batch %" PRId64 ", %s, %d threads, kernels %s, %d steps\n", entry,
           dg_plan_string(plan, plan->header->recipe), r->batch, r->dtype, r->threads, dg_kernels_name().text,
           r->steps);
    print_memory(&r->memory, 0);
    printf("  %-26s %10s\n", "most in use so far", dg_format_bytes(peak, sizeof peak, (double)dg_memory_peak()));
    if (given.nodes) print_nodes(plan, record, r);
    print_table(r);
    printf("\nstep         %.1f ms (median; best %.1f), %.2f images/s, %.2f for each thread\n", 1e3 * r->seconds,
           1e3 * r->best, rate, rate / r->threads / ranks);
    print_days(record, rate);
    printf("work         %.1f GFLOP a step, %.1f of them useful: %.1f GFLOP/s\n", r->flops / 1e9, r->useful / 1e9,
           r->useful / r->seconds / 1e9);
    printf("peak         %.1f GFLOP/s (%s matmul 2048x2048x2048 %.1f, 3152x1536x384 %.1f, between the steps)\n",
           r->peak / 1e9, r->dtype, r->peak_of[0] / 1e9, r->peak_of[1] / 1e9);
    enum dg_product product = dg_fastest_product(!strcmp(r->dtype, "bf16"));
    double instruction = 1e9 * best_rate(product, r->threads);
    printf("instruction  %.1f GFLOP/s (%s on registers, %d threads)\n", instruction / 1e9, dg_product_name(product),
           r->threads);
    printf("share        %.1f %% of the peak, %.1f %% of the instruction\n",
           100 * r->useful / ranks / r->seconds / r->peak, 100 * r->useful / ranks / r->seconds / instruction);
    print_regions(plan, record, r);
    return json_write(&given.json, result_of(record, r, instruction), err);
}

static enum dg_status time_steps(struct dg_bench_result *r, struct dg_error *err)
{
    DG_TRY(open_plan(&given.of, err));
    if (given.data.count) return bench_crops(err);
    const struct dg_plan *plan = &given.of.plan;
    const char *name = given.entry ? given.entry : dg_plan_string(plan, plan->entry[0].name);
    const struct dg_plan_entry *entry;
    DG_TRY(dg_plan_find_entry(plan, name, &entry, err));
    if (dg_comm_ranks(given.comm) > 1 && entry->first_commit == entry->num_ops)
        return dg_fail(err, DG_ERR_USAGE,
                       "processes share no step of entry %s, only whole batches: time it without mpirun", name);
    seen.node = calloc(entry->num_ops + 1, sizeof *seen.node);
    if (!seen.node) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    const struct dg_bench_observer observer = {.begin = step_begins, .op = op_ends, .end = step_ends};
    int threads = given.threads;
    DG_TRY(dg_ranks_threads(given.comm, &threads, err));
    const struct dg_bench_options options = {.entry = name,
                                             .steps = given.steps,
                                             .threads = threads,
                                             .log = &console,
                                             .observer = &observer,
                                             .comm = given.comm,
                                             .peak = true};
    dg_threads_check(threads, &console);
    DG_TRY(dg_bench(plan, &given.of.knobs, &options, r, err));
    if (dg_comm_rank(given.comm) == 0) DG_TRY(print_result(entry, r, err));
    return print_exchange(r, err);
}

static int bench(void)
{
    struct dg_error err = {0};
    struct dg_bench_result r = {0};
    const struct dg_comm_options exchange = {.stall_limit = STALL_LIMIT, .sums = sums_of(&given.sums), .log = &console};
    if (json_open(&given.json, &err) == DG_OK && join_ranks(&exchange, &given.comm, &err) == DG_OK)
        time_steps(&r, &err);
    int status = exit_status(&err);
    if (status && given.comm) dg_comm_abort(given.comm, status); /* the others may wait for this one */
    dg_comm_close(given.comm);
    dg_bench_free(&r);
    free(seen.node);
    close_plan(&given.of);
    json_close(&given.json);
    return status;
}

static const struct dg_flag flags[] = {
    {"entry", "NAME", "what to time: train, features, ...", .text = &given.entry, .unset = "the plan's first"},
    {"steps", "N", "steps to time, after one to warm up", .count = &given.steps, .min = 1, .max = 100000},
    {FLAG_THREADS, .count = &given.threads},
    ROWS_SUMS(given.sums, ""),
    {"nodes", NULL, "also print every node and its line", .given = &given.nodes},
    {"regions", NULL, "also print, op by op, parallel regions and the time outside of them", .given = &given.regions},
    {"data", "DIR", "time the recipe's crops of these images instead, without a network", .texts = &given.data,
     .sharing = DG_FLAG_OWN_VALUE, .without = "entry nodes regions"},
    {"images", "N", "images to crop, at least", .integer = &given.images, .min = 1, .max = 1000000000, .with = "data"},
    {FLAG_JSON, .given = &given.json.asked},
    {0}};

const struct dg_command command_bench = {
    .program = "dinorun",
    .name = "bench",
    .summary = "times steps on random input, op by op, against the machine's best matmul; or crops",
    .file = {.name = NETWORK, .value = &given.of.path},
    .flags = flags,
    .run = bench};
