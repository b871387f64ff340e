/* libFuzzer's entry to the reader of safetensors and to what finds networks in a file of weights: all that can be asked
 * of it. */
#include "runtime/formats/safetensors.h"
#include "runtime/layouts/weight_file.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>

static void use(const struct dg_safetensors *file)
{
    volatile unsigned char sum = 0;
    for (int i = 0; i < dg_safetensors_count(file); i++) {
        const struct dg_safetensors_tensor *tensor = dg_safetensors_at(file, i);
        const unsigned char *bytes = tensor->data;
        for (uint64_t b = 0; b < tensor->bytes; b++) sum ^= bytes[b];
        float *values = malloc((size_t)dg_safetensors_elements(tensor) * sizeof *values + 1);
        if (!values) abort();
        dg_safetensors_read_f32(tensor, values);
        free(values);
        if (dg_safetensors_find(file, tensor->name) != tensor) abort(); /* names are different, and found */
    }
    (void)sum;
    dg_safetensors_metadata(file, "format");
}

/* The file as weights of whatever library its names are. */
static void use_weights(const char *path, const struct dg_network_choice *choice)
{
    struct dg_error err = {0};
    struct dg_weight_file *file;
    struct dg_safetensors_tensor tensor;
    enum dg_status status = dg_weight_file_open(path, choice, &file, &err);
    check_said(status, &err);
    for (int i = 0; status == DG_OK && i < dg_weight_file_count(file); i++) {
        if (dg_weight_file_read(file, i, &tensor, &err) != DG_OK) continue;
        if (dg_weight_file_find(file, tensor.name) != i) abort();
    }
    if (status == DG_OK) dg_weight_file_close(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = memory_file(data, size);
    struct dg_error err = {0};
    struct dg_safetensors *file;
    enum dg_status status = dg_safetensors_open(path, &file, &err);
    check_said(status, &err);
    if (status == DG_OK) use(file);
    dg_safetensors_close(file);
    static const char *const expected[] = {"a.b.c", "norm.weight"};
    use_weights(path, NULL);
    use_weights(path, &(struct dg_network_choice){.prefix = "module.a", .name = expected, .names = 2});
    return 0;
}
