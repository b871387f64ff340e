/* Which images the commands take: data sets as people have them, from the folder to the list of rows. */
#include "tests/support/images.h"
#include "tests/support/process.h"
#include "tests/support/tiny.h"

#include "runtime/image/write.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#define DINORUN DG_BUILD_DIR "/dinorun"

static char plan[96], probe[96], weights[128], npy[96], tsv[128], left_out[128];

static int setup(void **state)
{
    setenv("OMP_WAIT_POLICY", "passive", 1); /* threads that spin are slow where others compute */
    make_test_folder(state);
    snprintf(plan, sizeof plan, "%s/tiny.plan", test_folder);
    snprintf(probe, sizeof probe, "%s/probe.plan", test_folder);
    snprintf(weights, sizeof weights, "%s/run/checkpoint.safetensors", test_folder);
    snprintf(npy, sizeof npy, "%s/f.npy", test_folder);
    snprintf(tsv, sizeof tsv, "%s.tsv", npy);
    snprintf(left_out, sizeof left_out, "%s.left-out.tsv", npy);
    dg_tiny_compile(plan, NULL);
    dg_tiny_pictures(in("pictures"), 4);
    process_assert_status(
        RUN(DINORUN, "train", plan, "--data", in("pictures"), "--out", in("run"), "--steps", "0", "--ignore-memory"),
        0);
    process_assert_status(RUN(DG_BUILD_DIR "/dinoc", DG_SOURCE_DIR "/graphs/linear.yaml", "-o", probe, "--set",
                              "backbone=vit", "--set", "with={dim: 32, heads: 2, depth: 2, patch: 8, image: 32}",
                              "--set", "blocks=1", "--set", "crops.size=32", "--set", "classes=2", "--batch", "4"),
                          0);
    return 0;
}

/* ---- a data set: its folders and files, as a list of names below `set` ---- */

static const char *set_path(const char *name)
{
    static char path[4][512];
    static int next;
    char *one = path[next++ % 4];
    snprintf(one, sizeof *path, "%s/%s", in("set"), name);
    return one;
}

/* Makes the folders above a file. */
static void make_above(const char *path)
{
    char folder[512];
    snprintf(folder, sizeof folder, "%s", path);
    for (char *slash = strchr(folder + strlen(test_folder) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(folder, 0700)) assert_int_equal(errno, EEXIST);
        *slash = '/';
    }
}

static void add_text(const char *name, const char *text)
{
    make_above(set_path(name));
    write_file(set_path(name), text, strlen(text));
}

static void add_image(const char *name)
{
    make_above(set_path(name));
    struct dg_image image = dg_test_noise(name, 40, 33);
    assert_ok(dg_image_write_png(set_path(name), image.pixels, image.width, image.height, 3, try_err));
    dg_image_free(&image);
}

static void add_images(const char *const *name)
{
    for (; *name; name++) add_image(*name);
}
#define ADD(...) add_images((const char *const[]){__VA_ARGS__, NULL})

static int clean(void **state)
{
    (void)state;
    if (!access(in("set"), F_OK)) remove_folder(in("set"));
    remove(npy);
    remove(tsv);
    remove(left_out);
    if (!access(in("once"), F_OK)) remove_folder(in("once"));
    return 0;
}

/* ---- what the commands do with it ---- */

static const struct process *features(const char *data, const char *flag, const char *value)
{
    return RUN(DINORUN, "features", plan, "--weights", weights, "--out", npy, "--data", data, flag, value);
}

static void takes(const struct process *p, const char *rows)
{
    process_assert_status(p, 0);
    size_t size;
    char *have = read_file(tsv, &size);
    assert_string_equal(have, rows);
    free(have);
    int64_t lines = 0;
    for (const char *c = rows; *c; c++) lines += *c == '\n';
    char shape[64];
    snprintf(shape, sizeof shape, "[%lld, 32] f32", (long long)lines);
    process_assert_says(p, p->out, shape);
}

