/* What the files behind dinograph.h share: what is behind its types, and how sessions are opened. */
#ifndef DG_RUNTIME_SESSIONS_H
#define DG_RUNTIME_SESSIONS_H

#include "runtime/dinograph.h"
#include "runtime/eval/evaluator.h"
#include "runtime/image/augment.h"
#include "runtime/image/decode.h"
#include "runtime/model/classifier.h"
#include "runtime/model/source.h"

struct dinograph_plan {
    struct dg_plan plan;
    struct dg_knobs knobs;
    struct dg_log log; /* traces, if DINOGRAPH_TRACE asks for them */
};

struct dinograph_model {
    char *path;
    struct dg_model_source source;
    struct dinograph_plan network, head; /* head: of the classifier's features; empty where it is the network's */
    struct dg_classifier classifier;     /* without classes: there is none */
    char *head_file;                     /* of the classifier, to be compared with what it is used on; NULL: no need */
    char *weights, *from;
    struct dg_image_rules rules;
};

struct dinograph_session {
    const struct dinograph_plan *plan;
    const struct dinograph_model *model; /* NULL: a plan's session */
    struct dinograph_model *own_model;   /* closed with the session; NULL: none */
    const struct dg_classifier *classifier;
    float *logits, *probabilities; /* [batch, classes] */
    struct dg_session *session;
    const struct dg_plan_tensor *images; /* NULL: the entry takes something else */
    struct dg_eval_crop crop;
    struct dg_normalizer normalizer;
    void **own, **bound; /* of each input: its place in the session's memory; the caller's memory, or NULL */
    bool loaded, ran;
    int64_t set, chosen;             /* rows up to the last that was ever set; rows of dinograph_set_rows, 0: none */
    int64_t rows;                    /* for which the operations are prepared; 0: they are not */
    struct dg_image_decoder decoder; /* reused from image to image */
    struct dg_image image;
    struct dg_scratch view, work;
};

/* Retains the text of a failure for dinograph_error. */
dinograph_status dg_told(enum dg_status status, const struct dg_error *err);

#define FAIL(status, ...)                                                                                              \
    do {                                                                                                               \
        struct dg_error fail_error = {0};                                                                              \
        return dg_told(dg_fail(&fail_error, (status), __VA_ARGS__), &fail_error);                                      \
    } while (0)

/* Prepares *plan for one that is about to be opened, and completes it afterwards. */
enum dg_status dg_library_plan_begin(struct dinograph_plan *plan, struct dg_error *err);
enum dg_status dg_library_plan_complete(struct dinograph_plan *plan, struct dg_error *err);
/* Closes what is in it. */
void dg_library_plan_clear(struct dinograph_plan *plan);

/* The caller's OpenMP settings, while a session has its own. */
struct dg_library_openmp {
    int threads, dynamic;
};
/* Sets the session's threads (0: as they are), and returns what was there before. */
struct dg_library_openmp dg_library_set_openmp(int threads);
void dg_library_restore_openmp(struct dg_library_openmp before);

/* The session's entry, and an input of it by number; or by name, with its number, or NULL. */
const struct dg_plan_entry *dg_library_entry(const struct dinograph_session *session);
const struct dg_plan_tensor *dg_library_input(const struct dinograph_session *session, uint32_t index);
const struct dg_plan_tensor *dg_library_find_input(const struct dinograph_session *session, const char *name,
                                                   uint32_t *index);

/* `from` is "teacher" or "student", or NULL, which stands for the first. DG_ERR_USAGE: it is something else. */
enum dg_status dg_library_check_from(const char *from, struct dg_error *err);

/* What a session is opened for. */
struct dg_library_purpose {
    const struct dinograph_plan *plan;
    const char *entry;
    const struct dinograph_model *model;    /* NULL: the plan's own */
    const struct dg_classifier *classifier; /* NULL: none */
};
/* dinograph_session_open. */
dinograph_status dg_library_session_open(const struct dg_library_purpose *purpose, const dinograph_options *options,
                                         dinograph_session **session);

#endif
