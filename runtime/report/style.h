/* The looks of the page. */
#ifndef DG_RUNTIME_REPORT_STYLE_H
#define DG_RUNTIME_REPORT_STYLE_H

#include <stdio.h>

/* CSS: light and dark as the reader's system is, from phones to wide screens, and on paper. */
extern const char dg_page_style[];

/* Writes the beginning of a page, behind which its title goes as text, and what leads from the title to the body. */
void dg_page_begin(FILE *out);
void dg_page_body(FILE *out);

#endif
