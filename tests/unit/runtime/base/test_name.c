/* Names in lists and messages: escaped on one line, the inverse, and names that people take for the same. */
#include "runtime/base/name.h"
#include "tests/support/check.h"

static void test_escape(void **state)
{
    (void)state;
    static const char *const pair[][2] = {
        {"plain name.jpg", "plain name.jpg"},
        {"a\tb\nc\rd\\e", "a\\tb\\nc\\rd\\\\e"},
        {"\x1b[31m\x7f\x01", "\\x1b[31m\\x7f\\x01"},
        {"caf\xc3\xa9 \xf0\x9f\x90\x88", "caf\xc3\xa9 \xf0\x9f\x90\x88"},
        {"latin \xe9.png", "latin \\xe9.png"},
        {"cut \xe2\x82", "cut \\xe2\\x82"},
        {"long \xc0\x80 half \xed\xa0\x80 high \xf4\x90\x80\x80 \xff", /* overlong, surrogate, above U+10FFFF */
         "long \\xc0\\x80 half \\xed\\xa0\\x80 high \\xf4\\x90\\x80\\x80 \\xff"},
        {"c1 \xc2\x9b", "c1 \\xc2\\x9b"},
        {"\"quotes' $(x) ", "\"quotes' $(x) "},
        {"", ""}};
    for (size_t p = 0; p < sizeof pair / sizeof *pair; p++) {
        char text[256];
        assert_string_equal(dg_name_escape(pair[p][0], text, sizeof text), pair[p][1]);
        assert_true(dg_name_unescape(text));
        assert_string_equal(text, pair[p][0]);
    }
}

/* Every byte, and random strings of bytes, come back. */
static void test_any_bytes(void **state)
{
    (void)state;
    uint32_t random = 1;
    for (int n = 0; n < 20000; n++) {
        char name[33] = "", text[DG_NAME_ESCAPED(32)];
        for (int i = 0; i < 32; i++) {
            random = random * 1664525 + 1013904223;
            name[i] = (char)(random >> 24 ? random >> 24 : 1);
            if (n % 3 == 0 && (random >> 20 & 7) == 0) name[i] = "\\\n\t\xc2\xe2\xf0\x80\xbf"[random >> 16 & 7];
        }
        dg_name_escape(name, text, sizeof text);
        for (const char *c = text; *c; c++) assert_true((unsigned char)*c >= 0x20 && *c != 0x7f);
        assert_true(dg_name_unescape(text));
        assert_string_equal(text, name);
    }
}

static void test_cut(void **state)
{
    (void)state;
    char text[8];
    assert_string_equal(dg_name_escape("abcdefghij", text, sizeof text), "abcdefg");
    assert_string_equal(dg_name_escape("abcde\xc3\xa9", text, sizeof text), "abcde\xc3\xa9");
    assert_string_equal(dg_name_escape("abcdef\xc3\xa9", text, sizeof text), "abcdef");
    assert_string_equal(dg_name_escape("abcd\nf", text, sizeof text), "abcd\\nf");
    assert_string_equal(dg_name_escape("abcdef\n", text, sizeof text), "abcdef");
}

static void test_no_escapes(void **state)
{
    (void)state;
    static const char *const wrong[] = {"a\\", "\\q", "\\x", "\\x1", "\\xg0", "\\x00", "C:\\images\\a.jpg"};
    for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++) {
        char text[64];
        snprintf(text, sizeof text, "%s", wrong[w]);
        assert_false(dg_name_unescape(text));
    }
}

static void test_whole(void **state)
{
    (void)state;
    char *escaped = dg_name_escaped("a\tb\xff");
    assert_string_equal(escaped, "a\\tb\\xff");
    free(escaped);
}

static bool alike(const char *a, const char *b)
{
    char *key_a = dg_name_key(a), *key_b = dg_name_key(b);
    assert_true(key_a && key_b);
    bool equal = !strcmp(key_a, key_b);
    free(key_a);
    free(key_b);
    return equal;
}

static void test_alike(void **state)
{
    (void)state;
    assert_true(alike("Cat", "cat"));
    assert_true(alike("cat", "cat "));
    assert_true(alike("\tcat", "cat"));
    assert_true(alike("", " "));
    assert_false(alike("cat", "cats"));
    assert_false(alike("a b", "ab"));
    assert_true(alike("\xff", "\xff"));
    assert_false(alike("\xff", "\xfe"));
#ifdef DG_UNISTRING
    assert_true(alike("caf\xc3\xa9", "cafe\xcc\x81"));   /* NFC, NFD */
    assert_true(alike("\xc3\x89tang", "e\xcc\x81TANG")); /* and case */
    assert_true(alike("stra\xc3\x9f"
                      "e",
                      "STRASSE"));                                  /* folded in full */
    assert_true(alike("\xea\xb0\x80", "\xe1\x84\x80\xe1\x85\xa1")); /* Hangul */
    assert_false(alike("caf\xc3\xa9", "cafe"));
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_escape),     cmocka_unit_test(test_any_bytes),
                                       cmocka_unit_test(test_cut),        cmocka_unit_test(test_whole),
                                       cmocka_unit_test(test_no_escapes), cmocka_unit_test(test_alike)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
