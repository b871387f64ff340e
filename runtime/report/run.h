/* What a run's folder says of the run. */
#ifndef DG_RUNTIME_REPORT_RUN_H
#define DG_RUNTIME_REPORT_RUN_H

#include "runtime/base/path.h"
#include "runtime/plan/open.h"
#include "runtime/report/series.h"

/* A value by its name; both owned. */
struct dg_pair {
    char *key, *value;
};
struct dg_pairs {
    struct dg_pair *pair;
    int count, capacity;
};

/* Zero-initialise; close with dg_report_run_close. */
struct dg_report_run {
    const char *folder; /* of the caller */
    char name[256];     /* the folder's last part */
    struct dg_series log, results;
    char plan_fault[512];         /* why its copy of the plan cannot be read; "": it can, or there is none */
    struct dg_plan plan;          /* a copy that the run has; header NULL: none */
    struct dg_pairs settings;     /* the recipe's keys and the knobs in force: "lr.peak" */
    struct dg_pairs environment;  /* of run.json, or of the newest checkpoint */
    struct dg_pairs facts;        /* the checkpoint's metadata; empty without one */
    char (*picture)[DG_MAX_PATH]; /* paths of PNG and JPEG files in the folder and in its watch/, by name */
    int pictures;
    bool is_probe; /* of dinorun linear */
    bool runs;     /* a program is writing to the folder */
    /* What the run is; 0 or NaN where the folder does not say. */
    int64_t steps_per_epoch, epochs, batch, images;
    int64_t checkpoint_step; /* of the newest checkpoint; -1: none */
    double out_dim;
};

/* Reads the folder. Files that are missing are no error, nor is an empty log; DG_ERR_USAGE: the folder is no run's. `folder` must outlive the
 * run. */
enum dg_status dg_report_run_open(const char *folder, struct dg_report_run *run, struct dg_error *err);
void dg_report_run_close(struct dg_report_run *run);

/* Adds copies; false: out of memory. */
bool dg_pairs_add(struct dg_pairs *pairs, const char *key, const char *value);
/* NULL: there is none of that key. */
const char *dg_pairs_find(const struct dg_pairs *pairs, const char *key);
void dg_pairs_free(struct dg_pairs *pairs);

/* The accuracy that stands for the run, a column of the results, or of a probe's log: of 20 neighbours, else the first top-1; NULL: there is
 * none. */
const char *dg_report_run_accuracy(const struct dg_report_run *run, double *value);

/* The step at which the run ends; 0: not known. */
int64_t dg_report_run_end(const struct dg_report_run *run);
/* Steps that are done, by the log. */
int64_t dg_report_run_steps(const struct dg_report_run *run);
/* Seconds that a step takes, the mean of the last DG_SERIES_TAIL; NaN: not known. */
double dg_report_run_step_seconds(const struct dg_report_run *run);

#endif
