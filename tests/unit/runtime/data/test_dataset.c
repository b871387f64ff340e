/* Which files are the data: what is passed over, what are classes, which readings are refused, in which order. */
#include "runtime/data/dataset.h"
#include "runtime/image/write.h"
#include "tests/support/images.h"
#include "tests/support/log.h"

#include <sys/stat.h>
#include <unistd.h>

static void make_dir(const char *name) { assert_int_equal(mkdir(in(name), 0700), 0); }

static void touch(const char *name) { write_file(in(name), "\xff\xd8\xff\xe0", 4); }

static void text(const char *name, const char *bytes) { write_file(in(name), bytes, strlen(bytes)); }

static struct dg_dataset *opened;

static struct dg_dataset *open_with(const struct dg_data *data, enum dg_labels labels)
{
    dg_test_hush();
    dg_dataset_close(opened);
    assert_ok(dg_dataset_open(data, labels, &dg_test_log, &opened, try_err));
    return opened;
}

static struct dg_dataset *open_folder(const char *path, enum dg_labels labels)
{
    return open_with(&DG_FOLDER(path), labels);
}

static void says(const char *part)
{
    if (!strstr(dg_test_said, part)) fail_msg("\"%s\" is not in: %s", part, dg_test_said);
}

/* The relative paths, and with `classes` the names of their classes, each behind a blank. */
static void has(const struct dg_dataset *dataset, const char *expected)
{
    char list[4096] = "";
    for (int64_t i = 0; i < dg_dataset_count(dataset); i++) {
        int label = dg_dataset_label(dataset, i);
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s%s%s", i ? " " : "",
                 dg_dataset_relative(dataset, i), label < 0 ? "" : "=",
                 label < 0 ? "" : dg_dataset_class_name(dataset, label));
    }
    assert_string_equal(list, expected);
}

static void refuses_with(const struct dg_data *data, enum dg_labels labels, enum dg_status expected, const char *part)
{
    struct dg_dataset *dataset;
    struct dg_error err = {0};
    assert_int_equal(dg_dataset_open(data, labels, NULL, &dataset, &err), expected);
    assert_null(dataset);
    if (!strstr(err.text, part)) fail_msg("\"%s\" is not in: %s", part, err.text);
}

static void refuses(const char *path, enum dg_labels labels, const char *part)
{
    refuses_with(&DG_FOLDER(path), labels, DG_ERR_INPUT, part);
}

static int clean(void **state)
{
    dg_dataset_close(opened);
    opened = NULL;
    return remove_test_folder(state);
}

/* ---- what is an image ---- */

static void test_flat(void **state)
{
    (void)state;
    touch("b.jpg");
    touch("a.PNG"); /* by its name; what is in it says the decoder */
    touch("c.Jpeg");
    touch("B.jfif");
    touch("content"); /* by what is in it */
    touch("image.001");
    touch(".hidden.jpg");
    text("notes.txt", "x");
    text("jpg", "BMW and others");
    text("zero", "");
    text("x.heic", "....ftypheic........");
    make_dir("empty");
    assert_int_equal(mkfifo(in("pipe.jpg"), 0600), 0);
    assert_int_equal(symlink("nowhere", in("dangling.jpg")), 0);
    assert_int_equal(symlink("circle.jpg", in("circle.jpg")), 0);
    assert_int_equal(symlink("b.jpg", in("link.jpg")), 0);
    struct dg_dataset *d = open_folder(test_folder, DG_LABELS_IF_ANY);
    has(d, "B.jfif a.PNG b.jpg c.Jpeg content image.001 link.jpg");
    assert_string_equal(dg_dataset_path(d, 2), in("b.jpg"));
    assert_int_equal(dg_dataset_classes(d), 0);
    uint64_t hash = DG_FNV_BASIS;
    for (int i = 0; i < 7; i++) hash = dg_fnv1a(hash, dg_dataset_relative(d, i), strlen(dg_dataset_relative(d, i)) + 1);
    assert_true(dg_dataset_hash(d) == hash);
    says("1 hidden (.hidden.jpg)");
    says("1 empty (zero)");
    says("1 linked to nothing (dangling.jpg)");
    says("1 linked in a circle (circle.jpg)");
    says("1 neither file nor folder (pipe.jpg)");
    says("1 without images (empty)");
    says("1 HEIC (x.heic)");
    says("of other kinds (");
}

