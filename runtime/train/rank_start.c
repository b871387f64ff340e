#include "runtime/train/rank_start.h"

#include "ops/kernels/rates.h"
#include "runtime/comm/gather.h"
#include "runtime/exec/cpus.h"

#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct facts {
    uint64_t plan, data, weights;
    int64_t images;
    int32_t exif, pillow;
    char kernels[40], knobs[32][2][64]; /* the first knobs that are not the plan's: key and value */
};

static void add_knobs(const struct dg_knobs *knobs, struct facts *facts)
{
    enum { EXACT = 17 };
    int count = 0;
    for (uint32_t k = 0; k < knobs->plan->num_knobs && count < 32; k++) {
        const struct dg_plan_knob *knob = &knobs->knob[k], *plans = &knobs->plan->knob[k];
        if (knob->value[0] == plans->value[0] && knob->value[1] == plans->value[1] && knob->unit == plans->unit)
            continue;
        snprintf(facts->knobs[count][0], 64, "%s", dg_plan_string(knobs->plan, knob->key));
        dg_knob_text(facts->knobs[count++][1], 64, knob, EXACT, true);
    }
}

static const char *difference(const struct facts *mine, const struct facts *others, const struct dg_rank_facts *given,
                              char *text, size_t size)
{
    if (others->plan != mine->plan) return "another plan file (copy one to all machines)";
    if (strcmp(others->kernels, mine->kernels)) {
        snprintf(
            text, size,
            "kernels %s where rank 0 has %s, and would compute other bits: set DINOGRAPH_CPU to the lower one in all "
            "processes",
            others->kernels, mine->kernels);
        return text;
    }
    if (others->images != mine->images || others->data != mine->data) {
        snprintf(text, size, "other images in %s: %" PRId64 ", and rank 0 has %" PRId64 "%s", given->images_from,
                 others->images, mine->images,
                 others->images == mine->images ? ", but other names or another order" : "");
        return text;
    }
    if (others->weights != mine->weights) {
        snprintf(text, size, "other weights in %s than rank 0 (copy one file to all machines)", given->weights_from);
        return text;
    }
    if (others->exif != mine->exif || others->pillow != mine->pillow) {
        static const char *const exif[2] = {"", "--exif and "};
        snprintf(text, size, "another way to read images: %s--pillow %d, and rank 0 %s--pillow %d", exif[others->exif],
                 others->pillow, exif[mine->exif], mine->pillow);
        return text;
    }
    for (int s = 0; s < 32; s++)
        if (memcmp(others->knobs[s], mine->knobs[s], sizeof mine->knobs[s])) {
            const char *const none[2] = {"the plan's", ""};
            bool set = *others->knobs[s][0], rank0 = *mine->knobs[s][0];
            snprintf(text, size, "other settings: %s%s%s, and rank 0 %s%s%s", set ? others->knobs[s][0] : none[0],
                     set ? "=" : "", others->knobs[s][1], rank0 ? mine->knobs[s][0] : none[0], rank0 ? "=" : "",
                     mine->knobs[s][1]);
            return text;
        }
    return NULL;
}

/* ---- settings ---- */

/* Items as "--steps 4", each ended by a zero. */
struct settings {
    const char *text;
    int64_t bytes;
};

static size_t name_length(const char *item) { return strcspn(item, " "); }

/* The item before which `nth` others have the name of `item`; NULL: there are not as many. */
static const char *find_item(const struct settings *s, const char *item, int nth)
{
    size_t length = name_length(item);
    for (const char *at = s->text; at < s->text + s->bytes; at += strlen(at) + 1)
        if (name_length(at) == length && !memcmp(at, item, length) && !nth--) return at;
    return NULL;
}

/* The first item of `s` of which `others` have another value, or none; NULL: they have all. *theirs is that, or NULL. */
static const char *find_other(const struct settings *s, const struct settings *others, const char **theirs)
{
    for (const char *at = s->text; at < s->text + s->bytes; at += strlen(at) + 1) {
        int nth = 0;
        while (find_item(s, at, nth) != at) nth++;
        *theirs = find_item(others, at, nth);
        if (!*theirs || strcmp(*theirs, at)) return at;
    }
    *theirs = NULL;
    return NULL;
}

static enum dg_status compare_settings(struct dg_comm *comm, int rank, const struct settings *first,
                                       const struct settings *s, struct dg_error *err)
{
    const char *theirs, *own = find_other(s, first, &theirs);
    if (!own) theirs = find_other(first, s, &own);
    if (!own && !theirs) return DG_OK;
    return dg_fail(err, DG_ERR_USAGE,
                   "rank %d (%s) has %s%.160s, and rank 0 has %s%.160s: give all processes the same options", rank,
                   dg_comm_host(comm, rank), own ? "" : "no ", own ? own : theirs, theirs ? "" : "no ",
                   theirs ? theirs : own);
}

