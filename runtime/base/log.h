/* The one way in which the runtime says something besides an error: a callback that the program gives.
 *
 * Functions take the log in their options. It must outlive what was opened with it. The callback is called on the
 * thread that called the runtime, never on one of the runtime's own threads. */
#ifndef DG_RUNTIME_BASE_LOG_H
#define DG_RUNTIME_BASE_LOG_H

#include "ops/base/base.h"

enum dg_log_level {
    DG_LOG_TRACE,   /* a record of what the runtime does; only those of the topics in `trace` are written */
    DG_LOG_INFO,    /* what was done, for example which weights were taken */
    DG_LOG_WARNING, /* what the user should look at */
};

/* What a message is about. */
enum dg_log_topic {
    DG_LOG_OP,    /* an operation that ran: time, bytes */
    DG_LOG_LOAD,  /* an image or a file of weights that was read */
    DG_LOG_MEM,   /* a region of memory that was allocated */
    DG_LOG_PLAN,  /* an entry that was opened, a knob's value */
    DG_LOG_RUN,   /* a training run: checkpoints, what a resume changes */
    DG_LOG_TOPICS /* how many there are */
};

/* `text` is one message without a line end; it may have several lines. It is valid until the callback returns. */
typedef void dg_log_fn(void *context, enum dg_log_level level, enum dg_log_topic topic, const char *text);

struct dg_log {
    dg_log_fn *write;
    void *context;
    uint32_t trace; /* bit 1 << topic: write the trace records of that topic */
};

/* Formats a message and calls the callback. Does nothing if `log` is NULL. */
void dg_log(const struct dg_log *log, enum dg_log_level level, enum dg_log_topic topic, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* True if trace records of the topic are written; for callers that would have to measure or count first. */
bool dg_log_traces(const struct dg_log *log, enum dg_log_topic topic);

const char *dg_log_topic_name(enum dg_log_topic topic); /* "op", "load", ... */

/* The topics that the environment variable DINOGRAPH_TRACE lists ("op,load"), as bits for struct dg_log's `trace`; 0 if
 * it is not set. DG_ERR_USAGE: an unknown topic; the text lists the topics. */
enum dg_status dg_log_read_environment(uint32_t *trace, struct dg_error *err);

/* A callback that writes trace records, and nothing else, to standard error, one line a record: "TOPIC TEXT". */
void dg_log_trace_to_stderr(void *context, enum dg_log_level level, enum dg_log_topic topic, const char *text);

#endif
