/* Checkpoints as files for PyTorch: which tensors go, under which names, and what is said when they are not there. */
#include "runtime/export/checkpoint.h"
#include "runtime/formats/torch_write.h"
#include "runtime/layouts/import.h"
#include "tests/support/images.h"
#include "tests/support/log.h"

static char full[96], out[96];

static int setup(void **state)
{
    make_test_folder(state);
    snprintf(full, sizeof full, "%s/full.safetensors", test_folder);
    snprintf(out, sizeof out, "%s/out.safetensors", test_folder);
    struct dg_error err = {0};
    if (dg_import(DG_SOURCE_DIR "/tests/fixtures/torch/full_zip.pth", NULL, full, NULL, &err) == DG_OK) return 0;
    print_message("%s\n", err.text);
    return -1;
}

/* Every tensor of `out` is the one of `full` under prefix and name; returns how many. */
static int check_tensors(const char *prefix)
{
    struct dg_safetensors *a, *b;
    assert_ok(dg_safetensors_open(full, &a, try_err));
    assert_ok(dg_safetensors_open(out, &b, try_err));
    int count = dg_safetensors_count(b);
    for (int i = 0; i < count; i++) {
        const struct dg_safetensors_tensor *have = dg_safetensors_at(b, i);
        char name[256];
        snprintf(name, sizeof name, "%s%s", prefix, have->name);
        const struct dg_safetensors_tensor *want = dg_safetensors_find(a, name);
        assert_non_null(want);
        assert_int_equal(have->ndim, want->ndim);
        assert_memory_equal(have->dim, want->dim, sizeof want->dim);
        assert_int_equal(have->bytes, want->bytes);
        assert_memory_equal(have->data, want->data, want->bytes);
    }
    dg_safetensors_close(a);
    dg_safetensors_close(b);
    return count;
}

static int check(const char *prefix)
{
    struct dg_safetensors *file;
    assert_ok(dg_safetensors_open(out, &file, try_err));
    assert_string_equal(dg_safetensors_metadata(file, "format"), "pt");
    dg_safetensors_close(file);
    return check_tensors(prefix);
}

static void test_backbone(void **state)
{
    (void)state;
    assert_ok(dg_export_checkpoint(full, out, DG_CHECKPOINT_SAFETENSORS, "teacher", &dg_test_log, try_err));
    assert_int_equal(check("teacher.backbone."), 18);
    assert_non_null(strstr(dg_test_said, "18 tensors, teacher's backbone; 110 others"));
    assert_ok(dg_export_checkpoint(full, out, DG_CHECKPOINT_SAFETENSORS, "student", &dg_test_log, try_err));
    assert_int_equal(check("student.backbone."), 18);
}

static void test_full(void **state)
{
    (void)state;
    assert_ok(dg_export_checkpoint(full, out, DG_CHECKPOINT_SAFETENSORS, NULL, &dg_test_log, try_err));
    assert_int_equal(check(""), 2 * (18 + 8) + 1);
}

/* The form of PyTorch: read by our own reader, every tensor is there again, as the dicts of the published code have them. */
static void test_torch(void **state)
{
    (void)state;
    char pth[96];
    snprintf(pth, sizeof pth, "%s/out.pth", test_folder);
    assert_ok(dg_export_checkpoint(full, pth, DG_CHECKPOINT_TORCH, NULL, &dg_test_log, try_err));
    struct dg_torch_file *file;
    assert_ok(dg_torch_open(pth, &file, try_err));
    assert_string_equal(dg_torch_form(file), "zip");
    dg_torch_close(file);
    struct dg_tensor_file *tensors;
    assert_ok(dg_tensor_file_open(pth, &tensors, try_err));
    assert_int_equal(dg_tensor_file_count(tensors), 2 * (18 + 8) + 1);
    assert_string_equal(dg_tensor_file_at(tensors, 0)->key, "student");
    assert_memory_equal(dg_tensor_file_at(tensors, 0)->name, "module.", 7);
    dg_tensor_file_close(tensors);
    assert_ok(dg_import(pth, NULL, out, NULL, try_err));
    struct dg_safetensors *made;
    assert_ok(dg_safetensors_open(out, &made, try_err));
    assert_int_equal(dg_safetensors_count(made), 2 * (18 + 8) + 1);
    dg_safetensors_close(made);
    assert_int_equal(check_tensors(""), 2 * (18 + 8) + 1);
    assert_ok(dg_export_checkpoint(full, pth, DG_CHECKPOINT_TORCH, "teacher", &dg_test_log, try_err));
    assert_ok(dg_import(pth, NULL, out, NULL, try_err));
    assert_int_equal(check_tensors("teacher.backbone."), 18);
}