static void refuses(const struct process *p, const char *text)
{
    process_assert_status(p, 1);
    process_assert_says(p, p->err, text);
    assert_int_not_equal(access(npy, F_OK), 0);
    assert_int_not_equal(access(tsv, F_OK), 0);
}

static const struct process *knn(const char *train, const char *val)
{
    return RUN(DINORUN, "knn", plan, "--weights", weights, "--train", train, "--val", val, "-k", "1");
}

static const struct process *train_once(const char *data)
{
    const char *out = in("once");
    if (!access(out, F_OK)) remove_folder(out);
    return RUN(DINORUN, "train", plan, "--data", data, "--out", out, "--steps", "0", "--ignore-memory");
}

/* A folder that a viewer made among the images of a flat folder. */
static void test_flat_with_subfolder(void **state)
{
    (void)state;
    ADD("p0.png", "p1.png", "p2.png", "p3.png", "p4.png", "thumbs/t0.png", "thumbs/t1.png");
    refuses(features(in("set"), NULL, NULL), "images lie beside its folders (5: p0.png) and in them (2: thumbs/)");
    takes(features(in("set"), "--flat", NULL),
          "p0.png\t\np1.png\t\np2.png\t\np3.png\t\np4.png\t\nthumbs/t0.png\t\nthumbs/t1.png\t\n");
    const struct process *p = train_once(in("set"));
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "7 images, 1 step an epoch");
    process_assert_says(p, p->err, "images lie beside its folders (5: p0.png) and in them (2: thumbs/): all are taken");
    p = knn(in("set"), in("set"));
    process_assert_status(p, 1);
    process_assert_says(p, p->err, "so it is not plain whether the folders are classes");
}

/* One image among the folders of classes: it is not the reason for a batch that is too small. */
static void test_stray(void **state)
{
    (void)state;
    ADD("a/0.png", "b/1.png", "sample.png");
    refuses(features(in("set"), NULL, NULL), "images lie beside its folders (1: sample.png)");
    add_text("classes.txt", "a\nb\n");
    const struct process *p = features(in("set"), "--classes-from", set_path("classes.txt"));
    takes(p, "a/0.png\ta\nb/1.png\tb\n");
    process_assert_says(p, p->err, "1 not of the classes asked for (sample.png)");
    p = RUN(DINORUN, "features", plan, "--weights", weights, "--out", npy, "--data", in("set"), "--flat",
            "--classes-from", set_path("classes.txt"));
    process_assert_status(p, 2);
}

/* An image under any name or none; files that are none; all commands say so. */
static void test_contents(void **state)
{
    (void)state;
    ADD("a/0.png", "a/0a1b2c3d", "b/photo.png_large", "b/x.dat");
    add_text("a/0.txt", "a cat");
    add_text("b/metadata.jsonl", "{}");
    add_text("b/zero", "");
    add_text("b/x.heic", "....ftypheic....");
    const struct process *p = features(in("set"), NULL, NULL);
    takes(p, "a/0.png\ta\na/0a1b2c3d\ta\nb/photo.png_large\tb\nb/x.dat\tb\n");
    process_assert_says(p, p->err, "passed over: 2 of other kinds (a/0.txt), 1 empty (b/zero)");
    process_assert_says(p, p->err, "1 in formats that this build does not read, left out: 1 HEIC (b/x.heic)");
    p = train_once(in("set"));
    process_assert_says(p, p->out, "4 images, 1 step");
    process_assert_says(p, p->err, "passed over: 2 of other kinds (a/0.txt), 1 empty (b/zero)");
    p = knn(in("set"), in("set"));
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "1 HEIC (b/x.heic)");
    remove_folder(in("once"));
    p = RUN(DINORUN, "linear", probe, "--weights", weights, "--train", in("set"), "--val", in("set"), "--out",
            in("once"), "--epochs", "1", "--ignore-memory");
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "passed over: 2 of other kinds (a/0.txt), 1 empty (b/zero)");
    p = RUN(DINORUN, "crops", plan, "--data", in("set"), "--out", in("crops.png"));
    process_assert_says(p, p->err, "passed over: 2 of other kinds (a/0.txt), 1 empty (b/zero)");
    p = RUN(DINORUN, "bench", plan, "--data", in("set"), "--images", "4", "--threads", "1");
    process_assert_says(p, p->err, "passed over: 2 of other kinds (a/0.txt), 1 empty (b/zero)");
}

