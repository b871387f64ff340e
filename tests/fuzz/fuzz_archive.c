/* libFuzzer's entry to archives: the bytes as a tar or zip of images, as they are and with the checksums of a tar's
 * headers mended, and as the index of an archive. */
#include "runtime/data/dataset.h"
#include "tests/fuzz/fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DECODED = 4, BLOCK = 512 };

static char folder[64], archive[80], sound[80], archive_index[80];

static void write_bytes(const char *path, const void *bytes, size_t size, const void *more, size_t more_size)
{
    FILE *file = fopen(path, "wbe");
    if (!file || fwrite(bytes, 1, size, file) != size || fwrite(more, 1, more_size, file) != more_size || fclose(file))
        abort();
}

static void remove_files(void)
{
    unlink(archive);
    unlink(sound);
    unlink(archive_index);
    rmdir(folder);
}

static void put_checksum(uint8_t *block)
{
    unsigned sum = 0;
    char text[8];
    memset(block + 148, ' ', 8);
    for (int i = 0; i < BLOCK; i++) sum += block[i];
    snprintf(text, sizeof text, "%06o", sum);
    memcpy(block + 148, text, 7);
}

/* A tar of the same bytes and time at every run, for which an index may be. */
static void make_sound(void)
{
    uint8_t tar[4 * BLOCK] = "a/1.png";
    memcpy(tar + 124, "00000000010", 11);
    tar[156] = '0';
    memcpy(tar + 257, "ustar", 6);
    put_checksum(tar);
    write_bytes(sound, tar, sizeof tar, "", 0);
    const struct timespec time[2] = {{1, 0}, {1, 0}};
    if (utimensat(AT_FDCWD, sound, time, 0)) abort();
}

static void make_files(void)
{
    snprintf(folder, sizeof folder, "%s/dinograph-fuzz-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    if (!mkdtemp(folder)) abort();
    atexit(remove_files);
    snprintf(archive, sizeof archive, "%s/a.tar", folder);
    snprintf(sound, sizeof sound, "%s/sound.tar", folder);
    snprintf(archive_index, sizeof archive_index, "%s/index", folder);
    make_sound();
}

static void decode(const struct dg_dataset *dataset, int64_t i)
{
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    struct dg_error err = {0};
    enum dg_status status = dg_dataset_decode(dataset, i, &decoder, &image, &err);
    check_said(status, &err);
    dg_image_decoder_free(&decoder);
    dg_image_free(&image);
}

/* Opens the archive; what is opened is sound. NULL: it is refused. */
static struct dg_dataset *open_archive(const char *path, const char *index, enum dg_labels labels)
{
    struct dg_data source = DG_FOLDER(path);
    struct dg_dataset *dataset;
    struct dg_error err = {0};
    source.index = index;
    enum dg_status status = dg_dataset_open(&source, labels, NULL, &dataset, &err);
    check_said(status, &err);
    for (int64_t i = 0; dataset && i < dg_dataset_count(dataset); i++) {
        int label = dg_dataset_label(dataset, i);
        if (label >= dg_dataset_classes(dataset) || (label < 0 && labels == DG_LABELS_NEEDED)) abort();
        if (strncmp(dg_dataset_path(dataset, i), path, strlen(path))) abort();
        if (i < DECODED) decode(dataset, i);
    }
    return dataset;
}

/* An archive that was opened has the same list by its index. */
static void read_as_archive(void)
{
    for (int labels = DG_LABELS_UNUSED; labels <= DG_LABELS_NEEDED; labels++) {
        unlink(archive_index);
        struct dg_dataset *dataset = open_archive(archive, archive_index, (enum dg_labels)labels);
        if (!dataset) continue;
        uint64_t hash = dg_dataset_hash(dataset);
        if (dg_dataset_save_index(dataset, archive_index, NULL) != DG_OK) abort();
        dg_dataset_close(dataset);
        dataset = open_archive(archive, archive_index, (enum dg_labels)labels);
        if (!dataset || dg_dataset_hash(dataset) != hash) abort();
        dg_dataset_close(dataset);
    }
}

static void mend_headers(uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at + BLOCK <= size; at += BLOCK)
        if (!memcmp(bytes + at + 257, "ustar", 5)) put_checksum(bytes + at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!*folder) make_files();
    write_bytes(archive, data, size, "", 0);
    read_as_archive();
    uint8_t *mended = malloc(size + 1);
    if (!mended) abort();
    memcpy(mended, data, size);
    mend_headers(mended, size);
    if (memcmp(mended, data, size)) {
        write_bytes(archive, mended, size, "", 0);
        read_as_archive();
    }
    free(mended);
    uint64_t hash = dg_fnv1a(DG_FNV_BASIS, data, size);
    write_bytes(archive_index, data, size, &hash, sizeof hash);
    dg_dataset_close(open_archive(sound, archive_index, DG_LABELS_NEEDED));
    return 0;
}
