#ifndef DG_RUNTIME_STATE_WEIGHTS_OPTIONS_H
#define DG_RUNTIME_STATE_WEIGHTS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* Which weights of a file; zero for the usual. */
struct dg_weights_options {
    const char *from;         /* whose backbone of a full checkpoint: "teacher" (NULL likewise) or "student" */
    const char *key, *prefix; /* which of several networks: see struct dg_network_choice */
    int64_t positions[2];     /* rows and columns of the file's position table; 0: it is a square, or the plan's */
    bool partial;
};

#endif
