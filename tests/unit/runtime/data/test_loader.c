/* Loading: batches do not depend on threads, resume exactly, survive damaged pictures, and wait for their reader. */
#include "tests/support/images.h"
#include "tests/support/log.h"

#include "runtime/data/eval_source.h"
#include "runtime/data/image_reader.h"
#include "runtime/data/train_source.h"
#include "runtime/draw/crops_sheet.h"
#include "runtime/image/decode.h"
#include "runtime/image/write.h"

#include <math.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { IMAGES = 23, BATCH = 4, STEPS = IMAGES / BATCH };

static struct dg_dataset *dataset;

static const char *image_path(int i)
{
    char name[32];
    snprintf(name, sizeof name, "%02d.png", i);
    return in(name);
}

static void make_picture(int i)
{
    struct dg_image image = dg_test_noise("loader", 20 + 3 * i, 61 - 2 * i);
    assert_ok(dg_image_write_png(image_path(i), image.pixels, image.width, image.height, 3, try_err));
    dg_image_free(&image);
}

/* Pictures of many sizes, none square. */
static int make_dataset(void **state)
{
    make_test_folder(state);
    for (int i = 0; i < IMAGES; i++) make_picture(i);
    assert_ok(dg_dataset_open(&DG_FOLDER(test_folder), DG_LABELS_IF_ANY, NULL, &dataset, try_err));
    return 0;
}

static int remove_dataset(void **state)
{
    (void)state;
    dg_dataset_close(dataset);
    remove_folder(test_folder);
    return 0;
}

static void damage(int i) { write_file(image_path(i), "\x89PNG\r\n\x1a\n", 8); }

static struct dg_view_spec views[4];
enum { FLOATS = BATCH * 3 * (2 * 24 * 24 + 2 * 12 * 16) };

static struct dg_train_reading reading(void)
{
    views[0] = dg_test_view(24, 0.4, 1, 1, 0);
    views[1] = dg_test_view(24, 0.4, 1, 0.1, 0.2);
    views[2] = dg_test_view(12, 0.05, 0.4, 0.5, 0);
    views[2].width = 16;
    views[3] = views[2];
    return (struct dg_train_reading){
        .dataset = dataset, .views = views, .view_count = 4, .seed = 9, .steps_per_epoch = STEPS, .max_bad = 2};
}

static struct dg_loader *open_train(const struct dg_train_reading *train, int threads, int prefetch)
{
    struct dg_loader_config config = {BATCH, threads, prefetch, &dg_test_log};
    struct dg_loader *loader;
    assert_ok(dg_loader_open_train(&config, train, &loader, try_err));
    return loader;
}

/* Reads `count` batches and hashes all that is in them. */
static void hash_batches(struct dg_loader *loader, int count, uint64_t *hash)
{
    for (int i = 0; i < count; i++) {
        const struct dg_batch *batch;
        assert_ok(dg_loader_next(loader, &batch, try_err));
        assert_non_null(batch);
        assert_int_equal(batch->rows, BATCH);
        hash[i] = dg_test_hash(batch->data, FLOATS * sizeof(float));
        hash[i] = dg_fnv1a(hash[i], batch->item, BATCH * sizeof *batch->item);
        hash[i] = dg_fnv1a(hash[i], &batch->epoch, sizeof batch->epoch);
        hash[i] = dg_fnv1a(hash[i], &batch->step, sizeof batch->step);
        dg_loader_release(loader, batch);
    }
}

enum { READ = 3 * STEPS + 2 };

static void test_threads_and_prefetch_change_nothing(void **state)
{
    (void)state;
    struct dg_train_reading train = reading();
    uint64_t expected[READ], hash[READ];
    struct dg_loader *loader = open_train(&train, 1, 1);
    hash_batches(loader, READ, expected);
    dg_loader_close(loader);
    const int threads[] = {2, 4, 7}, prefetch[] = {1, 3, 20};
    for (int i = 0; i < 3; i++) {
        loader = open_train(&train, threads[i], prefetch[i]);
        hash_batches(loader, READ, hash);
        dg_loader_close(loader);
        assert_memory_equal(hash, expected, sizeof hash);
    }
    for (int i = 1; i < READ; i++) assert_true(expected[i] != expected[0]);
    train.seed++;
    loader = open_train(&train, 2, 2);
    hash_batches(loader, 1, hash);
    dg_loader_close(loader);
    assert_true(hash[0] != expected[0]);
}

