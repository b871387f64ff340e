#include "runtime/exec/knobs.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum dg_status dg_knobs_open(const struct dg_plan *plan, struct dg_knobs *knobs, struct dg_error *err)
{
    *knobs = (struct dg_knobs){.plan = plan};
    knobs->knob = malloc((plan->num_knobs + 1) * sizeof *knobs->knob);
    knobs->given = calloc(plan->num_knobs + 1, sizeof *knobs->given);
    if (!knobs->knob || !knobs->given) {
        dg_knobs_close(knobs);
        return dg_fail(err, DG_ERR_MEMORY, "out of memory for %u knobs", plan->num_knobs);
    }
    memcpy(knobs->knob, plan->knob, plan->num_knobs * sizeof *knobs->knob);
    return DG_OK;
}

void dg_knobs_close(struct dg_knobs *knobs)
{
    free(knobs->knob);
    free(knobs->given);
    *knobs = (struct dg_knobs){0};
}

static struct dg_plan_knob *find(const struct dg_knobs *knobs, const char *key, size_t length)
{
    for (uint32_t k = 0; k < knobs->plan->num_knobs; k++) {
        const char *name = dg_plan_string(knobs->plan, knobs->knob[k].key);
        if (strlen(name) == length && !memcmp(name, key, length)) return &knobs->knob[k];
    }
    return NULL;
}

const struct dg_plan_knob *dg_knobs_find(const struct dg_knobs *knobs, const char *key)
{
    return find(knobs, key, strlen(key));
}

double dg_knobs_value(const struct dg_knobs *knobs, const char *key, double otherwise)
{
    const struct dg_plan_knob *knob = dg_knobs_find(knobs, key);
    return knob ? knob->value[0] : otherwise;
}

/* The shortest text of at most `digits` digits that reads as the number; of those below ten million, without an
 * exponent. */
static const char *number_text(char *text, size_t size, double number, int digits)
{
    for (int d = 1; d <= digits; d++) {
        snprintf(text, size, "%.*g", d, number);
        bool short_of = strtod(text, NULL) < number || strtod(text, NULL) > number;
        if (!short_of && !(strstr(text, "e+") && fabs(number) < 1e7)) break;
    }
    return text;
}

const char *dg_knob_text(char *text, size_t size, const struct dg_plan_knob *knob, int digits, bool with_unit)
{
    char number[2][28];
    number_text(number[0], sizeof number[0], knob->value[0], digits);
    number_text(number[1], sizeof number[1], knob->value[1], digits);
    if (knob->type == DG_KNOB_PAIR)
        snprintf(text, size, "[%s, %s]", number[0], number[1]);
    else
        snprintf(text, size, "%s%s", number[0],
                 with_unit && knob->unit == DG_UNIT_EPOCHS  ? " epochs"
                 : with_unit && knob->unit == DG_UNIT_STEPS ? " steps"
                                                            : "");
    return text;
}

bool dg_same_value(const char *a, const char *b)
{
    while (*a && *b) {
        char *end[2];
        bool numbers = strchr("-.0123456789", *a) && strchr("-.0123456789", *b);
        double x = numbers ? strtod(a, &end[0]) : 0, y = numbers ? strtod(b, &end[1]) : 0;
        numbers = numbers && end[0] != a && end[1] != b;
        if (numbers ? x < y || x > y : *a != *b) return false;
        a = numbers ? end[0] : a + 1;
        b = numbers ? end[1] : b + 1;
    }
    return *a == *b;
}

void dg_knobs_trace(const struct dg_knobs *knobs, const struct dg_log *log)
{
    char value[64];
    for (uint32_t k = 0; dg_log_traces(log, DG_LOG_PLAN) && k < knobs->plan->num_knobs; k++)
        dg_log(log, DG_LOG_TRACE, DG_LOG_PLAN, "knob %s=%s", dg_plan_string(knobs->plan, knobs->knob[k].key),
               dg_knob_text(value, sizeof value, &knobs->knob[k], 17, true));
}

