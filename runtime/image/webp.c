/* WebP by libwebp: the first picture, by the decoder of animations, which Pillow uses for all files. */
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

static enum dg_status read_picture(struct dg_decoding *d, WebPAnimDecoder *decoder, struct dg_error *err)
{
    uint8_t *rgba = NULL;
    int time;
    if (!WebPAnimDecoderGetNext(decoder, &rgba, &time))
        return dg_fail(err, DG_ERR_INPUT, "%s: not a WebP that can be decoded: damaged image data", d->name);
    size_t count = (size_t)d->image->width * (size_t)d->image->height;
    for (size_t i = 0; i < count; i++) memcpy(d->image->pixels + 3 * i, rgba + 4 * i, 3);
    return DG_OK;
}

enum dg_status dg_decode_webp(struct dg_decoding *d, struct dg_error *err)
{
    const WebPData data = {d->bytes, d->size};
    /* The size first: the decoder of animations allocates its canvas when it is made. */
    WebPDemuxer *demuxer = WebPDemux(&data);
    if (!demuxer) return dg_fail(err, DG_ERR_INPUT, "%s: not a WebP that can be decoded, or cut short", d->name);
    enum dg_status status = dg_decode_reserve(d, WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH),
                                              WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT), err);
    if (WebPDemuxGetI(demuxer, WEBP_FF_FRAME_COUNT) > 1) d->notes |= DG_NOTE_FRAMES;
    read_exif(d, demuxer);
    WebPDemuxDelete(demuxer);
    if (status != DG_OK) return status;
    WebPAnimDecoderOptions options;
    if (!WebPAnimDecoderOptionsInit(&options)) return dg_fail(err, DG_ERR_INTERNAL, "libwebp is of another version");
    options.color_mode = MODE_RGBA;
    options.use_threads = 0;
    WebPAnimDecoder *decoder = WebPAnimDecoderNew(&data, &options);
    if (!decoder) return dg_fail(err, DG_ERR_MEMORY, "%s: libwebp cannot start", d->name);
    status = read_picture(d, decoder, err);
    WebPAnimDecoderDelete(decoder);
    return status;
}

#endif
