/* The charts of the page: which there are, what they are called, and how to read them. */
#include "runtime/report/chart.h"
#include "runtime/report/sections.h"
#include "runtime/report/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SMOOTH = 1, LOG = 2, LEVEL = 4 /* the line of ln(out_dim) */ };

/* In the order of the page; columns that are not here follow under their own names. */
static const struct {
    const char *column, *title, *how;
    int form;
} known[] = {
    {"loss", "Loss",
     "Cross-entropy of student and teacher. It may rise: it is the teacher's entropy and KL together. At ln(out_dim) "
     "the student says nothing.",
     SMOOTH | LEVEL},
    {"teacher_entropy", "Teacher's entropy",
     "At ln(out_dim) every image gets a uniform answer, at 0 all get the same prototype; both are collapse. Healthy "
     "runs stay between.",
     SMOOTH | LEVEL},
    {"kl", "KL of student and teacher",
     "What the student still has to learn: the loss without the teacher's entropy. It rises when the teacher begins to "
     "tell images apart, and falls late, as the learning rate does.",
     SMOOTH | LOG},
    {"grad_norm", "Norm of the gradient",
     "Before clipping. A level course is good; a steady rise comes before divergence.", SMOOTH | LOG},
    {"lr", "Learning rate", "Rises through the warm-up, then falls to its end.", 0},
    {"weight_decay", "Weight decay", "Rises through the run in the published recipe.", 0},
    {"momentum", "Teacher's momentum", "How much of the teacher stays at each step; near 1 it follows slowly.", 0},
    {"teacher_temp", "Teacher's temperature",
     "Lower makes the teacher's answers sharper, and keeps them from becoming uniform.", 0},
    {"images_per_s", "Images a second", "Of each step. Dips are checkpoints, waiting for images, or other programs.",
     SMOOTH},
    {"val_loss", "Loss on the images to measure on",
     "Of the linear layer; it should fall, and turns where it learns the training images by heart.", 0},
    {"top1", "Top-1", "Percent of images whose class the linear layer names first.", 0},
    {"top5", "Top-5", "Percent of images whose class is among its first five.", 0},
    {"waited", "Waiting for other processes",
     "Seconds of each step, for their sums. More than a tenth of a step: a slower machine among them, or the network.",
     SMOOTH},
};
enum { KNOWN = sizeof known / sizeof *known };

/* What is no curve: places in the run, and numbers that stand elsewhere. */
static bool is_hidden(const char *column)
{
    static const char *const hidden[] = {"epoch", "time", "best_top1", "most_frequent", "measured", "seconds"};
    bool result = !strncmp(column, "knn", 3) || !strncmp(column, "jaccard", 7);
    if (result && strchr(column, '_')) return true; /* in the results, too */
    for (size_t h = 0; h < sizeof hidden / sizeof *hidden; h++)
        if (!strcmp(column, hidden[h])) return true;
    return false;
}

static const struct dg_series *series_of(const struct dg_report_run *run, bool results)
{
    return results ? &run->results : &run->log;
}

/* Takes the lines of that column from all runs that have it. */
static void take_lines(struct dg_chart *chart, const struct dg_page *page, const char *column, bool results)
{
    chart->lines = page->runs; /* a run's colour is that of its place */
    for (int r = 0; r < page->runs; r++) {
        const struct dg_series *series = series_of(&page->run[r], results);
        const struct dg_column *found = dg_series_find(series, column);
        chart->line[r] = (struct dg_chart_line){.name = page->run[r].name};
        if (!found) continue;
        chart->line[r].step = series->step;
        chart->line[r].value = found->value;
        chart->line[r].count = series->rows;
    }
}

/* ln(out_dim), if it is the same for all runs. */
static double level_of(const struct dg_page *page)
{
    for (int r = 1; r < page->runs; r++)
        if (page->run[r].out_dim != page->run[0].out_dim) return NAN;
    return page->run[0].out_dim > 1 && !page->run[0].is_probe ? log(page->run[0].out_dim) : NAN;
}

static void write_known(FILE *out, const struct dg_page *page, int k)
{
    struct dg_chart chart = {.title = known[k].title,
                             .how = known[k].how,
                             .log = known[k].form & LOG,
                             .smooth = known[k].form & SMOOTH,
                             .level = known[k].form & LEVEL ? level_of(page) : NAN,
                             .level_name = "ln(out_dim)"};
    take_lines(&chart, page, known[k].column, false);
    dg_chart_write(out, &chart);
}

static bool is_known(const char *column)
{
    for (int k = 0; k < KNOWN; k++)
        if (!strcmp(known[k].column, column)) return true;
    return is_hidden(column);
}

/* Whether a run before `r` has the column: it has been drawn with that one. */
static bool is_drawn(const struct dg_page *page, int r, const char *column, bool results)
{
    for (int b = 0; b < r; b++)
        if (dg_series_find(series_of(&page->run[b], results), column)) return true;
    return false;
}

