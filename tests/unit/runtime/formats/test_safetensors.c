/* safetensors: what is written is read, and nothing malformed is believed. */
#include "ops/base/rng.h"
#include "runtime/formats/safetensors.h"
#include "tests/support/check.h"
#include "tests/support/files.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[128];

static int setup(void **state)
{
    make_test_folder(state);
    snprintf(path, sizeof path, "%s/model.safetensors", test_folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(test_folder); /* fails when a temporary file was left behind */
}

static void put(const void *bytes, size_t size) { write_file(path, bytes, size); }

/* The whole file; the caller frees it. */
static uint8_t *get(size_t *size) { return read_file(path, size); }

/* A file of this header and so many bytes of data. */
static void put_header(const char *header, size_t data_bytes)
{
    uint64_t length = strlen(header);
    size_t size = 8 + (size_t)length + data_bytes;
    uint8_t *bytes = calloc(size, 1);
    assert_non_null(bytes);
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, (size_t)length);
    put(bytes, size);
    free(bytes);
}

/* Opening fails with a text that has the path and these words. */
static void assert_refused_at(const char *where, enum dg_status status, const char *words)
{
    struct dg_error err = {0};
    struct dg_safetensors *file = (void *)1;
    assert_int_equal(dg_safetensors_open(where, &file, &err), status);
    assert_null(file);
    assert_int_equal(err.status, status);
    if (!strstr(err.text, where) || !strstr(err.text, words)) fail_msg("%s\nhas no \"%s\"", err.text, words);
}

static void assert_refused(const char *words) { assert_refused_at(path, DG_ERR_INPUT, words); }

static const float values[6] = {0, -1.5f, 3.25e-30f, 1e30f, -0.0f, 7};
static const int64_t longs[2] = {INT64_MIN, 42};
static const uint8_t flags[3] = {1, 0, 1};
static const struct dg_safetensors_item items[] = {
    {"zeta.weight", DG_SAFETENSORS_F32, 2, {2, 3}, values},
    {"flags", DG_SAFETENSORS_BOOL, 1, {3}, flags}, /* what follows is not aligned */
    {"step", DG_SAFETENSORS_I64, 1, {2}, longs},
    {"nothing", DG_SAFETENSORS_F16, 3, {4, 0, 5}, NULL},
    {"scalar \"\xc3\xa9\"\n", DG_SAFETENSORS_F32, 0, {0}, &values[3]},
    {"", DG_SAFETENSORS_U8, 8, {1, 1, 1, 1, 1, 1, 1, 3}, flags},
};
enum { ITEMS = sizeof items / sizeof *items };
static const struct dg_safetensors_meta meta[] = {{"format", "pt"}, {"recipe", "vit \xe2\x80\x94 \"small\""}};

static void write_example(void) { assert_ok(dg_safetensors_write(path, items, ITEMS, meta, 2, try_err)); }

