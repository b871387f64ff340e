/* Text of the report: no string of a file is read as markup, numbers and times as people write them, ticks at round numbers. */
#include "runtime/report/published.h"
#include "runtime/report/text.h"
#include "runtime/report/ticks.h"

#include "tests/support/check.h"
#include "tests/support/compile.h"
#include "tests/support/files.h"

#include "runtime/exec/knobs.h"

#include <math.h>

static char *escaped(const char *text)
{
    char *result = NULL;
    size_t size;
    FILE *out = open_memstream(&result, &size);
    assert_non_null(out);
    dg_html_text(out, text);
    fclose(out);
    return result;
}

static void assert_escaped(const char *text, const char *expected)
{
    char *result = escaped(text);
    assert_string_equal(result, expected);
    free(result);
}

static void test_escape(void **state)
{
    (void)state;
    assert_escaped("<script>alert(\"a\" & 'b')</script>",
                   "&lt;script&gt;alert(&quot;a&quot; &amp; &#39;b&#39;)&lt;/script&gt;");
    assert_escaped("a\tb\nc", "a\tb\nc");
    assert_escaped("\x01\x1b[31m\x7f", "\xef\xbf\xbd\xef\xbf\xbd[31m\xef\xbf\xbd");
    assert_escaped("Häher \xe9\x9b\x89 \xf0\x9f\x90\x94", "Häher \xe9\x9b\x89 \xf0\x9f\x90\x94");
    assert_escaped("\xff<\xc0\xbc", "\xef\xbf\xbd&lt;\xef\xbf\xbd\xef\xbf\xbd"); /* an overlong < is none */
    assert_escaped("\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd");      /* a surrogate */
    assert_escaped("cut \xe9\x9b", "cut \xef\xbf\xbd\xef\xbf\xbd");
    assert_escaped(NULL, "");
}

/* All strings of two bytes: the result has neither markup nor bytes that are no UTF-8. */
static void test_all_pairs(void **state)
{
    (void)state;
    for (int a = 1; a < 256; a++)
        for (int b = 1; b < 256; b++) {
            const char text[3] = {(char)a, (char)b, 0};
            char *result = escaped(text), *again = escaped(result);
            assert_null(strpbrk(result, "<>\"'"));
            if (!strchr(result, '&')) assert_string_equal(again, result); /* it is stable: valid already */
            free(result);
            free(again);
        }
}

static void assert_base64(const char *bytes, size_t size, const char *expected)
{
    char *result = NULL;
    size_t length;
    FILE *out = open_memstream(&result, &length);
    dg_base64(out, bytes, size);
    fclose(out);
    assert_string_equal(result ? result : "", expected);
    free(result);
}

static void test_base64(void **state)
{
    (void)state; /* RFC 4648, section 10 */
    assert_base64("", 0, "");
    assert_base64("f", 1, "Zg==");
    assert_base64("fo", 2, "Zm8=");
    assert_base64("foobar", 6, "Zm9vYmFy");
    assert_base64("\xff\xfe\xfd", 3, "//79");
}

static void assert_number(double value, int digits, const char *expected)
{
    char text[32];
    assert_string_equal(dg_number_text(text, sizeof text, value, digits), expected);
}

static void test_numbers(void **state)
{
    (void)state;
    assert_number(6.84932, 4, "6.849");
    assert_number(0.10441, 3, "0.104");
    assert_number(142.3, 3, "142");
    assert_number(12345, 12,
                  "12\xc2\xa0"
                  "345");
    assert_number(1234567, 12,
                  "1\xc2\xa0"
                  "234\xc2\xa0"
                  "567");
    assert_number(2000, 12, "2000");
    assert_number(0, 3, "0");
    assert_number(-1.5, 2, "-1.5");
    assert_number(0.0005, 3, "0.0005");
    assert_number(1.25e-5, 3, "1.25e-5");
    assert_number(1e-5, 3, "1e-5");
    assert_number(NAN, 3, "not a number");
    assert_number(INFINITY, 3, "infinite");
}

static void test_measures(void **state)
{
    (void)state;
    char text[96];
    assert_string_equal(dg_measure_text(text, sizeof text, "knn20.top1"), "20-NN, top-1");
    assert_string_equal(dg_measure_text(text, sizeof text, "knn20.top5, student"), "20-NN, top-5, student");
    assert_string_equal(dg_measure_text(text, sizeof text, "linear.top1"), "linear probe, top-1");
    assert_string_equal(dg_measure_text(text, sizeof text, "retrieval.hard.map"), "retrieval, hard: mAP");
    assert_string_equal(dg_measure_text(text, sizeof text, "retrieval.medium.mp10"),
                        "retrieval, medium: precision among the first 10");
    assert_string_equal(dg_measure_text(text, sizeof text, "copydays.crops/10.map"), "copy detection, crops/10: mAP");
    assert_string_equal(dg_measure_text(text, sizeof text, "jaccard.best"), "Jaccard index, best head of each object");
    assert_string_equal(dg_measure_text(text, sizeof text, "jaccard80.mean"),
                        "Jaccard index, mean of heads; masks of 80 %");
    assert_string_equal(dg_measure_text(text, sizeof text, "what"), "what");
    assert_string_equal(dg_measure_kind(text, sizeof text, "jaccard80.mean"), "jaccard.mean");
    assert_string_equal(dg_measure_kind(text, sizeof text, "jaccard.mean"), "jaccard.mean");
    assert_string_equal(dg_measure_kind(text, sizeof text, "knn20.top1"), "knn20.top1");
}

