/* WebP by libwebp: the first picture, on its canvas, as Pillow has it from libwebp's decoder of animations. */
#include "runtime/image/codec.h"

#include <string.h>

#if DG_HAVE_WEBP

#include <webp/decode.h>
#include <webp/demux.h>

static void read_exif(struct dg_decoding *d, const WebPDemuxer *demuxer)
{
    WebPChunkIterator chunk;
    if (!WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk)) return;
    const uint8_t *bytes = chunk.chunk.bytes;
    size_t size = chunk.chunk.size;
    bool named = size >= 6 && !memcmp(bytes, "Exif\0\0", 6); /* Pillow writes the name that JPEG has there */
    d->orientation = dg_exif_orientation(named ? bytes + 6 : bytes, named ? size - 6 : size);
    WebPDemuxReleaseChunkIterator(&chunk);
}

static enum dg_status refuse(const struct dg_decoding *d, struct dg_error *err, const char *why)
{
    return dg_fail(err, DG_ERR_INPUT, "%s: not a WebP that can be decoded: %s", d->name, why);
}

/* Decodes the frame to its place on the canvas; what it does not cover is 0. */
static enum dg_status read_frame(struct dg_decoding *d, const WebPIterator *frame, struct dg_error *err)
{
    struct dg_image *image = d->image;
    int width = 0, height = 0;
    if (frame->has_alpha) d->notes |= DG_NOTE_ALPHA;
    if (!WebPGetInfo(frame->fragment.bytes, frame->fragment.size, &width, &height) || width != frame->width ||
        height != frame->height)
        return refuse(d, err, "damaged image data");
    if (frame->x_offset + width > image->width || frame->y_offset + height > image->height)
        return refuse(d, err, "a picture outside of its canvas");
    const size_t stride = (size_t)image->width * 3, bytes = stride * (size_t)image->height;
    const size_t at = (size_t)frame->y_offset * stride + (size_t)frame->x_offset * 3;
    if (width < image->width || height < image->height) memset(image->pixels, 0, bytes);
    if (!WebPDecodeRGBInto(frame->fragment.bytes, frame->fragment.size, image->pixels + at, bytes - at, (int)stride))
        return refuse(d, err, "damaged image data");
    return DG_OK;
}

static enum dg_status read_picture(struct dg_decoding *d, const WebPDemuxer *demuxer, struct dg_error *err)
{
    DG_TRY(dg_decode_reserve(d, WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH),
                             WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT), err));
    if (WebPDemuxGetI(demuxer, WEBP_FF_FRAME_COUNT) > 1) d->notes |= DG_NOTE_FRAMES;
    read_exif(d, demuxer);
    WebPIterator frame;
    if (!WebPDemuxGetFrame(demuxer, 1, &frame)) return refuse(d, err, "it has no picture");
    enum dg_status status = read_frame(d, &frame, err);
    WebPDemuxReleaseIterator(&frame);
    return status;
}

enum dg_status dg_decode_webp(struct dg_decoding *d, struct dg_error *err)
{
    const WebPData data = {d->bytes, d->size};
    WebPDemuxer *demuxer = WebPDemux(&data);
    if (!demuxer) return refuse(d, err, "it is damaged or cut short; copy or download it again");
    enum dg_status status = read_picture(d, demuxer, err);
    WebPDemuxDelete(demuxer);
    return status;
}

#endif
