#include "runtime/image/codec.h"

#include <string.h>

enum dg_status dg_decode_cut_short(const struct dg_decoding *d, struct dg_error *err)
{
    return dg_fail(err, DG_ERR_INPUT, "%s: the file is cut short; copy or download it again", d->name);
}

enum dg_status dg_decode_reserve(struct dg_decoding *d, int64_t width, int64_t height, struct dg_error *err)
{
    enum dg_status status = dg_image_reserve(d->image, width, height, err);
    if (status != DG_OK) dg_error_prefix(err, "%s", d->name);
    return status;
}

int dg_exif_orientation(const uint8_t *bytes, size_t size)
{
    if (size < 14) return 0;
    bool big = !memcmp(bytes, "MM\0*", 4) || !memcmp(bytes, "MM*\0", 4);
    if (!big && memcmp(bytes, "II*\0", 4) && memcmp(bytes, "II\0*", 4)) return 0;
    size_t at = big ? dg_be32(bytes + 4) : dg_le32(bytes + 4);
    if (at > size - 2) return 0;
    unsigned count = big ? dg_be16(bytes + at) : dg_le16(bytes + at);
    at += 2;
    for (unsigned i = 0; i < count && size - at >= 12; i++, at += 12) {
        const uint8_t *entry = bytes + at;
        unsigned tag = big ? dg_be16(entry) : dg_le16(entry);
        unsigned type = big ? dg_be16(entry + 2) : dg_le16(entry + 2);
        uint32_t values = big ? dg_be32(entry + 4) : dg_le32(entry + 4);
        if (tag != 0x112 || (type != 3 && type != 4) || values != 1) continue;
        uint32_t value = type == 3 ? (big ? dg_be16(entry + 8) : dg_le16(entry + 8))
                                   : (big ? dg_be32(entry + 8) : dg_le32(entry + 8));
        return value >= 1 && value <= 8 ? (int)value : 0;
    }
    return 0;
}
