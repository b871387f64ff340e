/* RUN/run.json: what a run is, and each time that a program has worked on it. tools/README.md documents the file.
 *
 * The file is complete or not there. It is written when a program begins to work on the run, at each checkpoint, and
 * at the end; so a program that was killed leaves its last checkpoint there, and the next one notes that it was
 * killed. */
#ifndef DG_RUNTIME_TRAIN_RUN_RECORD_H
#define DG_RUNTIME_TRAIN_RUN_RECORD_H

#include "runtime/data/dataset.h"
#include "runtime/exec/knobs.h"

/* What a run is; all pointers are read by dg_run_record_open alone. */
struct dg_run_about {
    const char *kind; /* "train", "linear" */
    const struct dg_plan *plan;
    const struct dg_data *data, *val;          /* images to learn from, images to measure on; no paths: none */
    const struct dg_data *knn_train, *knn_val; /* images for k-NN while training; no paths: none */
    const struct dg_data *segment_data;        /* images to find objects in while training; no paths: none */
    const char *segment_masks;                 /* the folder of their masks */
    double segment_threshold;                  /* the share of the attention that masks hold */
    const struct dg_data *watch;               /* images to draw; no paths: none */
    const char *measure_every;                 /* how often it is measured, in words */
    const char *measure_max_bad;               /* unreadable images to leave out of that, in words */
    const char *replay;                        /* recorded crops in place of images; NULL: none */
    int64_t batch, images, steps_per_epoch, epochs;
    int64_t out_dim; /* prototypes, or classes of a probe */
    uint64_t seed;
    int64_t first_step;
    bool goes_on; /* a run that resumes: earlier sessions stay in the record */
    int threads, loader_threads, processes;
    int64_t memory;             /* bytes that the session and the loader take */
    const char *const *command; /* the words of the command line, ended by NULL; NULL: not known */
};

struct dg_run_record;

/* Adds a session to the record at `path`, or begins one. One that cannot be read is begun anew, and logged. DG_ERR_IO,
 * DG_ERR_MEMORY. */
enum dg_status dg_run_record_open(const char *path, const struct dg_run_about *about, const struct dg_log *log,
                                  struct dg_run_record **record, struct dg_error *err);
/* Notes that `step` steps are done and saved. */
enum dg_status dg_run_record_saved(struct dg_run_record *record, int64_t step, struct dg_error *err);
/* Notes how the session ended, "finished", "stopped" or "failed", after how many steps; `why`: of a failure. */
enum dg_status dg_run_record_end(struct dg_run_record *record, int64_t step, const char *how, const char *why,
                                 struct dg_error *err);
/* Path `index` of the array `key` of FOLDER/run.json, or the text that `key` is; false: there is none. */
bool dg_run_record_find(const char *folder, const char *key, size_t index, char *value, size_t size);
void dg_run_record_close(struct dg_run_record *record); /* NULL is fine */

#endif
