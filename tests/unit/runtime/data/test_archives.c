/* Archives as data: the list of a folder with the same files, labels of samples, shards and classes, what is passed over and what is
 * refused, the index. */
#include "runtime/data/dataset.h"
#include "tests/support/archives.h"
#include "tests/support/images.h"
#include "tests/support/log.h"

#include "runtime/image/write.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct dg_dataset *opened;
static struct archive_maker maker;

static int setup(void **state)
{
    make_test_folder(state);
    static const char *const folder[] = {"set",        "set/cats",   "set/cats/old", "set/dogs",
                                         "set/dogs.2", "set/dogs-1", "set/cats/run", "set/cats/run/watch"};
    for (size_t f = 0; f < sizeof folder / sizeof *folder; f++) assert_int_equal(mkdir(in(folder[f]), 0700), 0);
    static const char *const file[] = {"set/cats/2.png",     "set/cats/10.png",         "set/cats/old/1.png",
                                       "set/dogs/a",         "set/dogs.2/b.PNG",        "set/dogs-1/c.png",
                                       "set/cats/run/1.png", "set/cats/run/watch/2.png"};
    for (size_t f = 0; f < sizeof file / sizeof *file; f++) {
        struct dg_image image = dg_test_noise(file[f], 30, 20);
        assert_ok(dg_image_write_png(in(file[f]), image.pixels, image.width, image.height, 3, try_err));
        dg_image_free(&image);
    }
    write_file(in("set/cats/notes.txt"), "x", 1);
    write_file(in("set/cats/.DS_Store"), "x", 1);
    write_file(in("set/cats/run/log.jsonl"), "x", 1);
    write_file(in("set/cats/run/settings.txt"), "x", 1);
    return 0;
}

static int clean(void **state)
{
    (void)state;
    dg_dataset_close(opened);
    opened = NULL;
    free(maker.bytes);
    maker = (struct archive_maker){0};
    return 0;
}

static int teardown(void **state)
{
    clean(state);
    return remove_test_folder(state);
}

static struct dg_dataset *open_data(const struct dg_data *data, enum dg_labels labels)
{
    dg_dataset_close(opened);
    opened = NULL;
    dg_test_hush();
    assert_ok(dg_dataset_open(data, labels, &dg_test_log, &opened, try_err));
    return opened;
}

static struct dg_dataset *open_one(const char *name, enum dg_labels labels)
{
    return open_data(&DG_FOLDER(in(name)), labels);
}

static void says(const char *part)
{
    if (!strstr(dg_test_said, part)) fail_msg("\"%s\" is not in: %s", part, dg_test_said);
}

/* The relative paths, and the names of their classes. */
static char *list_of(const struct dg_dataset *dataset)
{
    static char text[2][4096];
    static int next;
    char *list = text[next++ % 2];
    *list = 0;
    for (int64_t i = 0; i < dg_dataset_count(dataset); i++) {
        int label = dg_dataset_label(dataset, i);
        snprintf(list + strlen(list), sizeof *text - strlen(list), "%s%s%s%s", i ? " " : "",
                 dg_dataset_relative(dataset, i), label < 0 ? "" : "=",
                 label < 0 ? "" : dg_dataset_class_name(dataset, label));
    }
    return list;
}

static void refuses(const char *name, enum dg_labels labels, const char *part)
{
    struct dg_dataset *dataset;
    struct dg_error err = {0};
    assert_int_not_equal(dg_dataset_open(&DG_FOLDER(in(name)), labels, NULL, &dataset, &err), DG_OK);
    if (!strstr(err.text, part)) fail_msg("\"%s\" is not in: %s", part, err.text);
}

static void refuses_list(const char *list, const char *part)
{
    struct dg_dataset *dataset;
    struct dg_error err = {0};
    assert_int_equal(dg_dataset_open(&DG_FOLDER(list), DG_LABELS_UNUSED, NULL, &dataset, &err), DG_ERR_INPUT);
    if (!strstr(err.text, part)) fail_msg("\"%s\" is not in: %s", part, err.text);
}

/* A file that begins as a PNG does, and is none. */
static void add(const char *name) { tar_add(&maker, name, "\x89PNG\r\n\x1a\nxxx", 11); }

static void finish(const char *name)
{
    tar_end(&maker);
    archive_write(&maker, in(name));
}

static void write_tar(const char *name, const char *const *member)
{
    for (; *member; member++) add(*member);
    finish(name);
}
#define TAR(name, ...) write_tar(name, (const char *const[]){__VA_ARGS__, NULL})

