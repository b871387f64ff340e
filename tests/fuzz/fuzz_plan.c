/* libFuzzer's entry to plans. The input is a list of changes to a plan that is compiled here, so that it outlives
 * changes of the format: a byte that chooses the plan, then six bytes a change: where (an offset of 32 bits, modulo the
 * size; the upper half of the first byte after it says how) and what. Size and checksum are made to fit, so that the
 * checks behind them are reached. What opens is opened as a session too, where it is small. */
#include "compiler/compile.h"
#include "runtime/base/memory.h"
#include "runtime/exec/session.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PLANS = 2, CHANGE = 6, SMALL = 64 << 20 };

static struct {
    uint8_t *bytes;
    size_t size;
} base[PLANS];

static void compile(int which, const char *file, const char *name, const char *const *set, int num_sets)
{
    char source[1024], path[] = "/tmp/dg-fuzz-plan-XXXXXX";
    snprintf(source, sizeof source, "%s/graphs/%s", DG_SOURCE_DIR, file);
    int fd = mkstemp(path);
    struct dg_compile_options options = {
        .file = source, .name = name, .output = path, .set = set, .num_sets = num_sets, .batch = 2};
    struct dg_compile_result result;
    struct dg_error err = {0};
    if (fd < 0 || dg_compile(&options, &result, &err) != DG_OK) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    dg_compile_result_free(&result);
    FILE *plan = fopen(path, "rb");
    if (!plan || fseek(plan, 0, SEEK_END)) abort();
    base[which].size = (size_t)ftell(plan);
    base[which].bytes = malloc(base[which].size);
    rewind(plan);
    if (!base[which].bytes || fread(base[which].bytes, 1, base[which].size, plan) != base[which].size) abort();
    fclose(plan);
    close(fd);
    unlink(path);
}

static void compile_all(void)
{
    static const char *const vit[] = {"depth=1", "dim=32", "heads=2", "image=32"};
    static const char *const recipe[] = {"student.with.dim=32",   "student.with.depth=2",       "student.with.heads=2",
                                         "student.with.image=32", "student.with.drop_path=0.3", "head.with.out_dim=64",
                                         "head.with.hidden=48",   "head.with.bottleneck=16",    "crops.global.size=32",
                                         "crops.local.size=16",   "crops.local.count=2"};
    compile(0, "vit.yaml", "vit", vit, sizeof vit / sizeof *vit);
    compile(1, "demo.yaml", NULL, recipe, sizeof recipe / sizeof *recipe);
}

static void change(uint8_t *bytes, size_t size, const uint8_t *how)
{
    uint32_t where, word;
    memcpy(&where, how, sizeof where);
    where %= (uint32_t)size;
    switch (how[4] >> 4 & 3) {
    case 0: bytes[where] = how[5]; return;
    case 1: bytes[where] ^= (uint8_t)(1 << (how[5] & 7)); return;
    default: /* a word: small, or near the largest */
        where = where / 4 * 4;
        if (where + 4 > size) return;
        word = how[4] >> 4 & 1 ? UINT32_MAX - how[5] : (uint32_t)(how[4] & 15) << 8 | how[5];
        memcpy(bytes + where, &word, sizeof word);
    }
}

static void fit(uint8_t *bytes, size_t size)
{
    struct dg_plan_header *header = (void *)bytes;
    if (size < sizeof *header) return;
    header->size = size;
    header->checksum = 0;
    header->checksum = dg_fnv1a(DG_FNV_BASIS, bytes, size);
}

static void open_sessions(const struct dg_plan *plan)
{
    for (uint32_t e = 0; e < plan->num_entries; e++) {
        /* All but a little of the machine's memory is said to be taken. */
        struct dg_session_options options = {.threads = 1, .other_bytes = dg_memory_available() - 4 * (int64_t)SMALL};
        struct dg_session *session;
        struct dg_error err = {0};
        enum dg_status status =
            dg_session_open(plan, dg_plan_string(plan, plan->entry[e].name), &options, &session, &err);
        check_said(status, &err);
        dg_session_close(session);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!base[0].bytes) compile_all();
    if (!size) return 0;
    int which = data[0] % PLANS;
    size_t bytes = base[which].size;
    const uint8_t *end = data + size;
    if (data[0] & 0x80 && size > 4) { /* cut short */
        uint32_t length;
        memcpy(&length, ++data, sizeof length);
        data += 3;
        bytes = length % bytes;
    }
    uint8_t *plan_bytes = malloc(bytes + 1); /* of its own size, for the sanitizer */
    if (!plan_bytes) abort();
    memcpy(plan_bytes, base[which].bytes, bytes);
    for (data++; bytes && end - data >= CHANGE; data += CHANGE) change(plan_bytes, bytes, data);
    fit(plan_bytes, bytes);
    struct dg_plan plan;
    struct dg_error err = {0};
    enum dg_status status = dg_plan_open_bytes(plan_bytes, bytes, &plan, &err);
    check_said(status, &err);
    if (status == DG_OK) open_sessions(&plan);
    dg_plan_close(&plan);
    free(plan_bytes);
    return 0;
}
