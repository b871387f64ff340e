#include "runtime/report/page.h"

#include "runtime/base/atomic_file.h"
#include "runtime/report/sections.h"
#include "runtime/report/style.h"
#include "runtime/report/text.h"
#include "runtime/report/verdict.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void dg_write_run_name(FILE *out, const struct dg_page *page, int run)
{
    if (page->runs > 1)
        fprintf(out,
                "<span class=\"key\"><svg viewBox=\"0 0 12 12\" aria-hidden=\"true\"><rect class=\"c%d\" width=\"12\" "
                "height=\"12\" rx=\"3\"/></svg>",
                run);
    dg_html_text(out, page->run[run].name);
    if (page->runs > 1) fputs("</span>", out);
}

void dg_write_run_heading(FILE *out, const struct dg_page *page, int run)
{
    if (page->runs == 1) return;
    fputs("<h3>", out);
    dg_write_run_name(out, page, run);
    fputs("</h3>\n", out);
}

/* ---- the head ---- */

static void write_date(FILE *out, double time)
{
    time_t seconds = time > 0 && time < 1e11 ? (time_t)time : 0;
    struct tm utc;
    char text[64];
    if (!seconds || !gmtime_r(&seconds, &utc)) return;
    strftime(text, sizeof text, "%-d %b %Y, %H:%M UTC", &utc);
    fprintf(out, " · %s", text);
}

/* "demo · 1 984 images · batch 32 · 27 Nov 2026, 18:17 UTC" */
static void write_about(FILE *out, const struct dg_report_run *run)
{
    char text[32];
    const char *recipe = dg_pairs_find(&run->environment, "recipe");
    if (!recipe && run->plan.header) recipe = dg_plan_string(&run->plan, run->plan.header->recipe);
    fputs("<p class=\"soft\">", out);
    dg_html_format(out, "recipe %s", recipe ? recipe : "not known");
    if (run->images) fprintf(out, " · %s images", dg_number_text(text, sizeof text, (double)run->images, 12));
    if (run->batch) fprintf(out, " · batch %" PRId64, run->batch);
    if (run->plan.header) dg_html_format(out, " · %s", dg_plan_type(run->plan.entry));
    write_date(out, dg_series_last(&run->log, "time"));
    fputs("</p>\n", out);
}

static void write_unread(FILE *out, const struct dg_series *series, const char *file)
{
    if (series->unread)
        fprintf(out, "<p class=\"soft\">%" PRId64 " line%s of %s cannot be read and %s left out.</p>\n", series->unread,
                series->unread == 1 ? "" : "s", file, series->unread == 1 ? "is" : "are");
}

static void write_notes(FILE *out, const struct dg_report_run *run)
{
    const struct dg_series *log = &run->log;
    if (*run->plan_fault) {
        fputs("<p class=\"soft\">Without the run's plan there is no memory map: ", out);
        dg_html_text(out, run->plan_fault);
        fputs("</p>\n", out);
    }
    write_unread(out, log, "log.jsonl");
    write_unread(out, &run->results, "results.csv");
    if (log->cut && !run->runs)
        fputs("<p class=\"soft\">The last line of log.jsonl is cut: the program that wrote it was killed, or the disk "
              "was full.</p>\n",
              out);
}

/* ---- tiles ---- */

static void write_tile(FILE *out, const char *value, const char *what, const char *more)
{
    fputs("<div class=\"tile\"><b>", out);
    dg_html_text(out, value);
    fputs("</b><span>", out);
    dg_html_text(out, what);
    fputs("</span>", out);
    if (*more) {
        fputs("<span>", out);
        dg_html_text(out, more);
        fputs("</span>", out);
    }
    fputs("</div>\n", out);
}

static void write_accuracy(FILE *out, const struct dg_report_run *run)
{
    double value, most = dg_series_last(&run->results, "most_frequent");
    const char *name = dg_report_run_accuracy(run, &value);
    char text[64], what[128], more[64] = "";
    if (!name) return;
    snprintf(text, sizeof text, "%.1f %%", value);
    dg_measure_text(what, sizeof what, name);
    if (!isnan(most)) snprintf(more, sizeof more, "most frequent class alone: %.1f %%", most);
    write_tile(out, text, what, more);
}

