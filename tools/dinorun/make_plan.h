/* Plans that dinorun needs and was not given: dinoc makes them of descriptions. */
#ifndef DINORUN_MAKE_PLAN_H
#define DINORUN_MAKE_PLAN_H

#include "ops/base/base.h"

/* A plan for dinoc to make. */
struct plan_to_make {
    const char *file;         /* of its description */
    const char *description;  /* in the place of `file`: the description itself; NULL: there is none */
    const char *const *flags; /* of dinoc, ended by NULL; 256 at most */
    const char *what;         /* the plan, in messages: "the probe's plan" */
    const char *said;         /* a line to say before; NULL: none. Of several processes one says it */
};
/* Makes the plan in TMPDIR, or /tmp, calls `open` with its path, and takes the file away. DG_ERR_INPUT: dinoc said why
 * on standard error. */
enum dg_status make_plan(const struct plan_to_make *make,
                         enum dg_status (*open)(void *, const char *, struct dg_error *), void *context,
                         struct dg_error *err);

#endif