static void test_resume_equals_uninterrupted(void **state)
{
    (void)state;
    struct dg_train_reading train = reading();
    uint64_t expected[READ], hash[READ];
    struct dg_loader *loader = open_train(&train, 2, 2);
    hash_batches(loader, READ, expected);
    dg_loader_close(loader);
    for (int from = 1; from < READ; from += 3) {
        train.epoch = from / STEPS;
        train.step = from % STEPS;
        loader = open_train(&train, 2, 2);
        hash_batches(loader, READ - from, hash);
        dg_loader_close(loader);
        assert_memory_equal(hash, expected + from, (size_t)(READ - from) * sizeof *hash);
    }
}

/* Every row is what the public functions make of its picture; every epoch takes each picture at most once. */
static void test_rows_are_the_views_of_the_order(void **state)
{
    (void)state;
    struct dg_train_reading train = reading();
    train.epoch = 1;
    struct dg_loader *loader = open_train(&train, 2, 2);
    int32_t order[IMAGES];
    dg_epoch_order(train.seed, 1, IMAGES, order);
    int seen[IMAGES] = {0};
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    struct dg_scratch work = {0};
    for (int step = 0; step < STEPS; step++) {
        const struct dg_batch *batch;
        assert_ok(dg_loader_next(loader, &batch, try_err));
        assert_int_equal(batch->epoch, 1);
        assert_int_equal(batch->step, step);
        assert_ptr_equal(batch->part[0], batch->data);
        for (int row = 0; row < BATCH; row++) {
            int64_t index = batch->item[row];
            assert_int_equal(index, order[step * BATCH + row]);
            assert_int_equal(seen[index]++, 0);
            assert_ok(dg_image_decode_file(&decoder, dg_dataset_path(dataset, index), &image, try_err));
            int64_t offset = 0;
            for (int v = 0; v < 4; v++) {
                int64_t pixels = (int64_t)views[v].height * views[v].width;
                uint8_t bytes[24 * 24 * 3];
                float floats[24 * 24 * 3];
                struct dg_view_draw draw =
                    dg_view_sample(&views[v], image.width, image.height, train.seed, 1, index, v);
                assert_ok(dg_view_apply(&views[v], &draw, &image, bytes, &work, try_err));
                struct dg_normalizer normalizer = dg_normalizer_make(views[v].mean, views[v].std);
                dg_normalize(&normalizer, bytes, pixels, floats);
                assert_ptr_equal(batch->part[v], batch->data + offset);
                assert_memory_equal(batch->part[v] + row * pixels * 3, floats, (size_t)pixels * 3 * sizeof(float));
                offset += BATCH * pixels * 3;
            }
        }
        dg_loader_release(loader, batch);
    }
    dg_loader_close(loader);
    dg_image_free(&image);
    dg_image_decoder_free(&decoder);
    dg_scratch_free(&work);
}

static void test_orders_are_permutations(void **state)
{
    (void)state;
    int32_t order[IMAGES], other[IMAGES];
    int place_of_first[IMAGES] = {0};
    for (int epoch = 0; epoch < 4600; epoch++) {
        dg_epoch_order(1, epoch, IMAGES, order);
        int seen = 0;
        for (int i = 0; i < IMAGES; i++) {
            seen |= 1 << order[i];
            if (order[i] == 0) place_of_first[i]++;
        }
        assert_int_equal(seen, (1 << IMAGES) - 1);
    }
    for (int i = 0; i < IMAGES; i++) assert_in_range(place_of_first[i], 140, 260); /* 200 +- 14 */
    dg_epoch_order(2, 4599, IMAGES, other);
    assert_memory_not_equal(order, other, sizeof order);
}