/* A validation set as a zip of macOS unpacks, with all that other systems add. */
static void test_leftover_folders(void **state)
{
    (void)state;
    ADD("train/ant/0.png", "train/bee/1.png", "val/ant/0.png", "val/bee/1.png",
        "val/@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg", "val/.ipynb_checkpoints/0-checkpoint.png", "val/#recycle/old.png",
        "val/$RECYCLE.BIN/$R0.png");
    add_text("val/__MACOSX/ant/._0.png", "\5\x16\7");
    add_text("val/.DS_Store", "Bud1");
    add_text("val/ant/Thumbs.db", "x");
    add_text("val/ant/._0.png", "\5\x16\7");
    const struct process *p = knn(set_path("train"), set_path("val"));
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "2 images vote on 2, 2 classes; the most frequent class alone would get 50.00 %\n");
    process_assert_says(p, p->err, "passed over: 3 hidden (");
    process_assert_says(p, p->err, "5 left by viewers, drives or archives (");
    p = RUN(DINORUN, "linear", probe, "--weights", weights, "--train", set_path("val"), "--val", set_path("train"),
            "--out", in("once"), "--epochs", "1", "--ignore-memory");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "2 images of 2 classes");
}

/* What this program writes into the folder of the images. */
static void test_own_output(void **state)
{
    (void)state;
    ADD("0.png", "1.png", "2.png", "3.png");
    const char *data = in("set");
    process_assert_status(
        RUN(DINORUN, "train", plan, "--data", data, "--out", set_path("run"), "--steps", "1", "--ignore-memory"), 0);
    process_assert_status(RUN(DINORUN, "crops", plan, "--data", data, "--out", set_path("crops.png")), 0);
    process_assert_status(RUN(DINORUN, "attention", plan, "--weights", weights, "--image", set_path("0.png"), "--out",
                              set_path("attention")),
                          0);
    process_assert_status(RUN(DINORUN, "crops", plan, "--data", data, "--out", set_path("run/crops.png")), 0);
    takes(features(data, NULL, NULL), "0.png\t\n1.png\t\n2.png\t\n3.png\t\n");
    const struct process *p = RUN(DINORUN, "train", plan, "--data", data, "--out", set_path("run"), "--steps", "2",
                                  "--ignore-memory", "--resume");
    process_assert_status(p, 0); /* the same data */
    process_assert_says(p, p->err, "passed over: 3 written by dinorun (");
}

/* Names of any bytes: a line a row, and the list is read again. */
static void test_names(void **state)
{
    (void)state;
    ADD("a/new\nline.png", "a/ta\tb.png", "a/back\\slash.png", "b\tc/\xff.png", "b\tc/quo\"te'.png",
        "b\tc/ blank .png");
    takes(features(in("set"), NULL, NULL),
          "a/back\\\\slash.png\ta\na/new\\nline.png\ta\na/ta\\tb.png\ta\n"
          "b\\tc/ blank .png\tb\\tc\nb\\tc/quo\"te'.png\tb\\tc\nb\\tc/\\xff.png\tb\\tc\n");
    const struct process *p = RUN(DINORUN, "knn", "--features", "--train", npy, "--val", npy, "-k", "1",
                                  "--predictions", in("predictions.tsv"));
    process_assert_status(p, 0);
    process_assert_says(
        p, p->out,
        "6 images vote on 6, 2 classes; the most frequent class alone would get 50.00 %\n1-NN: top-1 100.00 %");
    size_t size;
    char *have = read_file(in("predictions.tsv"), &size);
    assert_non_null(strstr(have, "\nb\\tc/\\xff.png\tb\\tc\tb\\tc\n"));
    free(have);
    /* The list of one command is the list of another. */
    char *list = read_file(tsv, &size);
    write_file(set_path("list.tsv"), list, size);
    free(list);
    char at[128];
    snprintf(at, sizeof at, "@%s", set_path("list.tsv"));
    p = knn(at, in("set"));
    process_assert_status(p, 0);
    process_assert_says(
        p, p->out,
        "6 images vote on 6, 2 classes; the most frequent class alone would get 50.00 %\n1-NN: top-1 100.00 %");
    add_text("a/bad\x1b[31m\n.png", "no image");
    p = features(in("set"), "--max-bad-images", "0");
    process_assert_status(p, 1);
    process_assert_says(p, p->err, "a/bad\\x1b[31m\\n.png: the file is");
}

