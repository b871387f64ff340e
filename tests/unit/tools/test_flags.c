/* The table of flags: what is accepted, refused and told, for a table with a flag of each kind; and that each flag which a program
 * lists in --help is one that it parses. */
#include "tools/cli/flags.h"

#include "tests/support/process.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { TEXT = 1 << 14, RAN = 77 };

/* ---- a command with a flag of each kind ---- */

struct values {
    const char *file, *text, *choice;
    struct dg_flag_values texts;
    int64_t integer;
    int count;
    uint64_t seed;
    double number, share;
    struct dg_flag_size size;
    int parsed;
    bool on, seed_given;
};
static const struct values defaults = {.choice = "one", .integer = 5, .count = 3, .number = 0.5, .share = 0.6};
static struct values given;
static char texts_seen[TEXT];    /* the values of --texts, each with a semicolon behind it */
static char settings_seen[TEXT]; /* what dg_command_settings has, with semicolons for zeros */

static bool read_yes(const char *text, void *parsed)
{
    *(int *)parsed = 1;
    return !strcmp(text, "yes");
}

static int run(void)
{
    for (int t = 0; t < given.texts.count; t++) {
        strcat(texts_seen, given.texts.value[t]);
        strcat(texts_seen, ";");
    }
    size_t size;
    const char *settings = dg_command_settings(&size);
    assert_true(size < sizeof settings_seen);
    for (size_t i = 0; i < size; i++) settings_seen[i] = settings[i] ? settings[i] : ';';
    settings_seen[size] = 0;
    return RAN;
}

static const struct dg_flag flags[] = {
    {"text", "FILE", "a text", .letter = 't', .text = &given.text, .required = true, .unless = "on"},
    {"choice", "WHICH", "a choice", .text = &given.choice, .choices = "one|two"},
    {"texts", "TEXT", "texts", .texts = &given.texts},
    {"integer", "N", "a number with both ends", .integer = &given.integer, .min = 1, .max = 9},
    {"count", "N", "a number without an upper end", .count = &given.count, .min = 2, .sharing = DG_FLAG_OWN},
    {"seed", "N", "a number and whether it is there", .seed = &given.seed, .given = &given.seed_given},
    {"number", "X", "a real number", .number = &given.number},
    {"share", "X", "a real number up to 1", .number = &given.share, .max = 1},
    {"size", "HxW", "pixels", .size = &given.size, .expected = "pixels, as in 4x5", .unset = "the plan's",
     .sharing = DG_FLAG_OWN_VALUE},
    {"parsed", "YES", "what a function reads", .parse = read_yes, .parsed = &given.parsed, .expected = "yes"},
    {"on", NULL, "no value", .given = &given.on, .without = "number size"},
    {"only", "N", "needs another", .integer = &given.integer, .min = 1, .with = "text"},
    {0}};

static const struct dg_command command = {.program = "program",
                                          .name = "command",
                                          .summary = "does something",
                                          .more = "And more.\n",
                                          .file = {"PLAN", "the plan", &given.file, "on"},
                                          .flags = flags,
                                          .run = run};

/* Runs the command on words with single blanks between them; `out` and `err` receive what it prints. */
static int run_words(const char *words, char *out, char *err)
{
    static char line[1024];
    char name[] = "command", *argv[32] = {name};
    int argc = 1;
    snprintf(line, sizeof line, "%s", words);
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " ")) argv[argc++] = word;
    given = defaults;
    texts_seen[0] = 0;
    FILE *file[2] = {tmpfile(), tmpfile()};
    int saved[2];
    for (int f = 0; f < 2; f++) {
        fflush(f ? stderr : stdout);
        saved[f] = dup(f + 1);
        assert_true(file[f] && saved[f] >= 0 && dup2(fileno(file[f]), f + 1) >= 0);
    }
    int status = dg_command_run(&command, argc, argv);
    for (int f = 0; f < 2; f++) {
        fflush(f ? stderr : stdout);
        dup2(saved[f], f + 1);
        close(saved[f]);
        rewind(file[f]);
        char *text = f ? err : out;
        text[fread(text, 1, TEXT - 1, file[f])] = 0;
        fclose(file[f]);
    }
    assert_null(given.texts.value); /* has been freed */
    return status;
}

static void accepts(const char *words)
{
    char out[TEXT], err[TEXT];
    int status = run_words(words, out, err);
    if (status != RAN) fail_msg("%s: status %d, %s", words, status, err);
}

static void refuses(const char *words, const char *message)
{
    char out[TEXT], err[TEXT], expected[512];
    assert_int_equal(run_words(words, out, err), 2);
    assert_string_equal(out, "");
    snprintf(expected, sizeof expected, "program command: %s; try program command --help\n", message);
    assert_string_equal(err, expected);
}

