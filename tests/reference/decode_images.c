/* What the decoder makes of files, for check_decoding.py: paths come on standard input, one a line; for each comes a
 * line "ok WIDTH HEIGHT HASH NOTES" (FNV-1a of the RGB bytes) or "no MESSAGE". With --exif images are turned. */
#include "runtime/image/decode.h"

#include <stdio.h>
#include <string.h>

static uint64_t hash_of(const uint8_t *bytes, size_t count)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

int main(int argc, char **argv)
{
    struct dg_image_decoder decoder = {.turns = argc > 1 && !strcmp(argv[1], "--exif")};
    struct dg_image image = {0};
    char path[4096];
    while (fgets(path, sizeof path, stdin)) {
        path[strcspn(path, "\n")] = 0;
        struct dg_error err = {0};
        if (dg_image_decode_file(&decoder, path, &image, &err) != DG_OK)
            printf("no %s\n", err.text);
        else
            printf("ok %d %d %016llx %u\n", image.width, image.height,
                   (unsigned long long)hash_of(image.pixels, (size_t)image.width * (size_t)image.height * 3),
                   decoder.notes);
    }
    dg_image_free(&image);
    dg_image_decoder_free(&decoder);
    return 0;
}