static const char *skip_space(const char *text)
{
    while (isspace((unsigned char)*text)) text++;
    return text;
}

/* Reads a finite number at *text and moves *text behind it. */
static bool read_number(const char **text, double *value)
{
    char *end;
    *value = strtod(*text, &end);
    if (end == *text || !isfinite(*value)) return false;
    *text = skip_space(end);
    return true;
}

static enum dg_status check_range(const char *assignment, double value, const struct dg_plan_knob *knob,
                                  struct dg_error *err)
{
    if (value >= knob->min && value <= knob->max) return DG_OK;
    return dg_fail(err, DG_ERR_USAGE, "--set %s: %g is outside %g .. %g", assignment, value, knob->min, knob->max);
}

static const char *knob_name(const void *context, int index)
{
    const struct dg_knobs *knobs = context;
    return dg_plan_string(knobs->plan, knobs->knob[index].key);
}

/* `key=[a, b]` sets the knobs key.0 and key.1, as the recipe writes them (optim.betas). Either all of them are set or
 * none. */
static enum dg_status set_list(struct dg_knobs *knobs, const char *key, size_t length, const char *text, bool *is_list,
                               struct dg_error *err)
{
    enum { MAX_ELEMENTS = 16 };
    struct dg_plan_knob *knob[MAX_ELEMENTS];
    double value[MAX_ELEMENTS];
    char element[160];
    int count = 0, given = 0;
    *is_list = false;
    if (*text != '[' || length > sizeof element - 16) return DG_OK;
    for (; count < MAX_ELEMENTS; count++) {
        snprintf(element, sizeof element, "%.*s.%d", (int)length, key, count);
        knob[count] = find(knobs, element, strlen(element));
        if (!knob[count]) break;
    }
    if (!count) return DG_OK;
    *is_list = true;
    text = skip_space(text + 1);
    for (; given < count && read_number(&text, &value[given]); given++) {
        if (*text != ',') {
            given++;
            break;
        }
        text = skip_space(text + 1);
    }
    if (given != count || *text != ']' || *skip_space(text + 1))
        return dg_fail(err, DG_ERR_USAGE, "--set %s: expected a list of %d numbers such as [%g, ...]", key, count,
                       knob[0]->value[0]);
    for (int i = 0; i < count; i++) DG_TRY(check_range(key, value[i], knob[i], err));
    for (int i = 0; i < count; i++) {
        knob[i]->value[0] = value[i];
        knobs->given[knob[i] - knobs->knob] = true;
    }
    return DG_OK;
}

/* Moves *text behind a unit, if there is one; "1 epoch" is accepted, too. */
static void skip_unit(const char **text, uint32_t unit)
{
    static const char *const name[] = {"", "step", "epoch"};
    size_t length = unit <= DG_UNIT_EPOCHS ? strlen(name[unit]) : 0;
    if (!length || strncmp(*text, name[unit], length)) return;
    *text += length;
    *text = skip_space(*text + (**text == 's'));
}

/* Reads the value of a knob from the right side of an assignment. */
static enum dg_status set_value(struct dg_plan_knob *knob, const char *assignment, const char *text,
                                struct dg_error *err)
{
    double value[2] = {0, 0};
    int wanted = knob->type == DG_KNOB_PAIR ? 2 : 1;
    bool ok = true;
    if (wanted == 2) {
        ok = *text == '[';
        text = skip_space(text + ok);
        ok = ok && read_number(&text, &value[0]) && *text == ',';
        text = skip_space(text + ok);
        ok = ok && read_number(&text, &value[1]) && *text == ']';
        text = skip_space(text + ok);
    } else {
        ok = read_number(&text, &value[0]);
        if (ok) skip_unit(&text, knob->unit);
        ok = ok && !(knob->type == DG_KNOB_INT && value[0] != rint(value[0]));
    }
    if (!ok || *text)
        return dg_fail(err, DG_ERR_USAGE, "--set %s: expected %s%s", assignment,
                       wanted == 2                 ? "a pair such as [0.4, 1]"
                       : knob->type == DG_KNOB_INT ? "a whole number"
                                                   : "a number",
                       knob->unit == DG_UNIT_EPOCHS  ? " of epochs"
                       : knob->unit == DG_UNIT_STEPS ? " of steps"
                                                     : "");
    for (int i = 0; i < wanted; i++) DG_TRY(check_range(assignment, value[i], knob, err));
    if (wanted == 2 && value[0] > value[1])
        return dg_fail(err, DG_ERR_USAGE, "--set %s: %g is above %g", assignment, value[0], value[1]);
    memcpy(knob->value, value, sizeof value);
    return DG_OK;
}

