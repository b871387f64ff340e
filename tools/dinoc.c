/* dinoc: the compiler's command line. */
#include "compiler/compile.h"
#include "runtime/formats/json_text.h"
#include "tools/cli/bytes.h"
#include "tools/cli/commands.h"
#include "tools/cli/flags.h"
#include "tools/cli/help.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
    const char *description; /* FILE or FILE:NAME */
    struct dg_flag_values set;
    struct dg_flag_size size;
    struct dg_compile_options options;
    bool reference[DG_REFERENCE_SCHEMA + 1]; /* print it, and compile nothing */
    bool list;
    const char *init; /* a description to copy */
    bool json, quiet;
} given;

/* ---- folders of descriptions ---- */

enum { MAX_FOLDERS = 16, MAX_PATH = 4096 };
static const char *folder[MAX_FOLDERS];
static int folders;

static void add_folder(const char *path)
{
    if (folders < MAX_FOLDERS && *path && !access(path, F_OK)) folder[folders++] = path;
}

/* Those of DINOGRAPH_GRAPHS, with colons between them; then those that came with the program: of PREFIX/bin/dinoc in
 * PREFIX/share, of a build's dinoc beside it. */
static void find_folders(void)
{
    static const char *const place[] = {"graphs", "share/dinograph/graphs"}, *const part[] = {"", "/backbones"};
    static char list[MAX_PATH], own[2][2][MAX_PATH + 64], beside[MAX_PATH];
    const char *environment = getenv("DINOGRAPH_GRAPHS");
    snprintf(list, sizeof list, "%s", environment ? environment : "");
    for (char *rest = list, *path; (path = strsep(&rest, ":"));) add_folder(path);
    ssize_t length = readlink("/proc/self/exe", beside, sizeof beside - 1);
    beside[length > 0 ? length : 0] = 0;
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(beside, '/');
        if (!slash) return;
        *slash = 0;
        for (int p = 0; p < 2; p++) {
            snprintf(own[up][p], sizeof own[up][p], "%s/%s%s", beside, place[up], part[p]);
            add_folder(own[up][p]);
        }
    }
}

static int print_list(void)
{
    if (!folders) {
        fputs("dinoc: no descriptions are beside the program or where cmake --install leaves them; name their folder\n"
              "with DINOGRAPH_GRAPHS\n",
              stderr);
        return 1;
    }
    char *text = dg_compile_list(folder, folders);
    if (!text) return 1;
    fputs(text, stdout);
    free(text);
    return 0;
}

static int copy_description(void)
{
    struct dg_error err = {0};
    char *written;
    enum dg_status status = dg_compile_copy(folder, folders, given.init, given.options.output, &written, &err);
    if (status == DG_OK)
        printf("%s: edit it, then dinoc %s -o PLAN\n", written, written);
    else
        fprintf(stderr, "dinoc: %s\n", err.text);
    free(written);
    return status == DG_OK ? 0 : status == DG_ERR_USAGE ? 2 : 1;
}

/* Splits FILE:NAME in place, at a colon behind the last slash; the options point into it. */
static void split_name(char *text, struct dg_compile_options *options)
{
    char *colon = strrchr(text, ':');
    options->file = text;
    if (!colon || strchr(colon, '/')) return;
    *colon = 0;
    options->name = colon + 1;
}

static int print_reference(enum dg_reference what)
{
    char *text = dg_compile_reference(what);
    if (!text) return 1;
    fputs(text, stdout);
    free(text);
    return 0;
}

/* Prints what a key of recipes says; false: there is no such key. */
static bool explain_key(const char *key)
{
    char *text = dg_compile_explain_key(key);
    if (text) fputs(text, stdout);
    free(text);
    return text != NULL;
}

