#include "runtime/train/collapse.h"

#include <math.h>

enum { PATIENCE = 100 };

static bool lasts(int64_t *count, bool sign)
{
    *count = sign ? *count + 1 : 0;
    return *count == PATIENCE;
}

const char *dg_collapse_step(struct dg_collapse_watch *watch, const struct dg_step_report *report)
{
    double all = watch->log_out_dim;
    if (!(report->teacher_temp > 0)) return NULL; /* no distribution, whose entropy would say something */
    bool near = lasts(&watch->near, report->teacher_entropy > 0.97 * all);
    if (lasts(&watch->uniform, report->teacher_entropy > 0.9999 * all))
        return "the teacher's output is uniform (entropy ln(out_dim)) for 100 steps: the networks collapsed to one "
               "answer for every image; sharpen more: lower loss.teacher_temp, or lower lr";
    if (lasts(&watch->peaked, report->teacher_entropy < 0.001 * all))
        return "the teacher's entropy is zero for 100 steps: it gives every image one prototype; let the centre follow "
               "faster (lower loss.center_momentum), or raise loss.teacher_temp";
    if (lasts(&watch->stuck, report->lr > 0 && fabs(report->loss - all) < 0.0005 * all))
        return "the loss sits at ln(out_dim) for 100 steps: the student gives every image the same, uniform output; if "
               "this lasts beyond the warm-up, lower loss.teacher_temp or lr, or shorten lr.warmup";
    if (near)
        return "the teacher's entropy is above 97 % of ln(out_dim) for 100 steps: its outputs tell the images hardly "
               "apart yet. "
               "While lr warms up this is usual; if it lasts, lower loss.teacher_temp, or compile with fewer "
               "prototypes (head.with.out_dim). --knn-train and --knn-val say whether features improve all the same";
    return NULL;
}
