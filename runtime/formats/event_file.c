#include "runtime/formats/event_file.h"

#include "runtime/base/atomic_file.h"
#include "runtime/formats/protobuf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Fields of Event, Summary, Summary.Value and SessionLog. */
enum { EVENT_TIME = 1, EVENT_STEP = 2, EVENT_VERSION = 3, EVENT_SUMMARY = 5, EVENT_SESSION = 7 };
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_NUMBER = 2, SESSION_STATUS = 1, SESSION_START = 1 };

struct dg_event_file {
    FILE *stream;
    char *path;
};

uint32_t dg_masked_crc(const void *bytes, size_t size)
{
    const uint8_t *b = bytes;
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < size; i++) {
        crc ^= b[i];
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0x82f63b78 & -(crc & 1));
    }
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xa282ead8;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Writes the record of an event, and frees it. */
static enum dg_status write_event(struct dg_event_file *file, struct dg_protobuf *event, struct dg_error *err)
{
    uint64_t size = event->size;
    uint32_t sum[2] = {dg_masked_crc(&size, sizeof size), dg_masked_crc(event->data, event->size)};
    enum dg_status status = DG_OK;
    if (event->lost) {
        status = dg_fail(err, DG_ERR_MEMORY, "out of memory");
    } else {
        fwrite(&size, sizeof size, 1, file->stream);
        fwrite(&sum[0], sizeof *sum, 1, file->stream);
        fwrite(event->data, 1, event->size, file->stream);
        fwrite(&sum[1], sizeof *sum, 1, file->stream);
        if (fflush(file->stream) || ferror(file->stream))
            status = dg_fail(err, DG_ERR_IO, "%s: %s", file->path, strerror(errno));
    }
    dg_protobuf_free(event);
    return status;
}

static struct dg_protobuf event_at(int64_t step)
{
    struct dg_protobuf event = {0};
    dg_protobuf_add_double(&event, EVENT_TIME, now());
    if (step) dg_protobuf_add_int(&event, EVENT_STEP, step);
    return event;
}

static enum dg_status write_beginning(struct dg_event_file *file, int64_t step, struct dg_error *err)
{
    struct dg_protobuf version = event_at(0), start = event_at(step), session = {0};
    dg_protobuf_add_string(&version, EVENT_VERSION, "brain.Event:2");
    dg_protobuf_add_int(&session, SESSION_STATUS, SESSION_START);
    dg_protobuf_add_message(&start, EVENT_SESSION, &session);
    enum dg_status status = write_event(file, &version, err);
    if (status == DG_OK) return write_event(file, &start, err);
    dg_protobuf_free(&start);
    return status;
}

/* A file of a new name, with the time first, by which TensorBoard sorts them. */
static enum dg_status open_new(const char *folder, struct dg_event_file *file, struct dg_error *err)
{
    char host[64];
    int fd = -1;
    if (gethostname(host, sizeof host)) strcpy(host, "machine");
    host[sizeof host - 1] = 0;
    for (int n = 0; fd < 0; n++) {
        free(file->path);
        file->path = NULL;
        if (asprintf(&file->path, "%s/events.out.tfevents.%010lld.%s.%d.%d", folder, (long long)time(NULL), host,
                     (int)getpid(), n) < 0)
            return dg_fail(err, DG_ERR_MEMORY, "out of memory");
        fd = open(file->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST) return dg_fail(err, DG_ERR_IO, "%s: %s", file->path, strerror(errno));
    }
    file->stream = fdopen(fd, "w");
    if (file->stream) return DG_OK;
    close(fd);
    return dg_fail(err, DG_ERR_IO, "%s: %s", file->path, strerror(errno));
}

enum dg_status dg_event_file_open(const char *folder, int64_t step, struct dg_event_file **result, struct dg_error *err)
{
    struct dg_event_file *file = calloc(1, sizeof *file);
    *result = NULL;
    if (!file) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    enum dg_status status = dg_make_folder(folder, err);
    if (status == DG_OK) status = open_new(folder, file, err);
    if (status == DG_OK) status = write_beginning(file, step, err);
    if (status == DG_OK)
        *result = file;
    else
        dg_event_file_close(file);
    return status;
}

enum dg_status dg_event_file_add(struct dg_event_file *file, int64_t step, const struct dg_event_scalar *scalar,
                                 int count, struct dg_error *err)
{
    struct dg_protobuf event = event_at(step), summary = {0};
    for (int i = 0; i < count; i++) {
        struct dg_protobuf value = {0};
        dg_protobuf_add_string(&value, VALUE_TAG, scalar[i].tag);
        dg_protobuf_add_float(&value, VALUE_NUMBER, (float)scalar[i].value);
        dg_protobuf_add_message(&summary, SUMMARY_VALUE, &value);
    }
    dg_protobuf_add_message(&event, EVENT_SUMMARY, &summary);
    return write_event(file, &event, err);
}

void dg_event_file_close(struct dg_event_file *file)
{
    if (!file) return;
    if (file->stream) fclose(file->stream);
    free(file->path);
    free(file);
}
