#include "runtime/draw/digits.h"

#include <string.h>

enum { COLS = 3, ROWS = 5, FACTOR = 2 };

/* Rows from the top, three bits each, the left pixel first. */
static const char characters[] = "0123456789.-";
static const uint8_t glyph[][ROWS] = {{7, 5, 5, 5, 7}, {2, 6, 2, 2, 7}, {7, 1, 7, 4, 7}, {7, 1, 7, 1, 7},
                                      {5, 5, 7, 1, 1}, {7, 4, 7, 1, 7}, {7, 4, 7, 5, 7}, {7, 1, 1, 1, 1},
                                      {7, 5, 7, 5, 7}, {7, 5, 7, 1, 7}, {0, 0, 0, 0, 2}, {0, 0, 7, 0, 0}};

static void put(struct dg_image *paper, int x, int y)
{
    if (x >= 0 && y >= 0 && x < paper->width && y < paper->height)
        memset(paper->pixels + 3 * ((size_t)y * (size_t)paper->width + (size_t)x), 0, 3);
}

void dg_draw_digits(struct dg_image *paper, const char *text, int left, int top)
{
    for (; *text; text++, left += DG_DIGIT_WIDTH) {
        const char *which = strchr(characters, *text);
        if (!which) continue;
        for (int y = 0; y < ROWS * FACTOR; y++)
            for (int x = 0; x < COLS * FACTOR; x++)
                if (glyph[which - characters][y / FACTOR] >> (COLS - 1 - x / FACTOR) & 1) put(paper, left + x, top + y);
    }
}
