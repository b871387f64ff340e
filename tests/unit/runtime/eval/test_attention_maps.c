/* Attention's masks and Jaccard on cases made by hand; the commands. */
#include "runtime/eval/attention_maps.h"
#include "runtime/image/decode.h"
#include "runtime/image/write.h"
#include "tests/support/compile.h"
#include "tests/support/process.h"
#include "tests/support/tiny.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- masks ---- */

#define MASK(keep, expected, ...)                                                                                      \
    do {                                                                                                               \
        const float map_[] = {__VA_ARGS__};                                                                            \
        check_mask(map_, sizeof map_ / sizeof *map_, keep, expected);                                                  \
    } while (0)

static void check_mask(const float *map, size_t count, double keep, const char *expected)
{
    uint8_t mask[16];
    char text[17] = "";
    assert_true(count <= 16 && count == strlen(expected));
    assert_ok(dg_attention_mask(map, (int64_t)count, keep, mask, try_err));
    for (size_t i = 0; i < count; i++) text[i] = (char)('0' + mask[i]);
    assert_string_equal(text, expected);
}

static void test_masks(void **state)
{
    (void)state;
    MASK(0.6, "0100", 1, 5, 1, 1);      /* 5 of 8 */
    MASK(0.6, "1100", 4, 5, 2, 1);      /* 5 of 12 is too little */
    MASK(0.6, "010", 0.f, 1.f, 0.f);    /* nothing but one patch */
    MASK(1, "1110", 1, 2, 3, 0);        /* all that is anything */
    MASK(1e-3, "0010", 1, 2, 3, 0);     /* the largest */
    MASK(0.5, "0011", 1, 1, 1, 1);      /* ties: the later ones */
    MASK(0.75, "0111", 1, 1, 1, 1);     /* the running sum is 1/4, which does not exceed 1/4 */
    MASK(0.76, "1111", 1, 1, 1, 1);     /* a patch is in or out as a whole */
    MASK(0.3, "00011", 2, 1, 1, 2, 2);  /* 2 of 8 are too little */
    MASK(0.25, "00001", 2, 1, 1, 2, 2); /* just enough */
    MASK(0.6, "1", 0.001f);
    MASK(0.6, "000", 0, 0, 0); /* no attention, no mask */
    /* As torch has it in f32: of ten equal patches the first four sum up to 0.4, which does not exceed 0.4. */
    MASK(0.6, "0000111111", 1, 1, 1, 1, 1, 1, 1, 1, 1, 1);
}

static void test_maps(void **state)
{
    (void)state;
    /* Two heads, the class token and two patches. */
    float probs[2][3][3] = {{{.5f, .3f, .2f}, {9, 9, 9}, {9, 9, 9}}, {{.2f, .1f, .7f}, {9, 9, 9}, {9, 9, 9}}};
    float maps[4], mean[2];
    assert_ok(dg_attention_maps(&probs[0][0][0], 2, 3, 1, maps, try_err));
    assert_memory_equal(maps, ((float[]){.3f, .2f, .1f, .7f}), sizeof maps);
    dg_attention_mean(maps, 2, 2, mean);
    assert_true(fabsf(mean[0] - .2f) < 1e-7f && fabsf(mean[1] - .45f) < 1e-7f);
    assert_ok(dg_attention_maps(&probs[0][0][0], 2, 3, 2, maps, try_err)); /* a register in front of one patch */
    assert_memory_equal(maps, ((float[]){.2f, .7f}), 2 * sizeof *maps);
    struct dg_error err = {0};
    probs[1][0][2] = NAN;
    assert_int_equal(dg_attention_maps(&probs[0][0][0], 2, 3, 1, maps, &err), DG_ERR_NUMERIC);
    assert_non_null(strstr(err.text, "head 1"));
}

/* ---- masks and Jaccard ---- */

static void test_object_masks(void **state)
{
    (void)state;
    uint8_t mask[4];
    int objects;
    uint8_t gray[] = {0, 0, 0, 127, 127, 127, 128, 128, 128, 255, 255, 255};
    struct dg_image image = {.width = 2, .height = 2, .pixels = gray};
    assert_ok(dg_mask_read(&image, mask, &objects, try_err));
    assert_int_equal(objects, 1);
    assert_memory_equal(mask, ((uint8_t[]){0, 0, 1, 1}), 4);
    uint8_t voc[] = {0, 0, 0, 64, 0, 0, 224, 224, 192, 0, 0, 128};
    image.pixels = voc;
    assert_ok(dg_mask_read(&image, mask, &objects, try_err));
    assert_int_equal(objects, 2);
    assert_memory_equal(mask, ((uint8_t[]){0, 1, DG_MASK_VOID, 2}), 4);
    uint8_t same[] = {0, 0, 128, 64, 0, 0, 0, 0, 128, 64, 0, 0};
    image.pixels = same;
    assert_ok(dg_mask_read(&image, mask, &objects, try_err));
    assert_int_equal(objects, 2);
    assert_memory_equal(mask, ((uint8_t[]){1, 2, 1, 2}), 4);
    uint8_t nothing[12] = {0};
    image.pixels = nothing;
    assert_ok(dg_mask_read(&image, mask, &objects, try_err));
    assert_int_equal(objects, 0);
}