static void assert_duration(double seconds, const char *expected)
{
    char text[32];
    assert_string_equal(dg_duration_text(text, sizeof text, seconds), expected);
}

static void test_durations(void **state)
{
    (void)state;
    assert_duration(12.4, "12 s");
    assert_duration(99, "1 min 39 s");
    assert_duration(7500, "2 h 05 min");
    assert_duration(3 * 86400 + 4 * 3600, "3 d 04 h");
    assert_duration(NAN, "0 s");
}

static void assert_ticks(struct dg_ticks ticks, const char *expected)
{
    char text[256] = "";
    for (int t = 0; t < ticks.count; t++) {
        if (t) strcat(text, " ");
        strcat(text, ticks.text[t]);
    }
    assert_string_equal(text, expected);
}

static void test_ticks(void **state)
{
    (void)state;
    assert_ticks(dg_ticks_linear(0, 495, 5), "0 100 200 300 400");
    assert_ticks(dg_ticks_linear(6.2, 7.0, 5), "6.2 6.4 6.6 6.8 7.0");
    assert_ticks(dg_ticks_linear(-0.00005, 0.00105, 5), "0 0.0002 0.0004 0.0006 0.0008 0.0010");
    assert_ticks(dg_ticks_linear(0, 1e-6, 5), "0 2e-7 4e-7 6e-7 8e-7 1.0e-6");
    assert_ticks(dg_ticks_linear(0, 125000, 5), "0 20k 40k 60k 80k 100k 120k");
    assert_ticks(dg_ticks_linear(0, 5e6, 5), "0 1M 2M 3M 4M 5M");
    assert_ticks(dg_ticks_log(0.15, 1.2, 5), "0.2 0.5 1");
    assert_ticks(dg_ticks_log(0.01, 100, 5), "0.01 0.1 1 10 100");
    assert_ticks(dg_ticks_log(1e-12, 1, 5), "1e-12 1e-9 1e-6 0.001 1");
}

/* Whatever the range: ticks lie in it, grow, have different texts, and are neither too few nor too many. */
static void test_any_ticks(void **state)
{
    (void)state;
    for (int power = -12; power <= 12; power++)
        for (double low = -3; low < 3; low += 0.37)
            for (double span = 0.013; span < 40; span *= 1.7) {
                double scale = pow(10, power), a = low * scale, b = (low + span) * scale;
                struct dg_ticks ticks = dg_ticks_linear(a, b, 5);
                assert_in_range(ticks.count, 3, 8);
                for (int t = 0; t < ticks.count; t++) {
                    assert_true(ticks.at[t] >= a - 1e-6 * span * scale && ticks.at[t] <= b + 1e-6 * span * scale);
                    if (!t) continue;
                    assert_true(ticks.at[t] > ticks.at[t - 1]);
                    if (!strcmp(ticks.text[t], ticks.text[t - 1]))
                        fail_msg("%g to %g: two ticks are called %s", a, b, ticks.text[t]);
                }
            }
}

/* ---- the published recipe ---- */

static void assert_published(const char *key, const char *value)
{
    char text[128], other[128];
    const char *published = dg_published_value(key, 0);
    if (!published) fail_msg("%s=%s is missing among the published values", key, value);
    assert_string_equal(dg_setting_text(text, sizeof text, value), dg_setting_text(other, sizeof other, published));
}

/* The table is what the description says: each key of its plan, and no other. */
static void test_published(void **state)
{
    (void)state;
    struct dg_plan plan;
    struct dg_knobs knobs;
    int count = 0;
    char value[128], key[128];
    const struct dg_compile_options options = {.file = DG_SOURCE_DIR "/graphs/" DG_PUBLISHED_RECIPE ".yaml",
                                               .output = in("published.plan")};
    compile_plan(&options);
    assert_ok(dg_plan_open(in("published.plan"), &plan, try_err));
    assert_ok(dg_knobs_open(&plan, &knobs, try_err));
    for (const char *line = dg_plan_string(&plan, plan.header->facts); *line; line += strcspn(line, "\n") + 1) {
        if (sscanf(line, "recipe.%100[^=]=%100[^\n]", key, value) != 2) continue;
        assert_published(key, value);
        count++;
    }
    for (uint32_t k = 0; k < plan.num_knobs; k++, count++)
        assert_published(dg_plan_string(&plan, plan.knob[k].key),
                         dg_knob_text(value, sizeof value, &plan.knob[k], 6, true));
    assert_int_equal(count, dg_published_count());
    assert_string_equal(dg_published_value("lr.peak", 256), "0.0005");
    assert_null(dg_published_value("no.such.key", 0));
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
}

static void test_settings(void **state)
{
    (void)state;
    char text[64];
    assert_string_equal(dg_setting_text(text, sizeof text, "2e+01 epochs"), "20 epochs");
    assert_string_equal(dg_setting_text(text, sizeof text, "1 epochs"), "1 epoch");
    assert_string_equal(dg_setting_text(text, sizeof text, "[0.25, 1e0]"), "[0.25, 1]");
    assert_string_equal(dg_setting_text(text, sizeof text, "1d"), "1d");
    assert_string_equal(dg_setting_text(text, sizeof text, "1281167"), "1281167");
    assert_string_equal(dg_setting_text(text, sizeof text, "vit_small"), "vit_small");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_escape),   cmocka_unit_test(test_all_pairs), cmocka_unit_test(test_base64),
        cmocka_unit_test(test_numbers),  cmocka_unit_test(test_durations), cmocka_unit_test(test_measures),
        cmocka_unit_test(test_ticks),    cmocka_unit_test(test_any_ticks), cmocka_unit_test(test_published),
        cmocka_unit_test(test_settings),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
