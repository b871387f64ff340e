#include "runtime/data/replay.h"

#include "runtime/formats/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct replay_view {
    uint32_t input;    /* tensor: crops.global or crops.local */
    int64_t first_row; /* in it */
    int64_t batch, height, width;
};

struct dg_replay {
    struct dg_safetensors *file;
    struct replay_view *view;
    int views;
    int64_t steps;
    uint64_t hash;
};

static const struct dg_safetensors_tensor *find_crop(const struct dg_replay *replay, int64_t step, int view,
                                                     char name[64])
{
    snprintf(name, 64, "step%lld.crop%d", (long long)step, view);
    return dg_safetensors_find(replay->file, name);
}

static enum dg_status list_views(struct dg_replay *replay, const struct dg_plan *plan,
                                 const struct dg_plan_entry *entry, struct dg_error *err)
{
    for (uint32_t i = 0; i < entry->num_inputs; i++)
        replay->views += (int)(plan->tensor[plan->operand[entry->first_input + i]].dim[0] / entry->batch);
    replay->view = calloc((size_t)replay->views + 1, sizeof *replay->view);
    if (!replay->view) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    int v = 0;
    for (uint32_t i = 0; i < entry->num_inputs; i++) {
        uint32_t input = plan->operand[entry->first_input + i];
        const struct dg_plan_tensor *tensor = &plan->tensor[input];
        for (int64_t row = 0; row < tensor->dim[0] && v < replay->views; row += entry->batch)
            replay->view[v++] = (struct replay_view){.input = input,
                                                     .first_row = row,
                                                     .batch = entry->batch,
                                                     .height = tensor->dim[1],
                                                     .width = tensor->dim[2]};
    }
    return DG_OK;
}

static enum dg_status check_steps(struct dg_replay *replay, const char *path, struct dg_error *err)
{
    char name[64];
    replay->hash = DG_FNV_BASIS;
    while (find_crop(replay, replay->steps, 0, name)) replay->steps++;
    if (!replay->steps)
        return dg_fail(err, DG_ERR_INPUT,
                       "%s holds no crops: expected step0.crop0 and so on, [batch, 3, height, width]", path);
    for (int64_t s = 0; s < replay->steps; s++)
        for (int v = 0; v < replay->views; v++) {
            const struct replay_view *want = &replay->view[v];
            const struct dg_safetensors_tensor *crop = find_crop(replay, s, v, name);
            if (!crop)
                return dg_fail(err, DG_ERR_INPUT, "%s has no %s: the plan wants %d views a step", path, name,
                               replay->views);
            if (crop->dtype != DG_SAFETENSORS_F32 || crop->ndim != 4 || crop->dim[0] != want->batch ||
                crop->dim[1] != 3 || crop->dim[2] != want->height || crop->dim[3] != want->width)
                return dg_fail(err, DG_ERR_INPUT, "%s: %s must be F32 [%lld, 3, %lld, %lld]", path, name,
                               (long long)want->batch, (long long)want->height, (long long)want->width);
            replay->hash = dg_fnv1a(replay->hash, name, strlen(name) + 1);
            replay->hash = dg_fnv1a(replay->hash, crop->dim, sizeof crop->dim[0] * 4);
        }
    int64_t used = replay->steps * replay->views;
    if (dg_safetensors_count(replay->file) == used) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "%s has %d tensors, and %lld steps of %d views are %lld: some are out of order",
                   path, dg_safetensors_count(replay->file), (long long)replay->steps, replay->views, (long long)used);
}

enum dg_status dg_replay_open(const char *path, const struct dg_plan *plan, const struct dg_plan_entry *entry,
                              struct dg_replay **result, struct dg_error *err)
{
    *result = NULL;
    struct dg_replay *replay = calloc(1, sizeof *replay);
    if (!replay) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    enum dg_status status = dg_safetensors_open(path, &replay->file, err);
    if (status == DG_OK) status = list_views(replay, plan, entry, err);
    if (status == DG_OK) status = check_steps(replay, path, err);
    if (status == DG_OK)
        *result = replay;
    else
        dg_replay_close(replay);
    return status;
}

void dg_replay_close(struct dg_replay *replay)
{
    if (!replay) return;
    dg_safetensors_close(replay->file);
    free(replay->view);
    free(replay);
}

int64_t dg_replay_steps(const struct dg_replay *replay) { return replay->steps; }
uint64_t dg_replay_hash(const struct dg_replay *replay) { return replay->hash; }

void dg_replay_read(const struct dg_replay *replay, int64_t step, struct dg_session *session)
{
    char name[64];
    for (int v = 0; v < replay->views; v++) {
        const struct replay_view *view = &replay->view[v];
        const char *data = find_crop(replay, step % replay->steps, v, name)->data;
        int64_t pixels = view->height * view->width;
        float *out = (float *)dg_session_data(session, view->input) + view->first_row * pixels * 3;
        for (int64_t b = 0; b < view->batch; b++)
            for (int64_t c = 0; c < 3; c++)
                for (int64_t p = 0; p < pixels; p++) /* the file promises no alignment */
                    memcpy(&out[(b * pixels + p) * 3 + c], data + 4 * ((b * 3 + c) * pixels + p), 4);
    }
}
