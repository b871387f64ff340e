#include "tests/support/library.h"

#include "tests/support/check.h"

void ok(dinograph_status status)
{
    if (status != DINOGRAPH_OK) fail_msg("%s", dinograph_error());
}

void fails(dinograph_status got, dinograph_status want, const char *text)
{
    assert_int_equal(got, want);
    if (!strstr(dinograph_error(), text)) fail_msg("\"%s\" does not say \"%s\"", dinograph_error(), text);
}