/* ---- the same as the folder ---- */

static void test_as_folder(void **state)
{
    (void)state;
    tar_folder(in("set"), in("set.tar"));
    zip_folder(in("set"), in("stored.zip"), false);
    zip_folder(in("set"), in("deflated.zip"), true);
    static const char *const archive[] = {"set.tar", "stored.zip", "deflated.zip"};
    for (int labels = DG_LABELS_UNUSED; labels <= DG_LABELS_NEEDED; labels++)
        for (int a = 0; a < 3; a++) {
            const char *folder = list_of(open_one("set", (enum dg_labels)labels));
            assert_string_equal(list_of(open_one(archive[a], (enum dg_labels)labels)), folder);
            says("1 hidden (cats/.DS_Store), 1 written by dinorun (cats/run), 1 of other kinds (cats/notes.txt)");
        }
    struct dg_dataset *files;
    assert_ok(dg_dataset_open(&DG_FOLDER(in("set")), DG_LABELS_UNUSED, NULL, &files, try_err));
    for (int a = 0; a < 3; a++) {
        struct dg_image image = {0}, other = {0};
        struct dg_image_decoder decoder = {0};
        open_one(archive[a], DG_LABELS_UNUSED);
        for (int64_t i = 0; i < dg_dataset_count(files); i++) {
            assert_ok(dg_dataset_decode(files, i, &decoder, &image, try_err));
            assert_ok(dg_dataset_decode(opened, i, &decoder, &other, try_err));
            assert_memory_equal(image.pixels, other.pixels, 30 * 20 * 3);
        }
        dg_image_decoder_free(&decoder);
        dg_image_free(&image);
        dg_image_free(&other);
    }
    dg_dataset_close(files);
    assert_string_equal(dg_dataset_path(opened, 0) + strlen(test_folder), "/deflated.zip:cats/10.png");
}

/* ImageNet's own: a tar with a tar for each class. */
static void test_tar_of_tars(void **state)
{
    (void)state;
    static const char *const class_name[] = {"n01440764", "n01443537"};
    struct archive_maker outer = {0};
    for (int c = 0; c < 2; c++) {
        add("2.JPEG");
        add("1.JPEG");
        tar_end(&maker);
        char name[32];
        snprintf(name, sizeof name, "%s.tar", class_name[1 - c]);
        tar_add(&outer, name, maker.bytes, maker.size);
        free(maker.bytes);
        maker = (struct archive_maker){0};
    }
    maker = outer;
    finish("imagenet.tar");
    assert_string_equal(list_of(open_one("imagenet.tar", DG_LABELS_NEEDED)),
                        "n01440764/1.JPEG=n01440764 n01440764/2.JPEG=n01440764 n01443537/1.JPEG=n01443537 "
                        "n01443537/2.JPEG=n01443537");
    add("1.JPEG");
    outer = maker;
    maker = (struct archive_maker){0};
    tar_add(&maker, "a.tar", outer.bytes, outer.size);
    finish("open.tar");
    open_one("open.tar", DG_LABELS_UNUSED);
    says("open.tar:a.tar has no mark of its end");
    tar_add(&maker, "a.tar", outer.bytes, outer.size - 512); /* its member's bytes lack */
    free(outer.bytes);
    finish("cut.tar");
    refuses("cut.tar", DG_LABELS_UNUSED, "in the archive a.tar: ");
    refuses("cut.tar", DG_LABELS_UNUSED, "ends in the middle of its member 1.JPEG");
}

/* ---- folders of archives ---- */

static void make_dir(const char *name)
{
    if (!access(in(name), F_OK)) remove_folder(in(name));
    assert_int_equal(mkdir(in(name), 0700), 0);
}

static void test_class_tars(void **state)
{
    (void)state;
    make_dir("tars");
    TAR("tars/n01443537.tar", "1.png");
    TAR("tars/n01440764.tar", "2.png", "1.png");
    write_file(in("tars/readme"), "x", 1);
    const char *expected = "n01440764.tar:1.png=n01440764 n01440764.tar:2.png=n01440764 n01443537.tar:1.png=n01443537";
    assert_string_equal(list_of(open_one("tars", DG_LABELS_NEEDED)), expected);
    says("1 of other kinds (readme)");
    assert_string_equal(list_of(open_one("tars", DG_LABELS_UNUSED)),
                        "n01440764.tar:1.png n01440764.tar:2.png n01443537.tar:1.png");
    make_dir("tars/extra");
    write_file(in("tars/extra/a.png"), "x", 1);
    assert_string_equal(list_of(open_one("tars", DG_LABELS_UNUSED)), "extra/a.png"); /* what they came from, perhaps */
    says("3 of other kinds (readme); n01440764.tar is an archive: unpack it, or name a tar or zip as data by itself");
}

