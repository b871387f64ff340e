/* Compares the facts of a checkpoint with those of what is about to be done. */
#include "runtime/base/name.h"
#include "runtime/formats/checksum.h"
#include "runtime/layouts/published_options.h"
#include "runtime/state/facts.h"

#include <stdio.h>
#include <string.h>

enum { MAX_KEY = 256, SHOWN = 10 };

/* What is compared, and what was found. */
struct comparison {
    const struct dg_facts_question *question;
    const struct dg_safetensors *file;
    bool same_compiler;
    int count; /* of differences */
    char lines[1024];
};

static void add_difference(struct comparison *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add_difference(struct comparison *c, const char *format, ...)
{
    if (c->count++ >= SHOWN) return;
    size_t used = strlen(c->lines);
    va_list args;
    used += (size_t)snprintf(c->lines + used, sizeof c->lines - used, "\n  ");
    va_start(args, format);
    if (used < sizeof c->lines) vsnprintf(c->lines + used, sizeof c->lines - used, format, args);
    va_end(args);
}

/* Keys of which results do not depend: when and what is saved, what is evaluated besides. */
static bool is_free(const char *key)
{
    return dg_name_after(key, "checkpoint.") || dg_name_after(key, "entries.") || !strcmp(key, "skip_bad_steps");
}

static bool is_given(const struct comparison *c, const char *key)
{
    const struct dg_knobs *knobs = c->question->knobs;
    const struct dg_plan_knob *knob = dg_knobs_find(knobs, key);
    return knob && knobs->given[knob - knobs->knob];
}

/* The key as people write it, if it must be the same for this use; else NULL. */
static const char *compared(const struct comparison *c, const char *key)
{
    static const char *const of_head[] = {"blocks", "avgpool"};
    if (c->question->use != DG_FACTS_WEIGHTS && !strcmp(key, "images.exif")) return "--exif";
    if (c->question->use != DG_FACTS_WEIGHTS && !strcmp(key, "images.pillow")) return "--pillow";
    const char *recipe = dg_name_after(key, "recipe."), *knob = dg_name_after(key, "plan.");
    if (c->question->use == DG_FACTS_RUN) {
        if (recipe) return is_free(recipe) ? NULL : recipe;
        return knob && !is_free(knob) && !is_given(c, knob) ? knob : NULL;
    }
    for (size_t h = 0; recipe && c->question->use == DG_FACTS_HEAD && h < sizeof of_head / sizeof *of_head; h++)
        if (!strcmp(recipe, of_head[h])) return recipe;
    return NULL;
}

/* A fact of the file. */
static void see_old(void *context, const char *key, const char *was)
{
    struct comparison *c = context;
    const char *shown = compared(c, key), *now = shown ? dg_facts_find(c->question->now, key) : NULL;
    if (!shown || (now && dg_same_value(now, was)) || (!now && !c->same_compiler)) return;
    add_difference(c, "%s was %.100s and is %.100s", shown, was, now ? now : "not there");
}

/* Facts that the file lacks. */
static void see_new(struct comparison *c)
{
    const struct dg_facts *now = c->question->now;
    for (int i = 0; i < now->count && c->same_compiler; i++) {
        const char *shown = compared(c, now->fact[i].key);
        if (shown && !dg_safetensors_metadata(c->file, now->fact[i].key))
            add_difference(c, "%s was not there and is %.100s", shown, now->fact[i].value);
    }
}

/* Adds the arguments of the backbone's module that differ. Returns whether there are any. */
static bool add_arguments(struct comparison *c)
{
    int before = c->count;
    for (int i = 0; i < c->question->now->count; i++) {
        const struct dg_safetensors_meta *now = &c->question->now->fact[i];
        const char *argument = dg_name_after(now->key, "network."), *was = dg_safetensors_metadata(c->file, now->key);
        if (argument && was && !dg_same_value(was, now->value))
            add_difference(c, "%s was %.100s and is %.100s", argument, was, now->value);
    }
    return c->count > before;
}

/* Do keys of the recipe with this prefix differ? They have been added. */
static bool recipe_differs(const struct comparison *c, const char *prefix)
{
    for (int i = 0; i < c->question->now->count; i++) {
        const struct dg_safetensors_meta *now = &c->question->now->fact[i];
        const char *was = dg_name_after(now->key, prefix) ? dg_safetensors_metadata(c->file, now->key) : now->value;
        if (!was || !dg_same_value(was, now->value)) return true;
    }
    return false;
}

/* What a network computes may differ by its arguments, or by its module's definition. */
static void compare_networks(struct comparison *c)
{
    static const struct {
        const char *key, *what, *recipe, *probe;
    } parts[] = {{"computes.evaluated", "the backbone", "recipe.student.", "recipe.with."},
                 {"computes.trained", "the backbone in training", "recipe.student.", "recipe.with."},
                 {"computes.teacher", "the teacher in training", "recipe.student.", "recipe.with."},
                 {"computes.head", "the head", "recipe.head.", "recipe.head."}};
    bool run = c->question->use == DG_FACTS_RUN;
    for (int p = 0; p < (run ? 4 : 1); p++) {
        const char *was = dg_safetensors_metadata(c->file, parts[p].key),
                   *now = dg_facts_find(c->question->now, parts[p].key);
        if (!was || !now || !strcmp(was, now)) continue;
        bool named = run ? recipe_differs(c, parts[p].recipe) || recipe_differs(c, parts[p].probe) : add_arguments(c);
        if (!named)
            add_difference(c, "%s computes something else: %s", parts[p].what,
                           p == 2 ? "teacher.with was changed" : "the definition of its module was changed");
        if (p < 2) p = 2; /* one line is enough for all of the backbone */
    }
}

static void compare_classes(struct comparison *c)
{
    const char *was = dg_safetensors_metadata(c->file, "classes"), *now = dg_facts_find(c->question->now, "classes");
    if (c->question->use == DG_FACTS_WEIGHTS || !was || !now || !strcmp(was, now)) return;
    char one[128], other[128];
    for (int i = 0;; i++) {
        bool in_file = dg_facts_name(was, i, one, sizeof one), in_now = dg_facts_name(now, i, other, sizeof other);
        if (!in_file && !in_now) return;
        if (in_file && in_now && !strcmp(one, other)) continue;
        add_difference(c, "class %d was %s and is %s", i, in_file ? one : "not there", in_now ? other : "not there");
        if (in_file != in_now) return;
    }
}

static void compare_weights(struct comparison *c)
{
    const char *was = dg_safetensors_metadata(c->file, "weights"), *now = dg_facts_find(c->question->now, "weights");
    if (c->question->use == DG_FACTS_HEAD && was && now && strcmp(was, now))
        add_difference(c, "the backbone's weights are not the ones that the layer was trained on");
    char other[256];
    if (c->question->use == DG_FACTS_HEAD && *dg_facts_other_pixels(c->file, c->question->knobs, other, sizeof other))
        add_difference(c, "images were normalised with %s, and are not now", other);
}

/* Differences that change numbers in their last bits. */
static void log_machine(const struct comparison *c)
{
    static const char last_bits[] = "the numbers may differ in their last bits";
    static const char *const keys[][3] = {
        {"machine.kernels", "the kernels' level", last_bits},
        {"machine.onednn", "oneDNN", last_bits},
        {"machine.processes", "the number of processes", last_bits},
        {"machine.reduce", "--reduce", last_bits},
        {"machine.together", "the number of processes that add up first", last_bits},
        {"machine.wire", "--wire", "gradients are no longer rounded as before"},
    };
    for (size_t k = 0; k < sizeof keys / sizeof *keys && c->question->use == DG_FACTS_RUN; k++) {
        const char *was = dg_safetensors_metadata(c->file, keys[k][0]),
                   *now = dg_facts_find(c->question->now, keys[k][0]);
        if (was && now && strcmp(was, now))
            dg_log(c->question->log, DG_LOG_WARNING, DG_LOG_RUN, "%s was %s so far and is %s now: %s", keys[k][1], was,
                   now, keys[k][2]);
    }
}

static enum dg_status refuse(const struct comparison *c, struct dg_error *err)
{
    static const char *const what[] = {[DG_FACTS_RUN] = "was made with another recipe than the plan's",
                                       [DG_FACTS_WEIGHTS] = "was trained as another network than the plan's",
                                       [DG_FACTS_HEAD] = "was trained on something else than it is scored on"};
    static const char *const out[] = {
        [DG_FACTS_RUN] = "take the plan that the run was made with, or give the values of knobs with --set; "
                         "--accept-changes goes on "
                         "with the new recipe all the same, and --init FILE begins a new run with the weights",
        [DG_FACTS_WEIGHTS] = "compile a plan of the network that was trained; --accept-changes goes on all the same",
        [DG_FACTS_HEAD] = "score it on what it was trained on; --accept-changes goes on all the same"};
    char more[64] = "";
    if (c->count > SHOWN) snprintf(more, sizeof more, "\n  and %d more", c->count - SHOWN);
    if (c->question->accept) {
        dg_log(c->question->log, DG_LOG_WARNING, DG_LOG_RUN, "%s %s, which is accepted:%s%s", c->question->path,
               what[c->question->use], c->lines, more);
        return DG_OK;
    }
    /* Another run ends the search for a checkpoint; other weights are a fault of the file, as other shapes are. */
    enum dg_status status = c->question->use == DG_FACTS_RUN ? DG_ERR_USAGE : DG_ERR_INPUT;
    return dg_fail(err, status, "%s %s: %s.%s%s", c->question->path, what[c->question->use], out[c->question->use],
                   c->lines, more);
}

enum dg_status dg_facts_compare(const struct dg_facts_question *question, const struct dg_safetensors *file,
                                struct dg_error *err)
{
    static const char *const unsaid[] = {
        [DG_FACTS_RUN] = "recipe", [DG_FACTS_WEIGHTS] = "network", [DG_FACTS_HEAD] = "network, weights and classes"};
    struct comparison c = {.question = question, .file = file};
    const char *was = dg_safetensors_metadata(file, "dinoc"), *now = dg_facts_find(question->now, "dinoc");
    if (question->now->lost) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    bool says = was || (question->use == DG_FACTS_RUN && dg_safetensors_metadata(file, DG_PUBLISHED_ARGS));
    if (!says && (question->use != DG_FACTS_WEIGHTS || dg_safetensors_metadata(file, "model_hash")))
        dg_log(question->log, DG_LOG_WARNING, DG_LOG_RUN,
               "%s does not say which %s it was made with (an older version, or another program, wrote it): that could "
               "not be compared",
               question->path, unsaid[question->use]);
    if (!now)
        dg_log(question->log, DG_LOG_WARNING, DG_LOG_RUN,
               "the plan is of an older dinoc and does not say its recipe: %s could not be compared with it",
               question->path);
    if (!says || !now) return DG_OK;
    c.same_compiler = was && !strcmp(was, now);
    dg_safetensors_each_metadata(file, see_old, &c);
    see_new(&c);
    compare_networks(&c);
    compare_classes(&c);
    compare_weights(&c);
    log_machine(&c);
    return c.count ? refuse(&c, err) : DG_OK;
}

static enum dg_status compare_weights_file(const struct dg_safetensors *file, const char *path,
                                           const struct dg_knobs *knobs, bool accept, const struct dg_log *log,
                                           struct dg_error *err)
{
    struct dg_facts now = {0};
    dg_facts_add_plan(&now, knobs);
    const struct dg_facts_question question = {DG_FACTS_WEIGHTS, path, &now, knobs, accept, log};
    enum dg_status status = dg_facts_compare(&question, file, err);
    dg_facts_free(&now);
    return status;
}

enum dg_status dg_facts_check_weights(const char *path, struct dg_knobs *knobs, bool accept, const struct dg_log *log,
                                      struct dg_error *err)
{
    struct dg_safetensors *file;
    if (dg_safetensors_open(path, &file, NULL) != DG_OK) return DG_OK;
    enum dg_status status = dg_checksum_check(file, path, err);
    if (status == DG_OK) status = compare_weights_file(file, path, knobs, accept, log, err);
    if (status == DG_OK) dg_facts_take_pixels(file, path, knobs, log);
    dg_safetensors_close(file);
    return status;
}

enum dg_status dg_facts_check_init(const char *path, const struct dg_knobs *knobs, bool accept,
                                   const struct dg_log *log, struct dg_error *err)
{
    struct dg_safetensors *file;
    char other[256];
    if (dg_safetensors_open(path, &file, NULL) != DG_OK) return DG_OK;
    enum dg_status status = dg_checksum_check(file, path, err);
    if (status == DG_OK) status = compare_weights_file(file, path, knobs, accept, log, err);
    if (*dg_facts_other_pixels(file, knobs, other, sizeof other))
        dg_log(log, DG_LOG_WARNING, DG_LOG_RUN, "%s was trained with %s, and this run normalises images otherwise",
               path, other);
    dg_safetensors_close(file);
    return status;
}

enum dg_status dg_facts_check_head(const char *path, const struct dg_facts *now, const struct dg_knobs *knobs,
                                   bool accept, const struct dg_log *log, struct dg_error *err)
{
    struct dg_safetensors *file;
    if (dg_safetensors_open(path, &file, NULL) != DG_OK) return DG_OK; /* of torch.save */
    enum dg_status status = dg_checksum_check(file, path, err);
    const struct dg_facts_question question = {DG_FACTS_HEAD, path, now, knobs, accept, log};
    if (status == DG_OK) status = dg_facts_compare(&question, file, err);
    dg_safetensors_close(file);
    return status;
}
