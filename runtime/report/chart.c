#include "runtime/report/chart.h"

#include "runtime/report/text.h"
#include "runtime/report/ticks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Of the drawing, in its own units; the page scales it to the width that there is. */
enum { WIDTH = 400, HEIGHT = 220, LEFT = 52, RIGHT = 12, TOP = 14, BOTTOM = 26 };
enum { INNER_WIDTH = WIDTH - LEFT - RIGHT, INNER_HEIGHT = HEIGHT - TOP - BOTTOM };

struct frame {
    double x0, x1, y0, y1; /* of the axes; y as drawn: its logarithm on a logarithmic axis */
    bool log;
};

static double x_of(const struct frame *f, double step) { return LEFT + (step - f->x0) / (f->x1 - f->x0) * INNER_WIDTH; }

static double y_of(const struct frame *f, double drawn)
{
    return TOP + (f->y1 - drawn) / (f->y1 - f->y0) * INNER_HEIGHT;
}

/* Where the number is drawn; NaN: nowhere. Differences of those that are beyond all bounds would overflow. */
static double drawn(bool log, double value)
{
    if (!(fabs(value) < 1e100)) return NAN;
    return !log ? value : value > 0 ? log10(value) : NAN;
}

/* ---- means ---- */

int64_t dg_chart_reach(int64_t count) { return dg_max_i64(count / 60, 2); }

void dg_running_mean(const double *value, int64_t count, int64_t reach, double *mean)
{
    double sum = 0;
    int64_t numbers = 0, end = 0, begin = 0;
    for (int64_t i = 0; i < count; i++) {
        for (; end < count && end <= i + reach; end++) {
            sum += isnan(value[end]) ? 0 : value[end];
            numbers += !isnan(value[end]);
        }
        for (; begin < i - reach; begin++) {
            sum -= isnan(value[begin]) ? 0 : value[begin];
            numbers -= !isnan(value[begin]);
        }
        mean[i] = numbers ? sum / (double)numbers : NAN;
    }
}

/* ---- the frame ---- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void include(struct frame *f, double y)
{
    if (isnan(y)) return;
    f->y0 = fmin(f->y0, y);
    f->y1 = fmax(f->y1, y);
}

/* Includes the numbers of a line but for one of a hundred at each end, if they are noisy, and all of their means. */
static void include_line(struct frame *f, const double *y, const double *mean, int64_t count)
{
    double *sorted = malloc(sizeof *sorted * (size_t)(count + 1));
    int64_t numbers = 0;
    if (!sorted) return;
    for (int64_t i = 0; i < count; i++)
        if (!isnan(y[i])) sorted[numbers++] = y[i];
    qsort(sorted, (size_t)numbers, sizeof *sorted, compare);
    int64_t out = mean && numbers >= 200 ? numbers / 100 : 0;
    if (numbers) {
        include(f, sorted[out]);
        include(f, sorted[numbers - 1 - out]);
    }
    for (int64_t i = 0; mean && i < count; i++) include(f, mean[i]);
    free(sorted);
}

/* With room for its name above it. */
static void include_level(struct frame *f, double level)
{
    include(f, level);
    if (!isnan(level)) include(f, level + 0.1 * (f->y1 - f->y0));
}

static void widen(struct frame *f)
{
    double least = fmax(fabs(f->y1) * 1e-3, 1e-12);
    if (f->y1 - f->y0 < least) {
        double middle = (f->y0 + f->y1) / 2, half = fmax(fabs(middle) * 0.1, 1e-12);
        f->y0 = middle - half;
        f->y1 = middle + half;
    }
    double margin = 0.05 * (f->y1 - f->y0);
    f->y0 -= margin;
    f->y1 += margin;
    f->x1 = fmax(f->x1, f->x0 + 5); /* steps are whole */
}

/* ---- drawing ---- */

/* A point of a path; *pen: the path has begun. */
static void put_point(FILE *out, const struct frame *f, double x, double y, bool *pen)
{
    fprintf(out, "%c%.1f %.1f", *pen ? 'L' : 'M', x,
            y_of(f, fmax(fmin(y, f->y1 + 10 * (f->y1 - f->y0)), f->y0 - 10 * (f->y1 - f->y0))));
    *pen = true;
}

/* One path through the numbers; where there are more of them than places on the screen, through the least and the greatest of
 * each place. */
static void draw_path(FILE *out, const struct frame *f, const struct dg_chart_line *line, const double *y,
                      const char *class, int color)
{
    int64_t every = line->count / (2 * INNER_WIDTH) + 1;
    bool pen = false;
    fprintf(out, "<path class=\"%s c%d\" d=\"", class, color);
    for (int64_t i = 0; i < line->count; i += every) {
        int64_t least = -1, most = -1;
        for (int64_t k = i; k < i + every && k < line->count; k++) {
            if (isnan(y[k])) continue;
            if (least < 0 || y[k] < y[least]) least = k;
            if (most < 0 || y[k] > y[most]) most = k;
        }
        if (least < 0) continue;
        int64_t first = least < most ? least : most, second = least < most ? most : least;
        put_point(out, f, x_of(f, line->step[first]), y[first], &pen);
        if (second != first) put_point(out, f, x_of(f, line->step[second]), y[second], &pen);
    }
    fputs("\"/>\n", out);
}

