#include "runtime/image/format.h"

#include <string.h>

#define CONVERT "convert it to JPEG or PNG"

static const struct {
    const char *name, *advice; /* NULL: decoded */
} formats[DG_FORMAT_COUNT] = {
    [DG_FORMAT_UNKNOWN] = {"an unknown format", "convert it to JPEG or PNG, or remove it"},
    [DG_FORMAT_JPEG] = {"JPEG", NULL},
    [DG_FORMAT_PNG] = {"PNG", NULL},
    [DG_FORMAT_WEBP] = {"WebP", DG_HAVE_WEBP ? NULL : "this build has no libwebp; install libwebp-dev and build again"},
    [DG_FORMAT_TIFF] = {"TIFF", DG_HAVE_TIFF ? NULL : "this build has no libtiff; install libtiff-dev and build again"},
    [DG_FORMAT_BMP] = {"BMP", NULL},
    [DG_FORMAT_PNM] = {"PNM", NULL},
    [DG_FORMAT_GIF] = {"GIF", NULL},
    [DG_FORMAT_HEIC] = {"HEIC", CONVERT ": heif-convert IN OUT.jpg (Debian: libheif-examples)"},
    [DG_FORMAT_AVIF] = {"AVIF", CONVERT ": avifdec IN OUT.png (Debian: libavif-bin)"},
    [DG_FORMAT_JPEG_XL] = {"JPEG XL", CONVERT ": djxl IN OUT.png (Debian: libjxl-tools)"},
    [DG_FORMAT_JPEG_2000] = {"JPEG 2000", CONVERT ": opj_decompress -i IN -o OUT.png (Debian: libopenjp2-tools)"},
    [DG_FORMAT_SVG] = {"SVG", CONVERT ": rsvg-convert IN -o OUT.png (Debian: librsvg2-bin)"},
    [DG_FORMAT_PSD] = {"PSD", CONVERT ": convert 'IN[0]' OUT.png (Debian: imagemagick)"},
    [DG_FORMAT_RAW] = {"camera RAW", CONVERT ": dcraw_emu -T IN (Debian: libraw-bin)"},
    [DG_FORMAT_PDF] = {"PDF", CONVERT ": pdftoppm -png IN OUT (Debian: poppler-utils)"},
    [DG_FORMAT_ICO] = {"ICO", CONVERT ": icotool -x IN (Debian: icoutils)"},
    [DG_FORMAT_DDS] = {"DDS", CONVERT},
    [DG_FORMAT_EXR] = {"OpenEXR", CONVERT ", after choosing an exposure"},
    [DG_FORMAT_HDR] = {"Radiance HDR", CONVERT ", after choosing an exposure"},
    [DG_FORMAT_DICOM] = {"DICOM", CONVERT ": dcmj2pnm +on IN OUT.png, with a window (Debian: dcmtk)"},
    [DG_FORMAT_FITS] = {"FITS", CONVERT ", after choosing a range of values"},
    [DG_FORMAT_XCF] = {"XCF", CONVERT ": export it from GIMP"},
    [DG_FORMAT_POSTSCRIPT] = {"PostScript", CONVERT},
    [DG_FORMAT_PAM] = {"PAM", CONVERT ": pamtopng IN > OUT.png (Debian: netpbm)"},
    [DG_FORMAT_PFM] = {"PFM", CONVERT ", after choosing a range of values"},
    [DG_FORMAT_QOI] = {"QOI", CONVERT},
    [DG_FORMAT_VIDEO] = {"a video", "take pictures out of it: ffmpeg -i IN OUT%05d.jpg (Debian: ffmpeg)"},
    [DG_FORMAT_NUMPY] = {"a NumPy array", "write its pictures as PNG"},
    [DG_FORMAT_HDF5] = {"HDF5", "write its pictures as PNG"},
    [DG_FORMAT_ARCHIVE] = {"an archive", "unpack it, or name a tar or zip as data by itself"},
    [DG_FORMAT_HTML] = {"a web page", "download the picture itself"},
    [DG_FORMAT_LFS_POINTER] = {"a pointer of Git LFS", "fetch the files: git lfs pull"},
};

/* ---- formats with a fixed beginning ---- */

#define AT(place, text, f)                                                                                             \
    {                                                                                                                  \
        place, sizeof text - 1, text, f                                                                                \
    }

