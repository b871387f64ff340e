#include "tests/support/log.h"

#include <stdio.h>
#include <string.h>

char dg_test_said[65536];

void dg_test_hush(void) { *dg_test_said = 0; }

static void keep(void *context, enum dg_log_level level, enum dg_log_topic topic, const char *text)
{
    (void)context;
    (void)level;
    (void)topic;
    size_t length = strlen(dg_test_said);
    snprintf(dg_test_said + length, sizeof dg_test_said - length, "%s\n", text);
}

const struct dg_log dg_test_log = {.write = keep};
