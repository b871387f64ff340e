/* dinoc: the compiler's command line. */
#include "compiler/compile.h"
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
    if (result.diagnostics) fputs(result.diagnostics, stderr);
    if (result.dumps) fputs(result.dumps, stderr);
    if (status == DG_OK)
        fputs(result.text, stdout);
    else if (status == DG_ERR_USAGE && options->explain && explain_key(options->explain))
        status = DG_OK;
    else
        fprintf(stderr, "dinoc: %s\n", err.text);
    dg_compile_result_free(&result);
    free(description);
    return status == DG_OK ? 0 : status == DG_ERR_USAGE ? 2 : 1;
}

static const struct dg_flag flags[] = {
    {"output", "PLAN", "the file to write", .letter = 'o', .text = &given.options.output, .required = true,
     .unless = "print explain passes ops keys schema list init"},
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
