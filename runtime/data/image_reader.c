#include "runtime/data/image_reader.h"

#include <math.h>
#include <stdlib.h>

int64_t dg_image_reader_bytes(int64_t pixels) { return 2 * DG_IMAGE_READER_BYTES + 3 * pixels; }

enum dg_status dg_image_reader_open(int64_t pixels, struct dg_image_reader **result, struct dg_error *err)
{
    *result = NULL;
    struct dg_image_reader *reader = calloc(1, sizeof *reader);
    if (!reader) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    int64_t side = (int64_t)sqrt(DG_IMAGE_READER_BYTES / 3.0);
    enum dg_status status = dg_image_reserve(&reader->image, side, side, err);
    if (status == DG_OK) status = dg_scratch_reserve(&reader->view, 3 * (size_t)pixels, err);
    if (status == DG_OK)
        *result = reader;
    else
        dg_image_reader_close(reader);
    return status;
}

void dg_image_reader_close(struct dg_image_reader *reader)
{
    if (!reader) return;
    dg_image_decoder_free(&reader->decoder);
    dg_image_free(&reader->image);
    dg_scratch_free(&reader->view);
    dg_scratch_free(&reader->work);
    free(reader);
}

void dg_image_reader_trim(struct dg_image_reader *reader)
{
    const size_t most = DG_IMAGE_READER_BYTES;
    struct dg_image_decoder *decoder = &reader->decoder;
    if (reader->image.capacity > most) dg_image_free(&reader->image);
    if (decoder->file.capacity + decoder->work.capacity + reader->work.capacity <= most) return;
    dg_image_decoder_free(decoder);
    dg_scratch_free(&reader->work);
}
