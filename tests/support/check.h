/* CMocka, what it needs, and the assertion that most tests need. */
#ifndef DG_TESTS_CHECK_H
#define DG_TESTS_CHECK_H

#include "ops/base/base.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The call succeeds; it takes `try_err` for its error. */
#define assert_ok(call)                                                                                                \
    do {                                                                                                               \
        struct dg_error try_error = {0}, *try_err = &try_error;                                                        \
        if ((call) != DG_OK) fail_msg("%s: %s", #call, try_err->text);                                                 \
    } while (0)

#endif
