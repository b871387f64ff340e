#include "compiler/pipeline/pipeline.h"

#include "compiler/graph/dump.h"
#include "compiler/graph/verify.h"

#include <stdio.h>
#include <string.h>

enum {
    FORWARD = DG_FACT_FORWARD,
    F32 = DG_FACT_F32,
    NO_RECOMPUTED = DG_FACT_NO_RECOMPUTED,
    ALL_IMAGES = DG_FACT_ALL_IMAGES,
    OUTPUTS = DG_FACT_OUTPUTS,
    SOURCE = FORWARD | F32 | NO_RECOMPUTED | ALL_IMAGES,
};

/* clang-format off */

/* Run on each application of the student and the teacher as soon as its nodes are there, so that the backward is that of the
 * fused nodes; and on the one application of an evaluation entry. */
const struct dg_pass dg_application_passes[] = {
    /* name          function         when               requires                     keeps */
    {"slice_tokens", dg_slice_tokens, DG_PASS_OPTIMIZED, SOURCE,                      SOURCE,
     "where one token of a value is read, compute that token alone"},
    {"fuse",         dg_fuse,         DG_PASS_OPTIMIZED, SOURCE,                      SOURCE | OUTPUTS,
     "an op and the only reader of its result become one op"},
    {0}};

/* Run on the logits of a group of crops and their loss, before they are differentiated. */
const struct dg_pass dg_loss_passes[] = {
    {"fuse_loss",    dg_fuse,         DG_PASS_OPTIMIZED, SOURCE,                      SOURCE | OUTPUTS,
     "the op that makes the student's logits and the loss become one op"},
    {0}};

/* Run on the teacher's logits and targets, which have no backward, once all losses are there: what these read of the targets
 * decides. The name is the same, as one without the other would mix the statistics of two forms of the logits. */
const struct dg_pass dg_target_passes[] = {
    {"fuse_loss",    dg_fuse,         DG_PASS_OPTIMIZED, F32 | NO_RECOMPUTED | ALL_IMAGES, SOURCE | OUTPUTS,
     "the op that makes the teacher's logits and the targets become one op"},
    {0}};

/* Run on every entry once all of its nodes are there: forward, backward and commit. */
const struct dg_pass dg_entry_passes[] = {
    {"prune",        dg_prune,        DG_PASS_ALWAYS,    F32,                         SOURCE | OUTPUTS,
     "drop ops whose results nothing reads"},
    {"assign_bf16",  dg_assign_bf16,  DG_PASS_BF16,      F32,                         FORWARD | NO_RECOMPUTED | ALL_IMAGES | OUTPUTS,
     "choose which values are stored as bf16"},
    {"recompute",    dg_recompute,    DG_PASS_ALWAYS,    NO_RECOMPUTED | ALL_IMAGES,  FORWARD | F32 | ALL_IMAGES | OUTPUTS,
     "compute activations again for the backward instead of saving them"},
    {"compact_rows", dg_compact_rows, DG_PASS_OPTIMIZED, ALL_IMAGES,                  FORWARD | F32 | NO_RECOMPUTED | OUTPUTS,
     "run a residual branch on the images that drop path keeps"},
    {"fuse_late",    dg_fuse_late,    DG_PASS_OPTIMIZED, 0,                           FORWARD | F32 | NO_RECOMPUTED | OUTPUTS,
     "an op and the first reader of its result become one op"},
    {"pack_weights", dg_pack_weights, DG_PASS_OPTIMIZED, 0,                           FORWARD | NO_RECOMPUTED | ALL_IMAGES | OUTPUTS,
     "weights that several products of a step read are packed once"},
    {0}};

/* clang-format on */

static const struct dg_pass *const tables[] = {dg_application_passes, dg_loss_passes, dg_target_passes,
                                               dg_entry_passes};
enum { NUM_TABLES = sizeof tables / sizeof *tables };

static const struct dg_pass *pass_at(int index)
{
    for (int t = 0; t < NUM_TABLES; t++)
        for (const struct dg_pass *pass = tables[t]; pass->name; pass++)
            if (!index--) return pass;
    return NULL;
}

static int count_passes(void)
{
    int count = 0;
    while (pass_at(count)) count++;
    return count;
}

static const char *pass_name(const void *context, int index)
{
    (void)context;
    return pass_at(index)->name;
}

/* --- what the user asked for --- */

/* The next name of a list "a,b"; a colon ends it, too. NULL at its end. *length receives its length, *list moves on. */
static const char *next_name(const char **list, size_t *length)
{
    if (!*list) return NULL;
    const char *name = *list;
    *length = strcspn(name, ",:");
    *list = name[*length] == ',' ? name + *length + 1 : NULL;
    return name;
}

static bool has_name(const char *list, const char *wanted)
{
    size_t length;
    for (const char *name; (name = next_name(&list, &length));)
        if (length == strlen(wanted) && !strncmp(name, wanted, length)) return true;
    return false;
}

