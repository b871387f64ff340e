/* Files of torch.save, imported without PyTorch: every tensor bit for bit, and nothing hostile believed or run. The files and
 * what must come of them are from tests/reference/make_torch_files.py. */
#include "ops/base/rng.h"
#include "runtime/layouts/import.h"
#include "tests/support/images.h"
#include "tests/support/log.h"

#include <unistd.h>
#include <zip.h>

#define TORCH(name) DG_SOURCE_DIR "/tests/fixtures/torch/" name

static const char *const files[] = {"full_zip",  "full_stream",     "first_zip",    "first_stream",  "resnet_zip",
                                    "types_zip", "types_zip4",      "types_stream", "types_stream4", "backbone_zip",
                                    "timm_zip",  "torchvision_zip", "linear_zip",   "modern_zip"};

static int teardown(void **state)
{
    (void)state;
    unlink(in("out.safetensors"));
    unlink(in("in.pth"));
    return rmdir(test_folder); /* fails when a temporary file was left behind */
}

static const char *out_path(void) { return in("out.safetensors"); }

static void check_same_tensors(const char *path, const char *expected_path)
{
    struct dg_safetensors *file, *expected;
    assert_ok(dg_safetensors_open(path, &file, try_err));
    assert_ok(dg_safetensors_open(expected_path, &expected, try_err));
    for (int i = 0; i < dg_safetensors_count(expected); i++) {
        const struct dg_safetensors_tensor *want = dg_safetensors_at(expected, i),
                                           *have = dg_safetensors_find(file, want->name);
        if (!have) fail_msg("%s: no %s", path, want->name);
        assert_int_equal(have->dtype, want->dtype);
        assert_int_equal(have->ndim, want->ndim);
        assert_memory_equal(have->dim, want->dim, sizeof want->dim);
        assert_int_equal(have->bytes, want->bytes);
        if (want->bytes && memcmp(have->data, want->data, want->bytes)) fail_msg("%s: %s differs", path, want->name);
    }
    assert_int_equal(dg_safetensors_count(file), dg_safetensors_count(expected));
    dg_safetensors_close(file);
    dg_safetensors_close(expected);
}

static void test_bit_for_bit(void **state)
{
    (void)state;
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        char in[512], expected[512];
        snprintf(in, sizeof in, TORCH("%s.pth"), files[f]);
        snprintf(expected, sizeof expected, TORCH("%.*s.safetensors"), (int)strcspn(files[f], "_"), files[f]);
        dg_test_hush();
        assert_ok(dg_import(in, NULL, out_path(), &dg_test_log, try_err));
        check_same_tensors(out_path(), expected);
        assert_non_null(strstr(dg_test_said, files[f]));
    }
}

static void check_notes(const char *name, const char *const *words)
{
    char in[512];
    snprintf(in, sizeof in, TORCH("%s.pth"), name);
    dg_test_hush();
    assert_ok(dg_import(in, NULL, out_path(), &dg_test_log, try_err));
    for (; *words; words++)
        if (!strstr(dg_test_said, *words)) fail_msg("%s\nhas no \"%s\"", dg_test_said, *words);
}

static void test_notes(void **state)
{
    (void)state;
    check_notes("full_zip",
                (const char *const[]){"a full checkpoint: a Vision Transformer",
                                      "of student and teacher; torch.save, zip form",
                                      "student.backbone (18), student.head (8)", "center (1)", "optimizer: 75 tensors",
                                      "epochs done: 7", "not read: args (argparse.Namespace), fp16_scaler", NULL});
    struct dg_safetensors *file;
    assert_ok(dg_safetensors_open(out_path(), &file, try_err));
    assert_string_equal(dg_safetensors_metadata(file, "epoch"), "7");
    assert_string_equal(dg_safetensors_metadata(file, "imported_from"), "full_zip.pth");
    dg_safetensors_close(file);
    check_notes("first_stream", (const char *const[]){"stream form", "first revision", NULL});
    check_notes("timm_zip", (const char *const[]){"a Vision Transformer", "left out: head (2), a classifier", NULL});
    check_notes("torchvision_zip", (const char *const[]){"a ResNet", "left out: fc (2), a classifier", NULL});
    check_notes("linear_zip", (const char *const[]){"weights under state_dict.", "taken: 2 tensors",
                                                    "not read: scheduler, best_acc", NULL});
}

