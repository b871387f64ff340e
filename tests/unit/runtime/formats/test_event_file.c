/* Event files: sums by published vectors, records that can be read back, a new file for each part of a run, disks that are full. */
#include "runtime/formats/event_file.h"

#include "tests/support/check.h"
#include "tests/support/files.h"

#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>

/* The sum of CRC-32C without what is done to it. */
static uint32_t unmasked(uint32_t sum)
{
    uint32_t rotated = sum - 0xa282ead8;
    return rotated >> 17 | rotated << 15;
}

static void test_crc(void **state)
{
    (void)state; /* RFC 3720, B.4, and the check value of the Castagnoli polynomial */
    uint8_t bytes[32] = {0};
    assert_int_equal(unmasked(dg_masked_crc(bytes, 32)), 0x8a9136aa);
    for (int i = 0; i < 32; i++) bytes[i] = 0xff;
    assert_int_equal(unmasked(dg_masked_crc(bytes, 32)), 0x62a8ab43);
    for (int i = 0; i < 32; i++) bytes[i] = (uint8_t)i;
    assert_int_equal(unmasked(dg_masked_crc(bytes, 32)), 0x46dd794e);
    assert_int_equal(unmasked(dg_masked_crc("123456789", 9)), 0xe3069283);
}

/* The data of the next record; its sums are right. */
static const uint8_t *next_record(const uint8_t **at, uint64_t *size)
{
    uint32_t sum;
    memcpy(size, *at, 8);
    memcpy(&sum, *at + 8, 4);
    assert_int_equal(sum, dg_masked_crc(*at, 8));
    const uint8_t *data = *at + 12;
    memcpy(&sum, data + *size, 4);
    assert_int_equal(sum, dg_masked_crc(data, *size));
    *at = data + *size + 4;
    return data;
}

static int count_files(const char *folder, char last[512])
{
    struct dirent **item;
    int count = scandir(folder, &item, NULL, alphasort), files = 0;
    for (int i = 0; i < count; i++) {
        if (!strncmp(item[i]->d_name, "events.out.tfevents.", 20)) {
            snprintf(last, 512, "%s/%s", folder, item[i]->d_name);
            files++;
        }
        free(item[i]);
    }
    free(item);
    return files;
}

static void test_records(void **state)
{
    (void)state;
    struct dg_event_file *file;
    char path[512];
    uint64_t size;
    const struct dg_event_scalar scalar[] = {{"training/loss", 1}, {"b", -2}};
    for (int part = 1; part <= 3; part++) {
        assert_ok(dg_event_file_open(in("events"), 7, &file, try_err));
        assert_ok(dg_event_file_add(file, 7, scalar, 2, try_err));
        dg_event_file_close(file);
        assert_int_equal(count_files(in("events"), path), part);
    }
    size_t bytes;
    uint8_t *all = read_file(path, &bytes);
    const uint8_t *at = all, *data = next_record(&at, &size);
    assert_int_equal(size, 9 + 2 + 13);
    assert_memory_equal(data + 9,
                        "\x1a\x0d"
                        "brain.Event:2",
                        15);
    data = next_record(&at, &size);
    assert_int_equal(size, 9 + 2 + 4);
    assert_memory_equal(data + 9, "\x10\x07\x3a\x02\x08\x01", 6);
    data = next_record(&at, &size);
    assert_memory_equal(data + 9,
                        "\x10\x07\x2a\x20\x0a\x14\x0a\x0dtraining/loss\x15\0\0\x80\x3f\x0a\x08\x0a\x01"
                        "b\x15\0\0\0\xc0",
                        36);
    assert_int_equal(size, 9 + 36);
    assert_ptr_equal(at, all + bytes);
    free(all);
}

static void test_refused(void **state)
{
    (void)state;
    struct dg_event_file *file;
    struct dg_error err = {0};
    write_file(in("a_file"), "x", 1);
    assert_int_equal(dg_event_file_open(in("a_file"), 0, &file, &err), DG_ERR_IO);
    assert_null(file);
    dg_event_file_close(file);
}

static void test_full_disk(void **state)
{
    (void)state;
    struct dg_event_file *file;
    struct dg_error err = {0};
    struct rlimit before, full = {16, 0};
    const struct dg_event_scalar scalar = {"loss", 1};
    assert_ok(dg_event_file_open(in("full"), 0, &file, try_err));
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    full.rlim_max = before.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    enum dg_status status = dg_event_file_add(file, 1, &scalar, 1, &err);
    dg_event_file_close(file);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, DG_ERR_IO);
    assert_non_null(strstr(err.text, in("full/events.out.tfevents.")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_crc), cmocka_unit_test(test_records),
                                       cmocka_unit_test(test_refused), cmocka_unit_test(test_full_disk)};
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
