/* What is said of images that are hardly what one expects: each counted once, with the first names. */
#include "runtime/image/notes.h"

#include "tests/support/check.h"
#include "tests/support/log.h"

static int lines_said(void)
{
    int lines = 0;
    for (const char *c = dg_test_said; *c; c++) lines += *c == '\n';
    return lines;
}

static void expect_said(const char *text)
{
    if (!strstr(dg_test_said, text)) fail_msg("\"%s\" is not in: %s", text, dg_test_said);
}

static void test_counts_and_examples(void **state)
{
    (void)state;
    struct dg_image_notes notes;
    dg_image_notes_init(&notes);
    dg_test_hush();
    dg_image_notes_say(&notes, &dg_test_log);
    assert_string_equal(dg_test_said, "");

    char path[32];
    for (int round = 0; round < 3; round++) { /* as in three epochs */
        for (int i = 0; i < 1000; i++) {
            snprintf(path, sizeof path, "a/%d.png", i);
            dg_image_notes_add(&notes, path, i % 2 ? DG_NOTE_CLIPPED : DG_NOTE_CLIPPED | DG_NOTE_TURNED);
        }
    }
    dg_image_notes_say(&notes, &dg_test_log);
    assert_int_equal(lines_said(), 2);
    expect_said("1000 images (a/0.png, a/1.png, a/2.png, ...): gray of more than 8 bits; values above 255 are white");
    expect_said("500 images (a/0.png, a/2.png, a/4.png, ...): to be shown turned");
    expect_said("--exif");

    dg_test_hush();
    dg_image_notes_say(&notes, &dg_test_log); /* nothing new */
    assert_string_equal(dg_test_said, "");
    dg_image_notes_add(&notes, "a/1.png", DG_NOTE_TURNED);
    dg_image_notes_add(&notes, "a\n/b.jpg", DG_NOTE_LOST);
    dg_image_notes_say(&notes, &dg_test_log);
    assert_int_equal(lines_said(), 2);
    expect_said("501 images");
    expect_said("1 image (a\\n/b.jpg): damaged");
    dg_image_notes_free(&notes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts_and_examples),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