/* Unreadable images: all are named, and nothing is written; or they are left out, and rows and list stay in step. */
static void test_unreadable(void **state)
{
    (void)state;
    ADD("a/0.png", "a/1.png", "a/2.png", "a/3.png", "a/4.png", "b/0.png", "b/1.png", "b/2.png", "b/3.png", "b/4.png");
    takes(features(in("set"), NULL, NULL), "a/0.png\ta\na/1.png\ta\na/2.png\ta\na/3.png\ta\na/4.png\ta\n"
                                           "b/0.png\tb\nb/1.png\tb\nb/2.png\tb\nb/3.png\tb\nb/4.png\tb\n");
    size_t size, size_less;
    char *all = read_file(npy, &size);
    remove(npy);
    remove(tsv);
    add_text("a/1.png", "");
    add_text("b/4.png", "<html>");
    size_t png_size;
    char *png = read_file(set_path("b/0.png"), &png_size);
    write_file(set_path("b/0.png"), png, png_size / 2);
    free(png);
    const struct process *p = features(in("set"), NULL, NULL);
    refuses(p, "3 of 10 images cannot be read; the first: ");
    process_assert_says(p, p->err, "a/1.png: the file is empty");
    process_assert_says(p, p->err, "b/4.png: the file is a web page");
    process_assert_says(p, p->err, "b/0.png: the file is cut short");
    process_assert_says(p, p->err, "--max-bad-images 3");
    refuses(features(in("set"), "--max-bad-images", "2"), "3 of 10 images cannot be read, more than are tolerated");
    refuses(features(in("set"), "--max-bad-images", "29%"), "more than are tolerated");
    takes(features(in("set"), "--max-bad-images", "30%"), "a/0.png\ta\na/2.png\ta\na/3.png\ta\na/4.png\ta\n"
                                                          "b/1.png\tb\nb/2.png\tb\nb/3.png\tb\n");
    char *less = read_file(npy, &size_less), *out = read_file(left_out, &png_size);
    assert_int_equal(strncmp(out, "a/1.png\tthe file is empty\nb/0.png\tthe file is cut short", 48), 0);
    /* The rows are those of the same images, to the bit: one of the first batch and two of others are out. */
    size_t row = 32 * sizeof(float), header = 128;
    assert_int_equal(size_less, header + 7 * row);
    static const int kept[] = {0, 2, 3, 4, 6, 7, 8};
    for (int r = 0; r < 7; r++)
        assert_memory_equal(less + header + (size_t)r * row, all + header + (size_t)kept[r] * row, row);
    free(all);
    free(less);
    free(out);
    p = RUN(DINORUN, "knn", "--features", "--train", npy, "--val", npy, "-k", "1");
    process_assert_says(
        p, p->out,
        "7 images vote on 7, 2 classes; the most frequent class alone would get 57.14 %\n1-NN: top-1 100.00 %");
    p = knn(in("set"), in("set"));
    process_assert_status(p, 1);
    process_assert_says(p, p->err, "3 of 10 images cannot be read");
    p = RUN(DINORUN, "knn", plan, "--weights", weights, "--train", in("set"), "--val", in("set"), "-k", "1",
            "--max-bad-images", "3", "--predictions", in("votes.tsv"));
    process_assert_status(p, 0);
    out = read_file(in("votes.tsv.left-out.tsv"), &png_size);
    assert_non_null(strstr(out, "b/4.png\tthe file is a web page"));
    free(out);
    process_assert_says(
        p, p->out,
        "7 images vote on 7, 2 classes; the most frequent class alone would get 57.14 %\n1-NN: top-1 100.00 %");
    p = RUN(DINORUN, "linear", probe, "--weights", weights, "--train", in("set"), "--val", in("set"), "--out",
            in("once"), "--epochs", "1", "--ignore-memory", "--max-bad-images", "3");
    process_assert_says(p, p->err, "3 of 10 images cannot be read and are left out");
    /* Nothing is left out any more, so no list of it stays. */
    add_image("a/1.png");
    add_image("b/4.png");
    add_image("b/0.png");
    process_assert_status(features(in("set"), NULL, NULL), 0);
    assert_int_not_equal(access(left_out, F_OK), 0);
}

