/* What programs answer instead of running: version, manual pages, completion; each by the same table as --help. Shells and roff check what is
 * theirs, where they are installed. */
#include "tests/support/check.h"
#include "tests/support/files.h"
#include "tests/support/process.h"

#define DINOC DG_BUILD_DIR "/dinoc"
#define DINORUN DG_BUILD_DIR "/dinorun"

static const char *const programs[] = {DINOC, DINORUN};

/* Says so if not. The shell's own status for what is not there is 127, which RUN takes for a fault of the test. */
static bool is_there(const char *program)
{
    bool there = !RUN("/bin/sh", "-c", "command -v \"$0\" || exit 1", program)->status;
    if (!there) print_message("left out: there is no %s\n", program);
    return there;
}

/* Output of the words after it, to a file in the test's folder. */
static const char *output_of(const char *name, const char *const argv[])
{
    const char *path = in(name);
    process_assert_status(process_run(argv, path), 0);
    return path;
}
#define OUTPUT(name, ...) output_of(name, (const char *const[]){__VA_ARGS__, NULL})

static void test_version(void **state)
{
    (void)state;
    for (int p = 0; p < 2; p++) {
        const struct process *run = RUN(programs[p], "-V");
        process_assert_status(run, 0);
        assert_memory_equal(run->out, p ? "dinorun " : "dinoc ", p ? 8 : 6);
        process_assert_says(run, run->out, "\noneDNN ");
        process_assert_says(run, run->out, ", kernels ");
        char text[PROCESS_TEXT];
        memcpy(text, run->out, sizeof text);
        assert_string_equal(RUN(programs[p], "--version")->out, text);
    }
}

static void test_refused(void **state)
{
    (void)state;
    process_assert_status(RUN(DINORUN, "--completion"), 2);
    process_assert_status(RUN(DINORUN, "--completion", "tcsh"), 2);
    process_assert_status(RUN(DINORUN, "--man", "nothing"), 2);
    process_assert_status(RUN(DINOC, "--man", "nothing"), 2);
    process_assert_status(RUN(DINOC, "--completion", "csh"), 2);
}

/* Whether `text` has --name, as a word. */
static bool has_flag(const char *text, const char *name, const char *dashes)
{
    char flag[80];
    snprintf(flag, sizeof flag, "%s%s", dashes, name);
    for (const char *s = text; (s = strstr(s, flag)); s += strlen(flag)) {
        char after = s[strlen(flag)];
        if (!after || strchr(" '\\=[\n)", after)) return true;
    }
    return false;
}

/* Each flag of --help of a command is in the completions and in its manual page. */
static void check_flags(const char *program, const char *command)
{
    static char help[PROCESS_TEXT], bash[PROCESS_TEXT], page[PROCESS_TEXT];
    char name[64];
    int count = 0;
    snprintf(bash, sizeof bash, "%s", RUN(program, "--completion", "bash")->out);
    snprintf(page, sizeof page, "%s", command ? RUN(program, "--man", command)->out : RUN(program, "--man")->out);
    snprintf(help, sizeof help, "%s", command ? RUN(program, command, "--help")->out : RUN(program, "--help")->out);
    for (char *line = strtok(help, "\n"); line; line = strtok(NULL, "\n")) {
        const char *dashes = strstr(line, "--");
        if (strncmp(line, "  -", 3) || !dashes || dashes > line + 6 || sscanf(dashes, "--%63[a-z0-9-]", name) != 1)
            continue;
        if (!strcmp(name, "help")) continue;
        if (!has_flag(bash, name, "--")) fail_msg("bash's completion lacks --%s", name);
        char escaped[128] = "", *to = escaped;
        for (const char *s = name; *s; s++) to += sprintf(to, *s == '-' ? "\\-" : "%c", *s);
        if (!has_flag(page, escaped, "\\-\\-"))
            fail_msg("%s's manual page lacks --%s", command ? command : program, name);
        count++;
    }
    assert_true(count >= 1);
}

static void test_flags(void **state)
{
    (void)state;
    static const char *const some[] = {"train", "knn", "info", "report", "segment-score"};
    check_flags(DINOC, NULL);
    for (size_t c = 0; c < sizeof some / sizeof *some; c++) check_flags(DINORUN, some[c]);
}

/* ---- what shells say ---- */

/* Completes the words, of which the last is being typed. */
static void completes(const char *words, const char *expected)
{
    char script[1024];
    snprintf(script, sizeof script,
             "source %s; source %s; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _${COMP_WORDS[0]}; echo "
             "${COMPREPLY[@]}",
             in("dinoc.bash"), in("dinorun.bash"), words);
    const struct process *run = RUN("bash", "-c", script);
    process_assert_status(run, 0);
    if (strcmp(run->out, expected)) fail_msg("%s: %s", words, run->out);
}

static void test_bash(void **state)
{
    (void)state;
    if (!is_there("bash")) skip();
    OUTPUT("dinoc.bash", DINOC, "--completion", "bash");
    OUTPUT("dinorun.bash", DINORUN, "--completion", "bash");
    completes("dinorun segm", "segment-score\n");
    completes("dinorun help lin", "linear\n");
    completes("dinorun --completion z", "zsh\n");
    completes("dinorun knn --weights-from t", "teacher\n");
    completes("dinorun knn --weights-from = t", "teacher\n"); /* bash cuts words at = */
    completes("dinorun train --steps ''", "\n");
    completes("dinoc --dt", "--dtype\n");
    completes("dinoc --dtype b", "bf16\n");
    completes("dinoc --vers", "--version\n");
    write_file(in("a b.plan"), "x", 1);
    char words[256], expected[256];
    snprintf(words, sizeof words, "dinorun info '%s'", in("a "));
    snprintf(expected, sizeof expected, "%s\n", in("a b.plan"));
    completes(words, expected);
}

static void test_zsh(void **state)
{
    (void)state;
    bool there = is_there("zsh");
    for (int p = 0; p < 2; p++) {
        const char *script = OUTPUT("script.zsh", programs[p], "--completion", "zsh");
        if (there) process_assert_status(RUN("zsh", "-n", script), 0);
    }
    if (!there) skip();
}

static void test_fish(void **state)
{
    (void)state;
    bool there = is_there("fish");
    for (int p = 0; p < 2; p++) {
        const char *fish = OUTPUT("script.fish", programs[p], "--completion", "fish");
        if (!there) continue;
        char script[512];
        snprintf(script, sizeof script, "source %s; complete -C '%s'", fish, p ? "dinorun segm" : "dinoc --dtype b");
        const struct process *run = RUN("fish", "--no-config", "-c", script);
        process_assert_status(run, 0);
        process_assert_says(run, run->out, p ? "segment-score" : "bf16");
    }
    if (!there) skip();
}

static void test_manual(void **state)
{
    (void)state;
    const char *page[] = {OUTPUT("dinoc.1", DINOC, "--man"), OUTPUT("dinorun.1", DINORUN, "--man"),
                          OUTPUT("train.1", DINORUN, "--man", "train")};
    if (!is_there("groff")) skip();
    for (int p = 0; p < 3; p++) {
        const struct process *run = RUN("groff", "-man", "-ww", "-z", "-Tutf8", page[p]);
        process_assert_status(run, 0);
        assert_string_equal(run->err, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_version), cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_flags),   cmocka_unit_test(test_bash),
                                       cmocka_unit_test(test_zsh),     cmocka_unit_test(test_fish),
                                       cmocka_unit_test(test_manual)};
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
