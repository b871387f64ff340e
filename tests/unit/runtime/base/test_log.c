/* The log: which messages reach the callback, and how DINOGRAPH_TRACE chooses topics. */
#include "runtime/base/log.h"
#include "tests/support/images.h"

static char seen[256];

static void see(void *context, enum dg_log_level level, enum dg_log_topic topic, const char *text)
{
    assert_ptr_equal(context, seen);
    size_t used = strlen(seen);
    snprintf(seen + used, sizeof seen - used, "%d %s %s;", level, dg_log_topic_name(topic), text);
}

static void test_levels_and_topics(void **state)
{
    (void)state;
    struct dg_log log = {see, seen, 1u << DG_LOG_LOAD};
    dg_log(&log, DG_LOG_TRACE, DG_LOG_OP, "not asked for");
    dg_log(&log, DG_LOG_TRACE, DG_LOG_LOAD, "image %d", 1);
    dg_log(&log, DG_LOG_INFO, DG_LOG_OP, "done");
    dg_log(&log, DG_LOG_WARNING, DG_LOG_RUN, "%s", "100 %");
    assert_string_equal(seen, "0 load image 1;1 op done;2 run 100 %;");
    assert_true(dg_log_traces(&log, DG_LOG_LOAD));
    assert_false(dg_log_traces(&log, DG_LOG_OP));
}

static void test_nobody_listens(void **state)
{
    (void)state;
    const struct dg_log log = {.trace = UINT32_MAX};
    dg_log(NULL, DG_LOG_WARNING, DG_LOG_RUN, "x");
    dg_log(&log, DG_LOG_WARNING, DG_LOG_RUN, "x");
    assert_false(dg_log_traces(NULL, DG_LOG_OP));
    assert_false(dg_log_traces(&log, DG_LOG_OP));
}

static uint32_t read_topics(const char *text, struct dg_error *err)
{
    uint32_t trace = UINT32_MAX;
    if (text)
        setenv("DINOGRAPH_TRACE", text, 1);
    else
        unsetenv("DINOGRAPH_TRACE");
    dg_log_read_environment(&trace, err);
    return trace;
}

static void test_environment(void **state)
{
    (void)state;
    struct dg_error err = {0};
    assert_int_equal(read_topics(NULL, &err), 0);
    assert_int_equal(read_topics("", &err), 0);
    assert_int_equal(read_topics("mem", &err), 1u << DG_LOG_MEM);
    assert_int_equal(read_topics("op,load,mem,plan,run", &err), (1u << DG_LOG_TOPICS) - 1);
    assert_int_equal(read_topics("plan,,op,", &err), 1u << DG_LOG_PLAN | 1u << DG_LOG_OP);
    assert_int_equal(err.status, DG_OK);
    read_topics("op,memory", &err);
    assert_int_equal(err.status, DG_ERR_USAGE);
    assert_string_equal(err.text, "DINOGRAPH_TRACE: there is no topic memory; there are op, load, mem, plan, run");
    err = (struct dg_error){0};
    read_topics("o", &err);
    assert_int_equal(err.status, DG_ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_levels_and_topics), cmocka_unit_test(test_nobody_listens),
                                       cmocka_unit_test(test_environment)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