static void draw_dots(FILE *out, const struct frame *f, const struct dg_chart_line *line, const double *y, int color)
{
    for (int64_t i = 0; i < line->count; i++)
        if (!isnan(y[i]))
            fprintf(out, "<circle class=\"c%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\"/>\n", color, x_of(f, line->step[i]),
                    y_of(f, y[i]));
}

static void draw_axes(FILE *out, const struct frame *f)
{
    struct dg_ticks y = f->log ? dg_ticks_log(pow(10, f->y0), pow(10, f->y1), 5) : dg_ticks_linear(f->y0, f->y1, 5);
    struct dg_ticks x = dg_ticks_linear(f->x0, f->x1, 5);
    for (int t = 0; t < y.count; t++) {
        double at = y_of(f, drawn(f->log, y.at[t]));
        fprintf(out,
                "<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                LEFT, at, WIDTH - RIGHT, LEFT - 5, at + 4, y.text[t]);
    }
    for (int t = 0; t < x.count; t++)
        fprintf(out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n", x_of(f, x.at[t]),
                HEIGHT - BOTTOM + 17, x.text[t]);
}

static void draw_level(FILE *out, const struct frame *f, const struct dg_chart *chart)
{
    double at = y_of(f, drawn(f->log, chart->level));
    if (isnan(at)) return;
    fprintf(out,
            "<path class=\"level\" d=\"M%d %.1fH%d\"/><text class=\"level\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">",
            LEFT, at, WIDTH - RIGHT, WIDTH - RIGHT, at > TOP + 14 ? at - 4 : at + 13);
    dg_html_text(out, chart->level_name);
    fputs("</text>\n", out);
}

/* The numbers as they are drawn, and their means; both owned. */
struct drawn_line {
    double *y, *mean;
};

static bool open_line(const struct dg_chart *chart, const struct dg_chart_line *line, struct frame *f,
                      struct drawn_line *d)
{
    bool any = false;
    size_t bytes = sizeof(double) * (size_t)(line->count + 1);
    d->y = malloc(bytes);
    if (chart->smooth && line->count > 8) d->mean = malloc(bytes);
    if (!d->y) return false;
    for (int64_t i = 0; i < line->count; i++) {
        d->y[i] = drawn(chart->log, line->value[i]);
        if (isnan(d->y[i])) continue;
        any = true;
        f->x0 = fmin(f->x0, line->step[i]);
        f->x1 = fmax(f->x1, line->step[i]);
    }
    if (d->mean) dg_running_mean(d->y, line->count, dg_chart_reach(line->count), d->mean);
    include_line(f, d->y, d->mean, line->count);
    return any;
}

static void draw_lines(FILE *out, const struct dg_chart *chart, const struct frame *f, const struct drawn_line *d)
{
    for (int l = 0; l < chart->lines; l++) /* the thin ones below */
        if (d[l].y) draw_path(out, f, &chart->line[l], d[l].y, d[l].mean ? "thin" : "thick", l);
    for (int l = 0; l < chart->lines; l++) {
        if (d[l].mean) draw_path(out, f, &chart->line[l], d[l].mean, "thick", l);
        if (d[l].y && (chart->dots || chart->line[l].count <= 8)) draw_dots(out, f, &chart->line[l], d[l].y, l);
    }
}

static void draw(FILE *out, const struct dg_chart *chart, const struct frame *f, const struct drawn_line *d)
{
    fputs("<figure class=\"chart\"><figcaption><b>", out);
    dg_html_text(out, chart->title);
    fputs("</b><span>", out);
    dg_html_text(out, chart->how);
    fprintf(out, "</span></figcaption>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, HEIGHT);
    dg_html_text(out, chart->title);
    fputs(" over steps\">\n", out);
    draw_axes(out, f);
    /* An inner drawing cuts off what lies outside of it. */
    fprintf(out, "<svg x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" viewBox=\"%d %d %d %d\">\n", LEFT - 3, TOP - 3,
            INNER_WIDTH + 6, INNER_HEIGHT + 6, LEFT - 3, TOP - 3, INNER_WIDTH + 6, INNER_HEIGHT + 6);
    draw_lines(out, chart, f, d);
    fputs("</svg>\n", out);
    draw_level(out, f, chart);
    fputs("</svg></figure>\n", out);
}

bool dg_chart_write(FILE *out, const struct dg_chart *chart)
{
    struct frame f = {.x0 = INFINITY, .x1 = -INFINITY, .y0 = INFINITY, .y1 = -INFINITY, .log = chart->log};
    struct drawn_line d[DG_MAX_LINES] = {{0}};
    bool any = false;
    for (int l = 0; l < chart->lines; l++) any |= open_line(chart, &chart->line[l], &f, &d[l]);
    if (any) {
        include_level(&f, drawn(chart->log, chart->level));
        widen(&f);
        draw(out, chart, &f, d);
    }
    for (int l = 0; l < chart->lines; l++) {
        free(d[l].y);
        free(d[l].mean);
    }
    return any;
}
