/* The report of one or several runs: one HTML file that needs nothing else. */
#ifndef DG_RUNTIME_REPORT_PAGE_H
#define DG_RUNTIME_REPORT_PAGE_H

#include "runtime/report/subject.h"

/* Writes the page; the file is complete or absent. DG_ERR_IO; DG_ERR_INPUT: a picture that was asked for is none. */
enum dg_status dg_page_write(const struct dg_page *page, const char *path, struct dg_error *err);

#endif