/* ---- hostile files ---- */

/* A stream file around the object's pickle: magic number, version, system before it; then no storages unless given. */
static size_t stream_file(uint8_t *file, const void *object, size_t size, const void *rest, size_t rest_size)
{
    static const char before[] = "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
                                 "\x80\x02M\xe9\x03."
                                 "\x80\x02}X\x0d\0\0\0little_endian\x88s.",
                      no_storages[] = "\x80\x02].";
    if (!rest) {
        rest = no_storages;
        rest_size = sizeof no_storages - 1;
    }
    memcpy(file, before, sizeof before - 1);
    memcpy(file + sizeof before - 1, object, size);
    memcpy(file + sizeof before - 1 + size, rest, rest_size);
    return sizeof before - 1 + size + rest_size;
}

static enum dg_status import_bytes(const void *bytes, size_t size, struct dg_error *err)
{
    struct dg_torch_file *torch;
    struct dg_weight_file *file;
    DG_TRY(dg_torch_open_bytes(bytes, size, &torch, err));
    DG_TRY(dg_weight_file_of_torch(torch, NULL, &file, err));
    enum dg_status status = dg_import_open(file, "x.pth", NULL, NULL, err);
    dg_weight_file_close(file);
    return status;
}

static void refuse_object(const void *object, size_t size, const void *rest, size_t rest_size, const char *words)
{
    static uint8_t file[1 << 16];
    struct dg_error err = {0};
    assert_true(size + rest_size < sizeof file / 2);
    assert_int_equal(import_bytes(file, stream_file(file, object, size, rest, rest_size), &err), DG_ERR_INPUT);
    if (!strstr(err.text, words)) fail_msg("%s\nhas no \"%s\"", err.text, words);
}
#define REFUSE(object, words) refuse_object(object, sizeof object - 1, NULL, 0, words)

/* {"a": tensor} of storage "0" with `elements` f32, up to the tensor's offset, size and stride. */
#define STORAGE(elements)                                                                                              \
    "((X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0"                                                            \
    "0X\x03\0\0\0"                                                                                                     \
    "cpu" elements "tQ"

static void test_callables(void **state)
{
    (void)state;
    REFUSE("\x80\x02"
           "cos\nsystem\nX\x02\0\0\0idq\x01\x85R.",
           "it names os.system, which weights do not need; nothing was");
    REFUSE("\x80\x02"
           "cposix\nsystem\nX\x02\0\0\0id\x85R.",
           "posix.system");
    REFUSE("\x80\x04\x8c\x08"
           "builtins\x8c\x04"
           "eval\x93\x8c\x01"
           "1\x85R.",
           "builtins.eval");
    REFUSE("\x80\x02}X\x01\0\0\0"
           "ac\x1b[31m\nx\n)Rs.",
           "its entries are a (?[31m.x)"); /* a terminal is not to obey the file */
    REFUSE("\x80\x02"
           "ctorch\nFloatStorage\n)R.",
           "it calls torch.FloatStorage");
    REFUSE("\x80\x02"
           "X\x02\0\0\0id)R.",
           "it calls what is not callable");
    REFUSE("\x80\x02"
           "ccollections\nOrderedDict\nNR.",
           "arguments of a call");
    REFUSE("\x80\x02"
           "ccollections\nOrderedDict\nK\x01\x85R.",
           "OrderedDict takes a list");
    REFUSE("\x80\x02"
           "ccollections\nOrderedDict\n]K\x01"
           "a\x85R.",
           "item 0 of an OrderedDict");
    REFUSE("\x80\x02"
           "K\x01Nb.",
           "sets the state");
    REFUSE("\x80\x02"
           "ctorch\nSize\nN\x85R.",
           "torch.Size");
    REFUSE("\x80\x02"
           "ctorch._utils\n_rebuild_parameter\n)R.",
           "a parameter is not");
    REFUSE("\x80\x02"
           "NQ.",
           "a storage is not");
    REFUSE("\x80\x02)Q.", "a storage is not");
}

