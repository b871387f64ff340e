#include "tests/support/guarded.h"

#include "ops/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { CANARY = 64 };

void *guarded_alloc(int64_t bytes)
{
    unsigned char *data = aligned_alloc(64, (size_t)dg_round_up(bytes + CANARY, 64));
    assert_non_null(data);
    memset(data, 0xff, (size_t)bytes);
    memset(data + bytes, 0xa5, CANARY);
    return data;
}

void guarded_check(const void *data, int64_t bytes, const char *who)
{
    const unsigned char *byte = (const unsigned char *)data + bytes;
    for (int i = 0; i < CANARY; i++)
        if (byte[i] != 0xa5) fail_msg("%s wrote past the end", who);
}
