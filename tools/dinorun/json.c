#include "tools/dinorun/json.h"

#include "tools/dinorun/command.h"

#include "ops/kernels/rates.h"
#include "runtime/base/about.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DIGITS = 12 };

enum dg_status json_open(struct json_output *json, struct dg_error *err)
{
    if (!json->asked) return DG_OK;
    fflush(stdout);
    int fd = dup(fileno(results()));
    json->out = fd < 0 ? NULL : fdopen(fd, "w");
    if (json->out && quiet_close(err) == DG_OK && (quiet || dup2(STDERR_FILENO, STDOUT_FILENO) >= 0)) return DG_OK;
    return dg_fail(err, DG_ERR_IO, "--json: standard output cannot be opened: %s", strerror(errno));
}

enum dg_status json_write(struct json_output *json, json_t *object, struct dg_error *err)
{
    if (!json->asked) {
        json_decref(object);
        return DG_OK;
    }
    enum dg_status status = dg_json_write(object, DIGITS, json->out, err);
    if (status == DG_OK && (fflush(json->out) || ferror(json->out)))
        status = dg_fail(err, DG_ERR_IO, "the result could not be written: is the disk full?");
    json_decref(object);
    return status;
}

void json_close(struct json_output *json)
{
    if (json->out) fclose(json->out);
    json->out = NULL;
}

json_t *json_number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

json_t *json_memory(const struct dg_session_memory *m)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "parameters", (json_int_t)m->region[DG_REGION_PARAM],
                     "optimiser", (json_int_t)m->region[DG_REGION_STATE], "activations",
                     (json_int_t)m->region[DG_REGION_STEP], "inputs", (json_int_t)m->region[DG_REGION_INPUT], "scratch",
                     (json_int_t)m->scratch, "packed", (json_int_t)m->packed, "program", (json_int_t)m->allowance,
                     "total", (json_int_t)m->total);
}

json_t *json_machine(void)
{
    char cpu[128], library[32];
    return json_pack("{s:s, s:s, s:o, s:s, s:s}", "version", dg_version(), "commit", dg_commit(), "cpu",
                     dg_json_text(dg_cpu_name(cpu, sizeof cpu)), "kernels", dg_kernels_name().text, "onednn",
                     dg_session_library(library, sizeof library));
}