enum dg_status dg_knobs_set(struct dg_knobs *knobs, const char *assignment, struct dg_error *err)
{
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment)
        return dg_fail(err, DG_ERR_USAGE, "--set %s: expected key=value, e.g. --set optim.clip=0.3", assignment);
    size_t length = (size_t)(equals - assignment);
    const char *text = skip_space(equals + 1);
    struct dg_plan_knob *knob = find(knobs, assignment, length);
    if (!knob) {
        bool is_list;
        DG_TRY(set_list(knobs, assignment, length, text, &is_list, err));
        if (is_list) return DG_OK;
        char key[128];
        snprintf(key, sizeof key, "%.*s", (int)length, assignment);
        const char *near = dg_nearest_name(key, knob_name, knobs, (int)knobs->plan->num_knobs);
        return dg_fail(err, DG_ERR_USAGE,
                       "--set %s: the plan has no knob %s%s%s%s; a key that shapes the graph is set when the plan is "
                       "made: dinoc %s -o PLAN --set %s",
                       assignment, key, near ? " (did you mean " : "", near ? near : "", near ? "?)" : "",
                       dg_plan_string(knobs->plan, knobs->plan->header->source), assignment);
    }

    DG_TRY(set_value(knob, assignment, text, err));
    knobs->given[knob - knobs->knob] = true;
    return DG_OK;
}

bool dg_knobs_restore(struct dg_knobs *knobs, uint32_t index, const char *text)
{
    return set_value(&knobs->knob[index], "", text, NULL) == DG_OK;
}

void dg_knobs_restore_key(struct dg_knobs *knobs, const char *key, const char *text)
{
    const struct dg_plan_knob *knob = dg_knobs_find(knobs, key);
    if (knob && !knobs->given[knob - knobs->knob]) dg_knobs_restore(knobs, (uint32_t)(knob - knobs->knob), text);
}

/* Field `field` of schedule `key`, in steps (or epochs, for a schedule that moves per epoch) if it is a length. */
static const struct dg_plan_knob *field_of(const struct dg_knobs *knobs, const char *key, const char *field)
{
    char name[160];
    snprintf(name, sizeof name, "%s.%s", key, field);
    return dg_knobs_find(knobs, name);
}

static double number_of(const struct dg_knobs *knobs, const char *key, const char *field, double otherwise)
{
    const struct dg_plan_knob *knob = field_of(knobs, key, field);
    return knob ? knob->value[0] : otherwise;
}

/* A length in epochs if `per_epoch`, else in steps; `otherwise` if the field is absent. */
static int64_t length_of(const struct dg_knobs *knobs, const char *key, const char *field, bool per_epoch,
                         struct dg_run_length run, int64_t otherwise)
{
    const struct dg_plan_knob *knob = field_of(knobs, key, field);
    if (!knob) return otherwise;
    double value = knob->value[0];
    if (knob->unit == DG_UNIT_EPOCHS && !per_epoch) value *= (double)run.steps_per_epoch;
    if (knob->unit == DG_UNIT_STEPS && per_epoch) value /= (double)run.steps_per_epoch;
    return (int64_t)llrint(value);
}

