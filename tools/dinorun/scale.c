/* dinorun scale: what a run would take on several machines, from a step measured on this one and the plan's own
 * exchange. */
#include "runtime/exec/bench.h"

#include "tools/dinorun/command.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LINKS = 8 };

struct links {
    double rate[MOST_LINKS]; /* bytes a second, each way */
    int count;
};

static struct {
    struct opened_plan of;
    int machines, steps, threads;
    struct links links;
    double link; /* of them the one that is looked at */
    double latency;
    double speed; /* of a machine, this one being 1 */
    const char *wire;
    int64_t batch;   /* of the whole step; 0: the plan's */
    double days;     /* to be asked what they need; 0: not asked */
    double measured; /* seconds of a step, in place of what it takes now; 0: not given */
} given = {.machines = 16, .steps = 5, .latency = 100e-6, .speed = 1, .wire = "f32"};

/* "10G" or "10Gbit/s", in bits a second as links are named, and others behind commas, to bytes a second. */
static bool read_links(const char *text, void *parsed)
{
    static const char units[] = "KMGT";
    struct links *links = parsed;
    for (links->count = 0; links->count < MOST_LINKS; text++) {
        char *end;
        double bits = strtod(text, &end);
        const char *unit = *end ? strchr(units, *end) : NULL;
        if (unit) {
            bits *= pow(1000, (double)(unit - units + 1));
            end++;
        }
        if (end == text || !(bits > 0 && bits < 1e15)) return false;
        end += !strncmp(end, "bit", 3) ? !strncmp(end, "bit/s", 5) ? 5 : 3 : 0;
        links->rate[links->count++] = bits / 8;
        text = end;
        if (*text != ',') break;
    }
    return !*text;
}

/* "100us", "0.1ms" or "2s", to seconds. */
static bool read_time(const char *text, void *parsed)
{
    char *end;
    double value = strtod(text, &end), *seconds = parsed;
    double unit = !strcmp(end, "us") ? 1e-6 : !strcmp(end, "ms") ? 1e-3 : !strcmp(end, "s") ? 1 : 0;
    *seconds = value * unit;
    return end != text && unit > 0 && value >= 0 && *seconds < 1e6;
}

/* A step of this machine in three parts, and where in a slice each range of sums is complete. */
struct model {
    double before, slice, after; /* seconds; a slice: one of them */
    int64_t slices, batch;
    double *ready;   /* [num_ranges] seconds from the beginning of the last slice */
    int64_t *joined; /* [num_ranges] exchanges in the middle of the slice before that */
    int64_t only;    /* the number of machines that the plan is for; 0: any that divides the slices */
    const struct dg_bench_result *bench;
};

static enum dg_status make_model(const struct dg_plan *plan, const struct dg_plan_entry *entry,
                                 const struct dg_bench_result *r, struct model *m, struct dg_error *err)
{
    uint32_t loop_end = entry->loop_first + entry->loop_ops;
    *m = (struct model){.slices = entry->slices, .batch = entry->batch, .bench = r};
    m->ready = calloc(r->num_ranges + 1, sizeof *m->ready);
    m->joined = calloc(r->num_ranges + 1, sizeof *m->joined);
    if (!m->ready || !m->joined) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (dg_plan_is_coupled(plan, entry)) m->only = entry->ranks;
    double sum = 0;
    int64_t joined = 0;
    for (uint32_t n = 0; n < entry->num_ops; n++) {
        double seconds = r->node_seconds[n];
        bool loop = n >= entry->loop_first && n < loop_end;
        *(n < entry->loop_first ? &m->before
          : loop                ? &m->slice
                                : &m->after) += loop ? seconds / (double)r->slices : seconds;
        sum += seconds;
        joined += dg_plan_op_ranks(entry, &plan->op[entry->first_op + n]) > 1;
        for (uint32_t s = 0; s < r->num_ranges; s++)
            if (r->range[s].ready == n) {
                m->ready[s] = m->slice;
                m->joined[s] = joined;
            }
    }
    /* What is between ops, and what the median differs from the mean of the ops. */
    double factor = (given.measured > 0 ? given.measured : r->seconds) / sum / given.speed;
    m->before *= factor;
    m->slice *= factor;
    m->after *= factor;
    for (uint32_t s = 0; s < r->num_ranges; s++) m->ready[s] *= factor;
    return DG_OK;
}

