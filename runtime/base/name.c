#include "runtime/base/name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef DG_UNISTRING
#include <unicase.h>
#include <uninorm.h>
#include <unistr.h>
#endif

int dg_utf8_size(const char *character)
{
    const unsigned char *text = (const unsigned char *)character;
    int size = *text < 0x80 ? 1 : *text >= 0xc2 && *text < 0xe0 ? 2 : *text < 0xe0 ? 0 : *text < 0xf0 ? 3 : 4;
    if (*text > 0xf4) return 0;
    for (int i = 1; i < size; i++)
        if ((text[i] & 0xc0) != 0x80) return 0;
    bool too_long = (*text == 0xe0 && text[1] < 0xa0) || (*text == 0xf0 && text[1] < 0x90);
    bool surrogate = *text == 0xed && text[1] >= 0xa0, above = *text == 0xf4 && text[1] >= 0x90;
    return too_long || surrogate || above ? 0 : size;
}

const char *dg_name_escape(const char *name, char *text, size_t size)
{
    static const char plain[] = "\\\t\n\r", letter[] = "\\tnr";
    size_t at = 0;
    for (const unsigned char *c = (const unsigned char *)name; *c;) {
        char piece[8];
        int bytes = dg_utf8_size((const char *)c);
        const char *special = strchr(plain, *c);
        bool control = *c < 0x20 || *c == 0x7f || (*c == 0xc2 && bytes == 2 && c[1] < 0xa0);
        if (special)
            snprintf(piece, sizeof piece, "\\%c", letter[special - plain]);
        else if (!bytes || control)
            snprintf(piece, sizeof piece, "\\x%02x", *c);
        else
            snprintf(piece, sizeof piece, "%.*s", bytes, (const char *)c);
        size_t length = strlen(piece);
        if (at + length >= size) break;
        memcpy(text + at, piece, length);
        at += length;
        c += !bytes || control ? 1 : bytes;
    }
    if (size) text[at] = 0;
    return text;
}

char *dg_name_escaped(const char *name)
{
    size_t size = DG_NAME_ESCAPED(strlen(name));
    char *text = malloc(size);
    if (text) dg_name_escape(name, text, size);
    return text;
}

void dg_name_write(FILE *out, const char *name)
{
    char *text = dg_name_escaped(name);
    if (text) fputs(text, out);
    free(text);
}

const char *dg_name_spell(const char *name, char *text, size_t size)
{
    size_t at = (size_t)snprintf(text, size, "\"");
    for (const char *c = name; *c && at + 6 < size; c++)
        at += (size_t)snprintf(text + at, size - at, *c < 0x20 || *c == 0x7f ? "\\x%02x" : "%c", (unsigned char)*c);
    snprintf(text + at, size - at, "\"");
    return text;
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) % 16 : -1;
}

bool dg_name_unescape(char *text)
{
    char *out = text;
    for (const char *c = text; *c; c++) {
        if (*c != '\\') {
            *out++ = *c;
            continue;
        }
        c++;
        if (*c == 'x') {
            int high = hex_digit(c[1]), low = high < 0 ? -1 : hex_digit(c[2]);
            if (low < 0 || !(high | low)) return false;
            *out++ = (char)(16 * high + low);
            c += 2;
        } else if (*c == '\\' || *c == 't' || *c == 'n' || *c == 'r') {
            *out++ = *c == 't' ? '\t' : *c == 'n' ? '\n' : *c == 'r' ? '\r' : '\\';
        } else {
            return false;
        }
    }
    *out = 0;
    return true;
}

/* The name without blanks at its ends. */
static const char *trimmed(const char *name, size_t *size)
{
    static const char blank[] = " \t\n\r";
    name += strspn(name, blank);
    *size = strlen(name);
    while (*size && strchr(blank, name[*size - 1])) --*size;
    return name;
}

char *dg_name_key(const char *name)
{
    size_t size;
    name = trimmed(name, &size);
#ifdef DG_UNISTRING
    const uint8_t *bytes = (const uint8_t *)name;
    size_t folded_size = 0;
    uint8_t *folded = u8_check(bytes, size) ? NULL : u8_casefold(bytes, size, NULL, UNINORM_NFC, NULL, &folded_size);
    if (folded) {
        char *key = strndup((const char *)folded, folded_size);
        free(folded);
        return key;
    }
#endif
    char *key = strndup(name, size);
    for (char *c = key; c && *c; c++) *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + ('a' - 'A') : *c);
    return key;
}

const char *dg_name_after(const char *name, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(name, prefix, length) ? NULL : name + length;
}