static void test_round_trip(void **state)
{
    (void)state;
    write_example();
    struct dg_safetensors *file;
    assert_ok(dg_safetensors_open(path, &file, try_err));
    assert_int_equal(dg_safetensors_count(file), ITEMS);
    for (int i = 0; i < ITEMS; i++) {
        const struct dg_safetensors_tensor *tensor = dg_safetensors_at(file, i);
        assert_ptr_equal(dg_safetensors_find(file, items[i].name), tensor); /* in the order in which they were given */
        assert_string_equal(tensor->name, items[i].name);
        assert_int_equal(tensor->dtype, items[i].dtype);
        assert_int_equal(tensor->ndim, items[i].ndim);
        int64_t count = 1;
        for (int d = 0; d < tensor->ndim; d++) {
            assert_int_equal(tensor->dim[d], items[i].dim[d]);
            count *= tensor->dim[d];
        }
        assert_int_equal(dg_safetensors_elements(tensor), count);
        assert_int_equal(tensor->bytes, count * dg_safetensors_dtype_size(tensor->dtype));
        if (count) assert_memory_equal(tensor->data, items[i].data, tensor->bytes);
    }
    assert_int_equal((uintptr_t)dg_safetensors_at(file, 0)->data % 64, 0);
    assert_null(dg_safetensors_find(file, "zeta.weigth"));
    assert_null(dg_safetensors_find(file, "__metadata__"));
    assert_string_equal(dg_safetensors_metadata(file, "format"), meta[0].value);
    assert_string_equal(dg_safetensors_metadata(file, "recipe"), meta[1].value);
    assert_null(dg_safetensors_metadata(file, "none"));

    /* The file may be replaced while it is open; the same arguments make the same bytes. */
    size_t size, size_again;
    uint8_t *bytes = get(&size);
    write_example();
    uint8_t *again = get(&size_again);
    assert_int_equal(size, size_again);
    assert_memory_equal(bytes, again, size);
    assert_memory_equal(dg_safetensors_at(file, 0)->data, values, sizeof values);
    free(bytes);
    free(again);
    dg_safetensors_close(file);
    dg_safetensors_close(NULL);
}

static void test_bytes(void **state)
{
    (void)state;
    static const struct dg_safetensors_item two[] = {{"b", DG_SAFETENSORS_F32, 2, {2, 3}, values},
                                                     {"a", DG_SAFETENSORS_U8, 1, {3}, flags}};
    static const char header[] = "{\"b\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
                                 "\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[24,27]}}";
    assert_ok(dg_safetensors_write(path, two, 2, NULL, 0, try_err));
    size_t size;
    uint8_t *bytes = get(&size);
    assert_int_equal(size, 128 + 24 + 3);
    assert_int_equal(bytes[0], 120);
    for (int i = 1; i < 8; i++) assert_int_equal(bytes[i], 0);
    assert_memory_equal(bytes + 8, header, sizeof header - 1);
    for (size_t i = 8 + sizeof header - 1; i < 128; i++) assert_int_equal(bytes[i], ' ');
    assert_memory_equal(bytes + 128, values, 24);
    assert_memory_equal(bytes + 152, flags, 3);
    free(bytes);
}

static void test_header_sizes(void **state)
{
    (void)state;
    char name[130];
    for (int length = 0; length < 128; length++) { /* every padding */
        memset(name, 'x', sizeof name);
        name[length] = 0;
        struct dg_safetensors_item item = {name, DG_SAFETENSORS_F32, 1, {6}, values};
        assert_ok(dg_safetensors_write(path, &item, 1, NULL, 0, try_err));
        struct stat about;
        assert_int_equal(stat(path, &about), 0);
        assert_int_equal(about.st_size % 64, sizeof values);
        struct dg_safetensors *file;
        assert_ok(dg_safetensors_open(path, &file, try_err));
        assert_memory_equal(dg_safetensors_find(file, name)->data, values, sizeof values);
        dg_safetensors_close(file);
    }
}

static void test_many(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    static char name[MANY][32];
    static struct dg_safetensors_item many[MANY];
    static int32_t number[MANY];
    for (int i = 0; i < MANY; i++) {
        number[i] = i;
        snprintf(name[i], sizeof name[i], "blocks.%d.weight", (i * 7919) % MANY);
        many[i] = (struct dg_safetensors_item){name[i], DG_SAFETENSORS_I32, 0, {0}, &number[i]};
    }
    assert_ok(dg_safetensors_write(path, many, MANY, NULL, 0, try_err));
    struct dg_safetensors *file;
    assert_ok(dg_safetensors_open(path, &file, try_err));
    for (int i = 0; i < MANY; i++) assert_memory_equal(dg_safetensors_find(file, name[i])->data, &number[i], 4);
    dg_safetensors_close(file);
}