enum dg_status dg_ranks_check_settings(struct dg_comm *comm, const char *settings, int64_t bytes, struct dg_error *err)
{
    if (!comm) return DG_OK;
    int ranks = dg_comm_ranks(comm);
    void *all;
    int64_t *length;
    DG_TRY(dg_comm_gather_each(comm, settings, bytes, &all, &length, err));
    const struct settings first = {all, length[0]};
    struct settings s = first;
    enum dg_status status = DG_OK;
    for (int r = 1; r < ranks && status == DG_OK; r++) {
        s = (struct settings){s.text + s.bytes, length[r]};
        status = compare_settings(comm, r, &first, &s, err);
    }
    free(length);
    free(all);
    return status;
}

/* ---- CPUs ---- */

/* The CPUs that a process may use, and those that its launcher's process on this machine may. */
struct masks {
    cpu_set_t mine, launcher;
};

static struct masks masks_here(void)
{
    struct masks m;
    if (sched_getaffinity(0, sizeof m.mine, &m.mine)) CPU_ZERO(&m.mine);
    if (sched_getaffinity(getppid(), sizeof m.launcher, &m.launcher)) m.launcher = m.mine;
    return m;
}

/* A launcher that binds a process to one core makes its threads share that core. */
static enum dg_status check_masks(struct dg_comm *comm, struct dg_error *err)
{
    struct masks mine = masks_here(), *all;
    DG_TRY(dg_comm_gather_new(comm, &mine, sizeof mine, (void **)&all, err));
    enum dg_status status = DG_OK;
    for (int r = 0; r < dg_comm_ranks(comm) && status == DG_OK; r++) {
        cpu_set_t covered;
        CPU_ZERO(&covered);
        for (int o = 0; o < dg_comm_ranks(comm); o++)
            if (!strcmp(dg_comm_host(comm, o), dg_comm_host(comm, r))) CPU_OR(&covered, &covered, &all[o].mine);
        int used = CPU_COUNT(&covered), there = CPU_COUNT(&all[r].launcher);
        if (used * 10 >= there * 9) continue;
        status = dg_fail(err, DG_ERR_USAGE,
                         "the launcher binds the processes on %s to %d of %d CPUs: add --bind-to none to mpirun (or "
                         "--map-by ppr:1:socket --bind-to socket)",
                         dg_comm_host(comm, r), used, there);
    }
    free(all);
    return status;
}

enum dg_status dg_ranks_check(struct dg_comm *comm, const struct dg_rank_facts *given, struct dg_error *err)
{
    struct facts mine = {.plan = given->plan,
                         .data = given->data,
                         .weights = given->weights,
                         .images = given->images,
                         .exif = given->rules.exif,
                         .pillow = dg_image_rules_pillow(given->rules)},
                 *all;
    snprintf(mine.kernels, sizeof mine.kernels, "%s", dg_kernels_name().text);
    add_knobs(given->knobs, &mine);
    enum dg_status status = dg_comm_gather_new(comm, &mine, sizeof mine, (void **)&all, err);
    char text[512];
    for (int r = 1; r < dg_comm_ranks(comm) && status == DG_OK; r++) {
        const char *what = difference(&all[0], &all[r], given, text, sizeof text);
        if (what) status = dg_fail(err, DG_ERR_USAGE, "rank %d (%s) has %s", r, dg_comm_host(comm, r), what);
    }
    free(all);
    return status == DG_OK ? check_masks(comm, err) : status;
}

enum dg_status dg_ranks_threads(struct dg_comm *comm, int *threads, struct dg_error *err)
{
    bool asked = *threads > 0;
    if (!asked) *threads = dg_default_threads();
    if (!comm) return DG_OK;
    struct masks mine = masks_here(), *all;
    DG_TRY(dg_comm_gather_new(comm, &mine, sizeof mine, (void **)&all, err));
    int sharing = 0; /* processes of this machine that may use the same CPUs */
    for (int r = 0; r < dg_comm_ranks(comm); r++) {
        cpu_set_t both;
        CPU_AND(&both, &mine.mine, &all[r].mine);
        sharing += !strcmp(dg_comm_host(comm, r), dg_comm_host(comm, dg_comm_rank(comm))) && CPU_COUNT(&both) > 0;
    }
    free(all);
    if (!asked && !getenv("OMP_NUM_THREADS") && sharing > 1) *threads = *threads / sharing > 1 ? *threads / sharing : 1;
    return DG_OK;
}
