/* dinoc: the compiler's command line. */
#include "compiler/compile.h"
#include "tools/cli/flags.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: dinoc FILE[:NAME] -o PLAN [options]\n"
    "\n"
    "Compiles a description (graphs/*.yaml) to a plan for dinorun. NAME is a recipe, probe or module of the file; "
    "without\n"
    "it, the file's last recipe or probe is taken, else its last module, which gives a plan for evaluation.\n"
    "\n"
    "  -o PLAN               the file to write\n"
    "  --batch N             images a batch\n"
    "  --image-size N|HxW    size of evaluated images, in pixels\n"
    "  --dtype f32|bf16      bf16: activations and weights of matmuls in bf16, everything that adds up in f32\n"
    "  --memory SIZE         what a recipe's training step may take, as in 2G: the batch is cut into slices and\n"
    "                        activations are computed again as far as that takes, at the least extra time. SIZE\n"
    "                        bounds what is planned; dinorun adds scratch, the loader and some 100 MB, and says so\n"
    "  --set a.b=value       change a key of the recipe or probe, or an argument of the module; may be given again\n"
    "  --plain               optimise nothing: slower, larger, and the same results to rounding\n"
    "  --print               print the description with every default filled in, and write no plan\n"
    "  --explain NODE        print shapes, parameters, bytes and origin of a node, and write no plan\n"
    "  --passes              list the compiler's passes\n"
    "  --skip PASS[,PASS]    do not run these passes\n"
    "  --dump PASS[,PASS][:NODE]\n"
    "                        print the graph after these passes to stderr, or what is at NODE and below it\n"
    "  --version             print the version\n";

/* A whole number of 1 or more at the beginning of `text`. */
static bool whole(const char *text, int64_t *value, const char **end)
{
    char *stop;
    errno = 0;
    *value = strtoll(text, &stop, 10);
    *end = stop;
    return stop != text && !errno && *value > 0;
}

/* Bytes, of "2G", "1.5GiB", "800M" or "4096": powers of 1024. */
static bool size_of(const char *text, int64_t *bytes)
{
    char *stop;
    double value = strtod(text, &stop);
    const char *units = "KMGT", *unit = *stop ? strchr(units, *stop) : NULL;
    for (long u = 0; unit && u <= unit - units; u++) value *= 1024;
    if (unit) stop++;
    if (unit && *stop == 'i') stop++;
    if (*stop == 'B') stop++;
    *bytes = value >= 1 && value < 1e18 ? (int64_t)value : 0;
    return !*stop && *bytes > 0;
}

static int bad_flag(const char *flag, const char *text, const char *want)
{
    fprintf(stderr, "dinoc: %s %s: expected %s; try dinoc --help\n", flag, text, want);
    return 2;
}

static int list_passes(void)
{
    char *text = dg_compile_passes();
    if (!text) return 1;
    fputs(text, stdout);
    free(text);
    return 0;
}

/* `set` has room for every --set there can be. */
static int run(int argc, char **argv, const char **set)
{
    enum { BATCH = 256, IMAGE_SIZE, DTYPE, MEMORY, SET, PLAIN, PRINT, EXPLAIN, PASSES, SKIP, DUMP, VERSION };
    static const struct option flags[] = {{"batch", required_argument, NULL, BATCH},
                                          {"image-size", required_argument, NULL, IMAGE_SIZE},
                                          {"dtype", required_argument, NULL, DTYPE},
                                          {"memory", required_argument, NULL, MEMORY},
                                          {"set", required_argument, NULL, SET},
                                          {"print", no_argument, NULL, PRINT},
                                          {"plain", no_argument, NULL, PLAIN},
                                          {"help", no_argument, NULL, 'h'},
                                          {"explain", required_argument, NULL, EXPLAIN},
                                          {"output", required_argument, NULL, 'o'},
                                          {"passes", no_argument, NULL, PASSES},
                                          {"skip", required_argument, NULL, SKIP},
                                          {"dump", required_argument, NULL, DUMP},
                                          {"version", no_argument, NULL, VERSION},
                                          {0}};
    struct dg_compile_options options = {0};
    const char *end;
    options.set = set;
    opterr = 0;
    for (int flag; (flag = getopt_long(argc, argv, ":o:h", flags, NULL)) != -1;) {
        char text[256];
        switch (flag) {
        case 'o': options.output = optarg; break;
        case 'h': fputs(usage, stdout); return 0;
        case VERSION: puts("dinoc " DG_VERSION); return 0;
        case BATCH:
            if (!whole(optarg, &options.batch, &end) || *end)
                return bad_flag("--batch", optarg, "a whole number, 1 or more");
            break;
        case IMAGE_SIZE: {
            bool ok = whole(optarg, &options.height, &end);
            options.width = options.height;
            if (ok && *end == 'x') ok = whole(end + 1, &options.width, &end);
            if (!ok || *end) return bad_flag("--image-size", optarg, "pixels, as in 224 or 160x240");
            break;
        }
        case DTYPE:
            if (strcmp(optarg, "f32") && strcmp(optarg, "bf16")) return bad_flag("--dtype", optarg, "f32 or bf16");
            options.dtype = optarg;
            break;
        case MEMORY:
            if (!size_of(optarg, &options.memory)) return bad_flag("--memory", optarg, "a size, as in 2G or 800M");
            break;
        case SET: set[options.num_sets++] = optarg; break;
        case PLAIN: options.plain = true; break;
        case PRINT: options.print = true; break;
        case EXPLAIN: options.explain = optarg; break;
        case PASSES: return list_passes();
        case SKIP: options.skip = optarg; break;
        case DUMP: options.dump = optarg; break;
        default:
            fprintf(stderr, "dinoc: %s; try dinoc --help\n", flag_complaint(text, sizeof text, flag, argv, flags));
            return 2;
        }
    }
    if (argc == 1) {
        fputs(usage, stderr);
        return 2;
    }
    if (optind == argc) {
        fputs("dinoc: FILE, the description, is missing; try dinoc --help\n", stderr);
        return 2;
    }
    if (optind < argc - 1) {
        fprintf(stderr, "dinoc: one description at a time, and not also %s; try dinoc --help\n", argv[optind + 1]);
        return 2;
    }
    if (!options.output && !options.print && !options.explain) {
        fputs("dinoc: -o PLAN says where to write the plan; try dinoc --help\n", stderr);
        return 2;
    }
    char *file = argv[optind], *colon = strrchr(file, ':');
    if (colon && !strchr(colon, '/')) {
        *colon = 0;
        options.name = colon + 1;
    }
    options.file = file;
    if (options.print || options.explain) options.output = NULL;

    struct dg_compile_result result;
    struct dg_error err = {0};
    enum dg_status status = dg_compile(&options, &result, &err);
    if (result.diagnostics) fputs(result.diagnostics, stderr);
    if (result.dumps) fputs(result.dumps, stderr);
    if (status == DG_OK)
        fputs(result.text, stdout);
    else
        fprintf(stderr, "dinoc: %s\n", err.text);
    dg_compile_result_free(&result);
    return status == DG_OK ? 0 : status == DG_ERR_USAGE ? 2 : 1;
}

int main(int argc, char **argv)
{
    const char **set = calloc((size_t)argc + 1, sizeof *set);
    int status = set ? run(argc, argv, set) : 1;
    free(set);
    /* Output that could not be written is a failure too. */
    if (!(fflush(stdout) || ferror(stdout)) || status) return status;
    fputs("dinoc: not all of the output could be written: is the disk full?\n", stderr);
    return 1;
}
