/* The command lines of dinoc and dinorun, run as processes: help, what is refused and how, full disks, interruption. */
#include "ops/dnnl/cpu.h"
#include "ops/kernels/rates.h"
#include "runtime/exec/cpus.h"
#include "tests/support/process.h"
#include "tests/support/tiny.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>

#define DINOC DG_BUILD_DIR "/dinoc"
#define DINORUN DG_BUILD_DIR "/dinorun"
#define DEMO DG_SOURCE_DIR "/graphs/demo.yaml"

static const char *const commands[] = {
    "train", "crops",         "features", "knn",         "linear", "attention",
    "pca",   "segment-score", "retrieve", "copy-detect", "info",   "bench"}; /* which take a PLAN */
enum { COMMANDS = sizeof commands / sizeof *commands, REPLAY_STEPS = 5, STEP_SECONDS = 60 };

static char plan[96], pictures[96], crops[96];

static int setup(void **state)
{
    (void)state;
    setenv("OMP_WAIT_POLICY", "passive", 1); /* threads that spin are slow where others compute */
    make_test_folder(state);
    snprintf(plan, sizeof plan, "%s/tiny.plan", test_folder);
    snprintf(pictures, sizeof pictures, "%s/pictures", test_folder);
    snprintf(crops, sizeof crops, "%s/crops", test_folder);
    dg_tiny_compile(plan, NULL);
    dg_tiny_pictures(pictures, 8);
    struct dg_tiny_crops recorded = dg_tiny_crops(REPLAY_STEPS);
    assert_ok(dg_safetensors_write(crops, recorded.item, recorded.count, NULL, 0, try_err));
    dg_tiny_crops_free(&recorded);
    /* Files that a write fills at once; links, so that a program that replaces what it should write to replaces a link. */
    assert_int_equal(symlink("/dev/full", in("full")), 0);
    process_assert_status(
        RUN(DINORUN, "train", plan, "--data", pictures, "--out", in("run"), "--steps", "0", "--ignore-memory"), 0);
    return 0;
}

/* Ends with `status`, says `text` and nothing on standard output. */
static void refuses(const struct process *process, int status, const char *text)
{
    process_assert_status(process, status);
    process_assert_says(process, process->err, text);
    assert_string_equal(process->out, "");
}

/* Nothing of that name, and nothing half-written beside it. */
static void leaves_nothing(const char *name)
{
    DIR *dir = opendir(test_folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        if (!strncmp(entry->d_name, name, strlen(name)) || strstr(entry->d_name, ".part"))
            fail_msg("%s was left", entry->d_name);
    closedir(dir);
}

static void test_help(void **state)
{
    (void)state;
    const struct process *p = RUN(DINOC, "--help");
    process_assert_status(p, 0);
    static const char *const dinoc_flags[] = {"usage: dinoc", "-o PLAN", "--batch",  "--image-size",
                                              "--set",        "--print", "--explain"};
    for (size_t f = 0; f < sizeof dinoc_flags / sizeof *dinoc_flags; f++)
        process_assert_says(p, p->out, dinoc_flags[f]);
    p = RUN(DINORUN, "--help");
    process_assert_status(p, 0);
    for (int c = 0; c < COMMANDS; c++) {
        p = RUN(DINORUN, "--help");
        process_assert_says(p, p->out, commands[c]);
        char usage[64];
        snprintf(usage, sizeof usage, "usage: dinorun %s PLAN", commands[c]);
        p = RUN(DINORUN, commands[c], "--help");
        process_assert_status(p, 0);
        process_assert_says(p, p->out, usage);
        process_assert_status(RUN(DINORUN, commands[c], "-h"), 0);
    }
    p = RUN(DINORUN, "help", "train");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "usage: dinorun train PLAN (--data DIR | --replay FILE) --out RUN");
    p = RUN(DINORUN, "help", "help");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "usage: dinorun COMMAND");
    refuses(RUN(DINORUN, "help", "tran"), 2, "there is no command tran (did you mean train?)");
    process_assert_status(RUN(DINOC, "--version"), 0);
    process_assert_status(RUN(DINORUN, "--version"), 0);
    refuses(RUN(DINOC), 2, "usage: dinoc");
    refuses(RUN(DINORUN), 2, "usage: dinorun");
}

static void test_dinoc_refuses(void **state)
{
    (void)state;
    const char *out = in("new.plan");
    refuses(RUN(DINOC, DEMO, "-o", out, "--bach", "4"), 2, "there is no flag --bach (did you mean --batch?)");
    refuses(RUN(DINOC, DEMO, "-o", out, "-q"), 2, "there is no flag -q");
    refuses(RUN(DINOC, DEMO, "-o"), 2, "-o wants a value");
    refuses(RUN(DINOC, DEMO, "-o", out, "--batch"), 2, "--batch wants a value");
    refuses(RUN(DINOC, DEMO, "-o", out, "--print=3"), 2, "--print takes no value");
    refuses(RUN(DINOC, DEMO, "-o", out, "--batch", "2.5"), 2, "--batch 2.5: expected a whole number, 1 or more");
    refuses(RUN(DINOC, DEMO, "-o", out, "--batch", "0"), 2, "--batch 0: expected");
    refuses(RUN(DINOC, DEMO, "-o", out, "--batch", "99999999999999999999"), 2, "--batch 9999");
    refuses(RUN(DINOC, DEMO, "-o", out, "--image-size", "160x"), 2, "as in 224 or 160x240");
    refuses(RUN(DINOC, DG_SOURCE_DIR "/graphs/vit.yaml:vit_small", "--probe", "-o", out), 2,
            "--probe makes a probe of a recipe, and vit_small is none");
    refuses(RUN(DINOC, "-o", out), 2, "FILE[:NAME], the description, is missing");
    refuses(RUN(DINOC, DEMO, "more.yaml", "-o", out), 2, "not also more.yaml");
    refuses(RUN(DINOC, DEMO), 2,
            "-o PLAN (or --print, --explain NODE|KEY, --passes, --ops, --keys, --schema, --list, --init NAME or "
            "--json) is needed: "
            "the file to write");
    refuses(RUN(DINOC, "--schema", "--ops"), 2,
            "--ops goes without -o, --print, --explain, --passes, --keys and --schema");
    refuses(RUN(DINOC, "--keys", "-o", out), 2, "--keys goes without -o");
    refuses(RUN(DINOC, in("none.yaml"), "-o", out), 1, "none.yaml: No such file");
    refuses(RUN(DINOC, DG_SOURCE_DIR "/graphs/demo.yaml:nothing", "-o", out), 1, "no module, recipe or probe nothing");
    refuses(RUN(DINOC, DEMO, "-o", out, "--set", "batch"), 1, "expected key=value");
    refuses(RUN(DINOC, DEMO, "--explain", "nothing"), 2, "has no such node");
    refuses(RUN(DINOC, DEMO, "-o", out, "--skip", "fuze"), 2, "--skip: there is no pass fuze; did you mean fuse?");
    refuses(RUN(DINOC, DEMO, "-o", out, "--dump", "xyz:norm"), 2, "--dump: there is no pass xyz");
    refuses(RUN(DINOC, DEMO, "-o", out, "--dump", "fuse,:norm"), 2, "--dump: the name of a pass is empty");
    refuses(RUN(DINOC, DEMO, "-o", out, "--skip", ""), 2, "--skip: the name of a pass is empty");
    refuses(RUN(DINOC, DEMO, "-o", out, "--skip", "fuse:norm"), 2, "--skip: a pass cannot be skipped for single nodes");
    leaves_nothing("new.plan");
}

