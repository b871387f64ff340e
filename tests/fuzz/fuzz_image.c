/* libFuzzer's entry to the decoders of JPEG and PNG: the bytes as a picture, and what becomes of it resized. */
#include "runtime/image/augment.h"
#include "runtime/image/decode.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    struct dg_error err = {0};
    enum dg_status status = dg_image_decode_memory(&decoder, "fuzz", data, size, &image, &err);
    check_said(status, &err);
    if (status == DG_OK && (int64_t)image.width * image.height < 1 << 16) {
        uint8_t crop[8 * 8 * 3];
        struct dg_scratch work = {0};
        status =
            dg_image_resize_center_crop(&image, (struct dg_resampling){DG_FILTER_BICUBIC}, 9, 8, 8, crop, &work, &err);
        check_said(status, &err);
        dg_scratch_free(&work);
    }
    dg_image_decoder_free(&decoder);
    dg_image_free(&image);
    return 0;
}
