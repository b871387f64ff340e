/* libFuzzer's entry to the frames of a pipe and to label images: the bytes as both. A frame that is read has pixels,
 * and a label image labels. */
#include "runtime/image/label_image.h"
#include "runtime/video/frames.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

static void read_pipe(const uint8_t *data, size_t size)
{
    enum { MAX_FRAMES = 8 };
    struct dg_frames *frames;
    struct dg_image image = {0};
    const char *name = "";
    FILE *pipe = fmemopen((void *)(uintptr_t)data, size, "r");
    if (!pipe) abort();
    if (dg_frames_open("-", pipe, &frames, NULL) != DG_OK) abort();
    for (int f = 0; f < MAX_FRAMES && name && dg_frames_next(frames, &image, &name, NULL) == DG_OK; f++)
        if (name && (image.width < 1 || image.height < 1 || !image.pixels)) abort();
    dg_frames_close(frames);
    dg_image_free(&image);
    fclose(pipe);
}

static void read_labels(const uint8_t *data, size_t size)
{
    struct dg_label_image labels = {0};
    bool read = dg_label_image_read(memory_file(data, size), &labels, NULL) == DG_OK;
    if (read != (labels.label != NULL) || (read && (labels.width < 1 || labels.height < 1))) abort();
    if (read) {
        uint8_t small[3 * 5];
        dg_label_image_resize(labels.label, labels.width, labels.height, 5, 3, small);
    }
    dg_label_image_free(&labels);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size) read_pipe(data, size);
    read_labels(data, size);
    return 0;
}