/* Dumps go to stderr, beside the report. */
static void test_dinoc_passes(void **state)
{
    (void)state;
    const struct process *p = RUN(DINOC, "--passes");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "  slice_tokens  not --plain");
    p = RUN(DINOC, DEMO, "-o", in("dumped.plan"), "--dump", "fuse:norm", "--skip", "slice_tokens");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "recipe demo");
    process_assert_says(p, p->err, "after fuse: student.backbone(local)\n");
    process_assert_says(p, p->err, " | norm\n");
    assert_null(strstr(p->err, "take_token"));
    p = RUN(DINOC, DEMO, "-o", in("dumped.plan"), "--dump", "prune:nowhere");
    process_assert_says(p, p->err, "entry train\n  (no node is at nowhere or below it)\n");
}

/* A path that stays. */
struct path {
    char text[128];
};
static struct path keep(const char *name)
{
    struct path path;
    snprintf(path.text, sizeof path.text, "%s/%s", test_folder, name);
    return path;
}

static void test_linear(void **state)
{
    (void)state;
    struct path weights = keep("run/checkpoint.safetensors"), classes = keep("classes"), a = keep("classes/a"),
                b = keep("classes/b"), probe = keep("probe.plan"), best = keep("head/best.safetensors"),
                head = keep("head");
    const char *w = weights.text, *images = classes.text, *out = head.text;
    refuses(RUN(DINORUN, "linear", plan, "--weights", w, "--val", images), 2,
            "--train DIR (or --evaluate HEAD) and --out DIR (or --evaluate HEAD) are needed");
    refuses(RUN(DINORUN, "linear", plan, "--evaluate", w), 2, "--weights FILE and --val DIR are needed");
    refuses(RUN(DINORUN, "linear", plan, "--weights", w, "--val", images, "--evaluate", w, "--out", out), 2,
            "--evaluate HEAD goes without --train, --out, --resume, --epochs and --seed");
    refuses(RUN(DINORUN, "linear", plan, "--weights", w, "--train", images, "--val", images, "--out", out), 2,
            "the plan has no linear probe: dinoc graphs/linear.yaml");
    refuses(RUN(DINORUN, "linear", plan, "--epochs", "0"), 2, "--epochs 0: expected a whole number");
    leaves_nothing("head");

    assert_int_equal(mkdir(images, 0777), 0);
    dg_tiny_pictures(a.text, 5);
    dg_tiny_pictures(b.text, 3);
    process_assert_status(RUN(DINOC, DG_SOURCE_DIR "/graphs/linear.yaml", "-o", probe.text, "--set", "backbone=vit",
                              "--set", "with={dim: 32, heads: 2, depth: 2, patch: 8, image: 32}", "--set", "blocks=2",
                              "--set", "crops.size=32", "--set", "classes=2", "--batch", "3"),
                          0);
    const struct process *p = RUN(DINORUN, "linear", probe.text, "--weights", w, "--train", images, "--val", images,
                                  "--out", out, "--epochs", "2", "--threads", "1", "--ignore-memory");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "validation features");
    process_assert_says(p, p->out,
                        "8 images of 2 classes, 64 features each, 8 to validate; 3 steps an epoch, 2 epochs");
    process_assert_says(p, p->out, "epoch 2/2  loss");
    p = RUN(DINORUN, "linear", probe.text, "--weights", w, "--val", images, "--evaluate", best.text, "--ignore-memory");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "top-5 100.00 %");
    refuses(RUN(DINORUN, "crops", probe.text, "--data", pictures, "--out", in("sheet.png")), 2, "a linear probe's");
    process_assert_status(RUN(DINORUN, "bench", probe.text, "--entry", "train", "--steps", "1", "--threads", "1"), 0);
}

static void assert_file_is(const char *path, const char *text)
{
    char have[4096];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    have[fread(have, 1, sizeof have - 1, file)] = 0;
    fclose(file);
    assert_string_equal(have, text);
}

