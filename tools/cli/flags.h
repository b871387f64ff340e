/* What both programs do with command lines besides getopt_long. */
#ifndef DG_TOOLS_CLI_FLAGS_H
#define DG_TOOLS_CLI_FLAGS_H

#include "ops/base/base.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static inline const char *flag_name_at(const void *options, int index)
{
    return ((const struct option *)options)[index].name;
}

/* After getopt_long returned ':' or '?' (opterr is 0): what is wrong with the flag. */
static inline const char *flag_complaint(char *text, size_t size, int result, char **argv, const struct option *options)
{
    const char *given = argv[optind - 1];
    int length = (int)strcspn(given, "="), count = 0;
    while (options[count].name) count++;
    if (result == ':') {
        snprintf(text, size, "%s wants a value", given);
    } else if (optopt && !strncmp(given, "--", 2) && given[length]) {
        snprintf(text, size, "%.*s takes no value", length, given);
    } else if (optopt) {
        snprintf(text, size, "there is no flag -%c", optopt);
    } else {
        char word[64];
        snprintf(word, sizeof word, "%.*s", length - 2, given + 2);
        const char *near = dg_nearest_name(word, flag_name_at, options, count);
        snprintf(text, size, "there is no flag --%s%s%s%s", word, near ? " (did you mean --" : "", near ? near : "",
                 near ? "?)" : "");
    }
    return text;
}

#endif