static const struct magic {
    size_t at, count;
    const char *bytes;
    enum dg_image_format format;
} magics[] = {
    AT(0, "\xff\xd8\xff", DG_FORMAT_JPEG),
    AT(0, "\x89PNG\r\n\x1a\n", DG_FORMAT_PNG),
    AT(0, "GIF87a", DG_FORMAT_GIF),
    AT(0, "GIF89a", DG_FORMAT_GIF),
    /* before TIFF, as which they begin */
    AT(8, "CR\2", DG_FORMAT_RAW),
    AT(0, "II*\0", DG_FORMAT_TIFF),
    AT(0, "MM\0*", DG_FORMAT_TIFF),
    AT(0, "II+\0", DG_FORMAT_TIFF),
    AT(0, "MM\0+", DG_FORMAT_TIFF),
    AT(0, "IIRO", DG_FORMAT_RAW),
    AT(0, "IIRS", DG_FORMAT_RAW),
    AT(0, "MMOR", DG_FORMAT_RAW),
    AT(0, "IIU\0", DG_FORMAT_RAW),
    AT(0, "FUJIFILMCCD-RAW", DG_FORMAT_RAW),
    AT(0, "FOVb", DG_FORMAT_RAW),
    AT(0, "\0\0\0\x0cJXL \r\n\x87\n", DG_FORMAT_JPEG_XL),
    AT(0, "\xff\x0a", DG_FORMAT_JPEG_XL),
    AT(0, "\0\0\0\x0cjP  \r\n\x87\n", DG_FORMAT_JPEG_2000),
    AT(0, "\xff\x4f\xff\x51", DG_FORMAT_JPEG_2000),
    AT(0, "8BPS", DG_FORMAT_PSD),
    AT(0, "%PDF-", DG_FORMAT_PDF),
    AT(0, "\0\0\1\0", DG_FORMAT_ICO),
    AT(0, "DDS ", DG_FORMAT_DDS),
    AT(0, "v/1\1", DG_FORMAT_EXR),
    AT(0, "#?RADIANCE", DG_FORMAT_HDR),
    AT(0, "#?RGBE", DG_FORMAT_HDR),
    AT(128, "DICM", DG_FORMAT_DICOM),
    AT(0, "SIMPLE  =", DG_FORMAT_FITS),
    AT(0, "gimp xcf", DG_FORMAT_XCF),
    AT(0, "%!PS", DG_FORMAT_POSTSCRIPT),
    AT(0, "P7\n", DG_FORMAT_PAM),
    AT(0, "PF\n", DG_FORMAT_PFM),
    AT(0, "Pf\n", DG_FORMAT_PFM),
    AT(0, "qoif", DG_FORMAT_QOI),
    AT(0, "\x1a\x45\xdf\xa3", DG_FORMAT_VIDEO), /* Matroska, WebM */
    AT(0, "\0\0\1\xba", DG_FORMAT_VIDEO),
    AT(0, "\0\0\1\xb3", DG_FORMAT_VIDEO),
    AT(0, "FLV\1", DG_FORMAT_VIDEO),
    AT(0, "\x93NUMPY", DG_FORMAT_NUMPY),
    AT(0, "\x89HDF\r\n\x1a\n", DG_FORMAT_HDF5),
    AT(0, "PK\3\4", DG_FORMAT_ARCHIVE),
    AT(0, "PK\5\6", DG_FORMAT_ARCHIVE),
    AT(0, "\x1f\x8b", DG_FORMAT_ARCHIVE),
    AT(0, "\xfd\x37zXZ", DG_FORMAT_ARCHIVE),
    AT(0, "\x28\xb5\x2f\xfd", DG_FORMAT_ARCHIVE),
    AT(0, "7z\xbc\xaf\x27\x1c", DG_FORMAT_ARCHIVE),
    AT(257, "ustar", DG_FORMAT_ARCHIVE),
    AT(0, "version https://git-lfs", DG_FORMAT_LFS_POINTER),
};

/* ---- formats that need more than that ---- */

