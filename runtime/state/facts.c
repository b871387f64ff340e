#include "runtime/state/facts.h"

#include "ops/kernels/rates.h"
#include "runtime/base/name.h"
#include "runtime/exec/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_KEY = 256, MAX_VALUE = 128, EXACT = 17 /* digits that lose nothing of an f64 */ };

void dg_facts_add(struct dg_facts *facts, const char *key, const char *format, ...)
{
    char *value = NULL, *name = strdup(key);
    va_list args;
    va_start(args, format);
    bool ok = vasprintf(&value, format, args) >= 0 && name;
    va_end(args);
    if (ok && dg_facts_find(facts, key)) { /* the first counts */
        free(name);
        free(value);
        return;
    }
    if (ok && facts->count == facts->capacity) {
        int capacity = facts->capacity ? 2 * facts->capacity : 64;
        void *more = realloc(facts->fact, sizeof *facts->fact * (size_t)capacity);
        ok = more != NULL;
        if (ok) {
            facts->fact = more;
            facts->capacity = capacity;
        }
    }
    if (ok) {
        facts->fact[facts->count++] = (struct dg_safetensors_meta){name, value};
    } else {
        facts->lost = true;
        free(name);
        free(value);
    }
}

void dg_facts_free(struct dg_facts *facts)
{
    for (int i = 0; i < facts->count; i++) {
        free((char *)(uintptr_t)facts->fact[i].key);
        free((char *)(uintptr_t)facts->fact[i].value);
    }
    free(facts->fact);
    *facts = (struct dg_facts){0};
}

void dg_facts_add_reading(struct dg_facts *facts, bool exif, int pillow)
{
    dg_facts_add(facts, "images.exif", "%s", exif ? "true" : "false");
    dg_facts_add(facts, "images.pillow", "%d", pillow);
}

const char *dg_facts_find(const struct dg_facts *facts, const char *key)
{
    for (int i = 0; i < facts->count; i++)
        if (!strcmp(facts->fact[i].key, key)) return facts->fact[i].value;
    return NULL;
}

static void add_lines(struct dg_facts *facts, const char *text)
{
    char key[MAX_KEY];
    struct dg_plan_fact fact;
    while ((text = dg_plan_next_fact(text, &fact))) {
        if (fact.key_size >= MAX_KEY) continue;
        snprintf(key, sizeof key, "%.*s", fact.key_size, fact.key);
        dg_facts_add(facts, key, "%.*s", fact.value_size, fact.value);
    }
}

void dg_facts_add_plan(struct dg_facts *facts, const struct dg_knobs *knobs)
{
    const struct dg_plan *plan = knobs->plan;
    char key[MAX_KEY], value[MAX_VALUE];
    add_lines(facts, dg_plan_string(plan, plan->header->facts));
    for (uint32_t k = 0; k < plan->num_knobs; k++) {
        const char *name = dg_plan_string(plan, knobs->knob[k].key);
        snprintf(key, sizeof key, "plan.%s", name);
        dg_facts_add(facts, key, "%s", dg_knob_text(value, sizeof value, &plan->knob[k], EXACT, true));
        snprintf(key, sizeof key, "set.%s", name);
        dg_facts_add(facts, key, "%s", dg_knob_text(value, sizeof value, &knobs->knob[k], EXACT, false));
    }
    dg_facts_add(facts, "machine.kernels", "%s", dg_kernels_name().text);
    dg_facts_add(facts, "machine.onednn", "%s", dg_session_library(value, sizeof value));
}

/* ---- lists of names ---- */

char *dg_facts_join(const char *const *name, int count)
{
    size_t size = 1;
    for (int i = 0; i < count; i++) size += DG_NAME_ESCAPED(strlen(name[i])) + 1;
    char *joined = malloc(size), *at = joined;
    for (int i = 0; joined && i < count; i++) {
        if (i) *at++ = '\t';
        dg_name_escape(name[i], at, DG_NAME_ESCAPED(strlen(name[i])));
        at += strlen(at);
    }
    if (joined) *at = 0;
    return joined;
}

bool dg_facts_name(const char *joined, int index, char *name, size_t size)
{
    for (; index > 0; index--) {
        joined = strchr(joined, '\t');
        if (!joined) return false;
        joined++;
    }
    snprintf(name, size, "%.*s", (int)strcspn(joined, "\t"), joined);
    return true;
}

