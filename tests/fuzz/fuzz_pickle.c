/* libFuzzer's entry to what reads pickles: the bytes as a file of PyTorch, as the pickle of such a file's object, and
 * as a ground truth of retrieval. */
#include "runtime/formats/ground_truth.h"
#include "runtime/layouts/import.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void import(const uint8_t *bytes, size_t size)
{
    struct dg_error err = {0};
    struct dg_torch_file *torch;
    struct dg_weight_file *file;
    enum dg_status status = dg_torch_open_bytes(bytes, size, &torch, &err);
    if (status == DG_OK) status = dg_weight_file_of_torch(torch, NULL, &file, &err);
    if (status == DG_OK) {
        status = dg_import_open(file, "fuzz.pth", NULL, NULL, &err);
        dg_weight_file_close(file);
    }
    check_said(status, &err);
}

static void read_truth(const uint8_t *bytes, size_t size)
{
    struct dg_error err = {0};
    struct dg_ground_truth truth = {0};
    enum dg_status status = dg_ground_truth_parse(bytes, size, &truth, &err);
    check_said(status, &err);
    dg_ground_truth_free(&truth);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_truth(data, size);
    import(data, size);
    /* Behind the stream form's first three pickles, so that nothing has to be found before the object. */
    static const char before[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03."
                                 "\x80\x02}X\x0d\0\0\0little_endian\x88s.";
    uint8_t *file = malloc(sizeof before - 1 + size);
    if (!file) abort();
    memcpy(file, before, sizeof before - 1);
    if (size) memcpy(file + sizeof before - 1, data, size);
    import(file, sizeof before - 1 + size);
    free(file);
    return 0;
}
