#include "runtime/report/text.h"

#include "runtime/base/name.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *escape_of(unsigned char c)
{
    switch (c) {
    case '<': return "&lt;";
    case '>': return "&gt;";
    case '&': return "&amp;";
    case '"': return "&quot;";
    case '\'': return "&#39;";
    default: return c < 0x20 && c != '\n' && c != '\t' ? "\xef\xbf\xbd" : c == 0x7f ? "\xef\xbf\xbd" : NULL;
    }
}

void dg_html_text(FILE *out, const char *text)
{
    for (const char *s = text; s && *s;) {
        int length = dg_utf8_size(s);
        const char *escape = length ? escape_of((unsigned char)*s) : "\xef\xbf\xbd";
        if (escape)
            fputs(escape, out);
        else
            fwrite(s, 1, (size_t)length, out);
        s += length ? length : 1;
    }
}

void dg_html_format(FILE *out, const char *format, ...)
{
    char *text;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0) return;
    dg_html_text(out, text);
    free(text);
}

void dg_base64(FILE *out, const void *bytes, size_t size)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *b = bytes;
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t group = (uint32_t)b[i] << 16 | (left > 1 ? (uint32_t)b[i + 1] << 8 : 0) | (left > 2 ? b[i + 2] : 0);
        const char four[4] = {digit[group >> 18], digit[group >> 12 & 63], left > 1 ? digit[group >> 6 & 63] : '=',
                              left > 2 ? digit[group & 63] : '='};
        fwrite(four, 1, 4, out);
    }
}

void dg_shorten_exponent(char *text)
{
    char *e = strchr(text, 'e');
    if (!e) return;
    char *to = e + 1, *from = to;
    if (*from == '-') *to++ = '-';
    from += *from == '-' || *from == '+';
    while (*from == '0' && from[1]) from++;
    memmove(to, from, strlen(from) + 1);
}

/* Puts a no-break space between groups of three digits, from five digits on. */
static void group_digits(char *text, size_t size)
{
    static const char space[] = "\xc2\xa0";
    size_t first = text[0] == '-', digits = strspn(text + first, "0123456789");
    for (size_t at = first + digits; digits >= 5 && at > first + 3;) {
        at -= 3;
        size_t rest = strlen(text + at) + 1;
        if (at + rest + 2 > size) return;
        memmove(text + at + 2, text + at, rest);
        memcpy(text + at, space, 2);
    }
}

const char *dg_number_text(char *text, size_t size, double value, int digits)
{
    if (isnan(value)) {
        snprintf(text, size, "not a number");
        return text;
    }
    if (isinf(value)) {
        snprintf(text, size, value > 0 ? "infinite" : "minus infinite");
        return text;
    }
    double above = fabs(value);
    int before = above >= 1 ? (int)floor(log10(above)) + 1 : 0;
    if (above >= 1e12 || (above > 0 && above < 1e-4)) {
        snprintf(text, size, "%.*e", digits > 1 ? digits - 1 : 0, value);
        char *e = strchr(text, 'e'), *end = e; /* zeros behind the point say nothing */
        if (memchr(text, '.', (size_t)(e - text)))
            while (end[-1] == '0') end--;
        end -= end > text && end[-1] == '.';
        memmove(end, e, strlen(e) + 1);
        dg_shorten_exponent(text);
    } else if (before >= digits || value == floor(value)) {
        snprintf(text, size, "%.0f", value);
    } else if (above < 1) {
        snprintf(text, size, "%.*g", digits, value);
    } else {
        snprintf(text, size, "%.*f", digits - before, value);
    }
    group_digits(text, size);
    return text;
}

const char *dg_duration_text(char *text, size_t size, double seconds)
{
    int64_t s = seconds > 0 && seconds < 1e15 ? (int64_t)(seconds + 0.5) : 0;
    if (s >= 86400)
        snprintf(text, size, "%" PRId64 " d %02" PRId64 " h", s / 86400, s / 3600 % 24);
    else if (s >= 3600)
        snprintf(text, size, "%" PRId64 " h %02" PRId64 " min", s / 3600, s / 60 % 60);
    else if (s >= 60)
        snprintf(text, size, "%" PRId64 " min %02" PRId64 " s", s / 60, s % 60);
    else
        snprintf(text, size, "%" PRId64 " s", s);
    return text;
}

const char *dg_measure_kind(char *text, size_t size, const char *column)
{
    const char *part =
        strncmp(column, "jaccard", 7) ? NULL : column + 7 + strcspn(column + 7, "abcdefghijklmnopqrstuvwxyz");
    snprintf(text, size, "%s", column);
    if (part) snprintf(text, size, "jaccard.%s", part);
    return text;
}

const char *dg_measure_text(char *text, size_t size, const char *column)
{
    static const struct {
        const char *column, *text;
    } known[] = {{"linear.top1", "linear probe, top-1"},
                 {"linear.top5", "linear probe, top-5"},
                 {"linear.best_top1", "linear probe, top-1 of its best epoch"},
                 {"linear.loss", "linear probe, loss"},
                 {"jaccard.best", "Jaccard index, best head of each object"},
                 {"jaccard.mean", "Jaccard index, mean of heads"},
                 {"jaccard.everything", "Jaccard index of everything"},
                 {"jaccard.all", "Jaccard index, all objects as one"}};
    int k, top, end = 0;
    if (sscanf(column, "knn%d.top%d%n", &k, &top, &end) == 2 && end) {
        snprintf(text, size, "%d-NN, top-%d%s", k, top, column + end); /* ", student" may follow */
        return text;
    }
    char set[16];
    if ((sscanf(column, "retrieval.%15[a-z].map%n", set, &end) == 1 && end) ||
        (sscanf(column, "copydays.%15[^.].map%n", set, &end) == 1 && end)) {
        snprintf(text, size, "%s, %s: mAP", *column == 'r' ? "retrieval" : "copy detection", set);
        return text;
    }
    if (sscanf(column, "retrieval.%15[a-z].mp%d%n", set, &k, &end) == 2 && end) {
        snprintf(text, size, "retrieval, %s: precision among the first %d", set, k);
        return text;
    }
    char kind[64], share[32] = "";
    double percent;
    dg_measure_kind(kind, sizeof kind, column);
    if (sscanf(column, "jaccard%lf", &percent) == 1 && percent >= 1)
        snprintf(share, sizeof share, "; masks of %g %%", percent);
    snprintf(text, size, "%s", column);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(kind, known[i].column)) snprintf(text, size, "%s%s", known[i].text, share);
    return text;
}
