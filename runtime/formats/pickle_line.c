#include "runtime/formats/pickle_line.h"

#include <string.h>

/* Reads `digits` hexadecimal digits; -1: they are none. */
static int64_t read_hex(const char *text, int64_t left, int digits)
{
    int64_t value = 0;
    if (left < digits) return -1;
    for (int d = 0; d < digits; d++) {
        char c = text[d];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1;
        value = value << 4 | digit;
    }
    return value;
}

int64_t dg_pickle_unquote(const char *line, int64_t length, char *out)
{
    static const char escape[] = "\\'\"ntr", meant[] = "\\'\"\n\t\r";
    int64_t size = 0;
    if (length < 2 || (line[0] != '\'' && line[0] != '"') || line[length - 1] != line[0]) return -1;
    for (int64_t i = 1; i < length - 1; i++) {
        if (line[i] != '\\') {
            out[size++] = line[i];
            continue;
        }
        if (++i == length - 1) return -1;
        const char *plain = line[i] ? strchr(escape, line[i]) : NULL;
        int64_t byte = plain ? meant[plain - escape] : line[i] == 'x' ? read_hex(line + i + 1, length - 2 - i, 2) : -1;
        if (byte < 0) return -1;
        if (!plain) i += 2;
        out[size++] = (char)byte;
    }
    return size;
}

static int64_t put_utf8(char *out, int64_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const int first[] = {0, 0xc0, 0xe0, 0xf0};
    for (int i = more; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3f));
    out[0] = (char)(first[more] | c);
    return more + 1;
}

int64_t dg_pickle_unescape(const char *line, int64_t length, char *out)
{
    int64_t size = 0;
    for (int64_t i = 0; i < length; i++) {
        int64_t c = (unsigned char)line[i];
        bool escaped = c == '\\' && i + 1 < length && (line[i + 1] == 'u' || line[i + 1] == 'U');
        int digits = escaped ? (line[i + 1] == 'u' ? 4 : 8) : 0;
        if (escaped) c = read_hex(line + i + 2, length - 2 - i, digits);
        if (c < 0 || c > 0x10ffff) return -1;
        if (escaped) i += 1 + digits;
        size += put_utf8(out + size, c);
    }
    return size;
}
