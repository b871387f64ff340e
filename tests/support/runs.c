#include "tests/support/runs.h"

#include "tests/support/check.h"
#include "tests/support/files.h"

#include <math.h>

struct dg_safetensors *open_checkpoint(const char *run)
{
    struct dg_safetensors *file;
    assert_ok(dg_safetensors_open(path_in(run, "checkpoint.safetensors"), &file, try_err));
    return file;
}

static void assert_near(const struct dg_safetensors_tensor *x, const struct dg_safetensors_tensor *y, double tolerance)
{
    const float *p = x->data, *q = y->data;
    size_t count = x->bytes / sizeof *p;
    double most = 0;
    for (size_t e = 0; e < count; e++) most = fmax(most, fabs((double)p[e]));
    for (size_t e = 0; e < count; e++)
        if (!(fabs((double)p[e] - (double)q[e]) <= tolerance * most))
            fail_msg("%s[%zu]: %.9g and %.9g, the largest is %g", x->name, e, (double)p[e], (double)q[e], most);
}

void assert_same_state(const char *run, const char *other, double tolerance)
{
    struct dg_safetensors *a = open_checkpoint(run), *b = open_checkpoint(other);
    assert_int_equal(dg_safetensors_count(a), dg_safetensors_count(b));
    for (int i = 0; i < dg_safetensors_count(a); i++) {
        const struct dg_safetensors_tensor *x = dg_safetensors_at(a, i), *y = dg_safetensors_find(b, x->name);
        assert_non_null(y);
        assert_int_equal(x->bytes, y->bytes);
        if (tolerance > 0 && x->dtype == DG_SAFETENSORS_F32)
            assert_near(x, y, tolerance);
        else if (memcmp(x->data, y->data, x->bytes))
            fail_msg("%s and %s differ in %s", run, other, x->name);
    }
    dg_safetensors_close(a);
    dg_safetensors_close(b);
}

/* The loss behind `*at` in a log, which moves on; false: there is none. */
static bool next_loss(char **at, double *loss)
{
    static const char key[] = "\"loss\": ";
    char *found = strstr(*at, key);
    if (found) *loss = strtod(found + strlen(key), at);
    return found;
}

void assert_same_losses(const char *run, const char *other, double tolerance)
{
    size_t size;
    int step = 0;
    double x = 0, y = 0;
    char *a = read_file(path_in(run, "log.jsonl"), &size), *b = read_file(path_in(other, "log.jsonl"), &size);
    char *in_a = a, *in_b = b;
    for (; next_loss(&in_a, &x); step++) {
        if (!next_loss(&in_b, &y)) fail_msg("%s has more than the %d steps of %s", run, step, other);
        if (!(fabs(x - y) <= tolerance * fabs(x))) fail_msg("step %d: %.9g and %.9g", step, x, y);
    }
    if (!step || next_loss(&in_b, &y)) fail_msg("%s has %d steps, %s more", run, step, other);
    free(a);
    free(b);
}