/* As many colours as there are numbers, and one more, which no label image has. */
static void test_many_colours(void **state)
{
    (void)state;
    enum { COUNT = DG_MASK_MAX_OBJECTS + 1 };
    uint8_t pixels[3 * COUNT], mask[COUNT];
    struct dg_error err = {0};
    int objects;
    for (int i = 0; i < COUNT; i++) memcpy(pixels + 3 * i, ((uint8_t[]){(uint8_t)i, 1, 2}), 3);
    struct dg_image image = {.width = COUNT - 1, .height = 1, .pixels = pixels};
    assert_ok(dg_mask_read(&image, mask, &objects, try_err));
    assert_int_equal(objects, DG_MASK_MAX_OBJECTS);
    assert_int_equal(mask[COUNT - 2], DG_MASK_MAX_OBJECTS);
    image.width = COUNT;
    assert_int_equal(dg_mask_read(&image, mask, &objects, &err), DG_ERR_INPUT);
    assert_non_null(strstr(err.text, "one colour per object"));
}

#define JACCARD(mask, height, width, patch_mask, patches) dg_jaccard(mask, height, width, 1, patch_mask, patches)

static void test_jaccard(void **state)
{
    (void)state;
    const struct dg_patches two = {.height = 4, .width = 4, .rows = 2, .cols = 2, .size = 2};
    const uint8_t left[] = {1, 0, 1, 0}, none[4] = {0}, all[] = {1, 1, 1, 1};
    const uint8_t square[] = {0, 0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0}, empty[16] = {0};
    assert_true(JACCARD(square, 4, 4, left, &two) == 2.0 / 10);
    assert_true(JACCARD(square, 4, 4, all, &two) == 4.0 / 16);
    assert_true(JACCARD(square, 4, 4, none, &two) == 0);
    assert_true(JACCARD(empty, 4, 4, none, &two) == 0);
    assert_true(dg_jaccard_together(empty, 4, 4, none, &two) == 0);
    assert_true(JACCARD(left, 2, 2, left, &two) == 1); /* a picture smaller than the input */
    /* One of another shape: three columns, the middle of the second falls into the right patch. */
    assert_true(JACCARD(((uint8_t[]){1, 0, 0, 1, 0, 0}), 2, 3, left, &two) == 1);
    assert_true(JACCARD(((uint8_t[]){1, 1, 0, 1, 1, 0}), 2, 3, left, &two) == 0.5);
    /* Void and another object: ground to the first, where the objects are taken one by one. */
    const uint8_t labels[] = {1, DG_MASK_VOID, 2, 1, DG_MASK_VOID, 0};
    assert_true(dg_jaccard(labels, 2, 3, 1, all, &two) == 2.0 / 6);
    assert_true(dg_jaccard(labels, 2, 3, 2, all, &two) == 1.0 / 6);
    assert_true(dg_jaccard_together(labels, 2, 3, all, &two) == 3.0 / 4);
    assert_true(dg_jaccard_together(labels, 2, 3, left, &two) == 2.0 / 3);
    /* The last pixel of an input of 5 is not seen: ground. */
    const struct dg_patches five = {.height = 5, .width = 5, .rows = 2, .cols = 2, .size = 2};
    uint8_t mask[25];
    memset(mask, 1, sizeof mask);
    assert_true(JACCARD(mask, 5, 5, all, &five) == 16.0 / 25);
}

/* ---- the command ---- */

static char before[512];

/* Works in a folder of its own: the commands are then the ones a user would type. */
static int setup(void **state)
{
    assert_non_null(getcwd(before, sizeof before));
    make_test_folder(state);
    assert_int_equal(chdir(test_folder), 0);
    dg_tiny_compile("tiny.plan", NULL);
    dg_tiny_pictures("pictures", 4);
    return 0;
}

static int teardown(void **state)
{
    assert_int_equal(chdir(before), 0);
    return remove_test_folder(state);
}

/* dinorun with these arguments, parted by blanks, ends with `code` and says `text`: on success on its standard
 * output. */
