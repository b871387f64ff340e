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
