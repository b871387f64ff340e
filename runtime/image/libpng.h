/* What libpng says: an error's text goes to a buffer, which the error pointer names, and warnings go nowhere. */
#ifndef DG_RUNTIME_IMAGE_LIBPNG_H
#define DG_RUNTIME_IMAGE_LIBPNG_H

#include <png.h>

enum { DG_LIBPNG_TEXT = 128 }; /* bytes of the buffer */

/* For png_create_read_struct and png_create_write_struct. The first leaves by longjmp. */
void dg_libpng_failed(png_structp png, png_const_charp message);
void dg_libpng_silent(png_structp png, png_const_charp message);

#endif
