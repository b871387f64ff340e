/* What dinorun train prints: at the start, while it runs, and at the end. */
#ifndef DINORUN_TRAIN_PROGRESS_H
#define DINORUN_TRAIN_PROGRESS_H

#include "runtime/train/train.h"

#include <stdbool.h>
#include <stdint.h>

struct train_progress {
    const struct dg_train_options *options; /* of the run, whose comm may be set later */
    struct dg_train_start start;
    bool terminal, line_open;
    bool interrupted;       /* asked to stop before its end; the caller sets it */
    double seconds, waited; /* of all steps so far */
    double recent;          /* seconds a step, smoothed */
    int64_t steps;
    double begin; /* of the program, for --time-limit */
    struct dg_step_report last;
    double said;   /* when the last line was written off a terminal */
    int64_t saved; /* step of the newest checkpoint that this program wrote; -1: none */
};

/* A program that has just begun: whether standard output is a terminal, and the time. */
struct train_progress train_progress_of(const struct dg_train_options *options);

/* Events that print; .stop is the caller's. */
struct dg_train_events train_progress_events(struct train_progress *p);

/* For struct dg_log, with a struct train_progress for context: ends the line of a step, and names other ranks than 0. */
void train_progress_message(void *context, enum dg_log_level level, enum dg_log_topic topic, const char *text);

/* Steps of the run that are done, also by earlier programs. */
int64_t train_progress_steps(const struct train_progress *p);

/* Ends the line of a step. */
void train_progress_end_line(struct train_progress *p);
/* How the run ended, where its state is, and what to do next. */
void train_progress_end(const struct train_progress *p);

#endif