static void test_damaged_pictures_are_replaced(void **state)
{
    (void)state;
    struct dg_train_reading train = reading();
    int32_t order[IMAGES];
    dg_epoch_order(train.seed, 0, IMAGES, order);
    damage(order[5]);
    damage(order[6]);
    uint64_t expected[READ], hash[READ];
    for (int threads = 1; threads <= 4; threads += 3) {
        dg_test_hush();
        struct dg_loader *loader = open_train(&train, threads, 2);
        const struct dg_batch *batch;
        assert_ok(dg_loader_next(loader, &batch, try_err));
        for (int row = 0; row < BATCH; row++) assert_int_equal(batch->item[row], order[row]);
        dg_loader_release(loader, batch);
        assert_ok(dg_loader_next(loader, &batch, try_err));
        assert_int_equal(batch->item[0], order[4]);
        for (int row = 1; row < BATCH; row++) assert_int_equal(batch->item[row], order[7]);
        /* The same picture twice in a batch, but with the draws of the two places. */
        size_t view = 24 * 24 * 3;
        assert_memory_not_equal(batch->data + view, batch->data + 3 * view, view * sizeof(float));
        dg_loader_release(loader, batch);
        hash_batches(loader, READ, threads == 1 ? expected : hash);
        const char *line = dg_test_said;
        for (int i = 0; i < 2;
             i++, line = strchr(line, '\n') + 1) { /* once each, although they come again every epoch */
            assert_int_equal(strncmp(line, test_folder, strlen(test_folder)), 0);
            assert_true(strstr(line, "cut short") < strchr(line, '\n'));
        }
        assert_string_equal(line, "");
        dg_loader_close(loader);
    }
    assert_memory_equal(hash, expected, sizeof hash);
}

static void test_the_last_place_wraps_around(void **state)
{
    (void)state;
    struct dg_train_reading train = reading();
    struct dg_loader_config config = {IMAGES, 2, 1, NULL};
    train.steps_per_epoch = 1;
    int32_t order[IMAGES];
    dg_epoch_order(train.seed, 0, IMAGES, order);
    damage(order[IMAGES - 1]);
    damage(order[0]);
    struct dg_loader *loader;
    const struct dg_batch *batch;
    assert_ok(dg_loader_open_train(&config, &train, &loader, try_err));
    assert_ok(dg_loader_next(loader, &batch, try_err));
    assert_int_equal(batch->item[IMAGES - 1], order[1]);
    assert_int_equal(batch->item[0], order[1]);
    dg_loader_close(loader); /* with the batch still held */
}

static void test_too_many_damaged_pictures(void **state)
{
    (void)state;
    struct dg_train_reading train = reading();
    for (int i = 3; i < 6; i++) damage(i);
    struct dg_loader *loader = open_train(&train, 2, 2);
    const struct dg_batch *batch;
    struct dg_error err = {0};
    enum dg_status status = DG_OK;
    for (int i = 0; i < 2 * STEPS && status == DG_OK; i++) {
        status = dg_loader_next(loader, &batch, &err);
        if (status == DG_OK) dg_loader_release(loader, batch);
    }
    assert_int_equal(status, DG_ERR_INPUT);
    assert_non_null(strstr(err.text, "3 unreadable images, more than the 2 tolerated"));
    assert_non_null(strstr(err.text, test_folder));
    assert_int_equal(dg_loader_next(loader, &batch, NULL), DG_ERR_INPUT); /* and it stays so */
    assert_null(batch);
    dg_loader_close(loader);

    for (int i = 0; i < IMAGES; i++) damage(i);
    train.max_bad = 1000;
    loader = open_train(&train, 3, 2);
    err = (struct dg_error){0};
    assert_int_equal(dg_loader_next(loader, &batch, &err), DG_ERR_INPUT);
    assert_non_null(strstr(err.text, "none of the 23 images"));
    dg_loader_close(loader);
}