static void test_empty_files_are_files(void **state)
{
    (void)state;
    struct dg_safetensors *file;
    assert_ok(dg_safetensors_write(path, NULL, 0, NULL, 0, try_err));
    assert_ok(dg_safetensors_open(path, &file, try_err));
    assert_int_equal(dg_safetensors_count(file), 0);
    assert_null(dg_safetensors_find(file, "a"));
    assert_null(dg_safetensors_metadata(file, "a"));
    dg_safetensors_close(file);
}

/* Order and spaces in the header are free; unknown fields are passed over, as the reference implementation does. */
static void test_others_files(void **state)
{
    (void)state;
    put_header("{ \"b\" : {\"data_offsets\":[4,6], \"shape\":[2], \"more\":{}, \"dtype\":\"I8\"},\n"
               "\"e\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[4,4]},"
               "\"\\u0061\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}   ",
               6);
    struct dg_safetensors *file;
    assert_ok(dg_safetensors_open(path, &file, try_err));
    assert_int_equal(dg_safetensors_count(file), 3);
    assert_string_equal(dg_safetensors_at(file, 0)->name, "a");
    assert_string_equal(dg_safetensors_at(file, 1)->name, "e");
    assert_string_equal(dg_safetensors_at(file, 2)->name, "b");
    dg_safetensors_close(file);
}

#define T(name, dtype, shape, offsets)                                                                                 \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" offsets "]}"

static void test_malformed(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        int data_bytes;
        const char *words;
    } wrong[] = {
        {"", 0, "does not begin with '{'"},
        {" {}", 0, "does not begin with '{'"},
        {"[]", 0, "does not begin with '{'"},
        {"{", 0, "its header"},
        {"{} x", 0, "its header"},
        {"{\"\xff\":1}", 0, "unable to decode byte 0xff"},
        {"{\"\xc0\x80\":1}", 0, "unable to decode"},
        {"{\"\xed\xa0\x80\":1}", 0, "unable to decode"},
        {"{\"a\\u0000\":1}", 0, "NUL"},
        {"{\"__metadata__\":{\"a\":\"\\u0000\"}}", 0, "u0000"},
        {"{" T("a", "U8", "1", "0,1") "," T("a", "U8", "1", "1,2") "}", 2, "duplicate object key near '\"a\"'"},
        {"{" T("a", "U8", "1", "0,1") "," T("\\u0061", "U8", "1", "1,2") "}", 2, "duplicate object key"},
        {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "duplicate"},
        {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "duplicate"},
        {"{\"__metadata__\":[]}", 0, "__metadata__ is not an object"},
        {"{\"__metadata__\":{\"k\":1}}", 0, "the value of \"k\" is not a string"},
        {"{\"a\":1}", 0, "tensor \"a\": its entry"},
        {"{\"a\":{}}", 0, "tensor \"a\": its dtype"},
        {"{\"a\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "tensor \"a\": its dtype"},
        {"{" T("a", "f32", "1", "0,4") "}", 4, "tensor \"a\": dtype \"f32\""},
        {"{" T("a", "", "1", "0,4") "}", 4, "tensor \"a\": dtype \"\""},
        {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "tensor \"a\": its shape"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":1,\"data_offsets\":[0,1]}}", 1, "tensor \"a\": its shape"},
        {"{" T("a", "U8", "1,-1", "0,1") "}", 1, "tensor \"a\": dimension 1"},
        {"{" T("a", "U8", "1.0", "0,1") "}", 1, "tensor \"a\": dimension 0"},
        {"{" T("a", "U8", "\"1\"", "0,1") "}", 1, "tensor \"a\": dimension 0"},
        {"{" T("a", "U8", "1,1,1,1,1,1,1,1,1", "0,1") "}", 1, "tensor \"a\": 9 dimensions"},
        {"{" T("a", "U8", "4294967296,4294967296", "0,0") "}", 0, "tensor \"a\": its shape is too large"},
        {"{" T("a", "F64", "2305843009213693952", "0,0") "}", 0, "tensor \"a\": its shape is too large"},
        {"{" T("a", "U8", "9223372036854775808", "0,0") "}", 0, "too big integer"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "tensor \"a\": its data_offsets"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":{}}}", 1, "tensor \"a\": its data_offsets"},
        {"{" T("a", "U8", "1", "0") "}", 1, "tensor \"a\": its data_offsets"},
        {"{" T("a", "U8", "1", "0,1,1") "}", 1, "tensor \"a\": its data_offsets"},
        {"{" T("a", "U8", "1", "0,1.0") "}", 1, "tensor \"a\": its data_offsets"},
        {"{" T("a", "U8", "1", "-1,0") "}", 1, "tensor \"a\": its data_offsets [-1, 0]"},
        {"{" T("a", "U8", "1", "1,0") "}", 1, "tensor \"a\": its data_offsets [1, 0]"},
        {"{" T("a", "U8", "2", "0,2") "}", 1, "tensor \"a\": its data end at byte 2"},
        {"{" T("a", "U8", "9223372036854775807", "0,9223372036854775807") "}", 1, "tensor \"a\": its data end"},
        {"{" T("a", "F32", "2", "0,4") "}", 4, "tensor \"a\": its shape takes 8 bytes"},
        {"{" T("a", "F32", "0", "0,4") "}", 4, "tensor \"a\": its shape takes 0 bytes"},
        {"{" T("a", "U8", "2", "0,2") "," T("b", "U8", "2", "1,3") "}", 3, "tensor \"b\": its data overlap those of"},
        {"{" T("b", "U8", "2", "0,2") "," T("a", "U8", "2", "0,2") "}", 2, "tensor \"b\": its data overlap those of"},
        {"{" T("a", "U8", "3", "0,3") "," T("b", "U8", "0", "1,1") "}", 3, "tensor \"b\": its data overlap those of"},
        {"{" T("a", "U8", "1", "0,1") "," T("b", "U8", "1", "2,3") "}", 3, "tensor \"b\": the 1 bytes before"},
        {"{" T("a", "U8", "1", "1,2") "}", 2, "tensor \"a\": the 1 bytes before"},
        {"{" T("a", "U8", "1", "0,1") "}", 3, "tensor \"a\": the 2 bytes after"},
        {"{}", 5, "5 bytes of data, but no tensor"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        put_header(wrong[i].header, (size_t)wrong[i].data_bytes);
        assert_refused(wrong[i].words);
    }
    put_header("{" T("a", "U8", "2", "0,2") "," T("b", "U8", "2", "2,4") "}", 4);

    struct dg_safetensors *file;
    assert_ok(dg_safetensors_open(path, &file, try_err));
    dg_safetensors_close(file);
}

