/* The looks of the page. */
#ifndef DG_RUNTIME_REPORT_STYLE_H
#define DG_RUNTIME_REPORT_STYLE_H

/* CSS: light and dark as the reader's system is, from phones to wide screens, and on paper. */
extern const char dg_page_style[];

#endif