/* Class b has copies of three pictures of a, so each vote of one neighbour is a tie, which the first in order wins. */
static void test_knn(void **state)
{
    (void)state;
    struct path weights = keep("run/checkpoint.safetensors"), images = keep("labelled"), a = keep("labelled/a"),
                b = keep("labelled/b"), none = keep("labelled/none"), file = keep("neighbours.tsv"),
                features = keep("labelled.npy"), alone = keep("alone"), only = keep("alone/a");
    const char *w = weights.text, *i = images.text, *f = features.text;
    assert_int_equal(mkdir(i, 0777), 0);
    assert_int_equal(mkdir(none.text, 0777), 0); /* a class for which nothing votes */
    dg_tiny_pictures(a.text, 5);
    dg_tiny_pictures(b.text, 3);
    static const char expected[] = "path\tlabel\t1-NN\t8-NN\na/00.png\ta\ta\ta\na/01.png\ta\ta\ta\n"
                                   "a/02.png\ta\ta\ta\na/03.jpg\ta\ta\ta\na/04.png\ta\ta\ta\n"
                                   "b/00.png\tb\ta\ta\nb/01.png\tb\ta\ta\nb/02.png\tb\ta\ta\n";
    refuses(RUN(DINORUN, "knn", plan, "--weights", w, "--train", i, "--val", i), 1,
            "1 of its folders (none/) would be a class without an image");
    struct path classes = keep("classes.txt");
    write_file(classes.text, "a\nb\nnone\n", 9);
    const struct process *p = RUN(DINORUN, "knn", plan, "--weights", w, "--train", i, "--val", i, "-k", "1,10",
                                  "--temperature", "1000", "--predictions", file.text, "--classes-from", classes.text);
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "1 without images (none)");
    process_assert_says(p, p->err, "1 of 3 classes without an image: none");
    process_assert_says(p, p->out, "10-NN of 8 images is 8-NN\n");
    process_assert_says(p, p->out,
                        "8 images vote on 8, 3 classes; the most frequent class alone would get 62.50 %\n1-NN: top-1 "
                        "62.50 %, top-5 62.50 %\n");
    process_assert_says(p, p->out, "8-NN: top-1 62.50 %, top-5 100.00 %\n");
    assert_file_is(file.text, expected);
    assert_int_equal(unlink(file.text), 0);
    process_assert_status(RUN(DINORUN, "features", plan, "--weights", w, "--data", i, "--out", f), 0);
    p = RUN(DINORUN, "knn", "--features", "--train", f, "--val", f, "-k", "1,10", "--temperature", "1000",
            "--predictions", file.text);
    process_assert_status(p, 0);
    assert_file_is(file.text, expected);
    struct path gem = keep("gem.npy");
    p = RUN(DINORUN, "features", plan, "--weights", w, "--data", i, "--out", gem.text, "--output", "gem");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "gem.npy: [8, 32] f32");
    refuses(RUN(DINORUN, "knn", "--features", "--train", f, "--val", gem.text, "-k", "1"), 1, "output: cls, gem");
    process_assert_status(RUN(DINORUN, "knn", "--features", "--train", gem.text, "--val", gem.text, "-k", "1"), 0);

    /* One class can be asked for, not chosen from. */
    assert_int_equal(mkdir(alone.text, 0777), 0);
    dg_tiny_pictures(only.text, 2);
    assert_int_equal(rmdir(none.text), 0);
    p = RUN(DINORUN, "knn", plan, "--weights", w, "--train", i, "--val", alone.text, "-k", "1");
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "1 of 2 classes without an image to validate with: b");
    refuses(RUN(DINORUN, "knn", plan, "--weights", w, "--train", alone.text, "--val", i, "-k", "1"), 1,
            "class b is not");
    refuses(RUN(DINORUN, "knn", plan, "--weights", w, "--train", alone.text, "--val", alone.text, "--predictions",
                in("new")),
            1, "alone: k-NN needs images of at least two classes");
    refuses(RUN(DINORUN, "knn", plan, "--weights", w, "--train", pictures, "--val", i), 1, "one folder per class");
    refuses(RUN(DINORUN, "knn", plan, "--weights", w, "--train", i, "--val", i, "--predictions", in("no/new")), 1,
            "no/new");
    leaves_nothing("new");
}

static void test_import_and_export(void **state)
{
    (void)state;
    const char *pth = DG_SOURCE_DIR "/tests/fixtures/torch/full_stream.pth", *w = in("imported"), *out = in("exported");
    refuses(RUN(DINORUN, "import"), 2, "dinorun import: FILE is missing");
    refuses(RUN(DINORUN, "import", pth), 2, "-o W.safetensors is needed: the safetensors file to write");
    refuses(RUN(DINORUN, "import", pth, "more", "-o", w), 2, "not also more");
    refuses(RUN(DINORUN, "import", plan, "-o", w), 1, "a plan of dinoc; weights are another file");
    leaves_nothing("imported");
    const struct process *p = RUN(DINORUN, "import", pth, "-o", w);
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "teacher.backbone (18), teacher.head (8)");
    refuses(RUN(DINORUN, "export"), 2, "dinorun export: CHECKPOINT|RUN is missing");
    refuses(RUN(DINORUN, "export", w), 2, "is needed: the safetensors file to write");
    refuses(RUN(DINORUN, "export", w, "-o", out, "--backbone", "me"), 2, "expected teacher or student");
    refuses(RUN(DINORUN, "export", pth, "-o", out), 1, "what torch.save writes: dinorun import makes one of it");
    leaves_nothing("exported");
    p = RUN(DINORUN, "export", w, "-o", out, "--backbone", "teacher");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "18 tensors, teacher's backbone");
    process_assert_status(RUN(DINORUN, "import", pth, "-o", "/dev/full"), 1);
    process_assert_status(RUN(DINORUN, "import", "--help"), 0);
    process_assert_status(RUN(DINORUN, "export", "--help"), 0);
    /* Another network's weights: both sides are named, and --partial does not go on; the same from the file of PyTorch. */
    refuses(RUN(DINORUN, "features", plan, "--weights", w, "--data", pictures, "--out", in("some.npy")), 1,
            "another shape: teacher.backbone.cls_token is [1, 1, 4], the plan has [1, 1, 32]");
    refuses(RUN(DINORUN, "features", plan, "--weights", w, "--data", pictures, "--out", in("some.npy"), "--partial"), 1,
            "is of another network than the plan");
    refuses(RUN(DINORUN, "features", plan, "--weights", pth, "--data", pictures, "--out", in("some.npy")), 1,
            "another shape: teacher.backbone.cls_token is [1, 1, 4], the plan has [1, 1, 32]");
    refuses(RUN(DINORUN, "import", pth, "-o", w, "--key", "studant"), 1,
            "no tensors under the key studant; there are\n  --key");
}