/* The score of a segmentation goes on without images and masks that cannot be read. */
static void test_masks(void **state)
{
    (void)state;
    ADD("i/0.png", "i/1.png", "i/2.png", "i/3.png");
    for (int m = 0; m < 4; m++) {
        char name[32];
        snprintf(name, sizeof name, "m/%d.png", m);
        make_above(set_path(name));
        uint8_t pixels[40 * 33] = {[300] = 255, [301] = 255};
        assert_ok(dg_image_write_png(set_path(name), pixels, 40, 33, 1, try_err));
    }
    add_text("m/1.png", "no mask");
    const struct process *p =
        RUN(DINORUN, "segment-score", plan, "--weights", weights, "--data", set_path("i"), "--masks", set_path("m"));
    process_assert_status(p, 1);
    process_assert_says(p, p->err, "1 of 4 images cannot be read; the first: ");
    process_assert_says(p, p->err, "m/1.png: the file is");
    add_text("i/3.png", "");
    p = RUN(DINORUN, "segment-score", plan, "--weights", weights, "--data", set_path("i"), "--masks", set_path("m"),
            "--max-bad-images", "1");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "2 images with 2 objects; 2 that cannot be read left out");
}

/* Classes that people take for one, in one set and in two. */
static void test_alike(void **state)
{
    (void)state;
    ADD("t/caf\xc3\xa9/0.png", "t/tea/1.png", "v/cafe\xcc\x81/0.png", "v/tea/1.png", "w/Dog/0.png", "w/dog/1.png");
    const struct process *p = knn(set_path("t"), set_path("v"));
    process_assert_status(p, 1);
#ifdef DG_UNISTRING
    process_assert_says(p, p->err, "\"cafe\\xcc\\x81\" is not among the training classes, but \"caf\\xc3\\xa9\" is");
#endif
    refuses(features(set_path("w"), NULL, NULL), "differ only in case");
    takes(features(set_path("w"), "--flat", NULL), "Dog/0.png\t\ndog/1.png\t\n");
}

/* Folders that are no classes, and levels that are not meant. */
static void test_doubtful(void **state)
{
    (void)state;
    ADD("train/a/0.png", "train/b/1.png", "val/a/0.png", "val/b/1.png");
    refuses(features(in("set"), NULL, NULL), "holds splits (train)");
    refuses(knn(in("set"), in("set")), "holds splits (train)");
    const struct process *p = train_once(in("set"));
    process_assert_says(p, p->err, "the images of all are taken");
    process_assert_says(p, p->out, "4 images");
    ADD("up/images/a/0.png", "up/images/b/0.png");
    refuses(knn(set_path("up"), set_path("up")), "up/images");
    add_text("val/plots/loss.csv", "1");
    refuses(knn(set_path("train"), set_path("val")), "1 of its folders (plots/) would be a class without an image");
    add_text("val/plots/broken.png", "none");
    refuses(knn(set_path("train"), set_path("val")), "of the class plots no image can be read (1 files)");
    p = RUN(DINORUN, "knn", plan, "--weights", weights, "--train", set_path("train"), "--val", set_path("val"), "-k",
            "1", "--classes-from", set_path("train"));
    process_assert_status(p, 0);
    process_assert_says(p, p->err, "passed over: 1 not of the classes asked for (plots)");
}