/* WebDataset's layout: one name is one sample. */
static void test_shards(void **state)
{
    (void)state;
    make_dir("shards");
    for (int s = 0; s < 2; s++) {
        char name[64];
        for (int i = 0; i < 2; i++) {
            char member[32];
            snprintf(member, sizeof member, "%d%d.cls", s, i);
            tar_add_text(&maker, member, i ? "dog\n" : "cat");
            snprintf(member, sizeof member, "%d%d.jpg", s, i);
            add(member);
            snprintf(member, sizeof member, "%d%d.json", s, i);
            tar_add_text(&maker, member, "{\"label\": 7}");
            snprintf(member, sizeof member, "%d%d.seg.png", s, i);
            add(member);
            snprintf(member, sizeof member, "%d%d.txt", s, i);
            tar_add_text(&maker, member, "text");
        }
        snprintf(name, sizeof name, "shards/a-%06d.tar", s);
        finish(name);
    }
    assert_string_equal(
        list_of(open_one("shards", DG_LABELS_NEEDED)),
        "a-000000.tar:00.jpg=cat a-000000.tar:01.jpg=dog a-000001.tar:10.jpg=cat a-000001.tar:11.jpg=dog");
    says("8 of samples, beside their images (a-000000.tar:00.seg.png)");
    uint64_t hash = dg_dataset_hash(opened);
    assert_string_equal(list_of(open_one("shards", DG_LABELS_UNUSED)),
                        "a-000000.tar:00.jpg a-000000.tar:01.jpg a-000001.tar:10.jpg a-000001.tar:11.jpg");
    assert_int_not_equal(dg_dataset_hash(opened), hash);
    write_file(in("classes"), "dog\n", 4);
    struct dg_data data = DG_FOLDER(in("shards"));
    data.classes_from = in("classes");
    assert_string_equal(list_of(open_data(&data, DG_LABELS_NEEDED)), "a-000000.tar:01.jpg=dog a-000001.tar:11.jpg=dog");
    says("2 not of the classes asked for");
    add("20.jpg");
    finish("shards/a-000002.tar");
    refuses("shards", DG_LABELS_NEEDED,
            "images without a label in a .cls or .json beside them (1: a-000002.tar:20.jpg)");
}

static void test_labels_of_json(void **state)
{
    (void)state;
    add("a/1.png");
    tar_add_text(&maker, "a/1.json", "{\"width\": 3, \"label\": 12}");
    add("a/2.png");
    tar_add_text(&maker, "a/2.json", "{\"class\": \"a \\u00e4\"}");
    finish("json.tar");
    assert_string_equal(list_of(open_one("json.tar", DG_LABELS_NEEDED)), "a/1.png=12 a/2.png=a \xc3\xa4");
    static const char *const none[] = {"{", "[1]", "{\"label\": null}", "{\"label\": 1.5}", "{\"label\": \"\"}"};
    for (size_t n = 0; n < sizeof none / sizeof *none; n++) {
        add("a/1.png");
        tar_add_text(&maker, "a/1.json", none[n]);
        add("b/2.png");
        finish("json.tar");
        assert_string_equal(list_of(open_one("json.tar", DG_LABELS_NEEDED)), "a/1.png=a b/2.png=b");
    }
}

/* Shards without labels are no classes; folders in them are, put together by name. */
static void test_shards_without_labels(void **state)
{
    (void)state;
    make_dir("plain");
    TAR("plain/s-00.tar", "1.png");
    TAR("plain/s-01.tar", "2.png");
    assert_string_equal(list_of(open_one("plain", DG_LABELS_IF_ANY)), "s-00.tar:1.png s-01.tar:2.png");
    refuses("plain", DG_LABELS_NEEDED, "s-00.tar: its images have no classes");
    TAR("plain/s-00.tar", "cat/1.png", "dog/1.png");
    TAR("plain/s-01.tar", "dog/2.png");
    assert_string_equal(list_of(open_one("plain", DG_LABELS_NEEDED)),
                        "s-00.tar:cat/1.png=cat s-00.tar:dog/1.png=dog s-01.tar:dog/2.png=dog");
    make_dir("sets");
    TAR("sets/a-train-00.tar", "1.png");
    TAR("sets/a-val-00.tar", "2.png");
    refuses("sets", DG_LABELS_IF_ANY, "has the shards of several sets (a-train-00, a-val-00)");
    open_one("sets", DG_LABELS_UNUSED);
    says("has the shards of several sets (a-train-00, a-val-00): the images of all are taken");
}