/* Files that go while they are read, or become something else: counted, named and replaced; one too many ends it. */
static void test_vanishing_pictures(void **state)
{
    (void)state;
    struct dg_train_reading train = reading();
    for (int64_t tolerated = 4; tolerated >= 3; tolerated--) {
        train.max_bad = tolerated;
        dg_test_hush();
        struct dg_loader *loader = open_train(&train, 3, 1);
        const struct dg_batch *batch;
        struct dg_error err = {0};
        enum dg_status status = DG_OK;
        int read = 0;
        for (; status == DG_OK && read < 4 * STEPS; read++) {
            if (read == 2) {
                for (int i = 3; i < 7; i++) unlink(image_path(i));
                assert_int_equal(mkdir(image_path(4), 0777), 0);
                assert_int_equal(mkfifo(image_path(5), 0666), 0);
                assert_int_equal(symlink(image_path(6), image_path(6)), 0);
            }
            status = dg_loader_next(loader, &batch, &err);
            if (status != DG_OK) break;
            for (int row = 0; row < BATCH && read > 2 * STEPS; row++)
                assert_false(batch->item[row] >= 3 && batch->item[row] < 7);
            dg_loader_release(loader, batch);
        }
        assert_non_null(strstr(dg_test_said, "03.png: No such file or directory"));
        assert_non_null(strstr(dg_test_said, "04.png: not a regular file"));
        assert_non_null(strstr(dg_test_said, "05.png: not a regular file"));
        assert_non_null(strstr(dg_test_said, "06.png: Too many levels of symbolic links"));
        assert_int_equal(status, tolerated == 4 ? DG_OK : DG_ERR_INPUT);
        if (tolerated == 3) assert_non_null(strstr(err.text, "4 unreadable images, more than the 3 tolerated"));
        dg_loader_close(loader);
        rmdir(image_path(4));
        for (int i = 3; i < 7; i++) {
            unlink(image_path(i));
            if (tolerated == 4) make_picture(i);
        }
    }
}

static void test_a_run_has_an_end(void **state)
{
    (void)state;
    struct dg_train_reading train = reading();
    train.batches = 3;
    struct dg_loader *loader = open_train(&train, 2, 8);
    uint64_t hash[3];
    const struct dg_batch *batch;
    hash_batches(loader, 3, hash);
    for (int i = 0; i < 2; i++) {
        assert_ok(dg_loader_next(loader, &batch, try_err));
        assert_null(batch);
    }
    dg_loader_close(loader);
}

/* A batch that is not released is never written to, and the threads go no further than the prefetch. */
/* With a rest, an epoch takes every picture once, and ends in a smaller batch whose other rows are zero. */
static void test_an_epoch_with_a_rest(void **state)
{
    (void)state;
    enum { LEFT = IMAGES % BATCH, VIEW = 24 * 24 * 3 };
    struct dg_train_reading train = reading();
    train.steps_per_epoch = STEPS + 1;
    train.rest = true;
    struct dg_loader *loader = open_train(&train, 3, 2);
    const struct dg_batch *batch;
    for (int epoch = 0; epoch < 3; epoch++) {
        int seen[IMAGES] = {0};
        for (int step = 0; step <= STEPS; step++) {
            assert_ok(dg_loader_next(loader, &batch, try_err));
            assert_int_equal(batch->epoch, epoch);
            assert_int_equal(batch->rows, step < STEPS ? BATCH : LEFT);
            for (int r = 0; r < batch->rows; r++) seen[batch->item[r]]++;
            for (int i = batch->rows * VIEW; i < BATCH * VIEW; i++) assert_true(batch->part[0][i] == 0);
            dg_loader_release(loader, batch);
        }
        for (int i = 0; i < IMAGES; i++) assert_int_equal(seen[i], 1);
    }
    dg_loader_close(loader);

    /* Fewer pictures than a batch are an epoch of one step. */
    struct dg_loader_config config = {IMAGES + 9, 2, 1, NULL};
    struct dg_error err = {0};
    int64_t bytes;
    train.steps_per_epoch = 1;
    assert_ok(dg_loader_open_train(&config, &train, &loader, try_err));
    assert_ok(dg_loader_next(loader, &batch, try_err));
    assert_int_equal(batch->rows, IMAGES);
    dg_loader_close(loader);
    train.steps_per_epoch = 2;
    assert_int_equal(dg_loader_train_bytes(&config, &train, &bytes, &err), DG_ERR_USAGE);
}