/* As many slices of another batch take as much longer as they are larger. */
static enum dg_status take_batch(struct model *m, struct dg_error *err)
{
    if (given.batch % m->slices)
        return dg_fail(err, DG_ERR_USAGE, "--batch %" PRId64 " is not a multiple of the plan's %" PRId64 " slices",
                       given.batch, m->slices);
    double larger = (double)given.batch / (double)m->batch;
    m->slice *= larger;
    for (uint32_t s = 0; s < m->bench->num_ranges; s++) m->ready[s] *= larger;
    m->batch = given.batch;
    printf("taken for a batch of %" PRId64 ": slices of %" PRId64 " images, %.1f ms each\n", m->batch,
           m->batch / m->slices, 1e3 * m->slice);
    return DG_OK;
}

/* Seconds of an exchange in the middle of a slice, on average: each machine sends to all others at once, and waits. */
static double join_of(const struct model *m, int64_t machines)
{
    if (machines < 2 || !m->bench->joins) return 0;
    return given.latency +
           (double)(machines - 1) * (double)m->bench->joined_bytes / (double)m->bench->joins / given.link;
}

/* Bytes of a range as they travel. */
static double travelling(const struct dg_exchange_range *range)
{
    double bytes = (double)dg_exchange_bytes(range);
    return range->gradients && !strcmp(given.wire, "bf16") ? bytes / 2 : bytes;
}

/* Seconds of a step on `machines` of them, each `faster` times as fast as the model's: a range of sums leaves when
 * it is complete and the one before it has arrived. */
static double step_of(const struct model *m, int64_t machines, double faster)
{
    int64_t own = m->slices / machines;
    double last = (m->before + (double)(own - 1) * m->slice) / faster, arrived = 0, join = join_of(m, machines);
    double end = last + m->slice / faster + (double)m->bench->joins * join;
    for (uint32_t s = 0; machines > 1 && s < m->bench->num_ranges; s++) {
        double share = 2.0 * (double)(machines - 1) / (double)machines;
        arrived = fmax(arrived, last + m->ready[s] / faster + (double)m->joined[s] * join) + 2 * given.latency +
                  share * travelling(&m->bench->range[s]) / given.link;
    }
    return fmax(end, arrived) + m->after / faster;
}

/* How many times as fast as this machine's cores `machines` of them have to be together, in cores of each, for the
 * run to take given.days; 0: the network alone takes longer. */
static double cores_of(const struct model *m, int64_t machines, double epochs)
{
    double low = 1e-6, high = 1e9; /* times as fast */
    for (int i = 0; i < 100; i++) {
        double middle = sqrt(low * high);
        bool enough = imagenet_days(epochs, (double)m->batch / step_of(m, machines, middle)) <= given.days;
        *(enough ? &high : &low) = middle;
    }
    return high < 1e8 ? high * given.speed * m->bench->threads : 0;
}

/* One number of machines. Returns the share of a step that is computing. */
static double print_row(const struct model *m, int64_t machines)
{
    double one = step_of(m, 1, 1), epochs = dg_knobs_value(&given.of.knobs, "epochs", 0), fixed = m->before + m->after,
           step = step_of(m, machines, 1), computing = (one - fixed) / (double)machines + fixed,
           rate = (double)m->batch / step, cores = given.days > 0 ? ceil(cores_of(m, machines, epochs)) : 0;
    printf("%9" PRId64 " %8.1f ms %10.1f %% %10.1f %12.2f", machines, 1e3 * step, 100 * computing / step, rate,
           imagenet_days(epochs, rate));
    if (cores > 0) printf("   %.0f", cores);
    if (given.days > 0 && cores <= 0) printf("   none: the network is too slow");
    printf("\n");
    return computing / step;
}

static void print_table(const struct model *m)
{
    int64_t most = 0;
    char text[32];
    printf("\nlinks of %.3g Gbit/s\n", given.link * 8e-9);
    if (m->only)
        printf("operations see the rows of all %" PRId64 " machines: %" PRId64
               " times a step each sends moments, sums or rows, %s altogether, to each other,\nand waits for theirs: "
               "%.1f ms a "
               "step, if all come to it at once\n",
               m->only, m->bench->joins, dg_format_bytes(text, sizeof text, (double)m->bench->joined_bytes),
               1e3 * (double)m->bench->joins * join_of(m, m->only));
    printf("%9s %10s %12s %10s %12s", "machines", "step", "computing", "images/s", "days");
    if (given.days > 0) printf("   cores of each for %g days", given.days);
    printf("\n");
    for (int64_t p = 1; p <= given.machines && p <= m->slices; p++)
        if (m->only ? p == m->only : m->slices % p == 0)
            if (print_row(m, p) >= 0.95) most = p;
    if (m->only) return;
    printf("95 %% of a step are computing on up to %" PRId64 " machine%s\n", most, most == 1 ? "" : "s");
}