static void test_lists(void **state)
{
    (void)state;
    TAR("one.tar", "cat/1.png", "dog/2.png");
    TAR("two.tar", "3.png");
    const char *text = "one.tar\ntwo.tar\n";
    write_file(in("list"), text, strlen(text));
    char list[128];
    snprintf(list, sizeof list, "@%s", in("list"));
    assert_string_equal(list_of(open_data(&DG_FOLDER(list), DG_LABELS_UNUSED)),
                        "one.tar:cat/1.png one.tar:dog/2.png two.tar:3.png");
    struct dg_dataset *dataset;
    struct dg_error err = {0};
    assert_int_equal(dg_dataset_open(&DG_FOLDER(list), DG_LABELS_NEEDED, NULL, &dataset, &err), DG_ERR_INPUT);
    text = "one.tar\ta\ntwo.tar\tb\n";
    write_file(in("list"), text, strlen(text));
    assert_string_equal(list_of(open_data(&DG_FOLDER(list), DG_LABELS_NEEDED)),
                        "one.tar:cat/1.png=a one.tar:dog/2.png=a two.tar:3.png=b");
    text = "one.tar\n";
    write_file(in("list"), text, strlen(text));
    assert_string_equal(list_of(open_data(&DG_FOLDER(list), DG_LABELS_NEEDED)),
                        "one.tar:cat/1.png=cat one.tar:dog/2.png=dog");
    text = "two.tar:3.png\ta\none.tar:dog/2.png\tb\n"; /* as lists of rows have them */
    write_file(in("list"), text, strlen(text));
    assert_string_equal(list_of(open_data(&DG_FOLDER(list), DG_LABELS_NEEDED)), "two.tar:3.png=a one.tar:dog/2.png=b");
    text = "one.tar:dog/3.png\ntwo.tar:\n";
    write_file(in("list"), text, strlen(text));
    refuses_list(list, "2 of its 2 files cannot be opened, the first on line 1: one.tar:dog/3.png");
    const char *two[] = {in("one.tar"), in("set")};
    open_data(&(struct dg_data){.path = two, .paths = 2}, DG_LABELS_NEEDED);
    assert_int_equal(dg_dataset_classes(opened), 6); /* cat, dog, and the folder's four */
    assert_int_equal(dg_dataset_count(opened), 8);
}

/* ---- what is not plain ---- */

static void test_doubtful(void **state)
{
    (void)state;
    TAR("doubt.tar", "a.png", "cats/1.png");
    refuses("doubt.tar", DG_LABELS_IF_ANY,
            "doubt.tar: images lie beside its folders (1: a.png) and in them (1: cats/)");
    TAR("doubt.tar", "train/cats/1.png", "val/cats/1.png");
    refuses("doubt.tar", DG_LABELS_NEEDED, "holds splits (train)");
    TAR("doubt.tar", "top/cats/1.png", "top/dogs/1.png");
    refuses("doubt.tar", DG_LABELS_NEEDED, "has one class alone, top");
    add("cats/1.png");
    tar_put_header(&maker, "dogs/", 0, '5', NULL);
    finish("doubt.tar");
    refuses("doubt.tar", DG_LABELS_NEEDED, "1 of its folders (dogs/) would be a class without an image");
    TAR("doubt.tar", "cats/1.png", "Cats/1.png");
    refuses("doubt.tar", DG_LABELS_NEEDED, "differ only in case");
    add("cats/1.png");
    tar_add_text(&maker, "dogs/1.png", "web page");
    finish("doubt.tar");
    refuses("doubt.tar", DG_LABELS_NEEDED, "of the class dogs no image can be read (1 files)");
    tar_end(&maker);
    tar_put_header(&maker, "cats/", 0, '5', NULL);
    free(maker.bytes);
    maker = (struct archive_maker){0};
    tar_put_header(&maker, "cats/", 0, '5', NULL);
    finish("doubt.tar");
    refuses("doubt.tar", DG_LABELS_UNUSED, "no images in");
    write_file(in("a.tar.gz"), "\x1f\x8b\x08", 4);
    refuses("a.tar.gz", DG_LABELS_UNUSED, "is compressed as a whole");
    write_file(in("a.txt"), "text", 4);
    refuses("a.txt", DG_LABELS_UNUSED, "is not a directory; expected a folder");
}