/* Bare names, imports that are not beside a copy, and copies to edit. */
static void test_library(void **state)
{
    (void)state;
    char copy[128], other[128], import[256], shell[1024];
    snprintf(copy, sizeof copy, "%s/mine.yaml", test_folder);
    snprintf(other, sizeof other, "%s/theirs", test_folder);
    const struct process *p = RUN(DINOC, "--list");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "dino_vits16_100ep.yaml\n    DINO, ViT-S/16, 100 epochs");
    process_assert_says(p, p->out, "recipe dino_vits16_100ep");
    process_assert_status(RUN(DINOC, "demo", "-o", in("bare.plan")), 0);
    process_assert_status(RUN(DINOC, "vit:vit_tiny", "-o", in("bare.plan")), 0);
    p = RUN(DINOC, "--init", "demo", "-o", copy);
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "mine.yaml: edit it, then dinoc ");
    process_assert_status(RUN(DINOC, copy, "-o", in("mine.plan")), 0);
    refuses(RUN(DINOC, "--init", "demo", "-o", copy), 2, "is there already: -o names another file");
    refuses(RUN(DINOC, "--init", "dino", "-o", in("none.yaml")), 2, "there is no description dino in ");
    refuses(RUN(DINOC, "nothing.yaml", "-o", in("none.plan")), 1,
            "cannot read nothing.yaml: No such file or directory");
    p = RUN(DINOC, "nothing.yaml", "-o", in("none.plan"));
    process_assert_says(p, p->err, "it was also looked for in ");
    /* A folder of the user's goes before. */
    assert_int_equal(mkdir(other, 0777), 0);
    int length = snprintf(import, sizeof import, "# Theirs.\nmodule: net\nnodes: {a: gelu}\n");
    write_file(in("theirs/demo.yaml"), import, (size_t)length);
    snprintf(shell, sizeof shell,
             "DINOGRAPH_GRAPHS=%s " DINOC " --list | grep -q 'Theirs' && "
             "DINOGRAPH_GRAPHS=/none:%s " DINOC " demo --print | grep -q 'module: net'",
             other, other);
    process_assert_status(RUN("sh", "-c", shell), 0);
}

/* Networks of graphs/backbones go by their names, too, from any folder; a file that two imports lead to is read once; a folder of a
 * description's name is not taken for it. */
static void test_library_backbones(void **state)
{
    (void)state;
    static const char recipe[] = "recipe: both\nimport: [vit.yaml, backbones/deit.yaml, dino_head.yaml]\nbatch: 2\n"
                                 "student: {backbone: deit_tiny_patch16_224}\n"
                                 "crops: {global: {size: 32}, local: {size: 32, count: 0}}\n";
    char shell[1024];
    const struct process *p = RUN(DINOC, "--list");
    process_assert_says(p, p->out, "module dinov2_vits14");
    write_file(in("both.yaml"), recipe, sizeof recipe - 1);
    process_assert_status(RUN(DINOC, in("both.yaml"), "-o", in("both.plan")), 0);
    snprintf(shell, sizeof shell,
             "cd %s && mkdir -p convnext && " DINOC " convnext:convnext_tiny --image-size 32 -o bare.plan && " DINOC
             " --init deit && " DINOC " deit.yaml --image-size 32 -o bare.plan && "
             "grep -q 'schema=/.*/backbones/../schema.json' deit.yaml",
             test_folder);
    process_assert_status(RUN("sh", "-c", shell), 0);
}

static void test_dinorun_refuses(void **state)
{
    (void)state;
    refuses(RUN(DINORUN, "tran"), 2, "there is no command tran (did you mean train?)");
    refuses(RUN(DINORUN, "--resume"), 2, "there is no command --resume");
    for (int c = 0; c < COMMANDS; c++) {
        char text[96];
        const char *command = commands[c];
        bool trains = !strcmp(command, "linear") || !strcmp(command, "crops");
        snprintf(text, sizeof text, "dinorun %s: PLAN%s is missing; try dinorun %s --help", command,
                 !strcmp(command, "train") ? ""
                 : trains                  ? "|RUN"
                                           : "|RUN|BUNDLE",
                 command);
        refuses(RUN(DINORUN, commands[c]), 2, text);
        refuses(RUN(DINORUN, commands[c], plan, "--nothing"), 2, "there is no flag --nothing");
        refuses(RUN(DINORUN, commands[c], plan, "-z"), 2, "there is no flag -z");
        refuses(RUN(DINORUN, commands[c], plan, "more.plan"), 2, "not also more.plan");
    }
    refuses(RUN(DINORUN, "info", plan, "-k", "3"), 2, "there is no flag -k");
    refuses(RUN(DINORUN, "info", plan, "--ops=3"), 2, "--ops takes no value");
    refuses(RUN(DINORUN, "info", plan, "--entry", "feature"), 2, "it has: train, features");
    refuses(RUN(DINORUN, "info", in("none.plan")), 1, "cannot open ");
    refuses(RUN(DINORUN, "info", DEMO), 1, "demo.yaml");

    const char *out = in("new");
#define TRAIN DINORUN, "train", plan, "--data", pictures, "--out", out
    refuses(RUN(TRAIN, "--step", "2.5"), 2, "--steps 2.5: expected a whole number, 0 or more");
    refuses(RUN(TRAIN, "--steps"), 2, "--steps wants a value");
    refuses(RUN(TRAIN, "--steps", ""), 2, "--steps : expected");
    refuses(RUN(TRAIN, "--epochs", "0"), 2, "--epochs 0: expected a whole number from 1 to 1000000");
    refuses(RUN(TRAIN, "--seed", "99999999999999999999"), 2, "--seed 9999");
    refuses(RUN(TRAIN, "--threads", "two"), 2, "--threads two: expected a whole number from 1 to");
    refuses(RUN(TRAIN, "--loader-threads", "0"), 2, "--loader-threads 0: expected");
    refuses(RUN(TRAIN, "--max-bad-images", "-1"), 2, "--max-bad-images -1: expected");
    refuses(RUN(TRAIN, "--set", "lr.peak"), 2, "expected key=value");
    refuses(RUN(TRAIN, "--set", "lr.peek=1"), 2, "did you mean lr.peak?");
    refuses(RUN(TRAIN, "--replay", crops), 2, "--replay FILE goes without --data");
    refuses(RUN(TRAIN, "--new-data"), 2, "--new-data goes with --resume");
    refuses(RUN(TRAIN, "--init", "w", "--positions", "4x"), 2, "--positions 4x: expected rows and columns, as in 16x4");
    refuses(RUN(TRAIN, "--partial"), 2, "--partial goes with --init FILE");
    refuses(RUN(DINORUN, "train", plan, "--out", out), 2, "--data DIR (or --replay FILE) is needed: images");
    refuses(RUN(DINORUN, "train", plan, "--data", pictures), 2,
            "--out RUN is needed: folder for log.jsonl, settings.txt and checkpoint.safetensors");
    refuses(RUN(DINORUN, "train", plan, "--data", in("none"), "--out", out), 1, "none: No such file");
    refuses(RUN(DINORUN, "train", plan, "--replay", in("none"), "--out", out), 1, "none");
    leaves_nothing("new");

    refuses(RUN(DINORUN, "crops", plan, "--data", pictures), 2, "--out FILE.png");
    refuses(RUN(DINORUN, "crops", plan, "--data", pictures, "--out", "a.JPG"), 2, "what is drawn is PNG");
    refuses(RUN(DINORUN, "crops", plan, "--data", pictures, "--out", out, "--images", "0"), 2, "--images 0: expected");
    refuses(RUN(DINORUN, "features", plan, "--data", pictures, "--out", out), 2,
            "--weights FILE is needed: checkpoint of a run, or a backbone's file (safetensors or torch.save)");
#define KNN DINORUN, "knn", plan, "--weights", "w", "--train", "t", "--val", "v"
    refuses(RUN(KNN, "-k", "5,,2"), 2, "-k 5,,2: expected numbers as in 10,20");
    refuses(RUN(KNN, "--k", "0"), 2, "-k 0: expected");
    refuses(RUN(KNN, "--temperature", "0"), 2, "--temperature 0: expected a number above 0");
    refuses(RUN(KNN, "--weights-from", "me"), 2, "expected teacher or student");
    refuses(RUN(DINORUN, "knn", plan, "--features", "--train", "t", "--val", "v"), 2, "--features goes without PLAN");
    refuses(RUN(DINORUN, "knn", "--features", "--train", "t", "--val", "v", "--partial"), 2,
            "--features goes without --weights, --weights-from, --key, --prefix, --positions and --partial");
    refuses(RUN(DINORUN, "bench", plan, "--steps", "0"), 2, "--steps 0: expected a whole number from 1 to");
    refuses(RUN(DINORUN, "bench", plan, "--images", "4"), 2, "--images goes with --data");
    refuses(RUN(DINORUN, "bench", plan, "--data", pictures, "--nodes"), 2,
            "--data DIR goes without --entry, --nodes and --regions");
    leaves_nothing("new");
}