static void says(const char *arguments, int code, const char *text)
{
    char words[512];
    const char *argv[32] = {DG_BUILD_DIR "/dinorun"};
    int count = 1;
    snprintf(words, sizeof words, "%s", arguments);
    for (char *word = strtok(words, " "); word && count < 31; word = strtok(NULL, " ")) argv[count++] = word;
    const struct process *process = process_run(argv, NULL);
    process_assert_status(process, code);
    process_assert_says(process, code ? process->err : process->out, text);
}

#define WEIGHTS "--weights run/checkpoint.safetensors "

static void test_command(void **state)
{
    (void)state;
    says("train tiny.plan --data pictures --out run --steps 0", 0, "");
    says("attention tiny.plan " WEIGHTS "--image pictures/01.png --out maps", 0, "[2, 4, 4] f32");
    says("attention tiny.plan " WEIGHTS "--image pictures/03.jpg --out maps --threshold 0.25 --image-size 32", 0,
         "25 %");
    says("attention tiny.plan " WEIGHTS "--image pictures/01.png --out large --image-size 64x40", 0, "[2, 8, 5] f32");
    static const char *const files[] = {"img.png",       "attn-head0.png",        "attn-head1.png",
                                        "attn-mean.png", "mask_th0.25_head1.png", "mask_th0.6_mean.png",
                                        "sheet.png",     "mask_th0.6_all.png"};
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        assert_ok(dg_image_decode_file(&decoder, path_in("maps", files[f]), &image, try_err));
        if (strcmp(files[f], "sheet.png")) assert_true(image.width == 32 && image.height == 32);
    }
    assert_int_equal(image.width, 32);
    dg_image_free(&image);
    dg_image_decoder_free(&decoder);
    size_t size;
    char *page = read_file(path_in("maps", "sheet.html"), &size);
    assert_non_null(strstr(page, "<th>head 1<th>mean of the heads"));
    assert_non_null(strstr(page, "<th>25 % of it<td><img src=\"mask_th0.25_all.png\""));
    assert_null(strstr(page, "head 2"));
    free(page);
    uint8_t *bytes = read_file("maps/attention.npy", &size);
    assert_int_equal(size, 128 + 2 * 16 * sizeof(float));
    assert_memory_equal(bytes + 10, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 4, 4), }", 62);
    free(bytes);
}

static void test_pca_command(void **state)
{
    (void)state;
    says("train tiny.plan --data pictures --out run2 --steps 0", 0, "");
    says("pca tiny.plan --weights run2/checkpoint.safetensors --image pictures/01.png --out one.png", 0,
         "1 x 4x4 patches; red, green and blue have ");
    says("pca tiny.plan --weights run2/checkpoint.safetensors --image pictures/01.png --image pictures/03.jpg "
         "--image pictures/02.png --out three.png --image-size 32x32",
         0, "3 x 4x4 patches");
    struct dg_image_decoder decoder = {0};
    struct dg_image one = {0}, three = {0};
    assert_ok(dg_image_decode_file(&decoder, "one.png", &one, try_err));
    assert_ok(dg_image_decode_file(&decoder, "three.png", &three, try_err));
    assert_true(one.width == 2 * 160 + 3 * 6 && one.height == 160 + 2 * 6);
    assert_true(three.width == 4 * 160 + 5 * 6 && three.height == 2 * 160 + 3 * 6);
    dg_image_free(&one);
    dg_image_free(&three);
    dg_image_decoder_free(&decoder);
    says("pca tiny.plan --weights a --out b", 2, "--image FILE is needed");
    says("pca tiny.plan --weights run2/checkpoint.safetensors --image pictures/01.png --image pictures/02.png --out "
         "big.png "
         "--image-size 64x48",
         0, "2 x 8x6 patches");
    says("pca tiny.plan --weights run2/checkpoint.safetensors --image pictures/01.png --image pictures/02.png --out c "
         "--resize exact",
         1, "they are drawn in one size");
    says("pca tiny.plan --weights run2/checkpoint.safetensors --image pictures/01.png --image a.png --image b.png "
         "--out c",
         1, "a.png: No such file");
    assert_int_equal(access("c", F_OK), -1);
}

/* A mask of the size of pictures/`name`: the columns from `left` to `right` hundredths are an object, red in the
 * upper half and green in the lower half if `two`. */
static void write_mask(const char *name, int left, int right, bool two)
{
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    char path[64];
    snprintf(path, sizeof path, "pictures/%s", name);
    assert_ok(dg_image_decode_file(&decoder, path, &image, try_err));
    int width = image.width, height = image.height;
    memset(image.pixels, 0, (size_t)(3 * width * height));
    for (int i = 0; i < width * height; i++) {
        int x = i % width;
        if (x * 100 < left * width || x * 100 >= right * width) continue;
        if (two)
            image.pixels[3 * i + (2 * (i / width) >= height)] = 128;
        else
            memset(image.pixels + 3 * i, 255, 3);
    }
    snprintf(path, sizeof path, "masks/%.2s.png", name);
    assert_ok(dg_image_write_png(path, image.pixels, width, height, 3, try_err));
    dg_image_free(&image);
    dg_image_decoder_free(&decoder);
}

