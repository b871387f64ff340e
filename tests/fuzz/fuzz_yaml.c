/* libFuzzer's entry to the compiler: the bytes as a description, which may import those of graphs/. A plan is made, but
 * not written; the description is also printed with its defaults. */
#include "compiler/compile.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* A folder with links to the descriptions, and the place of the input in it. */
static char folder[] = "/tmp/dg-fuzz-XXXXXX", input[64];
static const char *const graphs[] = {"vit.yaml", "dino_head.yaml", "resnet.yaml"};
enum { GRAPHS = sizeof graphs / sizeof *graphs };

static void leave(void)
{
    char path[64];
    for (int g = 0; g < GRAPHS; g++) {
        snprintf(path, sizeof path, "%s/%s", folder, graphs[g]);
        unlink(path);
    }
    unlink(input);
    rmdir(folder);
}

static void enter(void)
{
    if (!mkdtemp(folder)) abort();
    snprintf(input, sizeof input, "%s/input.yaml", folder);
    for (int g = 0; g < GRAPHS; g++) {
        char from[1024], to[64];
        snprintf(from, sizeof from, "%s/graphs/%s", DG_SOURCE_DIR, graphs[g]);
        snprintf(to, sizeof to, "%s/%s", folder, graphs[g]);
        if (symlink(from, to)) abort();
    }
    atexit(leave);
}

static void compile(bool print)
{
    struct dg_compile_options options = {.file = input, .batch = 2, .print = print};
    struct dg_compile_result result;
    struct dg_error err = {0};
    enum dg_status status = dg_compile(&options, &result, &err);
    check_said(status, &err);
    if (status == DG_ERR_INPUT && !result.diagnostics[0]) abort();
    dg_compile_result_free(&result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!input[0]) enter();
    FILE *file = fopen(input, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file)) abort();
    compile(false);
    compile(true);
    return 0;
}
