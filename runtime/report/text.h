/* Text of a page: strings from files made safe, numbers as people write them, pictures as data. */
#ifndef DG_RUNTIME_REPORT_TEXT_H
#define DG_RUNTIME_REPORT_TEXT_H

#include "ops/base/base.h"

#include <stdio.h>

/* Writes `text` so that HTML and SVG show it and never read it, within elements and quoted attributes: markup is escaped; control
 * characters and bytes that are no UTF-8 become U+FFFD. NULL writes nothing. */
void dg_html_text(FILE *out, const char *text);

/* Formats and writes as dg_html_text does. */
void dg_html_format(FILE *out, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Writes bytes in base64 (RFC 4648). */
void dg_base64(FILE *out, const void *bytes, size_t size);

/* A number with up to `digits` significant digits: "6.849", "12 400", "0.0005", "1.2e-5", "not a number". Returns `text`. */
const char *dg_number_text(char *text, size_t size, double value, int digits);

/* Removes "+" and leading zeros of an exponent: "1e-05" becomes "1e-5". */
void dg_shorten_exponent(char *text);

/* What a column of results is called: "20-NN, top-1" of "knn20.top1". Returns `text`. */
const char *dg_measure_text(char *text, size_t size, const char *column);

/* The measure of a column, whatever the share of attention that its masks hold: "jaccard.best" of "jaccard80.best". Returns `text`. */
const char *dg_measure_kind(char *text, size_t size, const char *column);

/* "12 s", "1 min 39 s", "2 h 05 min", "3 d 04 h". Returns `text`. */
const char *dg_duration_text(char *text, size_t size, double seconds);

#endif