static void test_malformed_length(void **state)
{
    (void)state;
    static const struct {
        uint64_t length;
        const char *words;
    } wrong[] = {
        {0, "does not begin with '{'"}, {1, "its header"},
        {3, "its header has 3 bytes"},  {100000000, "its header has 100000000 bytes"},
        {100000001, "more than"},       {UINT64_MAX, "more than"},
        {UINT64_MAX - 7, "more than"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        uint8_t bytes[10] = {[8] = '{', [9] = '}'};
        memcpy(bytes, &wrong[i].length, 8);
        put(bytes, sizeof bytes);
        assert_refused(wrong[i].words);
    }
    put("1234567", 7);
    assert_refused("only 7 bytes");
    put("", 0);
    assert_refused("empty");
    assert_refused_at(test_folder, DG_ERR_INPUT, "folder");
    assert_refused_at("/dev/null", DG_ERR_INPUT, "special file");
    unlink(path);
    assert_refused_at(path, DG_ERR_IO, "No such file");
    struct dg_safetensors *file;
    assert_int_equal(dg_safetensors_open(path, &file, NULL), DG_ERR_IO); /* nobody has to want the text */
}

/* Touches everything an opened file offers. */
static void use(const struct dg_safetensors *file)
{
    float out[64];
    unsigned sum = 0;
    for (int i = 0; i < dg_safetensors_count(file); i++) {
        const struct dg_safetensors_tensor *tensor = dg_safetensors_at(file, i);
        assert_ptr_equal(dg_safetensors_find(file, tensor->name), tensor);
        for (uint64_t b = 0; b < tensor->bytes; b++) sum += ((const uint8_t *)tensor->data)[b];
        if (dg_safetensors_elements(tensor) <= 64) dg_safetensors_read_f32(tensor, out);
    }
    volatile unsigned keep = sum;
    (void)keep;
    dg_safetensors_metadata(file, "format");
}

static void test_prefixes(void **state)
{
    (void)state;
    write_example();
    size_t size;
    uint8_t *bytes = get(&size);
    for (size_t cut = 0; cut < size; cut++) {
        put(bytes, cut);
        assert_refused("");
    }
    free(bytes);
}

static void test_bit_flips(void **state)
{
    (void)state;
    write_example();
    size_t size;
    uint8_t *bytes = get(&size), *bad = malloc(size);
    assert_non_null(bad);
    struct dg_rng rng = dg_rng_make(1, DG_RNG_TEST, 3, 0);
    int opened = 0, refused = 0;
    for (int round = 0; round < 5000; round++) {
        memcpy(bad, bytes, size);
        for (int64_t flips = dg_rng_int(&rng, 1, 5); flips > 0; flips--) {
            int64_t at = dg_rng_int(&rng, 0, (int64_t)size);
            bad[at] ^= (uint8_t)(1 << dg_rng_int(&rng, 0, 8));
        }
        put(bad, size);
        struct dg_safetensors *file;
        struct dg_error err = {0};
        if (dg_safetensors_open(path, &file, &err) == DG_OK) {
            use(file);
            dg_safetensors_close(file);
            opened++;
        } else {
            assert_true(strstr(err.text, path) && strlen(err.text) > strlen(path) + 2);
            refused++;
        }
    }
    assert_true(opened > 100 && refused > 100);
    free(bytes);
    free(bad);
}

static float one(enum dg_safetensors_dtype dtype, const void *data, uint64_t bytes)
{
    struct dg_safetensors_tensor tensor = {"one", dtype, 0, {0}, data, bytes};
    float out = NAN;
    assert_int_equal(dg_safetensors_read_f32(&tensor, &out), DG_OK);
    return out;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void test_f16(void **state)
{
    (void)state;
    static const struct {
        uint16_t half;
        float value;
    } known[] = {
        {0x0000, 0},         {0x8000, -0.0f},    {0x3c00, 1},        {0xc000, -2},           {0x3555, 0x1.554p-2f},
        {0x7bff, 65504},     {0xfbff, -65504},   {0x0400, 0x1p-14f}, {0x03ff, 0x1.ff8p-15f}, {0x0001, 0x1p-24f},
        {0x8001, -0x1p-24f}, {0x0200, 0x1p-15f}, {0x7c00, INFINITY}, {0xfc00, -INFINITY},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_int_equal(bits_of(one(DG_SAFETENSORS_F16, &known[i].half, 2)), bits_of(known[i].value));
    for (uint32_t h = 0; h < 0x10000; h++) { /* by the definition */
        uint16_t half = (uint16_t)h;
        float value = one(DG_SAFETENSORS_F16, &half, 2);
        int exponent = h >> 10 & 31, mantissa = h & 0x3ff;
        assert_int_equal(!!signbit(value), h >> 15);
        if (exponent == 31)
            assert_true(mantissa ? isnan(value) : isinf(value));
        else
            assert_true(fabs(value) == (exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24)));
    }
}

static void test_bf16(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000; h++) {
        uint16_t half = (uint16_t)h;
        assert_int_equal(bits_of(one(DG_SAFETENSORS_BF16, &half, 2)), h << 16);
    }
    uint16_t third = 0x3eab, tiny = 0x0001, infinite = 0xff80;
    assert_true(one(DG_SAFETENSORS_BF16, &third, 2) == 0.333984375f);
    assert_true(one(DG_SAFETENSORS_BF16, &tiny, 2) == 0x1p-133f);
    assert_true(one(DG_SAFETENSORS_BF16, &infinite, 2) == -INFINITY);
}

static void test_f64_f32_and_the_others(void **state)
{
    (void)state;
    static const double wide[] = {0.1, -1e300, 1e-46, 16777217, 1e-40};
    static const float narrow[] = {0.1f, -INFINITY, 0, 16777216, 1e-40f};
    uint8_t shifted[sizeof wide + 1]; /* files may have data at any byte */
    memcpy(shifted + 1, wide, sizeof wide);
    float out[6];
    struct dg_safetensors_tensor tensor = {"t", DG_SAFETENSORS_F64, 1, {5}, shifted + 1, sizeof wide};
    assert_int_equal(dg_safetensors_read_f32(&tensor, out), DG_OK);
    assert_memory_equal(out, narrow, sizeof narrow);
    memcpy(shifted + 1, values, sizeof values);
    tensor = (struct dg_safetensors_tensor){"t", DG_SAFETENSORS_F32, 1, {6}, shifted + 1, sizeof values};
    assert_int_equal(dg_safetensors_read_f32(&tensor, out), DG_OK);
    assert_memory_equal(out, values, sizeof values);
    for (int d = DG_SAFETENSORS_I64; d < DG_SAFETENSORS_DTYPES; d++) {
        tensor.dtype = (enum dg_safetensors_dtype)d;
        assert_int_equal(dg_safetensors_read_f32(&tensor, out), DG_ERR_UNSUPPORTED);
    }
}

/* Writing fails with these words, and the old file stands. */
static void assert_not_written(const struct dg_safetensors_item *list, int count,
                               const struct dg_safetensors_meta *about, int meta_count, const char *words)
{
    struct dg_error err = {0};
    put("old", 3);
    assert_int_equal(dg_safetensors_write(path, list, count, about, meta_count, &err), DG_ERR_USAGE);
    if (!strstr(err.text, path) || !strstr(err.text, words)) fail_msg("%s\nhas no \"%s\"", err.text, words);
    size_t size;
    uint8_t *bytes = get(&size);
    assert_int_equal(size, 3);
    free(bytes);
}

static void test_what_cannot_be_written(void **state)
{
    (void)state;
    const struct dg_safetensors_item good = {"a", DG_SAFETENSORS_U8, 1, {3}, flags};
    struct dg_safetensors_item list[2] = {good, good};
    assert_not_written(list, 2, NULL, 0, "tensor \"a\": the name is taken");
    list[1].name = "__metadata__";
    assert_not_written(list, 2, NULL, 0, "tensor \"__metadata__\": the name is taken");
    list[1].name = "\xff";
    assert_not_written(list, 2, NULL, 0, "UTF-8");
    list[1] = good, list[1].name = "b", list[1].dim[0] = -1;
    assert_not_written(list, 2, NULL, 0, "tensor \"b\": its shape");
    list[1].ndim = 9;
    assert_not_written(list, 2, NULL, 0, "tensor \"b\": 9 dimensions");
    list[1].ndim = -1;
    assert_not_written(list, 2, NULL, 0, "tensor \"b\": -1 dimensions");
    list[1].ndim = 2, list[1].dim[0] = list[1].dim[1] = INT64_C(1) << 32;
    assert_not_written(list, 2, NULL, 0, "tensor \"b\": its shape");
    list[1].ndim = 1, list[1].dim[0] = INT64_MAX; /* fits alone, not behind the other */
    assert_not_written(list, 2, NULL, 0, "tensor \"b\": its shape");
    list[1].dim[0] = 1, list[1].dtype = DG_SAFETENSORS_DTYPES;
    assert_not_written(list, 2, NULL, 0, "tensor \"b\": there is no dtype 16");
    const struct dg_safetensors_meta twice[] = {{"k", "1"}, {"k", "2"}}, bad[] = {{"k", "\xff"}};
    assert_not_written(&good, 1, twice, 2, "two values for \"k\"");
    assert_not_written(&good, 1, bad, 1, "UTF-8");
}

static int files_in_folder(void)
{
    DIR *list = opendir(test_folder);
    assert_non_null(list);
    int count = 0;
    for (struct dirent *item; (item = readdir(list));) count += item->d_name[0] != '.';
    closedir(list);
    return count;
}

/* A limit on the size of files stands in for a full disk: write fails at some byte. */
static void test_no_room(void **state)
{
    (void)state;
    enum { BYTES = 1 << 20 };
    static uint8_t data[BYTES];
    const struct dg_safetensors_item large[] = {{"a", DG_SAFETENSORS_U8, 1, {BYTES}, data},
                                                {"b", DG_SAFETENSORS_U8, 1, {BYTES}, data}};
    write_example();
    size_t size, size_after;
    uint8_t *before = get(&size);
    struct rlimit old, low;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    static const rlim_t limit[] = {0, 100, 128, BYTES / 2, BYTES + 128, 2 * BYTES + 127};
    for (size_t i = 0; i < sizeof limit / sizeof *limit; i++) {
        struct dg_error err = {0};
        low = (struct rlimit){limit[i], old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
        enum dg_status status = dg_safetensors_write(path, large, 2, NULL, 0, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        assert_int_equal(status, DG_ERR_IO);
        if (!strstr(err.text, path) || !strstr(err.text, "File too large")) fail_msg("%s", err.text);
        uint8_t *after = get(&size_after);
        assert_int_equal(size, size_after);
        assert_memory_equal(before, after, size);
        assert_int_equal(files_in_folder(), 1);
        free(after);
    }
    signal(SIGXFSZ, handler);
    free(before);
}

static void test_folders_that_cannot_be_written(void **state)
{
    (void)state;
    write_example();
    char elsewhere[160];
    struct dg_error err = {0};
    snprintf(elsewhere, sizeof elsewhere, "%s/none/x.safetensors", test_folder);
    assert_int_equal(dg_safetensors_write(elsewhere, items, ITEMS, NULL, 0, &err), DG_ERR_IO);
    assert_non_null(strstr(err.text, elsewhere));
    snprintf(elsewhere, sizeof elsewhere, "%s/x.safetensors", path); /* below a file */
    assert_int_equal(dg_safetensors_write(elsewhere, items, ITEMS, NULL, 0, NULL), DG_ERR_IO);
    assert_int_equal(dg_safetensors_write(test_folder, items, ITEMS, NULL, 0, NULL), DG_ERR_IO); /* rename fails */

    size_t size, size_after;
    uint8_t *before = get(&size);
    assert_int_equal(chmod(test_folder, 0555), 0);
    bool root = geteuid() == 0;
    if (!root || seteuid(65534) == 0) { /* permissions do not hold root */
        err = (struct dg_error){0};
        enum dg_status status = dg_safetensors_write(path, items, 1, NULL, 0, &err);
        if (root) assert_int_equal(seteuid(0), 0);
        assert_int_equal(status, DG_ERR_IO);
        if (!strstr(err.text, path) || !strstr(err.text, "Permission denied")) fail_msg("%s", err.text);
    }
    assert_int_equal(chmod(test_folder, 0755), 0);
    uint8_t *after = get(&size_after);
    assert_int_equal(size, size_after);
    assert_memory_equal(before, after, size);
    assert_int_equal(files_in_folder(), 1);
    free(before);
    free(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_header_sizes),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_empty_files_are_files),
        cmocka_unit_test(test_others_files),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_malformed_length),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_bit_flips),
        cmocka_unit_test(test_f16),
        cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_f64_f32_and_the_others),
        cmocka_unit_test(test_what_cannot_be_written),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_folders_that_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