static void write_result(FILE *out, const struct dg_page *page, const char *column)
{
    static const struct {
        const char *part, *how, *level, *level_name;
    } kinds[] = {
        {"top1",
         "Percent of images with classes; it should rise. The most frequent class alone would get the dashed "
         "line.",
         "most_frequent", "most frequent class"},
        {"jaccard.best",
         "How much of an object and of what the head that fits it best looks at is common to both, in percent; "
         "it falls where heads come to share an object's parts between them.",
         "jaccard.everything", "everything"},
        {"jaccard.mean",
         "How much of an object and of what all heads together look at is common to both, in percent; it should "
         "rise. Looking at everything would get the dashed line.",
         "jaccard.everything", "everything"},
        {"", "Measured on the run's checkpoints.", "", ""}};
    const struct dg_series *results = &page->run[0].results;
    char title[96], kind[DG_COLUMN_NAME], level[DG_COLUMN_NAME];
    int k = 0;
    dg_measure_kind(kind, sizeof kind, column);
    while (!strstr(kind, kinds[k].part)) k++;
    /* Of masks of another share of the attention, everything is measured with those. */
    snprintf(level, sizeof level, "%s", kinds[k].level);
    if (!strncmp(column, "jaccard", 7))
        snprintf(level, sizeof level, "%.*s.everything", (int)strcspn(column, "."), column);
    struct dg_chart chart = {.title = dg_measure_text(title, sizeof title, column),
                             .how = kinds[k].how,
                             .dots = true,
                             .level = dg_series_last(results, level),
                             .level_name = kinds[k].level_name};
    take_lines(&chart, page, column, true);
    dg_chart_write(out, &chart);
}

/* Of the many results of k-NN one stands for all; of the Jaccard indices, the best head's and the mean's; of retrieval
 * and copy detection, what the published tables have. */
static bool is_main(const struct dg_report_run *run, const char *column)
{
    double value;
    char kind[DG_COLUMN_NAME];
    const char *accuracy = dg_report_run_accuracy(run, &value);
    dg_measure_kind(kind, sizeof kind, column);
    if (!strncmp(column, "jaccard", 7)) return !strcmp(kind, "jaccard.best") || !strcmp(kind, "jaccard.mean");
    if (!strncmp(column, "retrieval.", 10))
        return !strcmp(column, "retrieval.medium.map") || !strcmp(column, "retrieval.hard.map");
    if (!strncmp(column, "copydays.", 9)) return !strcmp(column, "copydays.strong.map");
    return strncmp(column, "knn", 3) || (accuracy && !strcmp(column, accuracy));
}

/* Draws the results that stand for the run, or the others; how many. */
static int write_results(FILE *out, const struct dg_page *page, bool main)
{
    int count = 0;
    for (int r = 0; r < page->runs; r++) {
        const struct dg_series *results = &page->run[r].results;
        for (int c = 0; c < results->columns; c++) {
            const char *column = results->column[c].name;
            if (is_hidden(column) || is_drawn(page, r, column, true) || is_main(&page->run[r], column) != main)
                continue;
            if (out) write_result(out, page, column);
            count++;
        }
    }
    return count;
}

/* Columns of the log that the page does not know. */
static void write_others(FILE *out, const struct dg_page *page)
{
    for (int r = 0; r < page->runs; r++) {
        const struct dg_series *log = &page->run[r].log;
        for (int c = 0; c < log->columns; c++) {
            const char *column = log->column[c].name;
            if (is_known(column) || is_drawn(page, r, column, false)) continue;
            struct dg_chart chart = {.title = column, .how = "", .smooth = true, .level = NAN};
            take_lines(&chart, page, column, false);
            dg_chart_write(out, &chart);
        }
    }
}

static bool has_rows(const struct dg_page *page)
{
    for (int r = 0; r < page->runs; r++)
        if (page->run[r].log.rows || page->run[r].results.rows) return true;
    return false;
}

void dg_section_curves(FILE *out, const struct dg_page *page)
{
    if (!has_rows(page)) return;
    fputs("<h2>Learning</h2>\n", out);
    if (page->runs > 1) {
        fputs("<div class=\"legend\">", out);
        for (int r = 0; r < page->runs; r++) dg_write_run_name(out, page, r);
        fputs("</div>\n", out);
    }
    fputs("<div class=\"charts\">\n", out);
    write_results(out, page, true);
    for (int k = 0; k < KNOWN; k++) write_known(out, page, k);
    write_others(out, page);
    fputs("</div>\n<p class=\"soft\">All over steps. Where a curve is noisy, the thin line is each step and the thick "
          "one the mean of the steps around it; rare peaks beyond the frame are cut off.</p>\n",
          out);
    if (!write_results(NULL, page, false)) return;
    fputs("<details><summary>Other results</summary>\n<div class=\"charts\">\n", out);
    write_results(out, page, false);
    fputs("</div></details>\n", out);
}