/* What viewers, drives, archives and tools leave behind, as folders of images and as files. */
static void test_leftovers(void **state)
{
    (void)state;
    static const char *const folder[] = {"__MACOSX",     "@eaDir",
                                         "#recycle",     "$RECYCLE.BIN",
                                         "lost+found",   ".git",
                                         ".AppleDouble", ".Trash-1000",
                                         "$Recycle.Bin", ".ipynb_checkpoints",
                                         "@Recycle",     ".thumbnails",
                                         ".cache",       "System Volume Information"};
    static const char *const file[] = {".DS_Store", "._a.jpg", "Thumbs.db", "desktop.ini", "Desktop.ini", "Icon\r"};
    enum { FOLDERS = sizeof folder / sizeof *folder, FILES = sizeof file / sizeof *file };
    make_dir("ant");
    make_dir("bee");
    touch("ant/1.jpg");
    touch("bee/2.jpg");
    for (int f = 0; f < FOLDERS; f++) {
        char name[128];
        make_dir(folder[f]);
        snprintf(name, sizeof name, "%s/x.jpg", folder[f]);
        touch(name);
        snprintf(name, sizeof name, "ant/%s", folder[f]);
        make_dir(name);
        snprintf(name, sizeof name, "ant/%s/ant.jpg", folder[f]);
        touch(name);
    }
    for (int f = 0; f < FILES; f++) {
        char name[64];
        snprintf(name, sizeof name, "bee/%s", file[f]);
        touch(name);
        touch(file[f]);
    }
    static const char *const unfinished[] = {"bee/2.jpg~", "ant/1.jpg.part", "ant/3.jpg.crdownload",
                                             "x.jpg.bak",  "y.tmp",          "bee/f.png.part-123"};
    for (int u = 0; u < 6; u++) touch(unfinished[u]);
    static const enum dg_labels labels[] = {DG_LABELS_UNUSED, DG_LABELS_IF_ANY, DG_LABELS_NEEDED};
    for (int l = 0; l < 3; l++) {
        struct dg_dataset *d = open_folder(test_folder, labels[l]);
        has(d, l ? "ant/1.jpg=ant bee/2.jpg=bee" : "ant/1.jpg bee/2.jpg");
        char hidden[64];
        snprintf(hidden, sizeof hidden, "%d hidden (.AppleDouble)", 2 * (2 + 6));
        says(hidden);
        says("left by viewers, drives or archives");
        says("6 backups or unfinished (");
    }
}

/* Endings of files say nothing of folders. */
static void test_folder_endings(void **state)
{
    (void)state;
    make_dir("a.tmp");
    make_dir("b~");
    touch("a.tmp/1.jpg");
    touch("b~/2.jpg");
    has(open_folder(test_folder, DG_LABELS_NEEDED), "a.tmp/1.jpg=a.tmp b~/2.jpg=b~");
}

/* Folders that this program wrote, among the images. */
static void test_own(void **state)
{
    (void)state;
    static const char *const made[][3] = {{"run", "log.jsonl", "checkpoint.safetensors"},
                                          {"probe", "log.jsonl", "linear.safetensors"},
                                          {"early", "log.jsonl", "settings.txt"},
                                          {"heads", "attention.npy", "sheet.png"}};
    touch("a.jpg");
    for (int m = 0; m < 4; m++) {
        char name[64];
        make_dir(made[m][0]);
        for (int f = 1; f < 3; f++) {
            snprintf(name, sizeof name, "%s/%s", made[m][0], made[m][f]);
            text(name, "x");
        }
        snprintf(name, sizeof name, "%s/crops.png", made[m][0]);
        touch(name);
    }
    has(open_folder(test_folder, DG_LABELS_IF_ANY), "a.jpg");
    says("4 written by dinorun (early)");
    has(open_folder(test_folder, DG_LABELS_UNUSED), "a.jpg");
    const uint8_t pixels[12] = {0};
    assert_ok(dg_image_write_drawing(in("crops.png"), pixels, 2, 2, try_err));
    assert_ok(dg_image_write_png(in("scene.png"), pixels, 2, 2, 3, try_err));
    has(open_folder(test_folder, DG_LABELS_UNUSED), "a.jpg scene.png");
    says("5 written by dinorun (crops.png)");
    assert_int_equal(remove(in("scene.png")), 0);
    make_dir("plots"); /* a log alone is nobody's */
    text("plots/log.jsonl", "x");
    touch("plots/b.jpg");
    has(open_folder(test_folder, DG_LABELS_UNUSED), "a.jpg plots/b.jpg");
}

