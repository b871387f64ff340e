#include "runtime/export/published.h"

#include "runtime/base/name.h"
#include "runtime/layouts/published_options.h"

#include <string.h>

/* What is compared: facts whose keys begin with these. */
static const char *const compared[] = {
    "recipe.teacher.", "recipe.loss.", "recipe.optim.", "recipe.lr.", "recipe.weight_decay.",
    "set.teacher.",    "set.loss.",    "set.optim.",    "set.lr.",    "set.weight_decay."};
/* What the published code has without an option for it; published: its value, NULL: any. */
static const struct {
    const char *key, *published;
} known[] = {{"recipe.teacher.update", "momentum"},
             {"recipe.teacher.buffers", "own"},
             {"recipe.teacher.momentum.curve", "cosine"},
             {"recipe.teacher.momentum.per", "step"},
             {"recipe.loss.kind", "cross_entropy"},
             {"recipe.loss.targets", "center"},
             {"recipe.loss.teacher_temp.curve", "linear"},
             {"recipe.loss.teacher_temp.per", "epoch"},
             {"recipe.optim.kind", NULL},
             {"recipe.optim.no_decay.0", "bias"},
             {"recipe.optim.no_decay.1", "1d"},
             {"recipe.optim.freeze.params", "last_layer"},
             {"recipe.optim.clip_norm", "parameter"},
             {"recipe.lr.curve", "cosine"},
             {"recipe.lr.per", "step"},
             {"recipe.weight_decay.curve", "cosine"},
             {"recipe.weight_decay.per", "step"},
             {"set.loss.student_temp", "0.1"},
             {"set.loss.center_momentum", "0.9"},
             {"set.optim.betas.0", NULL},
             {"set.optim.betas.1", NULL},
             {"set.optim.eps", NULL},
             {"set.optim.momentum", NULL},
             {"set.optim.eta", NULL},
             {"set.teacher.momentum.to", "1"}};

static bool is_option(const char *key)
{
    const char *knob = dg_name_after(key, "set.");
    for (const struct dg_published_option *o = dg_published_options; knob && o->option; o++)
        if (o->knob && !strcmp(knob, o->key)) return true;
    return false;
}

/* The first fact that the published code does not know. */
struct unknown {
    const char *key, *value, *published;
};

static void see_fact(void *context, const char *key, const char *value)
{
    struct unknown *first = context;
    const char *published = NULL;
    bool asked = false;
    for (size_t c = 0; c < sizeof compared / sizeof *compared; c++) asked |= dg_name_after(key, compared[c]) != NULL;
    if (first->key || !asked || is_option(key)) return;
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        if (strcmp(key, known[k].key)) continue;
        published = known[k].published;
        if (!published || !strcmp(value, published)) return;
    }
    *first = (struct unknown){strchr(key, '.') + 1, value, published};
}

enum dg_status dg_published_check(const struct dg_safetensors *file, const char *path, struct dg_error *err)
{
    struct unknown first = {0};
    dg_safetensors_each_metadata(file, see_fact, &first);
    if (!first.key) return DG_OK;
    if (first.published)
        return dg_fail(err, DG_ERR_UNSUPPORTED, "%s: %.64s of this run is %.64s, and the published code knows %s alone",
                       path, first.key, first.value, first.published);
    return dg_fail(err, DG_ERR_UNSUPPORTED, "%s: this run has %.64s, %.64s, and the published code knows no such thing",
                   path, first.key, first.value);
}

const char *dg_published_prefix(const struct dg_safetensors *file, bool teacher)
{
    bool wrapped = !teacher;
    for (int i = 0; i < dg_safetensors_count(file); i++)
        wrapped |= strstr(dg_safetensors_at(file, i)->name, ".running_mean") != NULL;
    return wrapped ? "module." : "";
}
