#include "runtime/report/verdict.h"

#include "runtime/report/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { EARLY = 100 }; /* steps before which little can be said */

/* Shares of ln(out_dim). */
static const double UNIFORM = 0.9999, NEARLY_UNIFORM = 0.97, PEAKED = 0.001, NEARLY_PEAKED = 0.02;

__attribute__((format(printf, 2, 3))) static void say(struct dg_verdict *v, const char *format, ...)
{
    size_t used = strlen(v->text);
    va_list args;
    if (used && used + 1 < sizeof v->text) v->text[used++] = ' ';
    va_start(args, format);
    vsnprintf(v->text + used, sizeof v->text - used, format, args);
    va_end(args);
}

static void set_head(struct dg_verdict *v, enum dg_mood mood, const char *head)
{
    v->mood = mood;
    snprintf(v->head, sizeof v->head, "%s", head);
}

static double log_out_dim(const struct dg_report_run *run) { return run->out_dim > 1 ? log(run->out_dim) : NAN; }

double dg_entropy_share(const struct dg_report_run *run)
{
    if (dg_series_tail_mean(&run->log, "teacher_temp") <= 0)
        return NAN; /* hard targets, or no softmax: it says nothing */
    return dg_series_tail_mean(&run->log, "teacher_entropy") / log_out_dim(run);
}

/* The first step from which on the entropy stays above `share` of ln(out_dim), or below it. */
static int64_t since(const struct dg_report_run *run, double share, bool above)
{
    const struct dg_column *entropy = dg_series_find(&run->log, "teacher_entropy");
    int64_t row = run->log.rows;
    while (row > 0) {
        double value = entropy->value[row - 1] / log_out_dim(run);
        if (above ? value < share - 0.01 : value > share + 0.01) break;
        row--;
    }
    return row < run->log.rows ? (int64_t)run->log.step[row] : (int64_t)run->log.step[run->log.rows - 1];
}

/* ---- what may be wrong; true: it is, and *v says so ---- */

static bool has_diverged(const struct dg_report_run *run, struct dg_verdict *v)
{
    if (run->log.not_finite < 0) return false;
    set_head(v, DG_MOOD_BAD, "The run has diverged.");
    say(v,
        "At step %" PRId64 " %s is not finite. Go on from the last checkpoint with a lower lr.peak, a longer lr.warmup "
        "or a lower optim.clip (dinorun train --resume %s --set lr.peak=...).",
        run->log.not_finite, run->log.not_finite_name, run->folder);
    return true;
}

static bool has_failed(const struct dg_report_run *run, struct dg_verdict *v)
{
    char key[64];
    const char *state = NULL, *why = NULL;
    for (int s = 0;; s++) {
        snprintf(key, sizeof key, "sessions.%d.state", s);
        const char *next = dg_pairs_find(&run->environment, key);
        if (!next) break;
        state = next;
        snprintf(key, sizeof key, "sessions.%d.error", s);
        why = dg_pairs_find(&run->environment, key);
    }
    if (!state || strcmp(state, "failed")) return false;
    set_head(v, DG_MOOD_BAD, "The run has failed.");
    if (why && *why) say(v, "%s%s", why, why[strlen(why) - 1] == '.' ? "" : ".");
    return true;
}