/* ---- classes ---- */

static void test_class_tree(void **state)
{
    (void)state;
    make_dir("n02");
    make_dir("n01");
    make_dir("n01/deep");
    make_dir("n01/deep/er");
    make_dir("n01/deep-er");
    text("labels.csv", "x");
    touch("n02/z.jpg");
    touch("n02/a.jpg");
    touch("n01/x.jpg");
    touch("n01/deep/y.png");
    touch("n01/deep/er/y.png");
    touch("n01/deep-er/y.png");
    text("n01/readme", "x");
    assert_int_equal(symlink("..", in("n01/up")), 0);
    char with_slash[80];
    snprintf(with_slash, sizeof with_slash, "%s//", test_folder);
    has(open_folder(with_slash, DG_LABELS_NEEDED),
        "n01/x.jpg=n01 n01/deep/y.png=n01 n01/deep-er/y.png=n01 n01/deep/er/y.png=n01 n02/a.jpg=n02 n02/z.jpg=n02");
    assert_int_equal(dg_dataset_classes(opened), 2);
    says("2 of other kinds (labels.csv)");
    says("1 linked in a circle (n01/up)");
    uint64_t hash = dg_dataset_hash(opened);
    assert_true(dg_dataset_hash(open_folder(test_folder, DG_LABELS_UNUSED)) == hash);
}

/* Images beside folders: without classes all count, and it is said; with them it is not plain. */
static void test_strays(void **state)
{
    (void)state;
    make_dir("thumbs");
    touch("thumbs/t.jpg");
    touch("b.jpg");
    touch("a.jpg");
    has(open_folder(test_folder, DG_LABELS_UNUSED), "a.jpg b.jpg thumbs/t.jpg");
    says("images lie beside its folders (2: a.jpg) and in them (1: thumbs/): all are taken");
    refuses(test_folder, DG_LABELS_IF_ANY, "images lie beside its folders (2: a.jpg) and in them (1: thumbs/)");
    refuses(test_folder, DG_LABELS_IF_ANY, "--flat");
    refuses(test_folder, DG_LABELS_NEEDED, "--classes-from FILE");
    make_dir("c");
    touch("c/1.jpg");
    make_dir("d");
    touch("d/1.jpg");
    refuses(test_folder, DG_LABELS_NEEDED, "images lie beside its folders (2: a.jpg) and in them (3: c/)");
    text("classes.txt", "d\nc\n");
    struct dg_data data = DG_FOLDER(test_folder);
    data.classes_from = in("classes.txt");
    has(open_with(&data, DG_LABELS_NEEDED), "c/1.jpg=c d/1.jpg=d");
    assert_string_equal(dg_dataset_class_name(opened, 0), "d"); /* in the order of the file */
    says("3 not of the classes asked for (");
}

static void test_empty_classes(void **state)
{
    (void)state;
    make_dir("ant");
    make_dir("bee");
    make_dir("plots");
    touch("ant/1.jpg");
    touch("bee/1.jpg");
    text("plots/loss.csv", "1");
    refuses(test_folder, DG_LABELS_NEEDED, "1 of its folders (plots/) would be a class without an image");
    has(open_folder(test_folder, DG_LABELS_IF_ANY), "ant/1.jpg=ant bee/1.jpg=bee");
    says("1 without images (plots)");
    /* Files that are named as images and are none. */
    text("plots/loss.csv.png", "<html>");
    text("plots/x.png", "");
    refuses(test_folder, DG_LABELS_NEEDED, "of the class plots no image can be read (2 files)");
    touch("plots/y.png");
    assert_int_equal(dg_dataset_classes(open_folder(test_folder, DG_LABELS_NEEDED)), 3);
    text("classes.txt", "ant\nbee\ncow\n");
    struct dg_data data = DG_FOLDER(test_folder);
    data.classes_from = in("classes.txt");
    assert_int_equal(dg_dataset_classes(open_with(&data, DG_LABELS_NEEDED)), 3); /* cow has none */
    assert_int_equal(dg_dataset_count(opened), 2);
}