static void test_machine(void **state)
{
    (void)state;
    REFUSE("\x80\x02.", "empty stack");
    REFUSE("\x80\x02"
           "a.",
           "empty stack");
    REFUSE("\x80\x02t.", "a mark that it has not set");
    REFUSE("\x80\x02"
           "1.",
           "a mark that it has not set");
    REFUSE("\x80\x02"
           "2.",
           "empty stack");
    REFUSE("\x80\x02(K\x01(0"
           "0"
           "0"
           "0.",
           "empty stack");
    REFUSE("\x80\x02q\0.", "empty stack");
    REFUSE("\x80\x02Nr\xff\xff\xff\xff.", "more than 2097152 values");
    REFUSE("\x80\x02h\x07.", "recalls value 7");
    REFUSE("\x80\x02Nq\x03h\x02.", "recalls value 2");
    REFUSE("\x80\x02]NNs.", "adds to something that is not a dict");
    REFUSE("\x80\x02}Na.", "adds to something that is not a list");
    REFUSE("\x80\x02}(Nu.", "no value");
    REFUSE("\x80\x06N.", "protocol 6");
    REFUSE("\x80\x02I1x\n.", "is not a number");
    REFUSE("\x80\x02I\n.", "a number of 0 characters");
    REFUSE("\x80\x05\x97.", "opcode 0x97");
    REFUSE("S'a\n.", "a line that should be a text is none");
    REFUSE("S'\\x4'\n.", "a line that should be a text is none");
    REFUSE("V\\u004\n.", "a line that should be a text is none");
    REFUSE("Np1x\n.", "under what is not a number");
    REFUSE("g\n.", "under what is not a number");
    REFUSE("(Va\nVb\nVc\nd.", "no value");
    REFUSE("\x80\x02X\xff\xff\xff\xff", "ends in the middle");
    REFUSE("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "ends in the middle");
    REFUSE("\x80\x04\x8b\xff\xff\xff\xff", "ends in the middle");
    REFUSE("\x80\x02"
           "cos\nsystem",
           "ends in the middle");
    REFUSE("\x80\x02N.", "not a dict");
    REFUSE("\x80\x02}.", "no tensors");
    REFUSE("\x80\x02}X\x07\0\0\0studentNs.", "its entries are student");
    REFUSE("\x80\x02}q\0X\x05\0\0\0modelh\0s.", "no tensors"); /* a dict inside itself */
    REFUSE("\x80\x02}q\0X\x07\0\0\0studenth\0s.", "no tensors");
    REFUSE("\x80\x02]q\0h\0"
           "aN.",
           "not a dict");
}

static void test_tensors(void **state)
{
    (void)state;
    static const char four[] = "\x80\x02]X\x01\0\0\0"
                               "0a.\x04\0\0\0\0\0\0\0aaaabbbbccccdddd",
                      five[] = "\x80\x02]X\x01\0\0\0"
                               "0a.\x05\0\0\0\0\0\0\0aaaabbbbccccddddeeee",
                      other[] = "\x80\x02]X\x01\0\0\0"
                                "1a.";
    static uint8_t file[4096];
    static const char good[] =
        "\x80\x02}X\x01\0\0\0"
        "actorch._utils\n_rebuild_tensor_v2\n" STORAGE("K\x04") "K\x00K\x02K\x02\x86K\x01K\x02\x86\x89NtRs.";
    struct dg_error err = {0};
    if (import_bytes(file, stream_file(file, good, sizeof good - 1, four, sizeof four - 1), &err) != DG_OK)
        fail_msg("%s", err.text);
#define REFUSE_TENSOR(elements, shape, rest, words)                                                                    \
    do {                                                                                                               \
        static const char object[] = "\x80\x02}X\x01\0\0\0"                                                            \
                                     "actorch._utils\n_rebuild_tensor_v2\n" STORAGE(elements) shape "\x89NtRs.";       \
        refuse_object(object, sizeof object - 1, rest, sizeof rest - 1, words);                                        \
    } while (0)
    REFUSE_TENSOR("K\x04", "K\x01K\x02K\x02\x86K\x01K\x02\x86", four, "reaches element 4 of storage 0, which has 4");
    REFUSE_TENSOR("K\x04", "K\x00K\x02K\x02\x86K\x01\x85", four, "a tensor is not");
    REFUSE_TENSOR("K\x04", "J\xff\xff\xff\xffK\x02\x85K\x01\x85", four, "a tensor is not");
    REFUSE_TENSOR("K\x04", "K\x03K\x02\x85J\xff\xff\xff\xff\x85", four, "a tensor is not");
    REFUSE_TENSOR("K\x04", "K\x00J\xff\xff\xff\xff\x85K\x00\x85", four, "a tensor is not");
    REFUSE_TENSOR("K\x04", "K\x00\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\x03\x86K\x00K\x00\x86", four,
                  "shape is too large");
    REFUSE_TENSOR("K\x04", "K\x00K\x03\x85\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x85", four, "strides are too large");
    REFUSE_TENSOR("K\x04", "\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\x02\x85K\x01\x85", four, "strides are too large");
    REFUSE_TENSOR("K\x04", "\x8a\x09\xff\xff\xff\xff\xff\xff\xff\x7f\x00K\x02\x85K\x01\x85", four, "a tensor is not");
    REFUSE_TENSOR("K\x04",
                  "K\x00(K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01t(K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01K\x01t",
                  four, "at most 8 dimensions");
    REFUSE_TENSOR("K\x04", "K\x00J\x00\x00\x10\x00\x85K\x00\x85", four, "more than 16 times the file's length");
    REFUSE_TENSOR("K\x04", "K\x00K\x02\x85K\x01\x85", five, "storage 0 has 5 elements, its tensors expect 4");
    REFUSE_TENSOR("K\x05", "K\x00K\x02\x85K\x01\x85", four, "storage 0 ends behind the file");
    REFUSE_TENSOR("K\x04", "K\x00K\x02\x85K\x01\x85", other, "used by nothing");
    REFUSE_TENSOR("\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f", "K\x00K\x02\x85K\x01\x85", four, "ends behind the file");
    REFUSE_TENSOR("J\xff\xff\xff\xff", "K\x00K\x02\x85K\x01\x85", four, "a storage is not");
    static const char two_types[] = "\x80\x02](X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0"
                                    "0NK\x04tQ"
                                    "(X\x07\0\0\0storagectorch\nLongStorage\nX\x01\0\0\0"
                                    "0NK\x04tQe.";
    REFUSE(two_types, "two types or lengths");
}

/* A small pickle that asks for much: doubling lists, deep stacks, big memos. Memory is bounded, and so is time. */
static void test_bounded(void **state)
{
    (void)state;
    enum { SIZE = 4 << 20 };
    uint8_t *file = malloc(SIZE + 256), *object = malloc(SIZE);
    assert_true(file && object);
    static const char *const patterns[] = {"(", "N", "]", "2", "}q\0", "(N", "N\x85", "]\x94"};
    for (size_t p = 0; p < sizeof patterns / sizeof *patterns; p++) {
        size_t length = patterns[p][1] == 'q' ? 3 : strlen(patterns[p]);
        object[0] = 0x80, object[1] = 2, object[2] = 'N';
        for (size_t at = 3; at + length <= SIZE; at += length) memcpy(object + at, patterns[p], length);
        struct dg_error err = {0};
        assert_int_not_equal(import_bytes(file, stream_file(file, object, SIZE, NULL, 0), &err), DG_OK);
    }
    /* A list of many pairs, copied into one OrderedDict after another. */
    size_t at = 0;
    const char pair[] = "h\0",
               middle[] = "eq\x01"
                          "0",
               again[] = "ccollections\nOrderedDict\nh\x01\x85R0";
    memcpy(object + at,
           "\x80\x02NN\x86q\0"
           "0](",
           10),
        at += 10;
    for (int i = 0; i < 100000; i++, at += 2) memcpy(object + at, pair, 2);
    memcpy(object + at, middle, sizeof middle - 1), at += sizeof middle - 1;
    while (at + sizeof again < SIZE) memcpy(object + at, again, sizeof again - 1), at += sizeof again - 1;
    struct dg_error err = {0};
    assert_int_equal(import_bytes(file, stream_file(file, object, at, NULL, 0), &err), DG_ERR_MEMORY);
    assert_non_null(strstr(err.text, "more than 256 MiB"));
    free(file);
    free(object);
}

static void test_not_torch(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *words;
    } wrong[] = {
        {"", 0, "neither a zip archive nor a pickle"},
        {"hello", 5, "a text, no weights"},
        {"\x02\x03\xff", 3, "neither a zip archive nor a pickle"},
        {"\x1f\x8b\x08", 3, "gzip"},
        {"\x80\x02K\x01.", 5, "a pickle, but not one of torch.save"},
        {"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe8\x03.", 21, "its version is not 1001"},
        {"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.", 25,
         "not little-endian"},
        {"PK\3\4", 4, "broken zip archive"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct dg_error err = {0};
        assert_int_equal(import_bytes(wrong[i].bytes, wrong[i].size, &err), DG_ERR_INPUT);
        if (!strstr(err.text, wrong[i].words)) fail_msg("%s\nhas no \"%s\"", err.text, wrong[i].words);
    }
    struct dg_error err = {0};
    assert_int_equal(dg_import("/nowhere/x.pth", NULL, out_path(), NULL, &err), DG_ERR_IO);
    assert_int_equal(dg_import(test_folder, NULL, out_path(), NULL, NULL), DG_ERR_INPUT);
    assert_int_equal(dg_import("/dev/null", NULL, out_path(), NULL, NULL), DG_ERR_INPUT);
}

/* ---- archives ---- */

struct member {
    const char *name;
    const void *bytes;
    size_t size;
    int method; /* ZIP_CM_STORE unless given */
};

/* {"a": the four f32 of storage "0"} */
static const char archive_object[] =
    "\x80\x02}X\x01\0\0\0"
    "actorch._utils\n_rebuild_tensor_v2\n" STORAGE("K\x04") "K\x00K\x04\x85K\x01\x85\x89NtRs.";
static const char sixteen[] = "aaaabbbbccccdddd";

/* Imports an archive of these members; NULL: it goes well. */
static void import_archive(const struct member *member, int count, const char *words)
{
    char path[96];
    int reason;
    struct dg_error err = {0};
    snprintf(path, sizeof path, "%s/in.pth", test_folder);
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &reason);
    assert_non_null(zip);
    for (int m = 0; m < count; m++) {
        zip_source_t *source = zip_source_buffer(zip, member[m].bytes, member[m].size, 0);
        zip_int64_t index = zip_file_add(zip, member[m].name, source, 0);
        assert_true(index >= 0);
        zip_set_file_compression(zip, (zip_uint64_t)index, member[m].method ? member[m].method : ZIP_CM_STORE, 0);
    }
    assert_int_equal(zip_close(zip), 0);
    enum dg_status status = dg_import(path, NULL, out_path(), NULL, &err);
    unlink(path);
    if (!words) {
        if (status != DG_OK) fail_msg("%s", err.text);
        return;
    }
    assert_int_equal(status, DG_ERR_INPUT);
    if (!strstr(err.text, words) || !strstr(err.text, "in.pth")) fail_msg("%s\nhas no \"%s\"", err.text, words);
}

