/* dinorun report as a command: what it refuses, and that nothing is written then. */
#include "tests/support/check.h"
#include "tests/support/files.h"
#include "tests/support/process.h"

#include <sys/stat.h>
#include <unistd.h>

#define DINORUN DG_BUILD_DIR "/dinorun"

static int setup(void **state)
{
    static const char log[] = "{\"step\": 0, \"loss\": 1}\n";
    if (make_test_folder(state)) return -1;
    mkdir(in("run"), 0777);
    mkdir(in("foreign"), 0777);
    write_file(in("run/log.jsonl"), log, sizeof log - 1);
    return 0;
}

static void refused(const struct process *run, int status, const char *text)
{
    process_assert_status(run, status);
    process_assert_says(run, run->err, text);
    assert_int_equal(access(in("out.html"), F_OK), -1);
}

static void test_refused(void **state)
{
    (void)state;
    const char *run = in("run"), *out = in("out.html");
    refused(RUN(DINORUN, "report", "-o", out), 2, "RUN, the folder of dinorun train --out, is missing");
    refused(RUN(DINORUN, "report", run), 2, "-o F.html is needed");
    refused(RUN(DINORUN, "report", in("foreign"), "-o", out), 2, "is not a run: it has neither log.jsonl nor");
    refused(RUN(DINORUN, "report", run, in("nowhere"), "-o", out), 2, "nowhere: No such file");
    refused(RUN(DINORUN, "report", run, run, run, run, run, run, run, run, run, "-o", out), 2,
            "up to 8 runs, and 9 are given");
    refused(RUN(DINORUN, "report", run, "-o", out, "--picture", in("run/log.jsonl")), 1, "--picture ");
    refused(RUN(DINORUN, "report", run, "-o", in("nowhere/out.html")), 1, "nowhere/out.html");
}

static void test_written(void **state)
{
    (void)state;
    const char *out = in("page.html");
    const struct process *run = RUN(DINORUN, "report", in("run"), in("run"), "-o", out);
    process_assert_status(run, 0);
    process_assert_says(run, run->out, "page.html: open it in a browser");
    size_t size;
    char *page = read_file(out, &size);
    assert_non_null(strstr(page, "<h1>2 runs</h1>"));
    assert_string_equal(page + size - strlen("</html>\n"), "</html>\n");
    free(page);
    process_assert_status(RUN(DINORUN, "report", in("run"), "-o", "/dev/full"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused), cmocka_unit_test(test_written)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}