static void test_alike(void **state)
{
    (void)state;
    static const char *const pair[][2] = {{"Cat", "cat"}, {"dog", "dog "}, {"caf\xc3\xa9", "cafe\xcc\x81"}};
    for (int p = 0; p < 3; p++) {
        char folder[32], path[80], file[96];
        snprintf(folder, sizeof folder, "set%d", p);
        make_dir(folder);
        for (int n = 0; n < 2; n++) {
            snprintf(path, sizeof path, "%s/%s", folder, pair[p][n]);
            make_dir(path);
            snprintf(file, sizeof file, "%s/1.jpg", path);
            touch(file);
        }
#ifndef DG_UNISTRING
        if (p == 2) continue;
#endif
        refuses(in(folder), DG_LABELS_NEEDED, "differ only in case");
        refuses(in(folder), DG_LABELS_IF_ANY, "differ only in case");
        assert_int_equal(dg_dataset_count(open_folder(in(folder), DG_LABELS_UNUSED)), 2);
    }
#ifdef DG_UNISTRING
    refuses(in("set2"), DG_LABELS_NEEDED, "\"cafe\\xcc\\x81\" and \"caf\\xc3\\xa9\"");
#endif
}

/* One level too high: splits, or one folder that holds all. */
static void test_levels(void **state)
{
    (void)state;
    static const char *const folder[] = {"set",       "set/train", "set/Val", "set/train/a", "set/train/b",
                                         "set/Val/a", "up",        "up/set",  "up/set/a",    "up/set/b"};
    for (size_t f = 0; f < sizeof folder / sizeof *folder; f++) make_dir(folder[f]);
    touch("set/train/a/1.jpg");
    touch("set/train/b/1.jpg");
    touch("set/Val/a/1.jpg");
    touch("up/set/a/1.jpg");
    touch("up/set/b/1.jpg");
    refuses(in("set"), DG_LABELS_NEEDED, "holds splits (Val)");
    refuses(in("set"), DG_LABELS_IF_ANY, "--flat");
    assert_int_equal(dg_dataset_count(open_folder(in("set"), DG_LABELS_UNUSED)), 3);
    says("has the folders of splits");
    refuses(in("up"), DG_LABELS_NEEDED, "up/set");
    assert_int_equal(dg_dataset_classes(open_folder(in("up"), DG_LABELS_IF_ANY)), 1);
    has(open_folder(in("up/set"), DG_LABELS_NEEDED), "a/1.jpg=a b/1.jpg=b");
}

static void test_match(void **state)
{
    (void)state;
    static const char *const folder[] = {"t", "t/a", "t/b", "t/c", "v", "v/b", "w", "w/a", "w/x", "w/y", "z", "z/B "};
    for (size_t f = 0; f < sizeof folder / sizeof *folder; f++) {
        char file[64];
        make_dir(folder[f]);
        if (!strchr(folder[f], '/')) continue;
        snprintf(file, sizeof file, "%s/1.jpg", folder[f]);
        touch(file);
    }
    struct dg_dataset *t, *v;
    int number[8];
    struct dg_error err = {0};
    assert_ok(dg_dataset_open(&DG_FOLDER(in("t")), DG_LABELS_NEEDED, NULL, &t, try_err));
    assert_ok(dg_dataset_open(&DG_FOLDER(in("v")), DG_LABELS_NEEDED, NULL, &v, try_err));
    dg_test_hush();
    assert_ok(dg_dataset_match_classes(v, t, number, &dg_test_log, try_err));
    assert_int_equal(number[0], 1);
    says("2 of 3 classes without an image to validate with: a, c");
    dg_dataset_close(v);
    assert_ok(dg_dataset_open(&DG_FOLDER(in("w")), DG_LABELS_NEEDED, NULL, &v, try_err));
    assert_int_equal(dg_dataset_match_classes(v, t, number, NULL, &err), DG_ERR_INPUT);
    assert_non_null(strstr(err.text, "classes x, y are not among the training classes"));
    dg_dataset_close(v);
    err = (struct dg_error){0};
    assert_ok(dg_dataset_open(&DG_FOLDER(in("z")), DG_LABELS_NEEDED, NULL, &v, try_err));
    assert_int_equal(dg_dataset_match_classes(v, t, number, NULL, &err), DG_ERR_INPUT);
    assert_non_null(strstr(err.text, "\"B \" is not among the training classes, but \"b\" is"));
    dg_dataset_close(v);
    dg_dataset_close(t);
}

