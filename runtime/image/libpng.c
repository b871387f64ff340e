#include "runtime/image/libpng.h"

#include <stdio.h>

void dg_libpng_failed(png_structp png, png_const_charp message)
{
    snprintf(png_get_error_ptr(png), DG_LIBPNG_TEXT, "%s", message);
    png_longjmp(png, 1);
}

void dg_libpng_silent(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}
