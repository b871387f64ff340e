/* The wire format of Protocol Buffers, against the examples of its documentation. */
#include "runtime/formats/protobuf.h"
#include "tests/support/check.h"

static void assert_bytes(struct dg_protobuf *m, const char *bytes, size_t size)
{
    assert_false(m->lost);
    assert_int_equal(m->size, size);
    assert_memory_equal(m->data, bytes, size);
    dg_protobuf_free(m);
    assert_null(m->data);
}
#define ASSERT_BYTES(message, text) assert_bytes(message, text, sizeof(text) - 1)

static void test_fields(void **state)
{
    (void)state;
    struct dg_protobuf m = {0}, inner = {0}, more = {0};
    dg_protobuf_add_int(&m, 1, 150);
    ASSERT_BYTES(&m, "\x08\x96\x01");
    dg_protobuf_add_string(&m, 2, "testing");
    ASSERT_BYTES(&m, "\x12\x07testing");
    dg_protobuf_add_int(&m, 1, -2); /* ten bytes, whatever the type */
    ASSERT_BYTES(&m, "\x08\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01");
    dg_protobuf_add_int(&m, 20, 0);
    ASSERT_BYTES(&m, "\xa0\x01\x00");
    dg_protobuf_add_float(&m, 2, 1.0f);
    ASSERT_BYTES(&m, "\x15\x00\x00\x80\x3f");
    dg_protobuf_add_double(&m, 1, -2.0);
    ASSERT_BYTES(&m, "\x09\0\0\0\0\0\0\x00\xc0");
    dg_protobuf_add_int(&inner, 1, 150);
    dg_protobuf_add_message(&m, 3, &inner);
    assert_null(inner.data);
    dg_protobuf_add_bytes(&m, 4, NULL, 0);
    dg_protobuf_add_int(&more, 1, 1);
    dg_protobuf_add_fields(&m, &more);
    dg_protobuf_add_beginning(&m, 9, 300);
    dg_protobuf_free(&more);
    ASSERT_BYTES(&m, "\x1a\x03\x08\x96\x01\x22\x00\x08\x01\x4a\xac\x02");
}

/* Many fields, so that the message grows. */
static void test_growth(void **state)
{
    (void)state;
    struct dg_protobuf m = {0};
    for (int i = 0; i < 5000; i++) dg_protobuf_add_int(&m, 1, i % 100);
    assert_int_equal(m.size, 10000);
    for (int i = 0; i < 5000; i++) assert_true(m.data[2 * i] == 8 && m.data[2 * i + 1] == i % 100);
    dg_protobuf_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fields), cmocka_unit_test(test_growth)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