/* ---- several sources, lists ---- */

static const char *at(const char *name)
{
    static char path[4][520];
    static int next;
    char *one = path[next++ % 4];
    snprintf(one, sizeof *path, "@%s", in(name));
    return one;
}

static void test_several(void **state)
{
    (void)state;
    static const char *const folder[] = {"x", "x/ant", "x/bee", "y", "y/bee", "y/cow", "flat"};
    for (size_t f = 0; f < sizeof folder / sizeof *folder; f++) make_dir(folder[f]);
    touch("x/ant/1.jpg");
    touch("x/bee/1.jpg");
    touch("y/bee/1.jpg");
    touch("y/cow/1.jpg");
    touch("flat/1.jpg");
    const char *both[] = {in("y"), in("x")};
    struct dg_data data = {.path = both, .paths = 2};
    open_with(&data, DG_LABELS_NEEDED);
    assert_int_equal(dg_dataset_classes(opened), 3);
    static const int label[] = {1, 2, 0, 1};
    for (int i = 0; i < 4; i++) assert_int_equal(dg_dataset_label(opened, i), label[i]);
    assert_string_equal(dg_dataset_relative(opened, 0), dg_dataset_path(opened, 0)); /* which of the two */
    uint64_t hash = dg_dataset_hash(opened);
    char doubled[600];
    snprintf(doubled, sizeof doubled, "%s//", in("y"));
    both[0] = doubled;
    assert_true(dg_dataset_hash(open_with(&data, DG_LABELS_NEEDED)) == hash);
    const char *swapped[] = {in("x"), in("y")};
    data.path = swapped;
    assert_true(dg_dataset_hash(open_with(&data, DG_LABELS_NEEDED)) != hash);
    swapped[1] = in("flat");
    refuses_with(&data, DG_LABELS_NEEDED, DG_ERR_INPUT, "no classes");
    refuses_with(&data, DG_LABELS_IF_ANY, DG_ERR_INPUT, "--flat takes all");
    assert_int_equal(dg_dataset_count(open_with(&data, DG_LABELS_UNUSED)), 3);
    swapped[1] = in("x/bee");
    refuses_with(&data, DG_LABELS_UNUSED, DG_ERR_USAGE, "would be taken twice");
    swapped[1] = swapped[0];
    refuses_with(&data, DG_LABELS_UNUSED, DG_ERR_USAGE, "would be taken twice");
}

static void test_list(void **state)
{
    (void)state;
    static const char *const name[] = {"two words.jpg", "tab\there.jpg",   "line\nfeed.jpg",
                                       "\"quoted'.jpg", "back\\slash.jpg", "\xff\xfe.jpg",
                                       "end ",          "#1.jpg",          "\rreturn.jpg"};
    enum { NAMES = sizeof name / sizeof *name };
    make_dir("set");
    for (int n = 0; n < NAMES; n++) {
        char path[64];
        snprintf(path, sizeof path, "set/%s", name[n]);
        touch(path);
    }
    text("set/list.txt",
         "\xef\xbb\xbftwo words.jpg\r\n\ntab\\there.jpg\nline\\nfeed.jpg\n\"quoted'.jpg\nback\\\\slash.jpg\n"
         "\\xff\xfe.jpg\nend \n#1.jpg\n\\rreturn.jpg");
    open_folder(at("set/list.txt"), DG_LABELS_IF_ANY);
    assert_int_equal(dg_dataset_count(opened), NAMES);
    for (int n = 0; n < NAMES; n++) assert_string_equal(dg_dataset_relative(opened, n), name[n]); /* in its order */
    uint64_t hash = dg_dataset_hash(opened);
    /* as find -print0 writes it */
    char zeros[512];
    size_t size = 0;
    for (int n = 0; n < NAMES; n++) size += (size_t)snprintf(zeros + size, sizeof zeros - size, "%s", name[n]) + 1;
    write_file(in("set/zeros"), zeros, size);
    assert_true(dg_dataset_hash(open_folder(at("set/zeros"), DG_LABELS_IF_ANY)) == hash);
    /* absolute paths, classes, again */
    char lines[2048];
    snprintf(lines, sizeof lines, "%s\tb\n#1.jpg\ta\tb\n", in("set/two words.jpg"));
    text("set/tabs.txt", lines);
    refuses(at("set/tabs.txt"), DG_LABELS_NEEDED, "line 2: more than one tab");
    snprintf(lines, sizeof lines, "%s\tb\\tb\n#1.jpg\ta\nend \ta\nend \ta\n", in("set/two words.jpg"));
    text("set/classes.txt", lines);
    open_folder(at("set/classes.txt"), DG_LABELS_NEEDED);
    assert_string_equal(dg_dataset_relative(opened, 0), in("set/two words.jpg"));
    assert_int_equal(dg_dataset_label(opened, 0), 1);
    assert_string_equal(dg_dataset_class_name(opened, 1), "b\tb");
    says("names images again (1: ");
    hash = dg_dataset_hash(opened);
    snprintf(lines, sizeof lines, "%s\tb\\tb\n#1.jpg\ta\nend \ta\nend \tb\n", in("set/two words.jpg"));
    text("set/classes.txt", lines);
    assert_true(dg_dataset_hash(open_folder(at("set/classes.txt"), DG_LABELS_NEEDED)) != hash);
}