static void test_back_pressure(void **state)
{
    (void)state;
    struct dg_train_reading train = reading();
    struct dg_loader *loader = open_train(&train, 3, 2);
    const struct dg_batch *held[3], *batch;
    uint64_t hash[3];
    for (int i = 0; i < 3; i++) {
        assert_ok(dg_loader_next(loader, &held[i], try_err));
        hash[i] = dg_test_hash(held[i]->data, FLOATS * sizeof(float));
    }
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    for (int i = 0; i < 3; i++) assert_true(hash[i] == dg_test_hash(held[i]->data, FLOATS * sizeof(float)));
    struct dg_error err = {0};
    assert_int_equal(dg_loader_next(loader, &batch, &err), DG_ERR_USAGE); /* all held: waiting would last for ever */
    dg_loader_release(loader, held[0]);
    assert_ok(dg_loader_next(loader, &batch, try_err));
    assert_int_equal(batch->step, 3);
    for (int i = 1; i < 3; i++) assert_true(hash[i] == dg_test_hash(held[i]->data, FLOATS * sizeof(float)));
    dg_loader_close(loader);
}

static void test_closing_at_any_time(void **state)
{
    (void)state;
    struct dg_train_reading train = reading();
    for (int i = 0; i < 12; i++) {
        struct dg_loader *loader = open_train(&train, 3, 1 + i % 3);
        uint64_t hash[12];
        hash_batches(loader, i / 3, hash);
        dg_loader_close(loader);
    }
    dg_loader_close(NULL);
}

static void test_values_are_checked(void **state)
{
    (void)state;
    struct dg_loader *loader;
    struct dg_train_reading train = reading();
    struct dg_loader_config config = {IMAGES + 1, 1, 1, NULL};
    struct dg_error err = {0};
    assert_int_equal(dg_loader_open_train(&config, &train, &loader, &err), DG_ERR_INPUT);
    assert_non_null(strstr(err.text, "23 images are fewer than one batch of 24"));
    assert_null(loader);
    config.batch = BATCH;
    config.threads = 0;
    err = (struct dg_error){0};
    assert_int_equal(dg_loader_open_train(&config, &train, &loader, &err), DG_ERR_USAGE);
    assert_string_equal(err.text, "loader: threads is 0; it must be from 1 to 256");
    config.threads = 1;
    train.steps_per_epoch = STEPS + 1;
    assert_int_equal(dg_loader_open_train(&config, &train, &loader, NULL), DG_ERR_USAGE);
    train.steps_per_epoch = STEPS;
    train.step = STEPS;
    assert_int_equal(dg_loader_open_train(&config, &train, &loader, NULL), DG_ERR_USAGE);
    train.step = 0;
    views[3].scale[1] = 2;
    assert_int_equal(dg_loader_open_train(&config, &train, &loader, NULL), DG_ERR_USAGE);
    train = reading();
    int64_t bytes;
    assert_ok(dg_loader_train_bytes(&config, &train, &bytes, try_err));
    assert_in_range(bytes, 2 * FLOATS * sizeof(float) + 2 * DG_IMAGE_READER_BYTES,
                    2 * FLOATS * sizeof(float) + 2 * DG_IMAGE_READER_BYTES + 4096);
}

/* ---- evaluation ---- */

static struct dg_eval_reading evaluation(void)
{
    return (struct dg_eval_reading){.dataset = dataset,
                                    .crop = {.height = 28,
                                             .width = 28,
                                             .resize = dg_eval_resize(28),
                                             .mean = {0.485, 0.456, 0.406},
                                             .std = {0.229, 0.224, 0.225}}};
}

enum { CROP = 28 * 28 * 3 };