/* ISO base media files name their brand; those that only say "images" list what they are compatible with. */
static enum dg_image_format format_of_brand(const char *brand)
{
    static const struct {
        const char *brand;
        enum dg_image_format format;
    } brands[] = {
        {"avif", DG_FORMAT_AVIF}, {"avis", DG_FORMAT_AVIF}, {"heic", DG_FORMAT_HEIC},
        {"heix", DG_FORMAT_HEIC}, {"heim", DG_FORMAT_HEIC}, {"heis", DG_FORMAT_HEIC},
        {"hevc", DG_FORMAT_HEIC}, {"hevx", DG_FORMAT_HEIC}, {"crx ", DG_FORMAT_RAW},
    };
    for (size_t i = 0; i < sizeof brands / sizeof *brands; i++)
        if (!memcmp(brand, brands[i].brand, 4)) return brands[i].format;
    return DG_FORMAT_UNKNOWN;
}

static enum dg_image_format iso_media_format(const char *bytes, size_t count)
{
    if (count < 12 || memcmp(bytes + 4, "ftyp", 4)) return DG_FORMAT_UNKNOWN;
    for (size_t at = 8; at + 4 <= count && at < 64; at += at == 8 ? 8 : 4) { /* the minor version is between */
        enum dg_image_format format = format_of_brand(bytes + at);
        if (format) return format;
    }
    bool images = !memcmp(bytes + 8, "mif1", 4) || !memcmp(bytes + 8, "msf1", 4);
    return images ? DG_FORMAT_HEIC : DG_FORMAT_VIDEO;
}

static enum dg_image_format riff_format(const char *bytes, size_t count)
{
    if (count < 12 || memcmp(bytes, "RIFF", 4)) return DG_FORMAT_UNKNOWN;
    if (!memcmp(bytes + 8, "WEBP", 4)) return DG_FORMAT_WEBP;
    return memcmp(bytes + 8, "AVI ", 4) ? DG_FORMAT_UNKNOWN : DG_FORMAT_VIDEO;
}

static bool has_text(const char *bytes, size_t count, const char *text)
{
    size_t length = strlen(text);
    for (size_t i = 0; i + length <= count; i++)
        if (!strncasecmp(bytes + i, text, length)) return true;
    return false;
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static enum dg_image_format markup_format(const char *bytes, size_t count)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    size_t first = count >= 3 && !memcmp(bytes, byte_order_mark, 3) ? 3 : 0;
    while (first < count && is_space(bytes[first])) first++;
    if (first == count || bytes[first] != '<') return DG_FORMAT_UNKNOWN;
    if (has_text(bytes, count, "<!doctype html") || has_text(bytes, count, "<html")) return DG_FORMAT_HTML;
    return has_text(bytes, count, "<svg") || has_text(bytes, count, "<!doctype svg") ? DG_FORMAT_SVG
                                                                                     : DG_FORMAT_UNKNOWN;
}

/* Two letters begin many texts: "P6 is a road", "BMW". What follows them is a number here, or a comment. */
static bool is_pnm(const char *bytes, size_t count)
{
    if (count < 3 || bytes[0] != 'P' || bytes[1] < '1' || bytes[1] > '6' || !is_space(bytes[2])) return false;
    size_t next = 3;
    while (next < count && is_space(bytes[next])) next++;
    return next == count || bytes[next] == '#' || (bytes[next] >= '0' && bytes[next] <= '9');
}

/* Of the header's numbers of 4 bytes, some have a zero. */
static bool is_bmp(const char *bytes, size_t count)
{
    return count >= 6 && bytes[0] == 'B' && bytes[1] == 'M' && memchr(bytes, 0, count < 18 ? count : 18);
}

enum dg_image_format dg_image_format(const void *first, size_t count)
{
    const char *bytes = first;
    if (count > DG_IMAGE_FORMAT_BYTES) count = DG_IMAGE_FORMAT_BYTES;
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
        const struct magic *m = &magics[i];
        if (count >= m->at + m->count && !memcmp(bytes + m->at, m->bytes, m->count)) return m->format;
    }
    if (is_pnm(bytes, count)) return DG_FORMAT_PNM;
    if (is_bmp(bytes, count)) return DG_FORMAT_BMP;
    enum dg_image_format format = riff_format(bytes, count);
    if (!format) format = iso_media_format(bytes, count);
    return format ? format : markup_format(bytes, count);
}

const char *dg_image_format_name(enum dg_image_format format) { return formats[format].name; }
const char *dg_image_format_advice(enum dg_image_format format) { return formats[format].advice; }
bool dg_image_format_is_read(enum dg_image_format format) { return !formats[format].advice; }