static void test_values(void **state)
{
    (void)state;
    accepts("plan --text a");
    assert_string_equal(given.file, "plan");
    assert_string_equal(given.text, "a");
    assert_string_equal(given.choice, "one");
    assert_true(given.integer == 5 && given.count == 3 && !given.seed_given && !given.on);
    accepts("--text=a --choice two --texts x --texts=y --integer 9 --count 2 --seed 0 plan --number 1e3 --share 1");
    assert_string_equal(given.choice, "two");
    assert_string_equal(texts_seen, "x;y;");
    assert_true(given.integer == 9 && given.count == 2 && given.seed_given && given.seed == 0);
    assert_true(given.number == 1000 && given.share == 1);
    accepts("-t a --size 4x5 --parsed yes -- --plan"); /* what follows -- is no flag */
    assert_true(given.size.height == 4 && given.size.width == 5 && given.parsed == 1);
    assert_string_equal(given.file, "--plan");
    accepts("-ta --size 7 - --int 3 --int 4"); /* the beginning of a name; the last value counts */
    assert_true(given.size.height == 7 && given.size.width == 7 && given.integer == 4);
    assert_string_equal(given.file, "-");
    accepts("--on");
    assert_null(given.file);
}

static void test_refused_values(void **state)
{
    (void)state;
    refuses("p --choice three", "--choice three: expected one or two");
    refuses("p --choice on", "--choice on: expected one or two");
    refuses("p --choice=", "--choice : expected one or two");
    refuses("p --integer 0", "--integer 0: expected a whole number from 1 to 9");
    refuses("p --integer 10", "--integer 10: expected a whole number from 1 to 9");
    refuses("p --integer 2.5", "--integer 2.5: expected a whole number from 1 to 9");
    refuses("p --integer=", "--integer : expected a whole number from 1 to 9");
    refuses("p --count 1", "--count 1: expected a whole number, 2 or more");
    refuses("p --count 2147483648", "--count 2147483648: expected a whole number, 2 or more");
    refuses("p --seed -1", "--seed -1: expected a whole number, 0 or more");
    refuses("p --seed 99999999999999999999", "--seed 99999999999999999999: expected a whole number, 0 or more");
    refuses("p --number 0", "--number 0: expected a number above 0");
    refuses("p --number nan", "--number nan: expected a number above 0");
    refuses("p --number inf", "--number inf: expected a number above 0");
    refuses("p --share 1.01", "--share 1.01: expected a number above 0 and up to 1");
    refuses("p --size 4x", "--size 4x: expected pixels, as in 4x5");
    refuses("p --size 0", "--size 0: expected pixels, as in 4x5");
    refuses("p --parsed no", "--parsed no: expected yes");
}

static void test_refused_lines(void **state)
{
    (void)state;
    refuses("p --txt a", "there is no flag --txt (did you mean --text?)");
    refuses("p --nothing", "there is no flag --nothing");
    refuses("p -q", "there is no flag -q");
    refuses("p --s 1", "--s may be --seed or --share");
    refuses("p --text", "-t wants a value");
    refuses("p -t", "-t wants a value");
    refuses("p --on=1", "--on takes no value");
    refuses("p --help=1", "--help takes no value");
    refuses("p --hlep", "there is no flag --hlep");
    refuses("--text a", "PLAN, the plan, is missing");
    refuses("p q --text a", "one PLAN at a time, and not also q");
    refuses("p", "-t FILE (or --on) is needed: a text");
    refuses("p --on", "--on goes without PLAN");
    refuses("--on --number 1", "--on goes without --number and --size");
    refuses("p --only 1", "--only goes with -t FILE");
}

static void test_help(void **state)
{
    (void)state;
    static const char expected[] = "usage: program command PLAN -t FILE [flags]\n"
                                   "\n"
                                   "does something.\n"
                                   "\n"
                                   "  -t, --text FILE       a text (needed unless --on)\n"
                                   "  --choice WHICH        a choice (one or two; default one)\n"
                                   "  --texts TEXT          texts (may be given again)\n"
                                   "  --integer N           a number with both ends (1 to 9; default 5)\n"
                                   "  --count N             a number without an upper end (2 or more; default 3)\n"
                                   "  --seed N              a number and whether it is there (0 or more; default 0)\n"
                                   "  --number X            a real number (above 0; default 0.5)\n"
                                   "  --share X             a real number up to 1 (above 0, up to 1; default 0.6)\n"
                                   "  --size HxW            pixels (default: the plan's)\n"
                                   "  --parsed YES          what a function reads\n"
                                   "  --on                  no value (not with --number or --size)\n"
                                   "  --only N              needs another (only with -t; 1 or more; default 5)\n"
                                   "  -h, --help            print this\n"
                                   "\n"
                                   "And more.\n";
    char out[TEXT], err[TEXT];
    assert_int_equal(run_words("plan --integer 7 --help", out, err), 0); /* prints defaults, not what was given */
    assert_string_equal(out, expected);
    assert_string_equal(err, "");
    static const char *const asked[] = {"-h", "--he", "plan --text a --hel"};
    for (size_t a = 0; a < sizeof asked / sizeof *asked; a++) {
        assert_int_equal(run_words(asked[a], out, err), 0);
        assert_string_equal(out, expected);
    }
}

