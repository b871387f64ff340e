/* Checkpoints as files for PyTorch: which tensors go, under which names, and what is said when they are not there. */
#include "runtime/formats/export.h"
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
static int check(const char *prefix)
{
    struct dg_safetensors *a, *b;
    assert_ok(dg_safetensors_open(full, &a, try_err));
    assert_ok(dg_safetensors_open(out, &b, try_err));
    assert_string_equal(dg_safetensors_metadata(b, "format"), "pt");
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

static void test_backbone(void **state)
{
    (void)state;
    assert_ok(dg_export(full, out, "teacher", &dg_test_log, try_err));
    assert_int_equal(check("teacher.backbone."), 18);
    assert_non_null(strstr(dg_test_said, "18 tensors, teacher's backbone; 110 others"));
    assert_ok(dg_export(full, out, "student", &dg_test_log, try_err));
    assert_int_equal(check("student.backbone."), 18);
}

static void test_full(void **state)
{
    (void)state;
    assert_ok(dg_export(full, out, NULL, &dg_test_log, try_err));
    assert_int_equal(check(""), 2 * (18 + 8) + 1);
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
    assert_int_equal(dg_export(in, out, "student", &dg_test_log, &err), DG_ERR_INPUT);
    assert_non_null(strstr(err.text, "but teacher.backbone.*: --backbone teacher"));
}

static void test_nothing_to_export(void **state)
{
    (void)state;
    const char *bare = DG_SOURCE_DIR "/tests/fixtures/torch/backbone.safetensors";
    struct dg_error err = {0};
    assert_int_equal(dg_export(bare, out, NULL, &dg_test_log, &err), DG_ERR_INPUT);
    assert_non_null(strstr(err.text, "a bare backbone already?"));
    err = (struct dg_error){0};
    assert_int_equal(dg_export(bare, out, "teacher", &dg_test_log, &err), DG_ERR_INPUT);
    assert_non_null(strstr(err.text, "no teacher.backbone.* in it"));
    assert_int_equal(dg_export("/nowhere", out, NULL, &dg_test_log, NULL), DG_ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_backbone), cmocka_unit_test(test_full),
                                       cmocka_unit_test(test_the_other_network),
                                       cmocka_unit_test(test_nothing_to_export)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}