/* A level that does not exist is refused, in whatever command, before anything is made. */
static void test_cpu_level(void **state)
{
    (void)state;
    setenv("DINOGRAPH_CPU", "avx9", 1);
    refuses(RUN(DINORUN, "info", plan), 2,
            "DINOGRAPH_CPU: there is no level avx9; there are v1, v3, v4, v4b, v5, amx-emulated");
    refuses(RUN(DINORUN, "train", plan, "--data", pictures, "--out", in("new")), 2, "there is no level avx9");
    unsetenv("DINOGRAPH_CPU");
    leaves_nothing("new");
}

/* A plan in bf16 where f32 would be faster: no instructions for it, or one that is measured to be slow. */
static void test_slow_bf16(void **state)
{
    (void)state;
    if (dg_bf16_support() == DG_BF16_NONE) {
        print_message("skipped: this CPU has no bf16\n");
        return;
    }
    const char *note = "note: the plan is in bf16, ", *before = getenv("DNNL_MAX_CPU_ISA");
    char *saved = before ? strdup(before) : NULL;
    dg_tiny_compile(in("bf16.plan"), "dtype=bf16");
    setenv("DNNL_MAX_CPU_ISA", "AVX512_CORE", 1);
    const struct process *p = RUN(DINORUN, "bench", in("bf16.plan"), "--steps", "1");
    process_assert_says(p, p->err, note);
    process_assert_says(p, p->err, "this CPU has no instructions (or DNNL_MAX_CPU_ISA hides them)");
    process_assert_says(p, p->err, "compiled with --dtype f32 it would be faster");
    p = RUN(DINORUN, "bench", plan, "--steps", "1");
    process_assert_status(p, 0);
    assert_null(strstr(p->err, note));
    if (dg_cpu_has_level(DG_CPU_V4B)) {
        setenv("DNNL_MAX_CPU_ISA", "AVX512_CORE_BF16", 1);
        p = RUN(DINORUN, "bench", in("bf16.plan"), "--steps", "1");
        assert_int_equal(strstr(p->err, note) == NULL, dg_product_pays(DG_PRODUCT_VDPBF16PS));
    }
    unsetenv("DNNL_MAX_CPU_ISA");
    if (saved) setenv("DNNL_MAX_CPU_ISA", saved, 1);
    free(saved);
}

/* What DINOGRAPH_TRACE asks for goes to standard error, and changes nothing else. */
static void test_trace(void **state)
{
    (void)state;
    setenv("DINOGRAPH_TRACE", "op,memory", 1);
    refuses(RUN(DINORUN, "info", plan), 2, "there is no topic memory; there are op, load, mem, plan, run");
    setenv("DINOGRAPH_TRACE", "op,load,mem,plan", 1);
    const struct process *p = RUN(DINORUN, "features", plan, "--weights", in("run/checkpoint.safetensors"), "--data",
                                  pictures, "--out", in("traced.npy"));
    process_assert_status(p, 0);
    static const char *const records[] = {"plan knob crops.global.scale=[",
                                          "plan entry features of ",
                                          "mem parameters, entry features: ",
                                          "load weights ",
                                          "load image ",
                                          "op 0 "};
    for (size_t r = 0; r < sizeof records / sizeof *records; r++) process_assert_says(p, p->err, records[r]);
    assert_null(strstr(p->out, "op 0 "));
    setenv("DINOGRAPH_TRACE", "load", 1);
    p = RUN(DINORUN, "bench", plan, "--data", pictures, "--images", "1", "--threads", "1");
    process_assert_says(p, p->err, "load image ");
    p = RUN(DINORUN, "export", in("run/checkpoint.safetensors"), "-o", in("traced.safetensors"));
    process_assert_says(p, p->err, "load weights ");
    unsetenv("DINOGRAPH_TRACE");
    p = RUN(DINORUN, "features", plan, "--weights", in("run/checkpoint.safetensors"), "--data", pictures, "--out",
            in("silent.npy"));
    process_assert_status(p, 0);
    assert_string_equal(p->err, "");
}

