/* Fields of CSV files, as RFC 4180 has them. */
#ifndef DG_RUNTIME_BASE_CSV_H
#define DG_RUNTIME_BASE_CSV_H

#include <stdio.h>

/* Writes a field, in quotes where it has commas, quotes or ends of lines. */
void dg_csv_text(FILE *out, const char *text);

#endif