/* Every type that PyTorch has comes back, of any number of dimensions. */
static void test_torch_types(void **state)
{
    (void)state;
    char pth[96];
    snprintf(pth, sizeof pth, "%s/types.pth", test_folder);
    static const uint64_t data[6] = {1, 2, 3, UINT64_C(0x3ff0000000000000), 5, 6};
    static const int64_t shapes[][3] = {{2, 3, 1}, {6, 1, 1}, {1, 6, 1}, {3, 1, 2}};
    struct dg_safetensors_item item[DG_SAFETENSORS_U16 + 2];
    char name[DG_SAFETENSORS_U16 + 2][16];
    for (int i = 0; i < DG_SAFETENSORS_U16 + 1; i++) {
        snprintf(name[i], sizeof name[i], "tensor%d", i);
        item[i] = (struct dg_safetensors_item){
            .name = name[i], .dtype = (enum dg_safetensors_dtype)i, .ndim = i % 4, .data = data};
        memcpy(item[i].dim, shapes[i % 4], sizeof shapes[0]);
    }
    int count = DG_SAFETENSORS_U16; /* from there on there are no storages */
    assert_ok(dg_torch_write(pth, &(struct dg_torch_dict){NULL, "", item, count}, 1, try_err));
    struct dg_tensor_file *file;
    assert_ok(dg_tensor_file_open(pth, &file, try_err));
    assert_int_equal(dg_tensor_file_count(file), count);
    for (int i = 0; i < count; i++) {
        const struct dg_named_tensor *tensor = dg_tensor_file_at(file, i);
        uint8_t numbers[sizeof data];
        assert_string_equal(tensor->name, name[i]);
        assert_int_equal(tensor->dtype, i);
        assert_int_equal(tensor->ndim, i % 4);
        assert_memory_equal(tensor->dim, item[i].dim, (size_t)tensor->ndim * sizeof(int64_t));
        assert_ok(dg_tensor_file_read(file, i, numbers, try_err));
        assert_memory_equal(numbers, data, (size_t)dg_tensor_file_bytes(file, i));
    }
    dg_tensor_file_close(file);
    struct dg_error err = {0};
    assert_int_equal(dg_torch_write(pth, &(struct dg_torch_dict){NULL, "", item, count + 1}, 1, &err),
                     DG_ERR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "is U16, which PyTorch's files do not have"));
    size_t size, place = 0;
    uint8_t *bytes = read_file(pth, &size); /* the numbers of each entry lie at multiples of 64 bytes */
    for (int found = 0; place + 30 < size && !memcmp(bytes + place, "PK\3\4", 4); found++) {
        uint32_t stored;
        uint16_t length[2];
        memcpy(&stored, bytes + place + 18, 4);
        memcpy(length, bytes + place + 26, 4);
        place += 30u + length[0] + length[1];
        assert_true(place % 64 == 0 && found < count + 3);
        place += stored;
    }
    free(bytes);
}

static void test_the_other_network(void **state)
{
    (void)state;
    char in[96];
    struct dg_error err = {0};
    snprintf(in, sizeof in, "%s/teacher.safetensors", test_folder);
    static const float value = 5;
    const struct dg_safetensors_item item = {"teacher.backbone.x", DG_SAFETENSORS_F32, 1, {1}, &value};
    assert_ok(dg_safetensors_write(in, &item, 1, NULL, 0, try_err));
    assert_int_equal(dg_export_checkpoint(in, out, DG_CHECKPOINT_SAFETENSORS, "student", &dg_test_log, &err),
                     DG_ERR_INPUT);
    assert_non_null(strstr(err.text, "but teacher.backbone.*: --backbone teacher"));
}

static void test_nothing_to_export(void **state)
{
    (void)state;
    const char *bare = DG_SOURCE_DIR "/tests/fixtures/torch/backbone.safetensors";
    struct dg_error err = {0};
    assert_int_equal(dg_export_checkpoint(bare, out, DG_CHECKPOINT_SAFETENSORS, NULL, &dg_test_log, &err),
                     DG_ERR_INPUT);
    assert_non_null(strstr(err.text, "a bare backbone already?"));
    err = (struct dg_error){0};
    assert_int_equal(dg_export_checkpoint(bare, out, DG_CHECKPOINT_SAFETENSORS, "teacher", &dg_test_log, &err),
                     DG_ERR_INPUT);
    assert_non_null(strstr(err.text, "no teacher.backbone.* in it"));
    assert_int_equal(dg_export_checkpoint("/nowhere", out, DG_CHECKPOINT_SAFETENSORS, NULL, &dg_test_log, NULL),
                     DG_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_backbone),
                                       cmocka_unit_test(test_full),
                                       cmocka_unit_test(test_torch),
                                       cmocka_unit_test(test_torch_types),
                                       cmocka_unit_test(test_the_other_network),
                                       cmocka_unit_test(test_nothing_to_export)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}