static void test_wrong_lists(void **state)
{
    (void)state;
    touch("a.jpg");
    touch("b.jpg");
    make_dir("c.jpg");
    static const char *const wrong[][2] = {
        {"", "the list is empty"},
        {"\n\r\n", "the list is empty"},
        {"a.jpg\nnone.jpg\nneither.jpg\n",
         "2 of its 3 files cannot be opened, the first on line 2: none.jpg: No such file"},
        {"a.jpg 0\n", "between a path and its class stands a tab"},
        {"a.jpg,cat\n", "between a path and its class stands a tab"},
        {"c.jpg\n", "not a regular file"},
        {"a.jpg\\n\n", "line 1: a.jpg\\n: No such file"},
        {"a.jpg\nb\\q.jpg\n", "line 2: a backslash that begins"},
        {"\tcat\n", "line 1: no path before the tab"},
        {"a.jpg\tcat\nb.jpg\n", "1 of its 2 files have no class"},
    };
    for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++) {
        text("list", wrong[w][0]);
        refuses(at("list"), DG_LABELS_IF_ANY, wrong[w][1]);
    }
    text("list", "a.jpg\nb.jpg\n");
    refuses(at("list"), DG_LABELS_NEEDED, "no classes, which are needed");
    refuses_with(&DG_FOLDER(at("missing")), DG_LABELS_UNUSED, DG_ERR_IO, "No such file");
    refuses_with(&DG_FOLDER(at("c.jpg")), DG_LABELS_UNUSED, DG_ERR_USAGE, "is not a file");
    struct dg_data data = DG_FOLDER(at("list"));
    text("list", "a.jpg\tcat\nb.jpg\tdog\n");
    data.classes_from = in("few");
    text("few", "dog\n");
    has(open_with(&data, DG_LABELS_IF_ANY), "b.jpg=dog");
    says("1 not of the classes asked for (a.jpg)");
    text("few", "dog\ncat\ndog\n");
    refuses_with(&data, DG_LABELS_NEEDED, DG_ERR_INPUT, "names the class dog twice");
    text("few", "\n");
    refuses_with(&data, DG_LABELS_NEEDED, DG_ERR_INPUT, "names no class");
}

/* ---- the rest ---- */

