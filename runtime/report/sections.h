/* The parts of the page, in their order. Each writes nothing where the runs have nothing for it. */
#ifndef DG_RUNTIME_REPORT_SECTIONS_H
#define DG_RUNTIME_REPORT_SECTIONS_H

#include "runtime/report/subject.h"

#include <stdio.h>

/* The sentence of judgement of each run, and its most important numbers. */
void dg_section_verdicts(FILE *out, const struct dg_page *page);

/* Charts of all that the logs and the results hold. */
void dg_section_curves(FILE *out, const struct dg_page *page);

/* Pictures, embedded. DG_ERR_INPUT: one that was asked for is none. */
enum dg_status dg_section_pictures(FILE *out, const struct dg_page *page, struct dg_error *err);

/* The planned memory of a step over its operations. DG_ERR_MEMORY. */
enum dg_status dg_section_memory(FILE *out, const struct dg_page *page, struct dg_error *err);

/* How fast the runs were. */
void dg_section_speed(FILE *out, const struct dg_page *page);

/* The recipe, with what is not as published marked. */
void dg_section_recipe(FILE *out, const struct dg_page *page);

/* Versions, machine, threads, dates. */
void dg_section_environment(FILE *out, const struct dg_page *page);

/* The colour of a run, a small square, and its name. */
void dg_write_run_name(FILE *out, const struct dg_page *page, int run);
/* As a heading, if there are several runs. */
void dg_write_run_heading(FILE *out, const struct dg_page *page, int run);

#endif