static bool is_collapsed(const struct dg_report_run *run, struct dg_verdict *v)
{
    double share = dg_entropy_share(run), loss = dg_series_tail_mean(&run->log, "loss") / log_out_dim(run);
    if (share > UNIFORM) {
        set_head(v, DG_MOOD_BAD, "Collapsed: the teacher's output is uniform.");
        say(v,
            "Since step %" PRId64
            " its entropy is ln(out_dim): every image gets the same answer, and nothing is learnt. "
            "Start a new run and sharpen more: a lower loss.teacher_temp, a lower lr.peak, or a smaller "
            "head.with.out_dim.",
            since(run, UNIFORM, true));
    } else if (share < PEAKED) {
        set_head(v, DG_MOOD_BAD, "Collapsed: the teacher gives every image one prototype.");
        say(v,
            "Since step %" PRId64 " its entropy is zero. Start a new run and let the centre follow faster (a lower "
            "loss.center_momentum), or raise loss.teacher_temp.",
            since(run, PEAKED, false));
    } else if (run->log.rows >= EARLY && fabs(loss - 1) < 0.0005) {
        set_head(v, DG_MOOD_BAD, "The student learns nothing: its loss sits at ln(out_dim).");
        say(v, "It gives every image the same, uniform output. If this lasts beyond the warm-up, lower "
               "loss.teacher_temp or lr.peak, or shorten lr.warmup.");
    } else {
        return false;
    }
    return true;
}

static bool is_near_collapse(const struct dg_report_run *run, struct dg_verdict *v)
{
    double share = dg_entropy_share(run);
    if (share > NEARLY_UNIFORM) {
        set_head(v, DG_MOOD_WATCH, "The teacher's output is nearly uniform.");
        say(v,
            "Its entropy is %.1f %% of ln(out_dim), and above 96 %% since step %" PRId64
            ": the features tell images apart little. Try a lower loss.teacher_temp, a smaller head.with.out_dim, or "
            "more images and epochs.",
            100 * share, since(run, NEARLY_UNIFORM, true));
    } else if (share < NEARLY_PEAKED) {
        set_head(v, DG_MOOD_WATCH, "The teacher is close to one prototype for all images.");
        say(v,
            "Its entropy is %.1f %% of ln(out_dim). Let the centre follow faster (a lower loss.center_momentum), or "
            "raise loss.teacher_temp.",
            100 * share);
    } else {
        return false;
    }
    return true;
}

static bool gradient_grows(const struct dg_report_run *run, struct dg_verdict *v)
{
    const struct dg_series *log = &run->log;
    if (log->rows < 4 * DG_SERIES_TAIL) return false;
    double before = dg_series_mean(log, "grad_norm", DG_SERIES_TAIL, log->rows - DG_SERIES_TAIL),
           now = dg_series_tail_mean(log, "grad_norm");
    if (!(now > 20 * before)) return false;
    set_head(v, DG_MOOD_WATCH, "The gradient has grown.");
    say(v,
        "Its norm is %.0f times the mean of the run before: the run may be about to diverge. Lower lr.peak, or set "
        "optim.clip lower.",
        now / before);
    return true;
}

/* ---- results ---- */

/* The best of the run's accuracies and the last one, each a mean of three neighbours where there are five or more: single ones are noisy where images
 * are few. *at: the step of the best. */
static bool best_and_last(const struct dg_series *results, const char *name, double *best, double *last, int64_t *at)
{
    const struct dg_column *column = dg_series_find(results, name);
    int64_t count = 0;
    for (int64_t r = 0; column && r < results->rows; r++) count += !isnan(column->value[r]);
    *best = *last = NAN;
    for (int64_t r = 0; column && r < results->rows; r++) {
        if (isnan(column->value[r])) continue;
        *last = count < 5 ? column->value[r] : dg_series_mean(results, name, r - 1, r + 2);
        if (*best >= *last) continue;
        *best = *last;
        *at = (int64_t)results->step[r];
    }
    return count > 0;
}

static bool accuracy_falls(const struct dg_report_run *run, struct dg_verdict *v)
{
    double value, best, last;
    int64_t at = 0;
    char measure[96];
    const char *name = dg_report_run_accuracy(run, &value);
    if (!name || !best_and_last(&run->results, name, &best, &last, &at) || !(best - last > 5)) return false;
    set_head(v, DG_MOOD_WATCH, "The features have become worse.");
    say(v, "%s was %.1f %% around step %" PRId64 " and is %.1f %% now. The images may be too few for so many epochs.",
        dg_measure_text(measure, sizeof measure, name), best, at, last);
    return true;
}