/* All CPUs that the process may use, also where OpenMP is told to bind its threads; OMP_NUM_THREADS, where it is set, also for
 * the second session of a process; and --threads before both. More threads than CPUs are said. */
static void test_threads(void **state)
{
    (void)state;
    char want[64], *before = getenv("OMP_NUM_THREADS");
    if (before) before = strdup(before);
    snprintf(want, sizeof want, " %d threads", dg_usable_cpus());
    setenv("OMP_PROC_BIND", "close", 1);
    unsetenv("OMP_NUM_THREADS");
    const struct process *p = RUN(DINORUN, "bench", plan, "--steps", "1", "--regions");
    process_assert_says(p, p->out, "serial ms");
    process_assert_says(p, p->out, want);
    process_assert_says(p, p->out, "for each thread");
    process_assert_says(p, p->out, "1281167 images, ");
    process_assert_says(p, p->out, "% of the instruction");
    process_assert_says(p, p->out, "of the regions have less than 20 us of work for each of 64 threads");
    unsetenv("OMP_PROC_BIND");
    setenv("OMP_NUM_THREADS", "3,2", 1);
    p = RUN(DINORUN, "bench", plan, "--steps", "1");
    process_assert_says(p, p->out, " 3 threads");
    setenv("OMP_NUM_THREADS", "1000", 1);
    p = RUN(DINORUN, "bench", plan, "--data", pictures, "--images", "1");
    snprintf(want, sizeof want, "--threads %d is likely to be faster", dg_usable_cpus());
    process_assert_says(p, p->out, want);
    setenv("OMP_NUM_THREADS", "nonsense", 1);
    p = RUN(DINORUN, "bench", plan, "--steps", "1", "--threads", "1");
    process_assert_says(p, p->out, " 1 threads");
    if (before)
        setenv("OMP_NUM_THREADS", before, 1);
    else
        unsetenv("OMP_NUM_THREADS");
    free(before);
}

/* More CPUs than a loader may have threads, as large machines have them: the loader takes what it may. */
static void test_many_threads(void **state)
{
    (void)state;
    const struct process *p = RUN(DINORUN, "bench", plan, "--data", pictures, "--images", "1", "--threads", "257");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, ", 256 threads");
    process_assert_status(RUN(DINORUN, "train", plan, "--data", pictures, "--out", in("wide"), "--steps", "0",
                              "--threads", "257", "--ignore-memory"),
                          0);
}

static void test_bench_crops(void **state)
{
    (void)state;
    const struct process *p = RUN(DINORUN, "bench", plan, "--data", pictures, "--images", "5", "--threads", "1");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "images from their files");
    process_assert_says(p, p->out, "for each thread");
}

/* A reader who cannot take the output: /dev/full as standard output. */
static void to_full(const char *const argv[])
{
    const struct process *p = process_run(argv, "/dev/full");
    if (p->status != 1) fail_msg("%s %s ended with %d", argv[0], argv[1], p->status);
    process_assert_says(p, p->err, "not all of the output could be written");
}
#define TO_FULL(...) to_full((const char *const[]){__VA_ARGS__, NULL})

static void test_full_output(void **state)
{
    (void)state;
    TO_FULL(DINOC, "--help");
    TO_FULL(DINOC, DEMO, "--print");
    TO_FULL(DINORUN, "--help");
    TO_FULL(DINORUN, "--version");
    TO_FULL(DINORUN, "train", "--help");
    TO_FULL(DINORUN, "info", plan);
    TO_FULL(DINORUN, "info", plan, "--ops"); /* more than a buffer */
    /* The run goes on: its log and checkpoints are what matter. */
    TO_FULL(DINORUN, "train", plan, "--replay", crops, "--out", in("unseen"), "--steps", "2", "--ignore-memory");
    assert_int_equal(access(in("unseen/checkpoint.safetensors"), F_OK), 0);
}

/* A full disk: an error, and nothing half-written. The link is still a link to the device. */
static void test_full_files(void **state)
{
    (void)state;
    const char *full = in("full");
    struct stat info;
    const struct process *p;
#define FULL_FILE(...)                                                                                                 \
    p = RUN(__VA_ARGS__);                                                                                              \
    process_assert_status(p, 1);                                                                                       \
    process_assert_says(p, p->err, "full: No space left on device");                                                   \
    assert_true(!lstat(full, &info) && S_ISLNK(info.st_mode));                                                         \
    assert_true(!stat(full, &info) && S_ISCHR(info.st_mode))
    FULL_FILE(DINOC, DEMO, "-o", full);
    FULL_FILE(DINORUN, "info", plan, "--memory-map", full);
    FULL_FILE(DINORUN, "crops", plan, "--data", pictures, "--out", full);
    FULL_FILE(DINORUN, "features", plan, "--weights", in("run/checkpoint.safetensors"), "--data", pictures, "--out",
              full);
    leaves_nothing("full.");

    /* The list beside the array does not fit: then there is no array either. */
    assert_int_equal(symlink("/dev/full", in("f.npy.tsv")), 0);
    p = RUN(DINORUN, "features", plan, "--weights", in("run/checkpoint.safetensors"), "--data", pictures, "--out",
            in("f.npy"));
    process_assert_status(p, 1);
    process_assert_says(p, p->err, "f.npy.tsv: No space left on device");
    assert_int_equal(unlink(in("f.npy.tsv")), 0);
    leaves_nothing("f.npy");

    assert_int_equal(mkdir(in("fullrun"), 0777), 0);
    assert_int_equal(symlink("/dev/full", in("fullrun/settings.txt")), 0);
    p = RUN(DINORUN, "train", plan, "--replay", crops, "--out", in("fullrun"), "--steps", "2", "--ignore-memory");
    process_assert_status(p, 1);
    process_assert_says(p, p->err, "settings.txt: No space left on device");
}

/* A checkpoint that does not fit any more (a limit on the size of files stands for the full disk): the old one stands, and the
 * run goes on from it once there is room. */