/* numpy.linspace(from, to, count)[i], ends included. */
static double linspace(double from, double to, int64_t count, int64_t i)
{
    if (count == 1) return from;
    if (i == count - 1) return to;
    return (double)i * ((to - from) / (double)(count - 1)) + from;
}

static const struct dg_plan_schedule *find_schedule(const struct dg_plan *plan, const char *key)
{
    for (uint32_t s = 0; s < plan->num_schedules; s++)
        if (!strcmp(dg_plan_string(plan, plan->schedule[s].key), key)) return &plan->schedule[s];
    return NULL;
}

double dg_control_value(const struct dg_knobs *knobs, const char *key, int64_t step, struct dg_run_length run)
{
    const struct dg_plan_schedule *schedule = find_schedule(knobs->plan, key);
    if (!schedule || schedule->curve == DG_CURVE_CONSTANT) return dg_knobs_value(knobs, key, 0);

    bool per_epoch = schedule->per_epoch;
    int64_t now = per_epoch ? step / run.steps_per_epoch : step;
    int64_t total = per_epoch ? run.epochs : run.epochs * run.steps_per_epoch;
    double to = number_of(knobs, key, "to", 0);
    if (schedule->curve == DG_CURVE_EPOCH) return (step + 1) % run.steps_per_epoch != 0;
    if (schedule->curve == DG_CURVE_UNTIL) return now < length_of(knobs, key, "for", per_epoch, run, 0);
    if (schedule->curve == DG_CURVE_LINEAR) {
        int64_t over = length_of(knobs, key, "over", per_epoch, run, total);
        return now < over ? linspace(number_of(knobs, key, "from", 0), to, over, now) : to;
    }
    if (schedule->curve == DG_CURVE_STEP) {
        int64_t every = length_of(knobs, key, "every", per_epoch, run, total);
        return number_of(knobs, key, "from", 0) *
               pow(number_of(knobs, key, "by", 1), (double)(every > 0 ? now / every : now));
    }
    double peak = number_of(knobs, key, "peak", number_of(knobs, key, "from", 0));
    int64_t warmup = length_of(knobs, key, "warmup", per_epoch, run, 0);
    if (now < warmup) return linspace(number_of(knobs, key, "warmup_from", 0), peak, warmup, now);
    double part = (double)(now - warmup) / (double)(total - warmup);
    return to + 0.5 * (peak - to) * (1 + cos(M_PI * part));
}

enum dg_status dg_knobs_check(const struct dg_knobs *knobs, const struct dg_plan_entry *entry, struct dg_run_length run,
                              struct dg_error *err)
{
    const struct dg_plan *plan = knobs->plan;
    for (uint32_t s = 0; s < plan->num_schedules; s++) {
        const char *key = dg_plan_string(plan, plan->schedule[s].key);
        bool per_epoch = plan->schedule[s].per_epoch;
        int64_t total = per_epoch ? run.epochs : run.epochs * run.steps_per_epoch;
        static const char *const lengths[] = {"warmup", "over"};
        for (int f = 0; f < 2; f++)
            if (length_of(knobs, key, lengths[f], per_epoch, run, 0) > total)
                return dg_fail(
                    err, DG_ERR_USAGE,
                    "%s.%s is %g%s, longer than the run of %lld epochs (%lld steps): lower %s.%s with --set, or "
                    "raise epochs with --epochs",
                    key, lengths[f], field_of(knobs, key, lengths[f])->value[0],
                    field_of(knobs, key, lengths[f])->unit == DG_UNIT_EPOCHS ? " epochs" : " steps",
                    (long long)run.epochs, (long long)(run.epochs * run.steps_per_epoch), key, lengths[f]);
    }
    for (uint32_t t = 0; t < entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &plan->tensor[entry->first_tensor + t];
        const char *key = dg_plan_string(plan, tensor->control);
        if (*key && !find_schedule(plan, key) && !dg_knobs_find(knobs, key))
            return dg_fail(err, DG_ERR_INPUT, "the plan has no schedule or knob for its control %s; compile it again",
                           key);
    }
    return DG_OK;
}