/* What lies a level too high is named with the archive as a folder. */
static void test_folder_within(void **state)
{
    (void)state;
    TAR("deep.tar", "train/cats/1.png", "train/dogs/1.png", "train.txt", "trains/1.png", "val/cats/2.png");
    assert_string_equal(list_of(open_one("deep.tar/train", DG_LABELS_NEEDED)), "cats/1.png=cats dogs/1.png=dogs");
    assert_string_equal(dg_dataset_path(opened, 0) + strlen(test_folder), "/deep.tar:train/cats/1.png");
    assert_string_equal(list_of(open_one("deep.tar/val/", DG_LABELS_NEEDED)), "cats/2.png=cats");
    assert_string_equal(list_of(open_one("deep.tar/train/cats", DG_LABELS_UNUSED)), "1.png");
    refuses("deep.tar/test", DG_LABELS_UNUSED, "deep.tar has no folder test");
    const char *twice[] = {in("deep.tar"), in("deep.tar/val/")};
    struct dg_dataset *dataset;
    struct dg_error err = {0};
    assert_int_equal(
        dg_dataset_open(&(struct dg_data){.path = twice, .paths = 2}, DG_LABELS_UNUSED, NULL, &dataset, &err),
        DG_ERR_USAGE);
    assert_non_null(strstr(err.text, "its images would be taken twice"));
    refuses("set/cats/2.png/x", DG_LABELS_UNUSED, "2.png is not a directory");
}

/* All that may be in an archive and is no image, with its reason. */
static void test_passed_over(void **state)
{
    (void)state;
    add("cats/1.png");
    add("cats/1.png"); /* as tar --append makes it: the last one counts */
    add("__MACOSX/cats/._1.png");
    add("__MACOSX/cats/._2.png");
    add("cats/.thumbs/1.png");
    add("cats/.thumbs/2.png");
    add("../up.png");
    add("/abs/3.png");
    tar_add_text(&maker, "cats/empty", "");
    tar_add(&maker, "cats/a.heic",
            "\0\0\0\x18"
            "ftypheic",
            12);
    add("cats/4.png.part");
    tar_put_header(&maker, "cats/hard.png", 0, '1', "./cats/1.png");
    tar_put_header(&maker, "cats/soft.png", 0, '2', "1.png");
    tar_put_header(&maker, "cats/lost.png", 0, '1', "cats/none.png");
    tar_put_header(&maker, "cats/fifo", 0, '6', NULL);
    finish("many.tar");
    assert_string_equal(list_of(open_one("many.tar", DG_LABELS_NEEDED)),
                        "abs/3.png=abs cats/1.png=cats cats/hard.png=cats");
    says("members again (1: cats/1.png), of which the last ones count");
    says(
        "2 hidden (..), 1 left by viewers, drives or archives (__MACOSX), 1 backups or unfinished (cats/4.png.part), ");
    says("1 HEIC (cats/a.heic)");
    says("1 neither file nor folder (cats/fifo), 2 links in an archive (cats/lost.png)");
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    struct dg_error err = {0};
    assert_int_equal(dg_dataset_decode(opened, 1, &decoder, &image, &err), DG_ERR_INPUT);
    assert_non_null(strstr(err.text, "many.tar:cats/1.png: "));
    dg_image_decoder_free(&decoder);
    dg_image_free(&image);
}

/* ---- the index ---- */