static void test_archives(void **state)
{
    (void)state;
#define OBJECT(...) {"x/data.pkl", archive_object, sizeof archive_object - 1, __VA_ARGS__}
#define DATA(size, ...)                                                                                                \
    {                                                                                                                  \
        "x/data/0", sixteen, size, __VA_ARGS__                                                                         \
    }
    import_archive((struct member[]){OBJECT(0), DATA(16, 0)}, 2, NULL);
    import_archive(
        (struct member[]){
            {"x/.data/serialization_id", "1", 1, 0}, OBJECT(0), DATA(16, 0), {"x/byteorder", "little", 6, 0}},
        4, NULL);
    import_archive((struct member[]){OBJECT(0), DATA(16, 0), {"x/byteorder", "big", 3, 0}}, 3, "not little-endian");
    import_archive((struct member[]){OBJECT(0), DATA(16, 0), {"x/constants.pkl", "", 0, 0}}, 3,
                   "a TorchScript program");
    import_archive((struct member[]){OBJECT(0)}, 1, "has no storage 0");
    import_archive((struct member[]){DATA(16, 0)}, 1, "without a data.pkl");
    import_archive((struct member[]){{"data.pkl", archive_object, sizeof archive_object - 1, 0}}, 1,
                   "without a data.pkl");
    import_archive((struct member[]){{"x/y/data.pkl", archive_object, sizeof archive_object - 1, 0}}, 1,
                   "without a data.pkl");
    import_archive((struct member[]){OBJECT(0), DATA(12, 0)}, 2,
                   "storage 0: it has 12 bytes, 4 elements of F32 take 16");
    /* A megabyte of zeros in a kilobyte is for others to unpack. */
    char *zeros = calloc(1 << 20, 1);
    assert_non_null(zeros);
    import_archive((struct member[]){OBJECT(0), {"x/data/0", zeros, 1 << 20, ZIP_CM_DEFLATE}}, 2, "it is compressed");
    import_archive((struct member[]){{"x/data.pkl", zeros, 1 << 20, ZIP_CM_DEFLATE}}, 1, "data.pkl: it is compressed");
    free(zeros);
}