static enum dg_status check_name(const char *flag, const char *name, struct dg_error *err)
{
    const struct dg_pass *pass;
    if (!*name) return dg_fail(err, DG_ERR_USAGE, "%s: the name of a pass is empty; dinoc --passes lists them", flag);
    for (int i = 0; (pass = pass_at(i)); i++)
        if (!strcmp(pass->name, name)) return DG_OK;
    const char *near = dg_nearest_name(name, pass_name, NULL, count_passes());
    return dg_fail(err, DG_ERR_USAGE, "%s: there is no pass %s%s%s%s; dinoc --passes lists them", flag, name,
                   near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
}

static enum dg_status check_names(const char *flag, const char *list, struct dg_error *err)
{
    size_t length;
    for (const char *name; (name = next_name(&list, &length));) {
        char word[64];
        snprintf(word, sizeof word, "%.*s", (int)length, name);
        DG_TRY(check_name(flag, word, err));
    }
    return DG_OK;
}

enum dg_status dg_pipeline_check(const struct dg_pipeline *pipeline, struct dg_error *err)
{
    DG_TRY(check_names("--skip", pipeline->skip, err));
    if (pipeline->skip && strchr(pipeline->skip, ':'))
        return dg_fail(err, DG_ERR_USAGE, "--skip: a pass cannot be skipped for single nodes, as in %s",
                       pipeline->skip);
    return check_names("--dump", pipeline->dump, err);
}

static const char *when_text(enum dg_pass_when when)
{
    return when == DG_PASS_OPTIMIZED ? "not --plain" : when == DG_PASS_BF16 ? "--dtype bf16" : "always";
}

void dg_list_passes(struct dg_text *text)
{
    static const char *const head[] = {
        "each application of a network, before it is differentiated", "the loss of a group of crops, likewise",
        "the teacher's targets, once all losses are there", "the complete graph of each entry"};
    for (int t = 0; t < NUM_TABLES; t++) {
        dg_text_add(text, "%s:\n", head[t]);
        for (const struct dg_pass *pass = tables[t]; pass->name; pass++)
            dg_text_add(text, "  %-13s %-13s %s\n", pass->name, when_text(pass->when), pass->summary);
    }
}

/* --- running --- */

static bool runs(const struct dg_pass *pass, const struct dg_pipeline *pipeline)
{
    if (pass->when == DG_PASS_OPTIMIZED && pipeline->plain) return false;
    if (pass->when == DG_PASS_BF16 && !pipeline->bf16) return false;
    return !has_name(pipeline->skip, pass->name);
}

/* The facts that hold for the graph, but for DG_FACT_OUTPUTS, which compares two graphs. */
static uint32_t facts_of(const struct dg_pass_context *c)
{
    uint32_t facts = SOURCE;
    for (uint32_t n = c->first; n < c->graph->num_nodes; n++) {
        const struct dg_graph_node *node = &c->graph->node[n];
        if (node->role != DG_ROLE_FORWARD) facts &= ~(uint32_t)FORWARD;
        if (node->role == DG_ROLE_RECOMPUTED) facts &= ~(uint32_t)NO_RECOMPUTED;
        if (dg_node_row_map(node) != DG_NO_VALUE) facts &= ~(uint32_t)ALL_IMAGES;
        for (int o = 0; o < node->num_outputs; o++)
            if (c->graph->value[node->output[o]].desc.dtype == DG_BF16) facts &= ~(uint32_t)F32;
    }
    return facts;
}

static bool broken(const struct dg_pass *pass, const struct dg_pass_context *c, const char *why)
{
    dg_diag_error(c->diag, NULL, "internal: pass %s on %s: %s; please report this", pass->name, c->subject, why);
    return false;
}

static bool run_checked(const struct dg_pass *pass, struct dg_pass_context *c)
{
    uint32_t before = facts_of(c) | OUTPUTS;
    dg_value *outputs = dg_arena_alloc(c->graph->arena, ((size_t)c->num_keep + 1) * sizeof *outputs);
    memcpy(outputs, c->keep, (size_t)c->num_keep * sizeof *outputs);
    if (pass->requires & ~before) return broken(pass, c, "the graph is not what it requires");
    if (!pass->run(c)) return false;
    uint32_t after = facts_of(c);
    if (!memcmp(outputs, c->keep, (size_t)c->num_keep * sizeof *outputs)) after |= OUTPUTS;
    if (pass->keeps & before & ~after) return broken(pass, c, "the graph lost what the pass keeps");
    struct dg_error err = {0};
    return dg_graph_verify(c->graph, c->first, &err) == DG_OK || broken(pass, c, err.text);
}

static void dump(const struct dg_pass *pass, const struct dg_pipeline *pipeline, const struct dg_pass_context *c)
{
    const char *colon = strchr(pipeline->dump, ':');
    dg_text_add(pipeline->dumps, "after %s%s: %s\n", pass->name, runs(pass, pipeline) ? "" : " (which did not run)",
                c->subject);
    dg_graph_dump(pipeline->dumps, c->graph, c->first, c->keep, c->num_keep, colon ? colon + 1 : NULL);
}

bool dg_run_passes(const struct dg_pass *pass, const struct dg_pipeline *pipeline, struct dg_pass_context *context)
{
    for (; pass->name; pass++) {
        if (runs(pass, pipeline) && !run_checked(pass, context)) return false;
        if (pipeline->dumps && has_name(pipeline->dump, pass->name)) dump(pass, pipeline, context);
    }
    return true;
}