static void test_full_checkpoint(void **state)
{
    (void)state;
    char line[1024], run[96], before[128], checkpoint[128];
    snprintf(run, sizeof run, "%s/limited", test_folder);
    snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint.safetensors", run);
    snprintf(before, sizeof before, "%s/before", test_folder);
#define LIMITED(steps)                                                                                                 \
    DINORUN, "train", plan, "--replay", crops, "--out", run, "--ignore-memory", "--resume", "--steps", steps
    process_assert_status(RUN(LIMITED("1")), 0);
    assert_int_equal(link(checkpoint, before), 0); /* a new checkpoint is a new file */
    snprintf(line, sizeof line,
             "trap '' XFSZ; ulimit -f 40; exec %s train %s --replay %s --out %s --ignore-memory --resume --steps 3",
             DINORUN, plan, crops, run);
    const struct process *p = RUN("/bin/sh", "-c", line);
    process_assert_status(p, 1);
    process_assert_says(p, p->err, "checkpoint.safetensors: File too large");
    assert_same_file(before, checkpoint);
    DIR *dir = opendir(run);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        if (strstr(entry->d_name, ".part")) fail_msg("%s was left", entry->d_name);
    closedir(dir);
    p = RUN(LIMITED("3"));
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "going on at step 1 of 3");
}

/* A link to a file stays one, and the file is written. */
static void test_links(void **state)
{
    (void)state;
    write_file(in("target.plan"), "old", 3);
    assert_int_equal(symlink("target.plan", in("link.plan")), 0);
    process_assert_status(RUN(DINOC, DEMO, "-o", in("link.plan")), 0);
    struct stat info;
    assert_true(!lstat(in("link.plan"), &info) && S_ISLNK(info.st_mode));
    process_assert_status(RUN(DINORUN, "info", in("target.plan")), 0);
    process_assert_status(RUN(DINOC, DEMO, "-o", "/dev/null"), 0);
    assert_true(!stat("/dev/null", &info) && S_ISCHR(info.st_mode));
}

/* Places where nothing can be made: under a file, in a folder that is not there, where a folder is. */
static void test_unwritable(void **state)
{
    (void)state;
    const char *const nowhere[] = {in("tiny.plan/x"), in("no/x"), pictures};
    static const char *const reason[] = {"Not a directory", "No such file or directory", "Is a directory"};
    for (int n = 0; n < 3; n++) {
        const char *out = nowhere[n];
        refuses(RUN(DINOC, DEMO, "-o", out), 1, reason[n]);
        const struct process *p = RUN(DINORUN, "crops", plan, "--data", pictures, "--out", out);
        refuses(p, 1, reason[n]);
        p = RUN(DINORUN, "features", plan, "--weights", in("run/checkpoint.safetensors"), "--data", pictures, "--out",
                out);
        process_assert_status(p, 1);
        process_assert_says(p, p->err, reason[n]);
        if (n == 2) continue;
        refuses(RUN(DINORUN, "train", plan, "--replay", crops, "--out", out, "--ignore-memory"), 1, reason[n]);
    }
    refuses(RUN(DINORUN, "train", plan, "--replay", crops, "--out", plan, "--ignore-memory"), 1,
            "tiny.plan: Not a directory");
    leaves_nothing("x");
}

static int lines(const char *path)
{
    int count = 0;
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    for (int c; (c = fgetc(file)) != EOF;) count += c == '\n';
    fclose(file);
    return count;
}

/* Ctrl-C in the middle of a run: the step is finished and saved, and the resumed run ends where an uninterrupted one does. */
static void check_interrupt(int signal, const char *source, const char *path, const char *name)
{
    struct process p;
    char log[128], checkpoint[128], whole[128], out[96], other[96], steps[16];
    snprintf(out, sizeof out, "%s/%s", test_folder, name);
    snprintf(other, sizeof other, "%s/%s-whole", test_folder, name);
    snprintf(log, sizeof log, "%s/log.jsonl", out);
    snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint.safetensors", out);
    snprintf(whole, sizeof whole, "%s/checkpoint.safetensors", other);
#define RUN_OF(out)                                                                                                    \
    DINORUN, "train", plan, source, path, "--out", out, "--threads", "2", "--epochs", "100000", "--ignore-memory"
    process_start(&p, (const char *const[]){RUN_OF(out), NULL}, NULL);
    for (int waited = 0; lines(log) < 3 && waited < 100 * STEP_SECONDS; waited++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    kill(p.pid, signal);
    process_wait(&p);
    process_assert_status(&p, 3);
    process_assert_says(&p, p.out, "stopped at step ");
    process_assert_says(&p, p.out, "checkpoint.safetensors");
    int done = lines(log);
    assert_true(done >= 3);
    assert_int_equal(atoi(strstr(p.out, "stopped at step ") + 16), done);

    snprintf(steps, sizeof steps, "%d", done + 2);
    process_assert_status(RUN(RUN_OF(out), "--resume", "--steps", steps), 0);
    assert_int_equal(lines(log), done + 2);
    process_assert_status(RUN(RUN_OF(other), "--steps", steps), 0);
    assert_same_file(checkpoint, whole);
}

static void test_interrupt(void **state)
{
    (void)state;
    check_interrupt(SIGINT, "--replay", crops, "replayed");
    check_interrupt(SIGTERM, "--data", pictures, "pictured");
    check_interrupt(SIGHUP, "--replay", crops, "hung-up");
    check_interrupt(SIGUSR1, "--replay", crops, "warned");
    check_interrupt(SIGXCPU, "--replay", crops, "out-of-time");
}

/* A second signal ends the program in the middle of the step that the first one let go on. */
static void test_second_signal(void **state)
{
    (void)state;
    struct path slow = keep("slow.plan"), out = keep("slow"), log = keep("slow/log.jsonl");
    static const char *const larger[] = {"student.with.dim=192", "student.with.depth=4", "student.with.heads=4",
                                         "crops.local.count=8"};
    process_assert_status(RUN(DINOC, DEMO, "-o", slow.text, "--batch", "24", "--set", larger[0], "--set", larger[1],
                              "--set", larger[2], "--set", larger[3]),
                          0);
    struct path many = keep("many");
    dg_tiny_pictures(many.text, 8);
    for (int copy = 0; copy < 100; copy++) {
        char name[32];
        snprintf(name, sizeof name, "copy%d.png", copy);
        assert_int_equal(link(path_in(many.text, "00.png"), path_in(many.text, name)), 0);
    }
    struct process p;
    process_start(&p,
                  (const char *const[]){DINORUN, "train", slow.text, "--data", many.text, "--out", out.text,
                                        "--threads", "2", "--epochs", "1000", "--ignore-memory", "--set", "lr.warmup=0",
                                        NULL},
                  NULL);
    for (int waited = 0; lines(log.text) < 1 && waited < 100 * STEP_SECONDS; waited++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    kill(p.pid, SIGTERM);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL); /* two at once would be one */
    kill(p.pid, SIGTERM);
    process_wait(&p);
    process_assert_status(&p, -SIGTERM);
    assert_int_equal(lines(log.text), 1); /* the step was not finished */
}

/* A closed terminal's SIGHUP comes twice, and a batch system's SIGTERM follows its SIGUSR1: the step is finished and saved. */
static void test_repeated_signals(void **state)
{
    (void)state;
    struct process p;
    struct path log = keep("twice/log.jsonl"), checkpoint = keep("twice/checkpoint.safetensors");
    process_start(&p,
                  (const char *const[]){DINORUN, "train", plan, "--replay", crops, "--out", in("twice"), "--threads",
                                        "1", "--epochs", "100000", "--ignore-memory", "--set", "checkpoint.every=0",
                                        NULL},
                  NULL);
    for (int waited = 0; lines(log.text) < 1 && waited < 100 * STEP_SECONDS; waited++)
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    static const int sent[] = {SIGHUP, SIGHUP, SIGUSR1, SIGXCPU, SIGXCPU, SIGTERM};
    for (size_t s = 0; s < sizeof sent / sizeof *sent; s++) {
        kill(p.pid, sent[s]);
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL); /* two of one kind at once would be one */
    }
    process_wait(&p);
    process_assert_status(&p, 3);
    assert_int_equal(access(checkpoint.text, F_OK), 0);
}

