/* libFuzzer's entry to the lists that people write: the bytes as a list of images, as classes, as the rows of a file of
 * features, and as a name. */
#include "runtime/base/name.h"
#include "runtime/data/dataset.h"
#include "runtime/formats/feature_file.h"
#include "runtime/formats/npy.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64], list[80], npy[80], tsv[96];

static void write_bytes(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wbe");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) abort();
}

static void remove_files(void)
{
    static const char *const name[] = {"list", "f.npy", "f.npy.tsv", "a", "b.jpg"};
    char path[96];
    for (size_t n = 0; n < sizeof name / sizeof *name; n++) {
        snprintf(path, sizeof path, "%s/%s", folder, name[n]);
        unlink(path);
    }
    rmdir(folder);
}

/* A folder with two files that a list may name, and an array of two rows. */
static void make_files(void)
{
    char path[96];
    snprintf(folder, sizeof folder, "%s/dinograph-fuzz-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    if (!mkdtemp(folder)) abort();
    atexit(remove_files);
    snprintf(list, sizeof list, "@%s/list", folder);
    snprintf(npy, sizeof npy, "%s/f.npy", folder);
    snprintf(tsv, sizeof tsv, "%s.tsv", npy);
    for (int n = 0; n < 2; n++) {
        snprintf(path, sizeof path, "%s/%s", folder, n ? "a" : "b.jpg");
        write_bytes(path, "\xff\xd8\xff", 3);
    }
    struct dg_npy array;
    struct dg_error err = {0};
    if (dg_npy_open(npy, 2, 1, &array, &err) || dg_npy_append(&array, (float[]){1, 2}, 2, &err) ||
        dg_npy_commit(&array, &err))
        abort();
}

static void read_as_data(const char *classes_from)
{
    for (int labels = DG_LABELS_UNUSED; labels <= DG_LABELS_NEEDED; labels++) {
        struct dg_data source = DG_FOLDER(list);
        struct dg_dataset *dataset;
        struct dg_error err = {0};
        source.classes_from = classes_from;
        enum dg_status status = dg_dataset_open(&source, (enum dg_labels)labels, NULL, &dataset, &err);
        check_said(status, &err);
        if (status != DG_OK) continue;
        dg_dataset_hash(dataset);
        for (int64_t i = 0; i < dg_dataset_count(dataset); i++) {
            int label = dg_dataset_label(dataset, i);
            if (label >= dg_dataset_classes(dataset) || (label < 0 && labels == DG_LABELS_NEEDED)) abort();
            if (access(dg_dataset_path(dataset, i), F_OK)) abort();
        }
        dg_dataset_close(dataset);
    }
}

static void read_as_features(void)
{
    struct dg_feature_file file;
    struct dg_error err = {0};
    enum dg_status status = dg_feature_file_read(npy, &file, &err);
    check_said(status, &err);
    if (status == DG_OK) dg_feature_file_free(&file);
}

/* Any name comes back as it was; a text either is a name or is refused. */
static void read_as_name(const uint8_t *data, size_t size)
{
    char *name = strndup((const char *)data, size), *text = malloc(DG_NAME_ESCAPED(size));
    if (!name || !text) abort();
    dg_name_escape(name, text, DG_NAME_ESCAPED(size));
    if (!dg_name_unescape(text) || strcmp(text, name)) abort();
    free(dg_name_key(name));
    dg_name_unescape(name);
    free(name);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!*folder) make_files();
    write_bytes(list + 1, data, size);
    write_bytes(tsv, data, size);
    read_as_data(NULL);
    read_as_data(list + 1);
    read_as_features();
    read_as_name(data, size);
    return 0;
}
