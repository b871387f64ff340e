/* libFuzzer's entry to `dinorun report`: the bytes as each file of a run's folder in turn, and the page that comes of
 * it. The first byte says which. */
#include "runtime/report/page.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const names[] = {"log.jsonl", "results.csv", "run.json", "settings.txt"};
enum { NAMES = sizeof names / sizeof *names };

static char folder[64];

static void path_of(const char *name, char path[128]) { snprintf(path, 128, "%s/%s", folder, name); }

static void write_bytes(const char *name, const void *bytes, size_t size)
{
    char path[128];
    path_of(name, path);
    FILE *file = fopen(path, "wbe");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) abort();
}

static void remove_files(void)
{
    char path[128];
    for (int n = 0; n < NAMES; n++) {
        path_of(names[n], path);
        unlink(path);
    }
    path_of("report.html", path);
    unlink(path);
    rmdir(folder);
}

static void make_folder(void)
{
    static const char log[] = "{\"step\": 0, \"loss\": 1}\n";
    snprintf(folder, sizeof folder, "%s/dinograph-fuzz-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
    if (!mkdtemp(folder)) abort();
    atexit(remove_files);
    write_bytes("log.jsonl", log, sizeof log - 1);
}

/* No string of a file is markup: the page has no script, and no bytes but those of text. */
static void check_page(const char *path)
{
    FILE *file = fopen(path, "rbe");
    char *text = NULL;
    size_t room = 0;
    ssize_t length = file ? getdelim(&text, &room, EOF, file) : -1;
    if (length <= 0 || strlen(text) != (size_t)length || strstr(text, "<script")) abort();
    free(text);
    fclose(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dg_report_run run;
    char path[128];
    if (!size) return 0;
    if (!*folder) make_folder();
    const char *name = names[*data % NAMES];
    write_bytes(name, data + 1, size - 1);
    path_of("report.html", path);
    if (dg_report_run_open(folder, &run, NULL) == DG_OK) {
        const struct dg_page page = {.run = &run, .runs = 1};
        if (dg_page_write(&page, path, NULL) == DG_OK) check_page(path);
    }
    dg_report_run_close(&run);
    if (strcmp(name, "log.jsonl")) {
        path_of(name, path);
        unlink(path);
    }
    return 0;
}
