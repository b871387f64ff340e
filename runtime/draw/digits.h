/* Numbers as pixels, for captions. */
#ifndef DG_RUNTIME_DRAW_DIGITS_H
#define DG_RUNTIME_DRAW_DIGITS_H

#include "runtime/image/image.h"

/* Pixels of a character: its width has the gap behind it, its height none below. */
enum { DG_DIGIT_WIDTH = 8, DG_DIGIT_HEIGHT = 10 };

/* Writes digits, points and minus signs in black, from the upper left corner (left, top) on; other characters are
 * blank. What does not fit on the paper is left out. */
void dg_draw_digits(struct dg_image *paper, const char *text, int left, int top);

#endif
