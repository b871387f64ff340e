#include "compiler/step/compile_step.h"

#include "compiler/language/program.h"
#include "runtime/plan/view.h"

#include <string.h>

struct dg_step_choice dg_default_choice(const struct dg_step_request *from)
{
    struct dg_step_choice choice = {0};
    if (!from->pipeline->plain) choice.recompute = dg_recompute_cheap();
    if (from->ranks > 1) {
        choice.slices = from->ranks;
        choice.smallest_first = true;
    }
    return choice;
}

/* "1, 2, 3, 4, 6, 8": the numbers that divide the batch, up to a few above `ranks`. */
static const char *divisors(struct dg_arena *arena, int64_t batch, int64_t ranks)
{
    const char *text = "1";
    int above = 0;
    for (int64_t d = 2; d <= batch && above < 2; d++) {
        if (batch % d) continue;
        text = dg_arena_printf(arena, "%s, %lld", text, (long long)d);
        above += d > ranks;
    }
    return text;
}

bool dg_step_can_be_shared(const struct dg_step_request *from)
{
    int64_t batch = from->recipe->batch, ranks = from->ranks;
    if (ranks <= 1 || batch % ranks == 0) return true;
    dg_diag_error(from->diag, &from->recipe->model.origin,
                  "--ranks %lld: %lld processes cannot share a batch of %lld equally; take %s, or --batch %lld or %lld",
                  (long long)ranks, (long long)ranks, (long long)batch, divisors(from->program->arena, batch, ranks),
                  (long long)(batch / ranks * ranks + ranks),
                  (long long)(batch / ranks ? batch / ranks * ranks : 2 * ranks));
    return false;
}

/* All runs of `parts` words joined by dots within the names of what is trained: what could have been meant. */
struct name_parts {
    struct dg_arena *arena;
    const char **part;
    size_t count, capacity;
};

static void add_parts(struct name_parts *list, const char *name, int parts)
{
    for (const char *from = name; from; from = strchr(from, '.') ? strchr(from, '.') + 1 : NULL) {
        const char *end = from;
        for (int p = 0; p < parts && end; p++) end = strchr(p ? end + 1 : end, '.');
        list->part = dg_arena_grow(list->arena, list->part, list->count, &list->capacity, sizeof *list->part);
        list->part[list->count++] = dg_arena_strndup(list->arena, from, end ? (size_t)(end - from) : strlen(from));
        if (!end) return;
    }
}

static const char *part_at(const void *context, int index) { return ((const struct name_parts *)context)->part[index]; }

/* A freeze that meets no parameter would have no effect, and nobody would know. */
static void check_freeze(const struct dg_step_request *from, const struct dg_graph *graph,
                         const struct dg_recipe_freeze *freeze)
{
    const char *word = freeze->params;
    if (freeze->origin.line <= 0) return;
    struct name_parts list = {.arena = graph->arena};
    int parts = 1;
    for (const char *dot = word; (dot = strchr(dot, '.')); dot++) parts++;
    for (uint32_t v = 0; v < graph->num_values; v++) {
        if (!(graph->value[v].flags & DG_TENSOR_TRAINABLE)) continue;
        if (strstr(graph->value[v].name, word)) return;
        add_parts(&list, graph->value[v].name, parts);
    }
    if (dg_diag_errors(from->diag)) return; /* of networks that failed not all parameters are there */
    const char *near = dg_nearest_name(word, part_at, &list, (int)list.count), *example = NULL;
    for (uint32_t v = 0; near && !example && v < graph->num_values; v++)
        if (graph->value[v].flags & DG_TENSOR_TRAINABLE && strstr(graph->value[v].name, near))
            example = graph->value[v].name;
    dg_diag_error(from->diag, &freeze->origin, "%s.params: no parameter has %s in its name%s%s%s%s%s", freeze->control,
                  word, near ? "; did you mean " : "", near ? near : "", near ? ", as in " : "", near ? example : "",
                  near ? "?" : "");
}

bool dg_finish_entry(const struct dg_step_request *from, const struct dg_recompute_levels *recompute,
                     struct dg_entry *entry)
{
    dg_value output[DG_SLOTS];
    struct dg_pass_context context = {.graph = entry->graph,
                                      .diag = from->diag,
                                      .subject =
                                          dg_arena_printf(entry->graph->arena, "entry %s", dg_entry_name(entry->role)),
                                      .keep = output,
                                      .num_keep = dg_entry_outputs(entry, output),
                                      .constant_params = entry->constant_params,
                                      .bf16 = from->pipeline->bf16,
                                      .math = from->pipeline->math,
                                      .recompute = *recompute};
    entry->bf16 = from->pipeline->bf16;
    entry->math = from->pipeline->math;
    return dg_run_passes(dg_entry_passes, from->pipeline, &context);
}

bool dg_build_step(const struct dg_step_request *from, const struct dg_step_choice *choice, struct dg_entry *entry,
                   struct dg_train_step *step)
{
    struct dg_graph *graph = dg_graph_create(from->program->arena);
    bool built = dg_build_train_step(from, choice, graph, step);
    bool there = step->slots.of[DG_SLOT_CROPS_GLOBAL] != DG_NO_VALUE;
    for (int f = 0; f < from->recipe->freezes && there; f++) check_freeze(from, graph, &from->recipe->freeze[f]);
    if (!built || dg_diag_errors(from->diag)) return false;
    *entry = (struct dg_entry){.role = DG_ENTRY_TRAIN,
                               .bind = "",
                               .graph = graph,
                               .batch = from->recipe->batch,
                               .ranks = from->ranks,
                               .slots = step->slots};
    return true;
}

bool dg_compile_step(const struct dg_step_request *from, const struct dg_step_choice *choice, struct dg_entry *entry,
                     struct dg_train_step *step)
{
    return dg_build_step(from, choice, entry, step) && dg_finish_entry(from, &choice->recompute, entry);
}
