#include "tools/dinorun/probe_plan.h"

#include "tools/dinorun/make_plan.h"

#include "runtime/data/dataset.h"
#include "runtime/layouts/weight_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_WORDS = 256 };

/* The command that makes the plan; NULL: out of memory. The caller frees it. */
static char *command_text(const char *recipe, const char *classes, const struct dg_flag_values *set)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out) return NULL;
    fprintf(out, "dinoc %s --probe --set %s", recipe, classes);
    for (int s = 0; s < set->count; s++) fprintf(out, " --set '%s'", set->value[s]);
    fputs(" makes the probe's plan", out);
    fclose(out);
    return text;
}

static enum dg_status open_made(void *context, const char *plan, struct dg_error *err)
{
    struct opened_plan *of = context;
    const struct dg_flag_values set = of->set; /* they are in the plan */
    of->set = (struct dg_flag_values){0};
    enum dg_status status = open_plan_file(of, plan, err);
    of->set = set;
    return status;
}

static enum dg_status compile(const char *recipe, int64_t classes, struct opened_plan *of, struct dg_error *err)
{
    const struct dg_flag_values *set = &of->set;
    char number[48];
    const char *words[MAX_WORDS];
    int count = 0;
    if (set->count > MAX_WORDS / 2 - 8) return dg_fail(err, DG_ERR_USAGE, "too many --set");
    snprintf(number, sizeof number, "classes=%" PRId64, classes);
    const char *const first[] = {"--probe", "--set", number};
    for (size_t w = 0; w < sizeof first / sizeof *first; w++) words[count++] = first[w];
    for (int s = 0; s < set->count; s++) {
        words[count++] = "--set";
        words[count++] = set->value[s];
    }
    words[count] = NULL;
    char *text = command_text(recipe, number, set);
    const struct plan_to_make make = {.file = recipe, .flags = words, .what = "the probe's plan", .said = text};
    enum dg_status status = make_plan(&make, open_made, of, err);
    free(text);
    return status;
}

enum dg_status count_classes(const struct dg_data *images, const char *head, int64_t *classes, struct dg_error *err)
{
    if (!head) {
        struct dg_dataset *dataset;
        DG_TRY(dg_dataset_open(images, DG_LABELS_NEEDED, NULL, &dataset, err));
        *classes = dg_dataset_classes(dataset);
        dg_dataset_close(dataset);
        return DG_OK;
    }
    struct dg_weight_file *file;
    DG_TRY(dg_weight_file_open(head, NULL, &file, err));
    int weight = dg_weight_file_find(file, "linear.weight");
    enum dg_status status = DG_OK;
    if (weight >= 0 && dg_weight_file_at(file, weight)->ndim == 2)
        *classes = dg_weight_file_at(file, weight)->dim[0];
    else
        status = dg_fail(err, DG_ERR_INPUT,
                         "%s has no linear.weight: a head is what dinorun linear leaves, or a published one", head);
    dg_weight_file_close(file);
    return status;
}

enum dg_status open_probe_plan(struct opened_plan *of, int64_t classes, struct dg_error *err)
{
    of->run = of->path;
    char recipe[DG_MAX_PATH];
    if (snprintf(recipe, sizeof recipe, "%s/recipe.yaml", of->path) >= DG_MAX_PATH)
        return dg_fail(err, DG_ERR_USAGE, "the path of the run is too long");
    if (access(recipe, F_OK))
        return dg_fail(err, DG_ERR_USAGE,
                       "%s has no recipe.yaml: is it a run's folder? One of 0.1 needs the plan of a probe (dinoc "
                       "DESCRIPTION --probe --set classes=%" PRId64 " -o PLAN) and --weights",
                       of->path, classes);
    return compile(recipe, classes, of, err);
}