static void test_index(void **state)
{
    (void)state;
    TAR("kept.tar", "cat/1.png", "dog/2.png");
    struct dg_data data = DG_FOLDER(in("kept.tar"));
    char index[128];
    snprintf(index, sizeof index, "%s", in("kept.index"));
    data.index = index;
    open_data(&data, DG_LABELS_UNUSED); /* none is there yet */
    assert_ok(dg_dataset_save_index(opened, index, try_err));
    uint64_t hash = dg_dataset_hash(opened);
    size_t size;
    uint8_t *bytes = read_file(index, &size);
    open_data(&data, DG_LABELS_UNUSED);
    assert_int_equal(dg_dataset_hash(opened), hash);
    unlink(index);
    assert_ok(dg_dataset_save_index(opened, index, try_err));
    assert_int_not_equal(access(index, F_OK), 0); /* nothing was read anew */
    for (size_t i = 0; i < size; i += 3) {        /* a damaged index is none */
        bytes[i] ^= 0x41;
        write_file(index, bytes, size);
        bytes[i] ^= 0x41;
        assert_int_equal(dg_dataset_hash(open_data(&data, DG_LABELS_NEEDED)), hash);
    }
    for (size_t i = 0; i < size; i += 5) {
        write_file(index, bytes, i);
        assert_int_equal(dg_dataset_hash(open_data(&data, DG_LABELS_UNUSED)), hash);
    }
    free(bytes);
    open_data(&data, DG_LABELS_NEEDED);
    assert_string_equal(list_of(opened), "cat/1.png=cat dog/2.png=dog");
    assert_ok(dg_dataset_save_index(opened, index, try_err));
    TAR("kept.tar", "cat/1.png", "dog/2.png", "dog/3.png");
    assert_int_not_equal(dg_dataset_hash(open_data(&data, DG_LABELS_UNUSED)), hash);
    says("kept.tar has changed since this run has read it: its members are listed again");
}

/* Many shards, asked for in another order than they were written in. */
static void test_index_of_shards(void **state)
{
    (void)state;
    char name[32], index[128];
    make_dir("indexed");
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "%d.png", i);
        add(name);
        snprintf(name, sizeof name, "indexed/s-%d.tar", i);
        finish(name);
    }
    snprintf(index, sizeof index, "%s", in("shards.index"));
    struct dg_data data = DG_FOLDER(in("indexed"));
    data.index = index;
    open_data(&data, DG_LABELS_UNUSED);
    assert_ok(dg_dataset_save_index(opened, index, try_err));
    const char *path[] = {in("indexed/s-3.tar"), in("indexed/s-1.tar"), in("indexed/s-4.tar"), in("indexed/s-0.tar")};
    data = (struct dg_data){.path = path, .paths = 4, .index = index};
    open_data(&data, DG_LABELS_UNUSED);
    assert_int_equal(dg_dataset_count(opened), 4);
    unlink(index);
    assert_ok(dg_dataset_save_index(opened, index, try_err));
    assert_int_not_equal(access(index, F_OK), 0); /* all were found */
}

/* ---- more archives than descriptors ---- */

enum { DESCRIPTORS = 64, SHARDS = DESCRIPTORS / 2 + 2 }; /* half of the descriptors hold archives */

/* In a process of its own, whose descriptors are few: reads an image of the last shard, replaces the shard by another one, and
 * reads that image again. Returns 0 if the second reading is refused for the right reason. */
static int read_replaced(void)
{
    struct rlimit few = {DESCRIPTORS, DESCRIPTORS};
    struct dg_dataset *dataset;
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    struct dg_error before = {0}, after = {0};
    if (setrlimit(RLIMIT_NOFILE, &few)) return 1;
    if (dg_dataset_open(&DG_FOLDER(in("held")), DG_LABELS_UNUSED, NULL, &dataset, &before) != DG_OK) return 2;
    dg_dataset_decode(dataset, SHARDS - 1, &decoder, &image, &before);
    char last[32];
    snprintf(last, sizeof last, "held/s-%02d.tar", SHARDS - 1);
    TAR(last, "other/1.png", "other/2.png");
    dg_dataset_decode(dataset, SHARDS - 1, &decoder, &image, &after);
    dg_image_decoder_free(&decoder);
    dg_image_free(&image);
    dg_dataset_close(dataset);
    if (strstr(before.text, "has changed")) return 3;
    return strstr(after.text, "has changed since its members were listed") ? 0 : 4;
}

static void test_replaced(void **state)
{
    (void)state;
    char name[32];
    int status = -1;
    make_dir("held");
    for (int i = 0; i < SHARDS; i++) {
        snprintf(name, sizeof name, "held/s-%02d.tar", i);
        TAR(name, "1.png");
    }
    pid_t child = fork();
    if (!child) _exit(read_replaced());
    assert_true(child > 0 && waitpid(child, &status, 0) == child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

#define TEST(f) cmocka_unit_test_teardown(f, clean)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_as_folder),      TEST(test_tar_of_tars),           TEST(test_class_tars), TEST(test_shards),
        TEST(test_labels_of_json), TEST(test_shards_without_labels), TEST(test_lists),      TEST(test_doubtful),
        TEST(test_folder_within),  TEST(test_passed_over),           TEST(test_index),      TEST(test_index_of_shards),
        TEST(test_replaced)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