/* The first of the Jaccard indices of the best head; there are several if masks of several shares of the attention were scored. */
static const char *find_objects(const struct dg_series *results)
{
    char kind[DG_COLUMN_NAME];
    for (int c = 0; c < results->columns; c++)
        if (!strcmp(dg_measure_kind(kind, sizeof kind, results->column[c].name), "jaccard.best"))
            return results->column[c].name;
    return NULL;
}

static void write_objects(FILE *out, const struct dg_report_run *run)
{
    const char *best = find_objects(&run->results);
    char text[64], name[DG_COLUMN_NAME], what[96], more[64] = "";
    if (!best || isnan(dg_series_last(&run->results, best))) return;
    snprintf(name, sizeof name, "%.*s.mean", (int)strcspn(best, "."), best);
    double mean = dg_series_last(&run->results, name);
    snprintf(text, sizeof text, "%.1f %%", dg_series_last(&run->results, best));
    if (!isnan(mean)) snprintf(more, sizeof more, "mean of heads: %.1f %%", mean);
    write_tile(out, text, dg_measure_text(what, sizeof what, best), more);
}

/* The time that the run has taken by its log, without the time between its parts, and what is left. */
static void write_time(FILE *out, const struct dg_report_run *run)
{
    const struct dg_column *rate = dg_series_find(&run->log, "images_per_s");
    int64_t left = dg_report_run_end(run) - dg_report_run_steps(run);
    double taken = 0, step = dg_report_run_step_seconds(run);
    char text[32], more[64] = "";
    for (int64_t r = 0; rate && run->batch && r < run->log.rows; r++)
        if (rate->value[r] > 0) taken += (double)run->batch / rate->value[r];
    if (run->is_probe || !(taken > 0)) return;
    if (left > 0 && step > 0) {
        snprintf(more, sizeof more, "computed so far: %s", dg_duration_text(text, sizeof text, taken));
        write_tile(out, dg_duration_text(text, sizeof text, step * (double)left), "left at the last speed", more);
    } else {
        write_tile(out, dg_duration_text(text, sizeof text, taken), "time of computing", "");
    }
}

static void write_tiles(FILE *out, const struct dg_report_run *run)
{
    char text[64], more[96] = "";
    double loss = dg_series_tail_mean(&run->log, "loss"), share = dg_entropy_share(run),
           kl = dg_series_tail_mean(&run->log, "kl");
    double rate = dg_series_tail_mean(&run->log, "images_per_s");
    fputs("<div class=\"tiles\">\n", out);
    write_accuracy(out, run);
    write_objects(out, run);
    if (run->out_dim > 1 && !run->is_probe) snprintf(more, sizeof more, "ln(out_dim) is %.3f", log(run->out_dim));
    if (!isnan(loss)) write_tile(out, dg_number_text(text, sizeof text, loss, 4), "loss, at the end", more);
    if (!isnan(share)) {
        snprintf(text, sizeof text, "%.1f %%", 100 * share);
        write_tile(out, text, "teacher's entropy", "of ln(out_dim); from 97 % on nearly uniform");
    }
    if (!isnan(kl)) write_tile(out, dg_number_text(text, sizeof text, kl, 3), "KL of student and teacher", "");
    if (!isnan(rate)) write_tile(out, dg_number_text(text, sizeof text, rate, 3), "images a second", "");
    write_time(out, run);
    fputs("</div>\n", out);
}

/* ---- judgement ---- */

static void write_verdict(FILE *out, const struct dg_report_run *run)
{
    static const char *const class[] = {"open", "good", "watch", "bad"};
    struct dg_verdict v = dg_verdict_make(run);
    fprintf(out, "<div class=\"verdict %s\"><b>", class[v.mood]);
    dg_html_text(out, v.head);
    fputs("</b> ", out);
    dg_html_text(out, v.text);
    fputs("<br><span class=\"soft\">", out);
    dg_html_text(out, v.state);
    fputs("</span></div>\n", out);
}

