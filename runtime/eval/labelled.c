#include "runtime/eval/labelled.h"

#include <stdlib.h>
#include <string.h>

static enum dg_status read_labels(struct dg_labelled *l, const struct dg_labelled *train, const struct dg_log *log,
                                  struct dg_error *err)
{
    l->count = dg_dataset_count(l->images);
    int *number = calloc((size_t)dg_dataset_classes(l->images) + 1, sizeof *number);
    free(l->label);
    l->label = calloc((size_t)l->count + 1, sizeof *l->label);
    enum dg_status status = number && l->label ? DG_OK : dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (status == DG_OK) status = dg_dataset_match_classes(l->images, train->images, number, log, err);
    for (int64_t i = 0; status == DG_OK && i < l->count; i++) l->label[i] = number[dg_dataset_label(l->images, i)];
    free(number);
    return status;
}

enum dg_status dg_labelled_open(struct dg_labelled *l, const struct dg_data *data, const struct dg_labelled *train,
                                const struct dg_log *log, struct dg_error *err)
{
    DG_TRY(dg_dataset_open(data, DG_LABELS_NEEDED, log, &l->images, err));
    if (!train) train = l;
    l->classes = dg_dataset_classes(train->images);
    enum dg_status status = read_labels(l, train, log, err);
    if (status != DG_OK) dg_error_prefix(err, "%s", data->path[0]);
    return status;
}

static enum dg_status take_rows(void *context, const float *output, int64_t rows, int64_t done, int64_t all,
                                struct dg_error *err)
{
    struct dg_labelled *l = context;
    (void)done;
    (void)all;
    (void)err;
    memcpy(l->features + l->filled * l->dim, output, sizeof(float) * (size_t)(rows * l->dim));
    l->filled += rows;
    return DG_OK;
}

enum dg_status dg_labelled_compute(struct dg_labelled *l, const struct dg_labelled *train,
                                   struct dg_evaluator *evaluator, struct dg_error *err)
{
    l->dim = dg_evaluator_dim(evaluator);
    l->filled = 0;
    DG_TRY(dg_evaluate(evaluator, l->images, take_rows, l, err));
    return dg_dataset_count(l->images) == l->count ? DG_OK : read_labels(l, train, NULL, err);
}

void dg_labelled_close(struct dg_labelled *l)
{
    dg_dataset_close(l->images);
    free(l->label);
    *l = (struct dg_labelled){0};
}
