/* What is exported: a network that is ready to run. */
#ifndef DG_RUNTIME_EXPORT_SOURCE_H
#define DG_RUNTIME_EXPORT_SOURCE_H

#include "runtime/exec/knobs.h"
#include "runtime/exec/session.h"

struct dg_export_source {
    const struct dg_plan *plan;
    const struct dg_knobs *knobs;     /* for how images are prepared */
    const struct dg_session *session; /* of the entry `features`, with the weights */
    const char *weights, *network;    /* where they are from: a path, and "teacher" or "student" */
    const char *version;              /* of this program */
    const struct dg_log *log;         /* receives what was written, and how images are to be prepared; may be NULL */
};

#endif