void dg_section_verdicts(FILE *out, const struct dg_page *page)
{
    for (int r = 0; r < page->runs; r++) {
        fputs(page->runs == 1 ? "<h1>" : "<h3>", out);
        dg_write_run_name(out, page, r);
        fputs(page->runs == 1 ? "</h1>\n" : "</h3>\n", out);
        write_about(out, &page->run[r]);
        write_verdict(out, &page->run[r]);
        write_notes(out, &page->run[r]);
        write_tiles(out, &page->run[r]);
    }
}

/* ---- speed ---- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The sorted rates of a run's log; *count: how many. Owned by the caller. */
static double *sorted_rates(const struct dg_report_run *run, int64_t *count)
{
    const struct dg_column *rate = dg_series_find(&run->log, "images_per_s");
    double *sorted = malloc(sizeof *sorted * (size_t)(run->log.rows + 1));
    *count = 0;
    for (int64_t r = 0; sorted && rate && r < run->log.rows; r++)
        if (rate->value[r] > 0) sorted[(*count)++] = rate->value[r];
    if (sorted) qsort(sorted, (size_t)*count, sizeof *sorted, compare);
    return sorted;
}

static void write_speed(FILE *out, const struct dg_page *page, int r)
{
    const struct dg_report_run *run = &page->run[r];
    int64_t count;
    double *rate = sorted_rates(run, &count);
    char text[32];
    if (rate && count) {
        fputs("<tr><td>", out);
        dg_write_run_name(out, page, r);
        const double at[] = {rate[count / 2], rate[count / 20], rate[count - 1 - count / 20]};
        for (int i = 0; i < 3; i++)
            fprintf(out, "</td><td class=\"number\">%s", dg_number_text(text, sizeof text, at[i], 3));
        fprintf(out, "</td><td class=\"number\">%s s",
                dg_number_text(text, sizeof text, run->batch ? (double)run->batch / at[0] : NAN, 3));
        double epoch = (double)run->steps_per_epoch * (double)run->batch / at[0];
        fprintf(out, "</td><td class=\"number\">%s</td></tr>\n",
                epoch > 0 ? dg_duration_text(text, sizeof text, epoch) : "");
    }
    free(rate);
}

void dg_section_speed(FILE *out, const struct dg_page *page)
{
    bool any = false;
    for (int r = 0; r < page->runs; r++) any |= dg_series_find(&page->run[r].log, "images_per_s") != NULL;
    if (!any) return;
    fputs("<h2>Speed</h2>\n<div class=\"scroll\"><table><tr><th>run</th><th class=\"number\">images a second</th>"
          "<th class=\"number\">slowest steps</th><th class=\"number\">fastest steps</th><th class=\"number\">a "
          "step</th><th class=\"number\">an epoch</th></tr>\n",
          out);
    for (int r = 0; r < page->runs; r++) write_speed(out, page, r);
    fputs(
        "</table></div>\n<p class=\"soft\">The median of all steps, and what one of twenty falls below or goes beyond. "
        "<code>dinorun bench</code> measures a step op by op.</p>\n",
        out);
}

/* ---- the page ---- */

static void write_begin(FILE *out, const struct dg_page *page)
{
    dg_page_begin(out);
    for (int r = 0; r < page->runs; r++) {
        if (r) fputs(", ", out);
        dg_html_text(out, page->run[r].name);
    }
    dg_page_body(out);
    if (page->runs > 1) fprintf(out, "<h1>%d runs</h1>\n", page->runs);
}

static enum dg_status write_sections(FILE *out, const struct dg_page *page, struct dg_error *err)
{
    write_begin(out, page);
    dg_section_verdicts(out, page);
    dg_section_curves(out, page);
    DG_TRY(dg_section_pictures(out, page, err));
    DG_TRY(dg_section_memory(out, page, err));
    dg_section_speed(out, page);
    dg_section_recipe(out, page);
    dg_section_environment(out, page);
    fputs("</body>\n</html>\n", out);
    return DG_OK;
}

enum dg_status dg_page_write(const struct dg_page *page, const char *path, struct dg_error *err)
{
    struct dg_atomic_file file;
    DG_TRY(dg_atomic_open(path, &file, err));
    enum dg_status status = write_sections(file.stream, page, err);
    if (status == DG_OK) return dg_atomic_commit(&file, err);
    dg_atomic_abandon(&file);
    return status;
}
