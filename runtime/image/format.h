/* What a file is, told from its first bytes alone; its name plays no part. */
#ifndef DG_RUNTIME_IMAGE_FORMAT_H
#define DG_RUNTIME_IMAGE_FORMAT_H

#include "ops/base/base.h"

/* As many bytes of a file's beginning as dg_image_format looks at; fewer are enough for most formats. */
#define DG_IMAGE_FORMAT_BYTES 512

enum dg_image_format {
    DG_FORMAT_UNKNOWN = 0,
    /* decoded, as far as dg_image_format_is_read says so */
    DG_FORMAT_JPEG,
    DG_FORMAT_PNG,
    DG_FORMAT_WEBP,
    DG_FORMAT_TIFF,
    DG_FORMAT_BMP,
    DG_FORMAT_PNM, /* PBM, PGM and PPM: P1 to P6 */
    DG_FORMAT_GIF,
    /* other pictures */
    DG_FORMAT_HEIC,
    DG_FORMAT_AVIF,
    DG_FORMAT_JPEG_XL,
    DG_FORMAT_JPEG_2000,
    DG_FORMAT_SVG,
    DG_FORMAT_PSD,
    DG_FORMAT_RAW, /* of a camera: CR2, CR3, RAF, ORF, RW2, X3F; NEF, ARW and DNG begin as any TIFF does */
    DG_FORMAT_PDF,
    DG_FORMAT_ICO,
    DG_FORMAT_DDS,
    DG_FORMAT_EXR,
    DG_FORMAT_HDR,
    DG_FORMAT_DICOM,
    DG_FORMAT_FITS,
    DG_FORMAT_XCF,
    DG_FORMAT_POSTSCRIPT,
    DG_FORMAT_PAM,
    DG_FORMAT_PFM,
    DG_FORMAT_QOI,
    /* no pictures */
    DG_FORMAT_VIDEO,
    DG_FORMAT_NUMPY,
    DG_FORMAT_HDF5,
    DG_FORMAT_ARCHIVE, /* zip, gzip, xz, zstd, 7z, tar */
    DG_FORMAT_HTML,
    DG_FORMAT_LFS_POINTER, /* what Git LFS leaves in place of a file */
    DG_FORMAT_COUNT
};

/* The format of a file that begins with `count` bytes, of which the first DG_IMAGE_FORMAT_BYTES are looked at. */
enum dg_image_format dg_image_format(const void *bytes, size_t count);

/* "JPEG", "HEIC", "a web page"; "an unknown format" for DG_FORMAT_UNKNOWN. */
const char *dg_image_format_name(enum dg_image_format format);

/* True for formats that this build decodes. */
bool dg_image_format_is_read(enum dg_image_format format);

/* What a user can do about a file of a format that this build does not read: "convert it with heif-convert ...". NULL for formats that are read. */
const char *dg_image_format_advice(enum dg_image_format format);

#endif