/* One of the file's numbers, in every place of the directory at its end, made as large as it goes. */
static void test_archives_that_lie(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = read_file(TORCH("linear_zip.pth"), &size), *bad = malloc(size);
    assert_non_null(bad);
    for (size_t at = size - 700; at + 8 <= size; at++)
        for (size_t width = 2; width <= 8; width *= 2) {
            struct dg_error err = {0};
            memcpy(bad, bytes, size);
            memset(bad + at, 0xff, width);
            if (import_bytes(bad, size, &err) != DG_OK) assert_true(err.text[0]);
        }
    free(bytes);
    free(bad);
}

/* Every prefix and many changed copies of small real files: an error or sound tensors, and nothing left behind. */
static void mangle(const char *name, const char *form, int step)
{
    char path[512];
    snprintf(path, sizeof path, TORCH("%s_%s.pth"), name, form);
    size_t size;
    uint8_t *bytes = read_file(path, &size), *bad = malloc(size);
    assert_non_null(bad);
    for (size_t cut = 0; cut < size; cut += (size_t)step) {
        memcpy(bad, bytes, cut);
        struct dg_error err = {0};
        assert_int_not_equal(import_bytes(bad, cut, &err), DG_OK);
        assert_true(err.text[0]);
    }
    struct dg_rng rng = dg_rng_make(1, DG_RNG_TEST, 11, 0);
    int refused = 0;
    for (int round = 0; round < 3000; round++) {
        memcpy(bad, bytes, size);
        for (int64_t flips = dg_rng_int(&rng, 1, 5); flips > 0; flips--)
            bad[dg_rng_int(&rng, 0, (int64_t)size)] ^= (uint8_t)(1 << dg_rng_int(&rng, 0, 8));
        struct dg_error err = {0};
        refused += import_bytes(bad, size, &err) != DG_OK;
    }
    assert_true(refused > 300);
    free(bytes);
    free(bad);
}

static void test_mangled(void **state)
{
    (void)state;
    mangle("types", "stream", 3);
    mangle("types", "stream4", 3);
    mangle("types", "zip", 7);
    mangle("linear", "zip", 1);
    mangle("modern", "zip", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bit_for_bit),       cmocka_unit_test(test_notes),   cmocka_unit_test(test_callables),
        cmocka_unit_test(test_machine),           cmocka_unit_test(test_tensors), cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_not_torch),         cmocka_unit_test(test_mangled), cmocka_unit_test(test_archives),
        cmocka_unit_test(test_archives_that_lie),
    };
    return cmocka_run_group_tests(tests, make_test_folder, teardown);
}