static void test_left_out(void **state)
{
    (void)state;
    touch("a.jpg");
    touch("b.jpg");
    touch("c.jpg");
    struct dg_dataset *d = open_folder(test_folder, DG_LABELS_IF_ANY);
    struct dg_bad_images bad;
    dg_bad_images_init(&bad);
    const struct dg_error reason = {DG_ERR_INPUT, "x: damaged"};
    assert_ok(dg_bad_images_add(&bad, 2, "x", &reason, try_err));
    assert_ok(dg_bad_images_add(&bad, 0, "new\nline", &reason, try_err));
    struct dg_error err = {0};
    dg_test_hush();
    assert_int_equal(dg_bad_images_settle(&bad, 3, 1, &dg_test_log, &err), DG_ERR_INPUT);
    assert_non_null(strstr(err.text, "2 of 3 images cannot be read"));
    assert_non_null(strstr(err.text, "--max-bad-images 2"));
    says("new\\nline: x: damaged\nx: damaged\n"); /* by index */
    assert_ok(dg_bad_images_settle(&bad, 3, 2, NULL, try_err));
    assert_ok(dg_dataset_leave_out(d, &bad, try_err));
    dg_bad_images_free(&bad);
    has(d, "b.jpg");
    int64_t count;
    const struct dg_left_out *out = dg_dataset_left_out(d, &count);
    assert_int_equal(count, 2);
    assert_string_equal(out[0].relative, "a.jpg");
    assert_string_equal(out[1].relative, "c.jpg");
    assert_string_equal(out[1].reason, "damaged");
    assert_int_equal(dg_bad_limit_of((struct dg_bad_limit){.percent = 0.5}, 1999), 9);
    assert_int_equal(dg_bad_limit_of((struct dg_bad_limit){.images = 7}, 1999), 7);
}

/* A link to a folder of the same data would count its images twice; one to elsewhere, or to what is hidden, is followed. */
static void test_links(void **state)
{
    (void)state;
    static const char *const folder[] = {"set", "set/a", "set/b", "set/.store", "set/.store/c", "else"};
    for (size_t f = 0; f < sizeof folder / sizeof *folder; f++) make_dir(folder[f]);
    touch("set/a/1.jpg");
    touch("set/b/2.jpg");
    touch("set/.store/c/3.jpg");
    touch("else/4.jpg");
    assert_int_equal(symlink("../b", in("set/a/b")), 0);
    assert_int_equal(symlink("b", in("set/alias")), 0);
    assert_int_equal(symlink(".store/c", in("set/c")), 0);
    assert_int_equal(symlink("../else", in("set/d")), 0);
    assert_int_equal(symlink("set", in("link")), 0);
    has(open_folder(in("link"), DG_LABELS_NEEDED), "a/1.jpg=a b/2.jpg=b c/3.jpg=c d/4.jpg=d");
    says("2 linked to what is here by itself (a/b)");
    refuses_with(&DG_FOLDER(""), DG_LABELS_UNUSED, DG_ERR_USAGE, "is empty");
}

static void test_failures(void **state)
{
    (void)state;
    refuses_with(&DG_FOLDER(in("missing")), DG_LABELS_UNUSED, DG_ERR_IO, "No such file");
    text("notes.txt", "x");
    refuses_with(&DG_FOLDER(in("notes.txt")), DG_LABELS_UNUSED, DG_ERR_USAGE, "not a directory");
    copy_file(DG_SOURCE_DIR "/tests/fixtures/image/rgb8.png", in("one"));
    has(open_folder(in("one"), DG_LABELS_UNUSED), "one"); /* an image, by its first bytes */
    has(open_folder(in("one"), DG_LABELS_IF_ANY), "one");
    refuses_with(&DG_FOLDER(in("one")), DG_LABELS_NEEDED, DG_ERR_USAGE, "not a directory");
    assert_int_equal(unlink(in("one")), 0);
    refuses(test_folder, DG_LABELS_UNUSED, "no images in");
    refuses(test_folder, DG_LABELS_UNUSED, "1 of other kinds (notes.txt)");
    text("set.7z", "7z\xbc\xaf\x27\x1c");
    refuses(test_folder, DG_LABELS_UNUSED, "set.7z is an archive: unpack it");
    touch("a.png");
    make_dir("closed");
    touch("closed/b.png");
    assert_int_equal(chmod(in("closed"), 0), 0);
    if (geteuid() != 0) { /* root may read everything */
        has(open_folder(test_folder, DG_LABELS_UNUSED), "a.png");
        says("1 without permission to read (closed)");
        refuses_with(&DG_FOLDER(in("closed")), DG_LABELS_UNUSED, DG_ERR_IO, "closed");
    }
    assert_int_equal(chmod(in("closed"), 0700), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_test_folder, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_flat),     TEST(test_leftovers),     TEST(test_own),   TEST(test_class_tree),
        TEST(test_strays),   TEST(test_empty_classes), TEST(test_alike), TEST(test_levels),
        TEST(test_match),    TEST(test_several),       TEST(test_list),  TEST(test_wrong_lists),
        TEST(test_left_out), TEST(test_failures),      TEST(test_links), TEST(test_folder_endings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