/* Several folders, and lists, with and without classes. */
static void test_sources(void **state)
{
    (void)state;
    ADD("x/a/0.png", "x/b/1.png", "y/b/2.png", "y/c/3.png", "flat/4.png");
    const struct process *p = RUN(DINORUN, "knn", plan, "--weights", weights, "--train", set_path("x"), "--train",
                                  set_path("y"), "--val", set_path("y"), "-k", "1");
    process_assert_status(p, 0);
    process_assert_says(
        p, p->out,
        "4 images vote on 2, 3 classes; the most frequent class alone would get 50.00 %\n1-NN: top-1 100.00 %");
    process_assert_says(p, p->err, "1 of 3 classes without an image to validate with: a");
    p = RUN(DINORUN, "train", plan, "--data", set_path("x"), "--data", set_path("flat"), "--data", set_path("y"),
            "--out", in("once"), "--steps", "0", "--ignore-memory");
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "5 images, 1 step an epoch");
    p = RUN(DINORUN, "features", plan, "--weights", weights, "--out", npy, "--data", set_path("x"), "--data",
            set_path("x/a"));
    process_assert_status(p, 2);
    process_assert_says(p, p->err, "would be taken twice");
    char at[128];
    add_text("list.txt", "y/c/3.png\tsea\nflat/4.png\tland\nx/a/0.png\tsea\n");
    snprintf(at, sizeof at, "@%s", set_path("list.txt"));
    takes(features(at, NULL, NULL), "y/c/3.png\tsea\nflat/4.png\tland\nx/a/0.png\tsea\n");
    add_text("order.txt", "sea\nland\n");
    takes(features(at, "--classes-from", set_path("order.txt")), "y/c/3.png\tsea\nflat/4.png\tland\nx/a/0.png\tsea\n");
    p = knn(at, at);
    process_assert_status(p, 0);
    process_assert_says(
        p, p->out,
        "3 images vote on 3, 2 classes; the most frequent class alone would get 66.67 %\n1-NN: top-1 100.00 %");
    remove(npy);
    remove(tsv);
    add_text("list.txt", "y/c/3.png 0\nflat/4.png 1\n");
    refuses(features(at, NULL, NULL), "between a path and its class stands a tab");
}

/* A run goes on where its images are found in another order, and not where they are others. */
static void test_resume(void **state)
{
    (void)state;
    ADD("b/0.png", "a/1.png", "c/d/e/2.png", "3.png");
    const char *data = in("set"), *out = in("resumed");
    process_assert_status(RUN(DINORUN, "train", plan, "--data", data, "--out", out, "--steps", "1", "--ignore-memory"),
                          0);
    /* Another order of the folder's entries, another locale, and what is no data. */
    assert_int_equal(rename(set_path("a"), in("kept")), 0);
    add_text("Z.txt", "x");
    assert_int_equal(rename(in("kept"), set_path("a")), 0);
    setenv("LC_ALL", "C.UTF-8", 1);
    process_assert_status(
        RUN(DINORUN, "train", plan, "--data", data, "--out", out, "--steps", "2", "--ignore-memory", "--resume"), 0);
    unsetenv("LC_ALL");
    add_image("z.png");
    const struct process *p =
        RUN(DINORUN, "train", plan, "--data", data, "--out", out, "--steps", "3", "--ignore-memory", "--resume");
    process_assert_status(p, 2);
    process_assert_says(p, p->err, "--new-data");
}

#define TEST(f) cmocka_unit_test_teardown(f, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(test_flat_with_subfolder),
                                       TEST(test_stray),
                                       TEST(test_contents),
                                       TEST(test_leftover_folders),
                                       TEST(test_own_output),
                                       TEST(test_names),
                                       TEST(test_unreadable),
                                       TEST(test_alike),
                                       TEST(test_masks),
                                       TEST(test_doubtful),
                                       TEST(test_sources),
                                       TEST(test_resume)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}