/* The other end of a pipe goes away: the run saves and stops. */
static void test_reader_gone(void **state)
{
    (void)state;
    char command[1024];
    struct path checkpoint = keep("piped/checkpoint.safetensors");
    snprintf(command, sizeof command,
             "{ " DINORUN
             " train %s --replay %s --out %s --threads 1 --epochs 100000 --ignore-memory; echo $? > %s; } | "
             "head -n 1 > %s",
             plan, crops, path_in(test_folder, "piped"), path_in(test_folder, "piped-status"),
             path_in(test_folder, "piped-out"));
    process_assert_status(RUN("sh", "-c", command), 0);
    char *status = read_file(in("piped-status"), &(size_t){0});
    assert_string_equal(status, "3\n");
    free(status);
    assert_int_equal(access(checkpoint.text, F_OK), 0);
}

static void test_time_limit(void **state)
{
    (void)state;
#define TIMED DINORUN, "train", plan, "--replay", crops, "--out", in("timed"), "--ignore-memory", "--epochs", "100000"
    const struct process *p = RUN(TIMED, "--time-limit", "0.000001s", "--steps", "1"); /* over before the first step */
    process_assert_status(p, 3);
    process_assert_says(p, p->out, "stopped at step 0: ");
    process_assert_status(RUN(TIMED, "--resume", "--steps", "1"), 0);
    p = RUN(TIMED, "--resume", "--time-limit", "0.5s");
    process_assert_status(p, 3);
    process_assert_says(p, p->out, "stopped at step ");
    process_assert_status(RUN(TIMED, "--resume", "--time-limit", "1m", "--steps", "1"), 0); /* all done already */
    write_file(in("timed/stop"), "", 0);
    p = RUN(TIMED, "--resume", "--steps", "100000");
    process_assert_status(p, 3);
    process_assert_says(p, p->out, "stopped at step");
    assert_int_equal(access(in("timed/stop"), F_OK), -1);
    refuses(RUN(TIMED, "--time-limit", "soon"), 2, "expected a time, as in 90s, 45m, 12h or 3d");
}

static void test_resume(void **state)
{
    (void)state;
#define FRESH DINORUN, "train", plan, "--replay", crops, "--out", in("fresh"), "--ignore-memory", "--steps"
    const struct process *p = RUN(FRESH, "1", "--resume");
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "--resume: there is no checkpoint yet, so the run begins at step 0");
    /* Off a terminal: the first and the last step, with the time of day, and the entropy as a share. */
    process_assert_says(p, p->out, "  step 1/1  epoch 1/");
    process_assert_says(p, p->out, "entropy ");
    const char *line = strstr(p->out, "  step 1/1  epoch 1/") - strlen("2026-11-28 03:20:00");
    assert_true(line[4] == '-' && line[10] == ' ' && line[16] == ':');
    refuses(RUN(FRESH, "2"), 2, "add --resume");
    p = RUN(FRESH, "1", "--resume");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "all steps are done: 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_dinoc_passes),
                                       cmocka_unit_test(test_help),
                                       cmocka_unit_test(test_dinoc_refuses),
                                       cmocka_unit_test(test_library),
                                       cmocka_unit_test(test_library_backbones),
                                       cmocka_unit_test(test_linear),
                                       cmocka_unit_test(test_knn),
                                       cmocka_unit_test(test_import_and_export),
                                       cmocka_unit_test(test_dinorun_refuses),
                                       cmocka_unit_test(test_cpu_level),
                                       cmocka_unit_test(test_slow_bf16),
                                       cmocka_unit_test(test_trace),
                                       cmocka_unit_test(test_threads),
                                       cmocka_unit_test(test_many_threads),
                                       cmocka_unit_test(test_bench_crops),
                                       cmocka_unit_test(test_full_output),
                                       cmocka_unit_test(test_full_files),
                                       cmocka_unit_test(test_full_checkpoint),
                                       cmocka_unit_test(test_links),
                                       cmocka_unit_test(test_unwritable),
                                       cmocka_unit_test(test_interrupt),
                                       cmocka_unit_test(test_second_signal),
                                       cmocka_unit_test(test_repeated_signals),
                                       cmocka_unit_test(test_reader_gone),
                                       cmocka_unit_test(test_time_limit),
                                       cmocka_unit_test(test_resume)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}