static void say_learning(const struct dg_report_run *run, struct dg_verdict *v)
{
    const struct dg_series *log = &run->log;
    double share = dg_entropy_share(run), kl = dg_series_tail_mean(log, "kl");
    double first = dg_series_mean(log, "kl", 0, log->rows / 10 + 1);
    set_head(v, DG_MOOD_GOOD, "The run is healthy.");
    if (!isnan(share))
        say(v, "The teacher's entropy is %.0f %% of ln(out_dim): it is neither uniform nor the same for all images.",
            100 * share);
    if (kl < 0.9 * first)
        say(v, "The student has come nearer to the teacher (KL %.3g at first, %.3g now).", first, kl);
    else if (!isnan(kl))
        say(v, "KL between student and teacher is %.3g; it falls late, as the learning rate does.", kl);
}

static void judge_probe(const struct dg_report_run *run, struct dg_verdict *v)
{
    double best = dg_series_last(&run->log, "best_top1"), last = dg_series_last(&run->log, "top1");
    set_head(v, DG_MOOD_GOOD, "A linear probe on frozen features.");
    if (!isnan(best))
        say(v,
            "Its best top-1 is %.1f %%, the last %.1f %%. Try other learning rates (--set lr.from=...): the best one "
            "differs from model to model.",
            best, last);
}

/* ---- where it stands ---- */

static void say_state(const struct dg_report_run *run, struct dg_verdict *v)
{
    int64_t steps = dg_report_run_steps(run), end = dg_report_run_end(run);
    char time[32], left[64] = "", of[48] = "";
    double seconds = dg_report_run_step_seconds(run) * (double)(end - steps);
    if (seconds > 0) snprintf(left, sizeof left, ", about %s left", dg_duration_text(time, sizeof time, seconds));
    if (end) snprintf(of, sizeof of, " of %" PRId64, end);
    if (run->runs)
        snprintf(v->state, sizeof v->state, "Running: step %" PRId64 "%s%s.", steps, of, left);
    else if (end && steps >= end)
        snprintf(v->state, sizeof v->state, "Ended at step %" PRId64 "%s.", steps, of);
    else
        snprintf(v->state, sizeof v->state, "Stopped at step %" PRId64 "%s.", steps, of);
}

static void say_next(const struct dg_report_run *run, struct dg_verdict *v)
{
    int64_t steps = dg_report_run_steps(run), end = dg_report_run_end(run);
    if (run->is_probe || v->mood == DG_MOOD_BAD) return;
    if (!run->runs && end > steps)
        say(v, "dinorun train --resume %s goes on.", run->folder);
    else if (!run->runs && !run->results.rows)
        say(v, "Next: dinorun knn measures the features where images have classes, dinorun attention shows what the "
               "heads look at.");
}

struct dg_verdict dg_verdict_make(const struct dg_report_run *run)
{
    struct dg_verdict v = {.mood = DG_MOOD_OPEN};
    say_state(run, &v);
    if (!run->log.rows) {
        set_head(&v, DG_MOOD_OPEN, "No step has been logged yet.");
        if (!run->runs && !has_failed(run, &v)) say(&v, "dinorun train --resume %s goes on.", run->folder);
    } else if (has_diverged(run, &v) || has_failed(run, &v)) {
        return v;
    } else if (run->is_probe) {
        judge_probe(run, &v);
    } else if (run->log.rows < EARLY) {
        set_head(&v, DG_MOOD_OPEN, "It is too early to say.");
        say(&v, "%" PRId64 " steps are logged; entropy and KL say something from some hundred on.", run->log.rows);
        say_next(run, &v);
    } else {
        if (!is_collapsed(run, &v) && !gradient_grows(run, &v) && !is_near_collapse(run, &v) &&
            !accuracy_falls(run, &v))
            say_learning(run, &v);
        say_next(run, &v);
    }
    return v;
}
