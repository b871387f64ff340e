#include "runtime/eval/labelled.h"

#include <stdlib.h>
#include <string.h>

enum dg_status dg_labels_read(const struct dg_dataset *images, const struct dg_dataset *train, const struct dg_log *log,
                              int **label, struct dg_error *err)
{
    int64_t count = dg_dataset_count(images);
    int *number = calloc((size_t)dg_dataset_classes(images) + 1, sizeof *number);
    free(*label);
    *label = calloc((size_t)count + 1, sizeof **label);
    enum dg_status status = number && *label ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (status == DG_OK) status = dg_dataset_match_classes(images, train, number, log, err);
    for (int64_t i = 0; status == DG_OK && i < count; i++) (*label)[i] = number[dg_dataset_label(images, i)];
    free(number);
    return status;
}

enum dg_status dg_labelled_open(struct dg_labelled *l, const struct dg_data *data, const struct dg_labelled *train,
                                const struct dg_log *log, struct dg_error *err)
{
    DG_TRY(dg_dataset_open(data, DG_LABELS_NEEDED, log, &l->images, err));
    if (!train) train = l;
    l->count = dg_dataset_count(l->images);
    l->classes = dg_dataset_classes(train->images);
    enum dg_status status = dg_labels_read(l->images, train->images, log, &l->label, err);
    if (status != DG_OK) dg_error_prefix(err, "%s", data->path[0]);
    return status;
}

static enum dg_status take_rows(void *context, const float *output, int64_t rows, int64_t done, int64_t all,
                                struct dg_error *err)
{
    struct dg_labelled *l = context;
    (void)err;
    memcpy(l->features + l->filled * l->dim, output, sizeof(float) * (size_t)(rows * l->dim));
    for (int64_t i = 0; l->row && i < rows; i++) l->row[l->filled + i] = (int32_t)(done - rows + i);
    l->filled += rows;
    if (l->progress) l->progress(done, all);
    return DG_OK;
}

enum dg_status dg_labelled_compute(struct dg_labelled *l, const struct dg_labelled *train,
                                   struct dg_evaluator *evaluator, struct dg_error *err)
{
    l->dim = dg_evaluator_dim(evaluator);
    l->filled = 0;
    l->rows = l->count;
    DG_TRY((l->row ? dg_evaluate_own : dg_evaluate)(evaluator, l->images, take_rows, l, err));
    l->count = dg_dataset_count(l->images);
    return l->row || l->count == l->rows ? DG_OK : dg_labels_read(l->images, train->images, NULL, &l->label, err);
}

void dg_labelled_close(struct dg_labelled *l)
{
    dg_dataset_close(l->images);
    free(l->label);
    *l = (struct dg_labelled){0};
}
