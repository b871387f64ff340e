#include "runtime/train/results.h"

#include "runtime/base/about.h"
#include "runtime/base/atomic_file.h"
#include "runtime/base/csv.h"
#include "runtime/base/path.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER "time,step,by,measure,value,most_frequent,network,weights,train,val,images\n"

/* The paths, absolute, with semicolons between them. */
static void put_data(FILE *out, const struct dg_data *data)
{
    char *text = NULL;
    size_t size;
    FILE *paths = open_memstream(&text, &size);
    if (!paths) return;
    for (int i = 0; data && i < data->paths; i++) {
        char *path = dg_data_absolute_path(data->path[i]);
        fprintf(paths, "%s%s", i ? ";" : "", path ? path : data->path[i]);
        free(path);
    }
    fclose(paths);
    if (text) dg_csv_text(out, text);
    free(text);
}

static void put_line(FILE *out, const char *now, const struct dg_results *r, const struct dg_result *one)
{
    const char *slash = strrchr(r->weights, '/');
    fprintf(out, "%s,", now);
    if (r->step >= 0) fprintf(out, "%" PRId64, r->step);
    fprintf(out, ",%s,%s,%.6g,", r->by, one->measure, one->value);
    if (!isnan(one->most_frequent)) fprintf(out, "%.6g", one->most_frequent);
    fprintf(out, ",%s,", r->network);
    dg_csv_text(out, slash ? slash + 1 : r->weights);
    fputc(',', out);
    put_data(out, r->train);
    fputc(',', out);
    put_data(out, r->val);
    fprintf(out, ",%" PRId64 "\n", r->images);
}

/* In one write: lines of two programs that end at the same time do not mix. */
static enum dg_status append(const char *path, const char *text, size_t size, struct dg_error *err)
{
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    bool ok = file >= 0 && write(file, text, size) == (ssize_t)size && (!fsync(file) || errno == EINVAL);
    enum dg_status status = ok ? DG_OK : dg_fail(err, DG_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    if (file >= 0) close(file);
    return status;
}

void dg_results_set_knn(struct dg_result *result, const int *k, int num_k, const struct dg_knn_result *knn,
                        double most_frequent)
{
    for (int i = 0; i < num_k; i++) {
        struct dg_result *top1 = &result[2 * i], *top5 = top1 + 1;
        *top1 = (struct dg_result){.value = knn[i].top1, .most_frequent = most_frequent};
        *top5 = (struct dg_result){.value = knn[i].top5, .most_frequent = NAN};
        snprintf(top1->measure, sizeof top1->measure, "knn%d.top1", k[i]);
        snprintf(top5->measure, sizeof top5->measure, "knn%d.top5", k[i]);
    }
}

void dg_results_set_jaccard(struct dg_result result[DG_JACCARD_RESULTS], const struct dg_segment_score *score,
                            double keep)
{
    const struct {
        const char *part;
        double value;
    } parts[DG_JACCARD_RESULTS] = {
        {"best", score->best}, {"mean", score->mean}, {"everything", score->all}, {"all", score->together}};
    char share[16] = "";
    if (keep != DG_ATTENTION_KEEP) snprintf(share, sizeof share, "%.3g", 100 * keep);
    for (int i = 0; i < DG_JACCARD_RESULTS; i++) {
        result[i] = (struct dg_result){.value = 100 * parts[i].value, .most_frequent = NAN};
        snprintf(result[i].measure, sizeof result[i].measure, "jaccard%s.%s", share, parts[i].part);
    }
}

enum dg_status dg_results_add(const char *folder, const struct dg_results *results, struct dg_error *err)
{
    char path[DG_MAX_PATH], now[DG_TIME_TEXT], *text = NULL;
    size_t size;
    struct stat info;
    DG_TRY(dg_path_join(path, folder, "results.csv", err));
    FILE *lines = open_memstream(&text, &size);
    if (!lines) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (stat(path, &info) || !info.st_size) fputs(HEADER, lines);
    dg_time_text(time(NULL), now);
    for (int i = 0; i < results->count; i++) put_line(lines, now, results, &results->result[i]);
    enum dg_status status =
        fclose(lines) ? dg_fail(err, DG_ERR_MEMORY, "out of memory") : append(path, text, size, err);
    free(text);
    return status;
}

/* "TIME,STEP,train,...", and the step is above `step`. */
static bool is_later(const char *line, int64_t step)
{
    long long at;
    int end = 0;
    const char *comma = strchr(line, ',');
    return comma && sscanf(comma, ",%lld,train,%n", &at, &end) == 1 && end && at > step;
}

enum dg_status dg_results_cut(const char *folder, int64_t step, struct dg_error *err)
{
    char path[DG_MAX_PATH], *line = NULL;
    size_t room = 0;
    DG_TRY(dg_path_join(path, folder, "results.csv", err));
    FILE *old = fopen(path, "re");
    if (!old) return DG_OK;
    struct dg_atomic_file file;
    enum dg_status status = dg_atomic_open(path, &file, err);
    bool cut = false;
    while (status == DG_OK && getline(&line, &room, old) > 0) {
        bool later = is_later(line, step);
        cut |= later;
        if (!later) fputs(line, file.stream);
    }
    free(line);
    fclose(old);
    if (status == DG_OK && cut) return dg_atomic_commit(&file, err);
    if (status == DG_OK) dg_atomic_abandon(&file);
    return status;
}
