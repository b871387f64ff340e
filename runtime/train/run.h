/* What every run has that trains a session step by step: its folder, locked; log.jsonl and settings.txt; the newest
 * checkpoint and those before it; the position that a resume restores; the loader. dg_train and dg_linear_train are
 * built on it. */
#ifndef DG_RUNTIME_TRAIN_RUN_H
#define DG_RUNTIME_TRAIN_RUN_H

#include "runtime/base/path.h"
#include "runtime/data/train_source.h"
#include "runtime/state/checkpoint.h"
#include "runtime/train/run_log.h"
#include "runtime/train/run_record.h"

/* What a run is asked to do. */
struct dg_run_setup {
    const char *folder; /* made if it is not there; NULL: the run writes nothing */
    const char *name;   /* the newest checkpoint is FOLDER/NAME.safetensors */
    const char *what;   /* for messages: "FOLDER holds a WHAT already" */
    bool has_older;     /* the run leaves older checkpoints beside the newest (runtime/state/checkpoint_files.h) */
    int64_t last;       /* how many of those before the newest stay */
    bool resume, new_data, accept_changes;
    uint64_t seed;
    bool seed_given;      /* otherwise a resumed run has its own */
    int threads;          /* 0: all */
    struct dg_comm *comm; /* the processes that share each batch; NULL: there is one */
    bool ignore_memory;
    const char *const *command; /* for the record: the words of the command line, ended by NULL; NULL: not known */
    const struct dg_log *log;
};

struct dg_training_run {
    struct dg_run_setup setup;
    struct dg_knobs *knobs;
    struct dg_session *session; /* entry "train" */
    struct dg_progress position;
    struct dg_facts facts; /* the position's; the caller adds to them before dg_run_resume */
    struct dg_run_length length;
    struct dg_run_log *lines;     /* log.jsonl */
    struct dg_run_record *record; /* run.json; NULL: none */
    char newest[DG_MAX_PATH];     /* path of the newest checkpoint */
    int64_t saved_step;           /* of the newest checkpoint; -1: none, or a damaged one */
    int64_t intact_step;          /* of the newest intact checkpoint, whatever its name; -1: none */
    int lock;                     /* of the folder; -1: none */

    struct dg_loader_config loading;
    struct dg_train_reading reading;
    struct dg_loader *loader;
    int64_t loader_bytes;
    /* Where processes take turns (reading.stride): steps from the position to the loader's first batch. */
    int64_t ahead;
};

/* Fills *run. A run that resumes goes on with its own settings: `knobs` receives them (dg_facts_take_settings).
 * DG_ERR_USAGE: the folder's path is too long, or there is a checkpoint and the setup does not say resume. The caller
 * then sets length, position.data_hash and facts. dg_run_close is fine after a failure. */
enum dg_status dg_run_init(struct dg_training_run *run, const struct dg_run_setup *setup, struct dg_knobs *knobs,
                           struct dg_error *err);

/* Adds a path that the run reads to its facts, as an absolute one; "@FILE" stays one of FILE. */
void dg_run_add_path(struct dg_training_run *run, const char *key, const char *path);

/* Opens the images that a run reads whose folder is this (NULL: none), which has an index of their archives. */
enum dg_status dg_run_open_images(const char *folder, const struct dg_data *data, enum dg_labels labels,
                                  const struct dg_log *log, struct dg_dataset **dataset, struct dg_error *err);
/* Writes that index; to be called once, when the run is known to go on with these images. A failure is logged. */
void dg_run_write_index(const struct dg_training_run *run, struct dg_dataset *dataset);

/* Adds how many images the run reads, and how they are read. */
void dg_run_add_images(struct dg_training_run *run, const struct dg_dataset *dataset);

/* Sets what the loader will read, `reading` but for seed and position, with `threads` threads. Sets loader_bytes.
 * Errors are dg_loader_train_bytes'. */
enum dg_status dg_run_plan_loader(struct dg_training_run *run, const struct dg_train_reading *reading, int64_t batch,
                                  int threads, struct dg_error *err);

/* Makes and locks the folder, and opens the session; `other_bytes` are counted with its memory. To be called once all
 * inputs are open, so that a call that fails for one of them leaves no folder. */
enum dg_status dg_run_open(struct dg_training_run *run, int64_t other_bytes, struct dg_error *err);

/* Restores session and position from the newest intact checkpoint; a damaged one is named in the log and passed
 * over. *found is false, and nothing changed, where there is none. DG_ERR_USAGE: the checkpoint is of another run (see
 * dg_checkpoint_load); DG_ERR_INPUT: there are only damaged ones. */
enum dg_status dg_run_resume(struct dg_training_run *run, bool *found, struct dg_error *err);

/* Writes FOLDER/run.plan, a copy of the plan, and FOLDER/recipe.yaml, the description in it. A failure is logged:
 * the run does not need it. */
void dg_run_write_plan(const struct dg_training_run *run);
void dg_run_plan_path(const char *folder, char path[DG_MAX_PATH]);
/* A fact, or a path, of the newest checkpoint of FOLDER that can be read; false: it has none, or there is no
 * checkpoint. */
bool dg_run_find_fact(const char *folder, const char *key, char *value, size_t size);

/* Writes FOLDER/settings.txt: the knobs' values in force, one --set a line. */
enum dg_status dg_run_write_settings(const struct dg_training_run *run, struct dg_error *err);
/* Opens FOLDER/log.jsonl at the position. */
enum dg_status dg_run_open_log(struct dg_training_run *run, struct dg_error *err);

/* Opens FOLDER/run.json at the position, and cuts FOLDER/results.csv behind it. Of `about` the run fills in what it
 * knows itself: plan, seed, position, length, threads, memory, processes, command. Failures of this file are logged:
 * the run does not need it. */
void dg_run_open_record(struct dg_training_run *run, struct dg_run_about about);
/* Notes there how it ended ("finished", "stopped", "failed"; `why` of the last). */
void dg_run_end_record(struct dg_training_run *run, const char *how, const char *why);

/* Starts the loader at the position, or so many steps ahead; it ends after step `end`. None is there if nothing is
 * left to read. */
enum dg_status dg_run_open_loader(struct dg_training_run *run, int64_t end, struct dg_error *err);
/* The next batch; to be released by dg_loader_release. */
enum dg_status dg_run_next_batch(struct dg_training_run *run, const struct dg_batch **batch, struct dg_error *err);

/* Makes the session's state the newest checkpoint; where the setup says so the one before gets its name among the older
 * ones. */
enum dg_status dg_run_save(struct dg_training_run *run, struct dg_error *err);
/* Writes the session's state to FOLDER/NAME.safetensors. */
enum dg_status dg_run_save_as(const struct dg_training_run *run, const char *name, struct dg_error *err);
/* Retains the checkpoint that was just saved: it gets a second name that no later save removes. */
enum dg_status dg_run_retain(const struct dg_training_run *run, struct dg_error *err);

/* Closes the loader, the log, the session and the lock. */
void dg_run_close(struct dg_training_run *run);

#endif