/* All attention is kept, so all masks are the whole picture and the scores the objects' shares of it. */
static void test_segment_score(void **state)
{
    (void)state;
    static const char *const score = "segment-score tiny.plan --weights run3/checkpoint.safetensors --data pictures";
    char line[256];
    says("train tiny.plan --data pictures --out run3 --steps 0", 0, "");
    assert_int_equal(mkdir("masks", 0777), 0);
    snprintf(line, sizeof line, "%s --masks masks", score);
    says(line, 1, "no image has a mask: expected that of pictures/00.png at masks/00.png");
    write_mask("00.png", 0, 0, false);
    says(line, 1, "no mask in masks shows an object");
    write_mask("01.png", 0, 33, false);
    write_mask("02.png", 50, 100, true);
    snprintf(line, sizeof line, "%s --masks masks --threshold 1", score);
    says(line, 0, "2 images with 3 objects; 1 without a mask left out; 1 whose mask shows no object left out\n");
    says(line, 0, "  head 1             29.17 %\n  mean of heads      29.17 %\n  everything         29.17 %\n");
    says(line, 0, "best head of each object: Jaccard 29.17 % (the published measure)\n");
    says(line, 0, "all objects of an image as one, its best head: 41.67 % (not comparable with the paper)\n");
    assert_int_equal(rename("masks/01.png", "masks/03.png"), 0);
    says(line, 1, "they must be equal");
    write_file("masks/03.png", "no picture", 10);
    says(line, 1, "masks/03.png: the file is an unknown format");
    says("segment-score tiny.plan --data a", 2, "--weights FILE and --masks DIR are needed");
    says("segment-score tiny.plan --weights a --data b --masks c --threshold nan", 2, "above 0 and up to 1");
    says("segment-score tiny.plan --weights a --data nowhere --masks c", 1, "nowhere");
}

static void test_wrong_use(void **state)
{
    (void)state;
    says("attention tiny.plan --image a", 2, "--weights FILE and --out DIR are needed");
    says("attention tiny.plan " WEIGHTS "--image a --out b --threshold 0", 2, "above 0 and up to 1");
    says("attention tiny.plan " WEIGHTS "--image a --out b --image-size 32y", 2, "as in 480 or 160x240");
    says("attention tiny.plan " WEIGHTS "--image a --out b --image-size 0x4", 2, "as in 480 or 160x240");
    says("attention tiny.plan " WEIGHTS "--image a --out b --image-size 48 --resize exact", 2, "--resize");
    says("attention tiny.plan " WEIGHTS "--image a --out b", 1, "a: No such file");
    says("attention tiny.plan " WEIGHTS "--image tiny.plan --out b", 1, "an unknown format");
    says("attention tiny.plan " WEIGHTS "--image pictures/01.png --out tiny.plan", 1,
         "cannot write to the folder tiny.plan");
    says("attention tiny.plan --weights a --image pictures/01.png --out b", 1, "a: ");
    says("attention tiny.plan " WEIGHTS "--weights-from pupil --image a --out b", 2, "expected teacher or student");
}

/* A backbone without patches and attention. */
static void test_convolutions_only(void **state)
{
    (void)state;
    static const char text[] = "module: convolutions\n"
                               "nodes:\n"
                               "  conv: {op: conv2d, out: 8, kernel: 4, stride: 4}\n"
                               "  out:  to_tokens\n"
                               "outputs: {features: out}\n";
    write_file("convolutions.yaml", text, sizeof text - 1);
    struct dg_compile_options options = {
        .file = "convolutions.yaml", .output = "convolutions.plan", .batch = 1, .height = 32, .width = 32};
    compile_plan(&options);
    says("attention convolutions.plan " WEIGHTS "--image pictures/01.png --out b", 2,
         "convolutions has no attention (only Vision Transformers");
    says("segment-score convolutions.plan --weights a --data b --masks c", 2, "convolutions has no attention");
    says("pca convolutions.plan --weights a --image b --out c", 2,
         "convolutions has no tokens (only Vision Transformers");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_masks),        cmocka_unit_test(test_maps),
        cmocka_unit_test(test_object_masks), cmocka_unit_test(test_many_colours),
        cmocka_unit_test(test_jaccard),      cmocka_unit_test(test_command),
        cmocka_unit_test(test_pca_command),  cmocka_unit_test(test_segment_score),
        cmocka_unit_test(test_wrong_use),    cmocka_unit_test(test_convolutions_only),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