static void print_assumptions(const struct model *m)
{
    double bytes = 0;
    char text[32];
    for (uint32_t s = 0; s < m->bench->num_ranges; s++) bytes += travelling(&m->bench->range[s]);
    printf("%s here: %.1f ms, %d threads, %s; %" PRId64 " slices of %" PRId64 " images, %.1f ms each; %.1f ms before "
           "and after them\n",
           m->only ? "a machine's part of a step" : "a step",
           1e3 * (given.measured > 0 ? given.measured : m->bench->seconds), m->bench->threads, m->bench->dtype,
           m->slices, m->batch / m->slices, 1e3 * m->slice, 1e3 * (m->before + m->after));
    printf("assumed: every machine is one process of this speed times %g; links carry their rate both ways at once, "
           "%.0f us "
           "a message;\n%s of sums, gradients as %s, in %u parts, each exchanged when the last slice has completed it, "
           "beside the rest of "
           "the slice at no cost;\nevery process makes the whole commit; images are read in time; days are those of "
           "ImageNet's %d images times the recipe's epochs\n",
           given.speed, 1e6 * given.latency, dg_format_bytes(text, sizeof text, bytes), given.wire,
           m->bench->num_ranges, IMAGENET_IMAGES);
}

static enum dg_status run(struct dg_bench_result *r, struct model *m, struct dg_error *err)
{
    DG_TRY(open_plan(&given.of, err));
    const struct dg_plan *plan = &given.of.plan;
    const struct dg_plan_entry *entry;
    DG_TRY(dg_plan_find_role(plan, DG_ENTRY_TRAIN, &entry, err));
    if (entry->ranks < 2)
        return dg_fail(err, DG_ERR_USAGE,
                       "the plan was made for one process: compile it with dinoc %s --ranks N, the number of machines",
                       dg_plan_string(plan, plan->header->source));
    bool coupled = dg_plan_is_coupled(plan, entry);
    if (coupled && given.machines < (int)entry->ranks)
        return dg_fail(
            err, DG_ERR_USAGE,
            "the plan's operations see the rows of %u machines: --machines %u or more, or compile with dinoc "
            "%s --ranks %d",
            entry->ranks, entry->ranks, dg_plan_string(plan, plan->header->source), given.machines);
    const struct dg_bench_options options = {.entry = dg_plan_string(plan, entry->name),
                                             .steps = given.steps,
                                             .threads = given.threads,
                                             .log = &console,
                                             .one_of_many = coupled};
    DG_TRY(dg_bench(plan, &given.of.knobs, &options, r, err));
    DG_TRY(make_model(plan, entry, r, m, err));
    print_assumptions(m);
    if (given.batch) DG_TRY(take_batch(m, err));
    for (int l = 0; l < given.links.count; l++) {
        given.link = given.links.rate[l];
        print_table(m);
    }
    return DG_OK;
}

static int scale(void)
{
    struct dg_error err = {0};
    struct dg_bench_result r = {0};
    struct model m = {0};
    run(&r, &m, &err);
    free(m.ready);
    free(m.joined);
    dg_bench_free(&r);
    close_plan(&given.of);
    return exit_status(&err);
}

static const struct dg_flag flags[] = {
    {"link", "RATE", "of each machine's network, in bits a second, as in 10G; several: 1G,10G,25G", .parse = read_links,
     .parsed = &given.links, .expected = "bits a second, as in 10G or 800M", .required = true},
    {"machines", "N", "the most of them", .count = &given.machines, .min = 1, .max = 65536},
    {"latency", "T", "of a message between two machines", .parse = read_time, .parsed = &given.latency,
     .expected = "a time, as in 100us", .unset = "100us"},
    {"speed", "X", "how many times as fast as this one each machine is", .number = &given.speed, .max = 1e6},
    {FLAG_WIRE, .text = &given.wire},
    {"batch", "N",
     "images of a whole step: as many slices as the plan's, each larger, with the activations that need memory",
     .integer = &given.batch, .min = 1, .max = INT32_MAX, .unset = "the plan's"},
    {"measured", "T", "what bench said of a step of the plan in quiet, where other programs compute now",
     .parse = read_time, .parsed = &given.measured, .expected = "a time, as in 2180ms or 4.7s",
     .unset = "what a step takes now"},
    {"days", "D", "also print how many cores like this machine's each of the machines needs to train for so long",
     .number = &given.days, .max = 1e6, .unset = "not asked"},
    {"steps", "N", "steps to time here, after one to warm up", .count = &given.steps, .min = 1, .max = 100000},
    {FLAG_THREADS, .count = &given.threads},
    {0}};

const struct dg_command command_scale = {.program = "dinorun",
                                         .name = "scale",
                                         .summary =
                                             "says what a run would take on several machines, from a step on this one",
                                         .file = {.name = PLAN_OR_RUN, .value = &given.of.path},
                                         .flags = flags,
                                         .run = scale};
