#include "runtime/base/about.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

const char *dg_version(void) { return DG_VERSION; }

const char *dg_commit(void) { return DG_COMMIT; }

const char *dg_cpu_name(char *text, size_t size)
{
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "re");
    *text = 0;
    while (file && !*text && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", strlen("model name")) || !colon) continue;
        colon += 1 + strspn(colon + 1, " ");
        snprintf(text, size, "%.*s", (int)strcspn(colon, "\n"), colon);
    }
    if (file) fclose(file);
    struct utsname system;
    if (!*text && !uname(&system)) snprintf(text, size, "%s", system.machine);
    return text;
}

const char *dg_time_text(time_t time, char text[DG_TIME_TEXT])
{
    struct tm utc;
    gmtime_r(&time, &utc);
    strftime(text, DG_TIME_TEXT, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return text;
}
