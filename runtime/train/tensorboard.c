#include "runtime/train/tensorboard.h"

#include "runtime/base/path.h"

#include <unistd.h>

enum dg_status dg_tensorboard_open(const char *run, int64_t step, bool asked, struct dg_event_file **file,
                                   struct dg_error *err)
{
    char folder[DG_MAX_PATH];
    *file = NULL;
    DG_TRY(dg_path_join(folder, run, "tensorboard", err));
    if (!asked && (!step || access(folder, F_OK))) return DG_OK;
    return dg_event_file_open(folder, step, file, err);
}

enum dg_status dg_tensorboard_write(struct dg_event_file *file, const struct dg_step_report *r, struct dg_error *err)
{
    const struct dg_event_scalar scalar[] = {
        {"training/loss", r->loss},
        {"training/teacher_entropy", r->teacher_entropy},
        {"training/kl", r->kl},
        {"training/grad_norm", r->grad_norm},
        {"training/images_per_s", r->images_per_s},
        {"schedules/epoch", (double)r->epoch},
        {"schedules/lr", r->lr},
        {"schedules/weight_decay", r->weight_decay},
        {"schedules/momentum", r->momentum},
        {"schedules/teacher_temp", r->teacher_temp},
    };
    return file ? dg_event_file_add(file, r->step, scalar, sizeof scalar / sizeof *scalar, err) : DG_OK;
}
