#include "runtime/formats/json_text.h"

#include "runtime/base/name.h"

#include <stdlib.h>

json_t *dg_json_text(const char *text)
{
    json_t *value = json_string(text);
    char *escaped = value ? NULL : dg_name_escaped(text);
    if (escaped) value = json_string(escaped);
    free(escaped);
    return value;
}

enum dg_status dg_json_write(const json_t *value, int digits, FILE *stream, struct dg_error *err)
{
    const size_t form = JSON_INDENT(2) | JSON_REAL_PRECISION((size_t)digits);
    if (!value || (json_dumpf(value, stream, form) && !ferror(stream)))
        return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    fputc('\n', stream);
    return DG_OK;
}