/* --explain without a description. */
static int explain(const char *key)
{
    if (explain_key(key)) return 0;
    const char *near = dg_compile_nearest_key(key);
    fprintf(
        stderr,
        "dinoc: --explain %s: there is no such key%s%s%s; dinoc --keys lists them, and with a description a node is "
        "explained\n",
        key, near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
    return 2;
}

/* ---- what is printed ---- */

static json_t *text_or_null(const char *text) { return text ? dg_json_text(text) : json_null(); }
static json_t *number_or_null(int number) { return number > 0 ? json_integer(number) : json_null(); }

/* Error or note; without a place where `at` is NULL or has none. */
static json_t *json_message(const char *severity, const struct dg_origin *at, const char *message)
{
    static const struct dg_origin nowhere;
    if (!at) at = &nowhere;
    return json_pack("{s:s, s:o, s:o, s:o, s:o}", "severity", severity, "file", text_or_null(at->file), "line",
                     number_or_null(at->line), "column", number_or_null(at->line > 0 ? at->column : 0), "message",
                     dg_json_text(message));
}

/* Prints the error, which it takes, with the notes behind it. */
static bool print_json_error(json_t *error, const struct dg_diagnostic *note, size_t notes)
{
    json_t *list = json_array();
    for (size_t n = 0; n < notes; n++) json_array_append_new(list, json_message("note", &note[n].at, note[n].message));
    bool ok = json_array_size(list) == notes && !json_object_set_new(error, "notes", list) &&
              !json_dumpf(error, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(error);
    return ok;
}

/* A line for each error. */
static bool print_json(const struct dg_compile_result *result, const struct dg_error *err)
{
    const struct dg_diagnostic *d = result->diagnostic;
    bool ok = true;
    int printed = 0;
    for (size_t i = 0, next; i < result->num_diagnostics; i = next, printed++) {
        for (next = i + 1; next < result->num_diagnostics && d[next].note; next++) continue;
        ok &= print_json_error(json_message("error", &d[i].at, d[i].message), &d[i + 1], next - i - 1);
    }
    if (result->errors > printed) {
        char more[64];
        snprintf(more, sizeof more, "%d more errors", result->errors - printed);
        ok &= print_json_error(json_message("error", NULL, more), NULL, 0);
    }
    if (err->status != DG_OK && !result->errors)
        ok &= print_json_error(json_message("error", NULL, err->text), NULL, 0);
    if (!ok) fputs("dinoc: out of memory\n", stderr);
    return ok;
}

/* Prints what came of it; returns the exit status. */
static int print_result(const struct dg_compile_result *result, enum dg_status status, const struct dg_error *err)
{
    FILE *people = given.json ? stderr : stdout; /* standard output has the JSON alone */
    if (result->dumps) fputs(result->dumps, stderr);
    if (given.json && !print_json(result, err)) return 1;
    if (!given.json && result->diagnostics) fputs(result->diagnostics, stderr);
    if (status == DG_OK && !given.quiet) fputs(result->text, people);
    if (status != DG_OK && !given.json) fprintf(stderr, "dinoc: %s\n", err->text);
    return status == DG_OK ? 0 : status == DG_ERR_USAGE ? 2 : 1;
}

static int compile(void)
{
    struct dg_compile_options *options = &given.options;
    struct dg_compile_result result;
    struct dg_error err = {0};
    for (int what = 0; what <= DG_REFERENCE_SCHEMA; what++)
        if (given.reference[what]) return print_reference((enum dg_reference)what);
    find_folders();
    if (given.list) return print_list();
    if (given.init) return copy_description();
    if (!given.description) return explain(options->explain);
    options->folder = folder;
    options->folders = folders;
    char *description = strdup(given.description);
    if (!description) {
        fputs("dinoc: out of memory\n", stderr);
        return 1;
    }
    split_name(description, options);
    options->set = given.set.value;
    options->num_sets = given.set.count;
    options->height = given.size.height;
    options->width = given.size.width;
    if (options->print || options->explain) options->output = NULL;
    enum dg_status status = dg_compile(options, &result, &err);
    int exit_status = 0;
    if (status != DG_ERR_USAGE || !options->explain || !explain_key(options->explain))
        exit_status = print_result(&result, status, &err);
    dg_compile_result_free(&result);
    free(description);
    return exit_status;
}

static const struct dg_flag flags[] = {
    {"output", "PLAN", "the file to write", .letter = 'o', .text = &given.options.output, .required = true,
     .unless = "print explain passes ops keys schema list init json"},
    {"list", NULL, "list the descriptions that come with dinoc, and those in the folders of DINOGRAPH_GRAPHS",
     .given = &given.list, .without = "output print explain passes ops keys schema init"},
    {"init", "NAME", "copy one of them here, with its comments, to edit it: NAME.yaml, or the file that -o names",
     .text = &given.init, .without = "print explain passes ops keys schema list"},
    {"batch", "N", "images a batch", .integer = &given.options.batch, .min = 1,
     .unset = "the description's; 1 for a module"},
    {"image-size", "N|HxW", "size of evaluated images, in pixels", .size = &given.size,
     .expected = "pixels, as in 224 or 160x240", .unset = "the description's"},
    {"dtype", "TYPE", "bf16: activations and weights of matmuls in bf16, everything that adds up in f32",
     .text = &given.options.dtype, .choices = "f32|bf16", .unset = "the description's; f32 for a module"},
    {"math", "MATH",
     "how linear layers multiply in a plan in f32: bf16x3, as three products of bf16 parts with f32 sums, 16 bits "
     "exact; bf16x6, as six, as exact as f32. Faster where bf16 is more than three times as fast as f32 (AMX)",
     .text = &given.options.math, .choices = "f32|bf16x3|bf16x6", .unset = "f32"},
    {"memory", "SIZE",
     "what a recipe's training step may take, as in 2G: the batch is cut into slices and activations are computed "
     "again as far as that takes, at the least extra time. SIZE bounds what is planned; dinorun adds scratch, the "
     "loader and some 100 MB, and says so",
     .parse = dg_read_bytes, .parsed = &given.options.memory, .expected = "a size, as in 2G or 800M",
     .unset = "no limit"},
    {"ranks", "N",
     "make a recipe's step so that up to N processes (of mpirun) can share each batch: N divides it. --memory is then "
     "that of "
     "each process",
     .integer = &given.options.ranks, .min = 1, .max = 65536, .unset = "one process"},
    {"set", "a.b=value", "change a key of the recipe or probe, or an argument of the module", .texts = &given.set},
    {"probe", NULL,
     "of a recipe, also one in a run's folder (RUN/recipe.yaml): the linear probe of its backbone, with its images; "
     "--set sets keys of the probe, such as classes=10. dinorun linear RUN does this by itself",
     .given = &given.options.probe, .without = "memory ranks"},
    {"plain", NULL, "optimise nothing: slower, larger, and the same results to rounding",
     .given = &given.options.plain},
    {"print", NULL, "print the description with every default filled in, and write no plan",
     .given = &given.options.print},
    {"explain", "NODE|KEY",
     "print shapes, parameters, bytes and origin of a node, or what a key of recipes says, its range and default; and "
     "write no plan",
     .text = &given.options.explain},
    {"passes", NULL, "list the compiler's passes", .given = &given.reference[DG_REFERENCE_PASSES],
     .without = "output print explain ops keys schema"},
    {"ops", NULL, "list the operations that a description may use", .given = &given.reference[DG_REFERENCE_OPS],
     .without = "output print explain passes keys schema"},
    {"keys", NULL, "list the keys of recipes and probes", .given = &given.reference[DG_REFERENCE_KEYS],
     .without = "output print explain passes ops schema"},
    {"schema", NULL, "print the JSON schema of descriptions (graphs/schema.json)",
     .given = &given.reference[DG_REFERENCE_SCHEMA], .without = "output print explain passes ops keys"},
    {"skip", "PASS[,PASS]", "do not run these passes", .text = &given.options.skip},
    {"dump", "PASS[,PASS][:NODE]", "print the graph after these passes to stderr, or what is at NODE and below it",
     .text = &given.options.dump},
    {"json", NULL,
     "print errors as JSON, each an object on a line of standard output, and all else to standard error; without -o "
     "the "
     "description is checked and no plan written",
     .given = &given.json, .without = "print explain passes ops keys schema list init"},
    {"quiet", NULL, "print nothing but errors", .given = &given.quiet,
     .without = "print explain passes ops keys schema list init"},
    {0}};

static const struct dg_command dinoc = {
    .program = "dinoc",
    .summary = "compiles a description (graphs/*.yaml) to a plan for dinorun. NAME is a recipe, probe or module of the "
               "file; without it, the file's last recipe or probe is taken, else its last module, which gives a plan "
               "for evaluation. FILE may be the bare name of one that dinoc --list shows",
    .more =
        "dinoc --version, --completion bash|zsh|fish and --man print version and CPU, what completes command lines,\n"
        "and the manual page.\n",
    .file = {.name = "FILE[:NAME]",
             .what = "the description",
             .value = &given.description,
             .unless = "passes ops keys schema list init",
             .spared = "explain"},
    .flags = flags,
    .run = compile};

int main(int argc, char **argv)
{
    static const struct dg_command *const command = &dinoc;
    const struct dg_commands program = {"dinoc", dinoc.summary, &command, 1};
    int status = dg_commands_ask(&program, argc, argv);
    if (status < 0 && argc > 1) status = dg_command_run(&dinoc, argc, argv);
    if (status >= 0) return dg_finish_output("dinoc", status);
    dg_command_help(&dinoc, stderr);
    return 2;
}
