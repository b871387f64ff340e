/* --json: a command's result as one JSON object on standard output. */
#ifndef DINORUN_JSON_H
#define DINORUN_JSON_H

#include "runtime/exec/session.h"
#include "runtime/formats/json_text.h"

#include <stdio.h>

#define FLAG_JSON "json", NULL, "print the result as JSON, and all else to standard error"

/* Zero-initialise; the flag sets `asked`. */
struct json_output {
    bool asked;
    FILE *out; /* standard output, while what is printed for people goes to standard error */
};

/* Does nothing unless asked. To be called before anything is printed. DG_ERR_IO. */
enum dg_status json_open(struct json_output *json, struct dg_error *err);
/* Writes the object, which it takes; unless asked nothing is written. DG_ERR_IO; DG_ERR_MEMORY: the object is NULL. */
enum dg_status json_write(struct json_output *json, json_t *object, struct dg_error *err);
void json_close(struct json_output *json);

/* A number; null if it is not finite. */
json_t *json_number(double value);
/* The bytes that a session takes, region by region. */
json_t *json_memory(const struct dg_session_memory *memory);
/* Program and machine, on which figures depend: version, commit, cpu, kernels, onednn. */
json_t *json_machine(void);

#endif
