/* A contact sheet of a search as a page that needs nothing else, with the names of what was found. */
#ifndef DG_RUNTIME_REPORT_NEIGHBORS_PAGE_H
#define DG_RUNTIME_REPORT_NEIGHBORS_PAGE_H

#include "runtime/draw/neighbors_sheet.h"

/* Writes the page; the file is complete or absent. DG_ERR_INPUT (an image that can no longer be read), DG_ERR_IO,
 * DG_ERR_MEMORY. */
enum dg_status dg_neighbors_page_write(const struct dg_neighbors_sheet *sheet, const char *path, struct dg_error *err);

#endif