static void test_evaluation(void **state)
{
    (void)state;
    assert_int_equal(dg_eval_resize(224), 256);
    assert_int_equal(dg_eval_resize(28), 32);
    struct dg_eval_reading eval = evaluation();
    struct dg_normalizer normalizer = dg_normalizer_make(eval.crop.mean, eval.crop.std);
    struct dg_image_decoder decoder = {0};
    struct dg_image image = {0};
    struct dg_scratch work = {0};
    for (int threads = 1; threads <= 4; threads += 3) {
        struct dg_loader_config config = {BATCH, threads, 2, NULL};
        struct dg_loader *loader;
        assert_ok(dg_loader_open_eval(&config, &eval, &loader, try_err));
        const struct dg_batch *batch;
        int next = 0;
        for (;;) {
            assert_ok(dg_loader_next(loader, &batch, try_err));
            if (!batch) break;
            for (int row = 0; row < batch->rows; row++, next++) {
                uint8_t bytes[CROP];
                float floats[CROP];
                assert_int_equal(batch->item[row], next);
                assert_ok(dg_image_decode_file(&decoder, image_path(next), &image, try_err));
                assert_ok(dg_image_resize_center_crop(&image, (struct dg_resampling){DG_FILTER_BICUBIC}, 32, 28, 28,
                                                      bytes, &work, try_err));
                dg_normalize(&normalizer, bytes, 28 * 28, floats);
                assert_memory_equal(batch->data + row * CROP, floats, sizeof floats);
            }
            for (int i = batch->rows * CROP; i < BATCH * CROP; i++) assert_true(batch->data[i] == 0);
            dg_loader_release(loader, batch);
        }
        assert_int_equal(next, IMAGES);
        dg_loader_close(loader);
    }
    dg_image_free(&image);
    dg_image_decoder_free(&decoder);
    dg_scratch_free(&work);
}

/* Batches, and for each thread room for the file, the decoded image and a crop. */
static void test_evaluation_bytes(void **state)
{
    (void)state;
    struct dg_loader_config config = {BATCH, 3, 2, NULL};
    struct dg_eval_crop crop = evaluation().crop;
    int64_t bytes, slot = dg_round_up(BATCH * CROP * (int64_t)sizeof(float), 64);
    assert_ok(dg_loader_eval_bytes(&config, &crop, &bytes, try_err));
    assert_int_equal(bytes, 3 * slot + 3 * (2 * DG_IMAGE_READER_BYTES + CROP));
}

static void test_evaluation_of_some(void **state)
{
    (void)state;
    struct dg_eval_reading eval = evaluation();
    const int64_t images[] = {7, 2, 2, 19, 0};
    eval.images = images;
    eval.image_count = 5;
    struct dg_loader_config config = {BATCH, 2, 2, NULL};
    struct dg_loader *loader;
    const struct dg_batch *batch;
    assert_ok(dg_loader_open_eval(&config, &eval, &loader, try_err));
    assert_ok(dg_loader_next(loader, &batch, try_err));
    assert_memory_equal(batch->item, images, 4 * sizeof *images);
    assert_memory_equal(batch->data + CROP, batch->data + 2 * CROP, CROP * sizeof(float));
    dg_loader_release(loader, batch);
    assert_ok(dg_loader_next(loader, &batch, try_err));
    assert_int_equal(batch->rows, 1);
    dg_loader_close(loader);
    eval.image_count = 0;
    assert_ok(dg_loader_open_eval(&config, &eval, &loader, try_err));
    assert_ok(dg_loader_next(loader, &batch, try_err));
    assert_null(batch);
    dg_loader_close(loader);
    eval.image_count = 1;
    eval.images = (int64_t[]){IMAGES};
    assert_int_equal(dg_loader_open_eval(&config, &eval, &loader, NULL), DG_ERR_USAGE);
}

static void test_evaluation_needs_every_picture(void **state)
{
    (void)state;
    damage(9);
    damage(10);
    damage(17);
    struct dg_eval_reading eval = evaluation();
    for (int round = 0; round < 5; round++) {
        struct dg_loader_config config = {BATCH, 4, 6, NULL};
        struct dg_loader *loader;
        const struct dg_batch *batch;
        struct dg_error err = {0};
        assert_ok(dg_loader_open_eval(&config, &eval, &loader, try_err));
        for (int i = 0; i < 2; i++) { /* the batches before it are good */
            assert_ok(dg_loader_next(loader, &batch, try_err));
            dg_loader_release(loader, batch);
        }
        assert_int_equal(dg_loader_next(loader, &batch, &err), DG_ERR_INPUT);
        if (!strstr(err.text, "09.png")) fail_msg("%s", err.text); /* the first one, whichever thread was first */
        dg_loader_close(loader);
    }
}

#ifndef __SANITIZE_ADDRESS__ /* which keeps what is freed */
static int64_t resident(void)
{
    long long pages = 0, all;
    FILE *file = fopen("/proc/self/statm", "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lld %lld", &all, &pages), 2);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