/* ---- carried over ---- */

static const char *found(const struct dg_safetensors *file, const char *prefix, const char *knob)
{
    char key[MAX_KEY];
    snprintf(key, sizeof key, "%s.%s", prefix, knob);
    return dg_safetensors_metadata(file, key);
}

/* Appends "key=value" to a list with commas. */
static void list(char *text, size_t size, const char *key, const char *value)
{
    size_t used = strlen(text);
    if (used < size) snprintf(text + used, size - used, "%s%s=%s", used ? ", " : "", key, value);
}

void dg_facts_take_settings(const struct dg_safetensors *file, struct dg_knobs *knobs, const struct dg_log *log)
{
    const struct dg_plan *plan = knobs->plan;
    char own[1024] = "", value[MAX_VALUE];
    for (uint32_t k = 0; k < plan->num_knobs; k++) {
        const char *key = dg_plan_string(plan, knobs->knob[k].key), *was = found(file, "set", key),
                   *planned = found(file, "plan", key);
        if (!was || knobs->given[k]) continue;
        if (planned && !dg_same_value(planned, dg_knob_text(value, sizeof value, &plan->knob[k], EXACT, true)))
            continue;
        if (dg_same_value(was, dg_knob_text(value, sizeof value, &knobs->knob[k], EXACT, false))) continue;
        if (dg_knobs_restore(knobs, k, was))
            list(own, sizeof own, key, dg_knob_text(value, sizeof value, &knobs->knob[k], 6, true));
        else
            dg_log(log, DG_LOG_WARNING, DG_LOG_RUN, "%s was %s so far, which the plan does not allow: it is %s now",
                   key, was, value);
    }
    if (*own) dg_log(log, DG_LOG_INFO, DG_LOG_RUN, "the run's own settings stay in force: %s", own);
}

static const char *const pixels[] = {"crops.mean.0", "crops.mean.1", "crops.mean.2",
                                     "crops.std.0",  "crops.std.1",  "crops.std.2"};
enum { PIXELS = sizeof pixels / sizeof *pixels };

/* The value in the file, if it is another one than the knob's; else NULL. */
static const char *other_pixel(const struct dg_safetensors *file, const struct dg_knobs *knobs, int p,
                               const struct dg_plan_knob **knob)
{
    char now[MAX_VALUE];
    const char *was = found(file, "set", pixels[p]);
    *knob = dg_knobs_find(knobs, pixels[p]);
    if (!was || !*knob) return NULL;
    return dg_same_value(was, dg_knob_text(now, sizeof now, *knob, EXACT, false)) ? NULL : was;
}

const char *dg_facts_other_pixels(const struct dg_safetensors *file, const struct dg_knobs *knobs, char *text,
                                  size_t size)
{
    const struct dg_plan_knob *knob;
    *text = 0;
    for (int p = 0; p < PIXELS; p++) {
        const char *was = other_pixel(file, knobs, p, &knob);
        char shown[32];
        if (!was) continue;
        snprintf(shown, sizeof shown, "%g", strtod(was, NULL));
        list(text, size, pixels[p], shown);
    }
    return text;
}

void dg_facts_take_pixels(const struct dg_safetensors *file, const char *path, struct dg_knobs *knobs,
                          const struct dg_log *log)
{
    const struct dg_plan_knob *knob;
    char trained[256], planned[256] = "", value[MAX_VALUE];
    bool set = false;
    dg_facts_other_pixels(file, knobs, trained, sizeof trained);
    for (int p = 0; p < PIXELS; p++) {
        const char *was = other_pixel(file, knobs, p, &knob);
        if (!was) continue;
        list(planned, sizeof planned, pixels[p], dg_knob_text(value, sizeof value, knob, 6, false));
        uint32_t k = (uint32_t)(knob - knobs->knob);
        if (knobs->given[k])
            set = true;
        else
            dg_knobs_restore(knobs, k, was);
    }
    if (*trained && set)
        dg_log(log, DG_LOG_WARNING, DG_LOG_PLAN, "images are normalised by --set, %s; %s was trained with %s", planned,
               path, trained);
    else if (*trained)
        dg_log(log, DG_LOG_INFO, DG_LOG_PLAN, "images are normalised as in the training of %s, %s; the plan says %s",
               path, trained, planned);
}