/* ---- the programs ---- */

/* The flag `name`, which a program's help lists, is one that it parses; a slip in it is answered with its name. */
static void check_flag(const char *program, const char *of, const char *name, bool value)
{
    char word[80], near[256];
    const char *said = value ? "wants a value" : "takes no value";
    snprintf(word, sizeof word, "--%s%s", name, value ? "" : "=1");
    const struct process *p = of ? RUN(program, of, word) : RUN(program, word);
    process_assert_status(p, 2);
    process_assert_says(p, p->err, said);
    snprintf(word, sizeof word, "--%sx", name);
    snprintf(near, sizeof near, "there is no flag %s (did you mean --%s?)", word, name);
    p = of ? RUN(program, of, word) : RUN(program, word);
    process_assert_status(p, 2);
    process_assert_says(p, p->err, near);
}

/* Every flag of the help has a text, and names of other flags that are there. A flag's line is "  --name VALUE  text" or
 * "  -n, --name VALUE  text", where the text may begin on the next line. Returns the number of flags. */
static int check_command(const char *program, const char *of)
{
    static char help[PROCESS_TEXT];
    const struct process *p = of ? RUN(program, of, "--help") : RUN(program, "--help");
    process_assert_status(p, 0);
    snprintf(help, sizeof help, "%s", p->out);
    static const char *const nothing_named[] = {"unless )", "unless ;", "with )", "with ;"};
    for (int n = 0; n < 4; n++)
        if (strstr(help, nothing_named[n])) fail_msg("%s %s: a flag names one that is not there", program, of);
    int flags_found = 0;
    bool text_missing = false; /* of the line before */
    for (char *line = strtok(help, "\n"); line; line = strtok(NULL, "\n")) {
        if (text_missing && strspn(line, " ") != 24) fail_msg("%s: no text before it", line);
        const char *dashes = strstr(line, "--");
        text_missing = false;
        if (strncmp(line, "  -", 3) || !dashes || dashes > line + 6) continue;
        char name[64];
        size_t length = strcspn(dashes + 2, " ");
        snprintf(name, sizeof name, "%.*s", (int)length, dashes + 2);
        text_missing = !strstr(dashes, "  ");
        if (!strcmp(name, "help") || !strcmp(name, "version")) continue;
        const char *after = dashes + 2 + length;
        check_flag(program, of, name, after[0] == ' ' && after[1] != ' ');
        flags_found++;
    }
    return flags_found;
}

static void test_programs(void **state)
{
    (void)state;
    static const char dinorun[] = DG_BUILD_DIR "/dinorun";
    assert_true(check_command(DG_BUILD_DIR "/dinoc", NULL) >= 9);
    assert_true(check_command(DG_BUILD_DIR "/draw_scenes", NULL) >= 5);
    char commands[32][32];
    int count = 0;
    static char overview[PROCESS_TEXT];
    snprintf(overview, sizeof overview, "%s", RUN(dinorun, "--help")->out);
    for (char *line = strtok(overview, "\n"); line && count < 32; line = strtok(NULL, "\n"))
        if (sscanf(line, "  %31[a-z-]", commands[count]) == 1 && !strncmp(line, "  ", 2) && line[2] != '-' &&
            line[2] != ' ')
            count++;
    assert_true(count >= 12);
    for (int c = 0; c < count; c++) assert_true(check_command(dinorun, commands[c]) >= 1);
}

/* What processes must share: by full names, however they were written, and in their order. */
static void test_settings(void **state)
{
    (void)state;
    accepts("PLAN -t a --cho=two --texts x --count 3 --size 4x5 --texts y");
    assert_string_equal(settings_seen, "program command;--text a;--choice two;--texts x;--size;--texts y;");
    accepts("--on");
    assert_string_equal(settings_seen, "program command;--on;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_settings),       cmocka_unit_test(test_values),
                                       cmocka_unit_test(test_refused_values), cmocka_unit_test(test_refused_lines),
                                       cmocka_unit_test(test_help),           cmocka_unit_test(test_programs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