/* A large picture's memory is not kept. */
static void test_a_large_picture(void **state)
{
    (void)state;
    struct dg_image image = {0};
    assert_ok(dg_image_reserve(&image, 5000, 4000, try_err));
    memset(image.pixels, 100, 5000 * 4000 * 3);
    assert_ok(dg_image_write_png(image_path(2), image.pixels, 5000, 4000, 3, try_err));
    dg_image_free(&image);
    struct dg_eval_reading eval = evaluation();
    struct dg_loader_config config = {BATCH, 2, 1, NULL};
    struct dg_loader *loader;
    const struct dg_batch *batch;
    int64_t before = resident();
    assert_ok(dg_loader_open_eval(&config, &eval, &loader, try_err));
    for (int read = 0;; read++) {
        assert_ok(dg_loader_next(loader, &batch, try_err));
        if (!batch) break;
        dg_loader_release(loader, batch);
    }
    int64_t grown = (resident() - before) >> 20;
    if (grown > 40) fail_msg("%d MiB are still in use", (int)grown);
    dg_loader_close(loader);
}
#endif

static void test_contact_sheet(void **state)
{
    (void)state;
    struct dg_train_reading train = reading();
    int32_t order[IMAGES];
    dg_epoch_order(train.seed, 0, IMAGES, order);
    damage(order[1]);
    const char *path = in("sheet.png");
    assert_ok(dg_crops_sheet(dataset, train.views, 4, 3, train.seed, path, NULL, try_err));
    struct dg_image_decoder decoder = {0};
    struct dg_image sheet = {0}, image = {0};
    struct dg_scratch work = {0};
    assert_ok(dg_image_decode_file(&decoder, path, &sheet, try_err));
    assert_int_equal(sheet.width, 12 + 36 + 12 + 24 + 4 + 24 + 12 + 16 + 4 + 16 + 12);
    assert_int_equal(sheet.height, 12 + 3 * (24 + 12));
    /* The second view of the second row: the third picture, since the second is damaged. */
    assert_ok(dg_image_decode_file(&decoder, image_path(order[2]), &image, try_err));
    uint8_t bytes[24 * 24 * 3];
    struct dg_view_draw draw = dg_view_sample(&train.views[1], image.width, image.height, train.seed, 0, order[2], 1);
    assert_ok(dg_view_apply(&train.views[1], &draw, &image, bytes, &work, try_err));
    for (int y = 0; y < 24; y++)
        assert_memory_equal(sheet.pixels + 3 * ((12 + 36 + y) * sheet.width + 12 + 36 + 12 + 24 + 4), bytes + y * 72,
                            72);
    dg_image_free(&sheet);
    dg_image_free(&image);
    dg_image_decoder_free(&decoder);
    dg_scratch_free(&work);
}

#define LOADER_TEST(name) cmocka_unit_test_setup_teardown(name, make_dataset, remove_dataset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOADER_TEST(test_threads_and_prefetch_change_nothing),
        LOADER_TEST(test_resume_equals_uninterrupted),
        LOADER_TEST(test_rows_are_the_views_of_the_order),
        cmocka_unit_test(test_orders_are_permutations),
        LOADER_TEST(test_damaged_pictures_are_replaced),
        LOADER_TEST(test_the_last_place_wraps_around),
        LOADER_TEST(test_too_many_damaged_pictures),
        LOADER_TEST(test_vanishing_pictures),
        LOADER_TEST(test_a_run_has_an_end),
        LOADER_TEST(test_an_epoch_with_a_rest),
        LOADER_TEST(test_back_pressure),
        LOADER_TEST(test_closing_at_any_time),
        LOADER_TEST(test_values_are_checked),
        LOADER_TEST(test_evaluation),
        cmocka_unit_test(test_evaluation_bytes),
        LOADER_TEST(test_evaluation_of_some),
        LOADER_TEST(test_evaluation_needs_every_picture),
#ifndef __SANITIZE_ADDRESS__
        LOADER_TEST(test_a_large_picture),
#endif
        LOADER_TEST(test_contact_sheet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
