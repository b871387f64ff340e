#include "tests/support/tiny.h"

#include "ops/base/rng.h"
#include "runtime/image/write.h"
#include "runtime/train/train.h"
#include "tests/support/compile.h"
#include "tests/support/images.h"

#include <sys/stat.h>

const char *const dg_tiny_sets[TINY_SETS] = {"student.with.dim=32",
                                             "student.with.depth=2",
                                             "student.with.heads=2",
                                             "student.with.image=32",
                                             "student.with.drop_path=0.2",
                                             "head.with.out_dim=64",
                                             "head.with.hidden=48",
                                             "head.with.bottleneck=16",
                                             "crops.global.size=32",
                                             "crops.local.size=16",
                                             "crops.local.count=2",
                                             "entries.features.batch=7",
                                             "epochs=3"};

static void compile(const char *path, const char *more, int64_t memory, int64_t ranks)
{
    const char *set[TINY_SETS + 1];
    memcpy(set, dg_tiny_sets, sizeof dg_tiny_sets);
    set[TINY_SETS] = more;
    struct dg_compile_options options = {.file = DG_SOURCE_DIR "/graphs/demo.yaml",
                                         .output = path,
                                         .set = set,
                                         .num_sets = TINY_SETS + (more != NULL),
                                         .batch = TINY_BATCH,
                                         .memory = memory,
                                         .ranks = ranks};
    compile_plan(&options);
}

void dg_tiny_compile_within(const char *path, const char *more, int64_t memory) { compile(path, more, memory, 0); }

void dg_tiny_compile_ranks(const char *path, const char *more, int64_t ranks) { compile(path, more, 0, ranks); }

void dg_tiny_compile(const char *path, const char *more) { dg_tiny_compile_within(path, more, 0); }

void dg_tiny_pictures(const char *folder, int count)
{
    static const char *const jpeg[] = {FIXTURE("420.jpg"), FIXTURE("444.jpg"), FIXTURE("rgb.jpg"),
                                       FIXTURE("progressive.jpg")};
    assert_int_equal(mkdir(folder, 0777), 0);
    for (int i = 0; i < count; i++) {
        char name[32];
        snprintf(name, sizeof name, "%02d.%s", i, i % 4 == 3 ? "jpg" : "png");
        const char *path = path_in(folder, name);
        if (i % 4 == 3) {
            size_t size;
            uint8_t *bytes = read_file(jpeg[i / 4 % 4], &size);
            write_file(path, bytes, size);
            free(bytes);
            continue;
        }
        snprintf(name, sizeof name, "tiny %d", i);
        struct dg_image image = dg_test_noise(name, 30 + 3 * i, 71 - 2 * i);
        assert_ok(dg_image_write_png(path, image.pixels, image.width, image.height, 3, try_err));
        dg_image_free(&image);
    }
}

void dg_tiny_run(const char *plan, const char *pictures, const char *run)
{
    struct dg_plan opened;
    struct dg_knobs knobs;
    assert_ok(dg_plan_open(plan, &opened, try_err));
    assert_ok(dg_knobs_open(&opened, &knobs, try_err));
    struct dg_train_options o = {
        .data = DG_FOLDER(pictures), .out = run, .steps = 0, .threads = 2, .ignore_memory = true};
    assert_ok(dg_train(&opened, &knobs, &o, try_err));
    dg_knobs_close(&knobs);
    dg_plan_close(&opened);
}

struct dg_tiny_crops dg_tiny_crops(int steps)
{
    struct dg_tiny_crops crops = {.item = calloc((size_t)steps * TINY_VIEWS, sizeof *crops.item),
                                  .name = calloc((size_t)steps * TINY_VIEWS, sizeof *crops.name)};
    assert_true(crops.item && crops.name);
    struct dg_rng rng = dg_rng_make(3, DG_RNG_TEST, 0, 0);
    for (int s = 0; s < steps; s++)
        for (int v = 0; v < TINY_VIEWS; v++, crops.count++) {
            int64_t size = v < 2 ? TINY_GLOBAL : TINY_LOCAL, floats = TINY_BATCH * 3 * size * size;
            float *data = malloc((size_t)floats * sizeof *data);
            assert_non_null(data);
            for (int64_t i = 0; i < floats; i++) data[i] = dg_rng_uniform(&rng, -2, 2);
            snprintf(crops.name[crops.count], sizeof *crops.name, "step%d.crop%d", s, v);
            crops.item[crops.count] = (struct dg_safetensors_item){.name = crops.name[crops.count],
                                                                   .dtype = DG_SAFETENSORS_F32,
                                                                   .ndim = 4,
                                                                   .dim = {TINY_BATCH, 3, size, size},
                                                                   .data = data};
        }
    return crops;
}

void dg_tiny_crops_free(struct dg_tiny_crops *crops)
{
    for (int i = 0; i < crops->count; i++) free((void *)(uintptr_t)crops->item[i].data);
    free(crops->item);
    free(crops->name);
}
