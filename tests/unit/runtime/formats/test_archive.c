/* Which members a tar or a zip has and what is in them; and that damaged, cut and hostile ones are refused with the member where. */
#include "runtime/formats/archive.h"
#include "tests/support/archives.h"
#include "tests/support/check.h"
#include "tests/support/files.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char listed[4096]; /* "name=its bytes", "folder/", "link>target", with blanks between */

static enum dg_status list(void *context, const struct dg_member *m, struct dg_error *err)
{
    const struct dg_archive_span *span = context;
    char bytes[256] = "";
    size_t used = strlen(listed);
    int64_t size = m->place.size < 60 ? m->place.size : 60;
    if (m->kind == DG_MEMBER_FILE) DG_TRY(dg_member_read(span->fd, &m->place, m->name, bytes, (size_t)size, err));
    snprintf(listed + used, sizeof listed - used, "%s%s%s%s", used ? " " : "", m->name,
             m->kind == DG_MEMBER_FILE ? "="
             : m->target               ? ">"
                                       : "",
             m->target ? m->target : bytes);
    return DG_OK;
}

static enum dg_status read_archive(struct archive_maker *maker, size_t size, bool *ends, struct dg_error *err)
{
    write_file(in("archive"), maker->bytes, size);
    int fd = open(in("archive"), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    struct dg_archive_span span = {fd, "A", 0, (int64_t)size};
    *listed = 0;
    *ends = true;
    enum dg_archive_kind kind = dg_archive_kind(&span);
    enum dg_status status = kind == DG_ARCHIVE_TAR   ? dg_tar_read(&span, list, &span, ends, err)
                            : kind == DG_ARCHIVE_ZIP ? dg_zip_read(&span, list, &span, err)
                                                     : dg_fail(err, DG_ERR_USAGE, "no archive");
    close(fd);
    return status;
}

static void has(struct archive_maker *maker, const char *expected)
{
    bool ends;
    assert_ok(read_archive(maker, maker->size, &ends, try_err));
    assert_string_equal(listed, expected);
    assert_true(ends);
    free(maker->bytes);
    *maker = (struct archive_maker){0};
}

static void refuses(struct archive_maker *maker, size_t size, const char *words)
{
    bool ends;
    struct dg_error err = {0};
    assert_int_equal(read_archive(maker, size, &ends, &err), DG_ERR_INPUT);
    if (!strstr(err.text, words)) fail_msg("\"%s\" is not in: %s", words, err.text);
}

static void forget(struct archive_maker *maker)
{
    free(maker->bytes);
    free(maker->directory);
    *maker = (struct archive_maker){0};
}

/* A record of pax: "LENGTH KEY=VALUE\n". */
static void put_record(struct archive_maker *m, const char *key, const char *value)
{
    char text[600];
    size_t length = strlen(key) + strlen(value) + 3, digits = length < 9 ? 1 : length < 98 ? 2 : 3;
    int written = snprintf(text, sizeof text, "%zu %s=%s\n", length + digits, key, value);
    tar_put_header(m, "pax", (size_t)written, 'x', NULL);
    archive_put(m, text, (size_t)written);
    static const char zeros[512];
    archive_put(m, zeros, (512 - m->size % 512) % 512);
}

static void test_tar(void **state)
{
    (void)state;
    char name[301];
    memset(name, 'n', 300);
    name[300] = 0;
    struct archive_maker m = {0};
    tar_put_header(&m, "a/", 0, '5', NULL);
    tar_add_text(&m, "./a/1", "one");
    tar_put_header(&m, "././@LongLink", 301, 'L', NULL);
    archive_put(&m, name, 301);
    archive_put(&m, (char[211]){0}, 211);
    tar_add_text(&m, "short", "long name");
    put_record(&m, "path", "pax/\xc3\xa4");
    tar_add_text(&m, "short", "two");
    tar_put_header(&m, "hard", 0, '1', "a/1");
    tar_put_header(&m, "soft", 0, '2', "../x");
    tar_put_header(&m, "pipe", 0, '6', NULL);
    tar_put_header(&m, "dumped/", 4, 'D', NULL); /* GNU's incremental archives: with the names in it */
    archive_put(&m, (char[512]){"Yb"}, 512);
    tar_add_text(&m, "z", "");
    tar_end(&m);
    char expected[600];
    snprintf(expected, sizeof expected,
             "a/ ./a/1=one %s=long name pax/\xc3\xa4=two hard>a/1 soft>../x pipe dumped/ z=", name);
    has(&m, expected);
}

static void test_tar_numbers(void **state)
{
    (void)state;
    struct archive_maker m = {0};
    tar_add_text(&m, "base256", "abc"); /* as GNU tar writes sizes above 8 GiB */
    memcpy(m.bytes + 124, "\x80\0\0\0\0\0\0\0\0\0\0\3", 12);
    tar_mend_header(&m, 0);
    put_record(&m, "size", "4");
    tar_add_text(&m, "pax", "four");
    memcpy(m.bytes + m.size - 1024 + 124, "00000000000", 12);
    tar_mend_header(&m, m.size - 1024);
    tar_add_text(&m, "blanks", "56");
    memcpy(m.bytes + m.size - 1024 + 124, "         2 \0", 12);
    tar_mend_header(&m, m.size - 1024);
    memcpy(m.bytes + m.size - 1024 + 257, "\0\0\0\0\0\0\0\0", 8); /* v7 has no magic */
    tar_mend_header(&m, m.size - 1024);
    tar_add_text(&m, "name", "prefix");
    memcpy(m.bytes + m.size - 1024 + 345, "in/a", 4);
    tar_mend_header(&m, m.size - 1024);
    tar_end(&m);
    has(&m, "base256=abc pax=four blanks=56 in/a/name=prefix");
}

/* A first member that is named as other archives begin. */
static void test_tar_of_any_name(void **state)
{
    (void)state;
    struct archive_maker m = {0};
    tar_add_text(&m, "BZh/1", "one");
    tar_end(&m);
    has(&m, "BZh/1=one");
}

/* `cat a.tar b.tar`: people expect the members of both. */
static void test_tars_in_a_row(void **state)
{
    (void)state;
    struct archive_maker m = {0};
    tar_add_text(&m, "a", "1");
    tar_end(&m);
    archive_put(&m, (char[8192]){0}, 8192);
    tar_add_text(&m, "b", "2");
    tar_end(&m);
    has(&m, "a=1 b=2");
    tar_add_text(&m, "a", "1");
    tar_end(&m);
    archive_put(&m, "what somebody wrote behind it", 29);
    has(&m, "a=1");
}

static void test_cut_tar(void **state)
{
    (void)state;
    bool ends;
    struct archive_maker m = {0};
    tar_add_text(&m, "first", "1");
    put_record(&m, "path", "second");
    tar_add_text(&m, "x", "222");
    refuses(&m, 1024 + 200, "A ends in the middle of a header, behind 1 members");
    refuses(&m, 1024 + 512 + 3, "A ends in the middle of a header, behind 1 members");
    refuses(&m, 1024 + 1024, "A ends in the middle of a header, behind 1 members");
    refuses(&m, m.size - 510, "A ends in the middle of its member second, behind 1 members: it is cut short");
    assert_ok(read_archive(&m, m.size, &ends, try_err)); /* between members nothing shows it but the mark that lacks */
    assert_false(ends);
    assert_string_equal(listed, "first=1 second=222");
    forget(&m);
}

/* Sets the size in the header of the only member, and refuses it. */
static void refuses_size(const char *field, const char *words)
{
    struct archive_maker m = {0};
    tar_add_text(&m, "a", "1");
    memcpy(m.bytes + 124, field, 12);
    tar_mend_header(&m, 0);
    tar_end(&m);
    refuses(&m, m.size, words);
    forget(&m);
}

static void test_hostile_tar(void **state)
{
    (void)state;
    refuses_size("77777777777\0", "A ends in the middle of its member a");
    refuses_size("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xf0", "a size that is negative or no number");
    refuses_size("\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "a size that is negative or no number");
    refuses_size("\x80\0\0\0\x3f\xff\xff\xff\xff\xff\xff\xff", "A ends in the middle of its member a");
    refuses_size("-0000000001\0", "a size that is negative or no number");
    refuses_size("0000000000x\0", "a size that is negative or no number");
    struct archive_maker m = {0};
    tar_add_text(&m, "a", "1");
    tar_add_text(&m, "b", "1");
    m.bytes[1024] = 'c';
    refuses(&m, m.size,
            "A is damaged at byte 1024, behind 1 members, the last of them a: no header of a member is there");
    forget(&m);
    static const char *const size[] = {"-1", "99999999999999999999", "12x", ""};
    for (size_t s = 0; s < sizeof size / sizeof *size; s++) {
        put_record(&m, "size", size[s]);
        tar_add_text(&m, "a", "1");
        refuses(&m, m.size, "a size that is not a number");
        forget(&m);
    }
    put_record(&m, "GNU.sparse.major", "1");
    tar_add_text(&m, "holes", "1");
    refuses(&m, m.size, "its member holes is packed as a sparse file");
    forget(&m);
    tar_put_header(&m, "holes", 0, 'S', NULL);
    refuses(&m, m.size, "its member holes is packed as a sparse file");
    forget(&m);
    tar_put_header(&m, "x", 2000000, 'L', NULL);
    refuses(&m, m.size, "more than a mebibyte");
    forget(&m);
    static const char *const record[] = {"999 path=a\n", "0 path=a\n", "7 path=a\n", "9 path a\n", "path=a\n"};
    for (size_t r = 0; r < sizeof record / sizeof *record; r++) {
        tar_put_header(&m, "x", strlen(record[r]), 'x', NULL);
        archive_put(&m, record[r], strlen(record[r]));
        archive_put(&m, (char[512]){0}, 512 - strlen(record[r]));
        tar_add_text(&m, "a", "1");
        refuses(&m, m.size, "a record of pax");
        forget(&m);
    }
}

static void test_zip(void **state)
{
    (void)state;
    char text[3001];
    memset(text, 'a', 3000);
    text[3000] = 0;
    struct archive_maker m = {0};
    zip_add(&m, "a/", "", 0, false, false);
    zip_add(&m, "a/1", "one", 3, false, false);
    zip_add(&m, "a/2", text, 3000, true, false);
    zip_add(&m, "b/3", "three", 5, true, true);
    zip_add(&m, "z", "", 0, true, false);
    zip_end(&m);
    char expected[200];
    snprintf(expected, sizeof expected, "a/ a/1=one a/2=%.60s b/3=three z=", text);
    has(&m, expected);
    zip_add(&m, "a\\1", "one", 3, false, false);
    m.directory[5] = 0; /* made by DOS */
    zip_end(&m);
    has(&m, "a/1=one");
}

/* A zip with two members. */
static struct archive_maker make_zip(void)
{
    struct archive_maker m = {0};
    zip_add(&m, "a", "one", 3, false, false);
    zip_add(&m, "b", "two two two two", 15, true, false);
    zip_end(&m);
    return m;
}

/* What programs put before a zip, and its comment behind it. */
static void test_zip_between(void **state)
{
    (void)state;
    struct archive_maker m = make_zip(), outer = {0};
    archive_put(&outer, "PK\3\4 before", 11);
    archive_put(&outer, m.bytes, m.size);
    forget(&m);
    outer.bytes[outer.size - 2] = 9;
    archive_put(&outer, "a comment", 9);
    has(&outer, "a=one b=two two two two");
}

/* With zip64's record and its place before the end, which then says nothing itself. */
static struct archive_maker make_zip64(void)
{
    struct archive_maker m = make_zip();
    uint8_t end[22], record[56] = "PK\6\6", locator[20] = "PK\6\7";
    m.size -= sizeof end;
    memcpy(end, m.bytes + m.size, sizeof end);
    memcpy(record + 32, end + 10, 2); /* members */
    memcpy(record + 40, end + 12, 4); /* bytes of the directory */
    memcpy(record + 48, end + 16, 4); /* where it is */
    memset(end + 8, 0xff, 12);
    archive_put(&m, record, sizeof record);
    archive_put(&m, locator, sizeof locator);
    archive_put(&m, end, sizeof end);
    return m;
}

static void test_zip64(void **state)
{
    (void)state;
    struct archive_maker m = make_zip64();
    has(&m, "a=one b=two two two two");
    m = make_zip64();
    uint8_t *record = m.bytes + m.size - 22 - 20 - 56;
    record[16] = 1;
    refuses(&m, m.size, "A is one of several volumes");
    record[16] = 0;
    record[47] = 1;
    refuses(&m, m.size, "its directory would lie outside of it");
    record[47] = 0;
    record[32] = 3;
    refuses(&m, m.size, "its directory has not as many members as its end says");
    record[0] = 0;
    refuses(&m, m.size, "its zip64 record is not where it says");
    forget(&m);
}

/* A member of a zip with one byte of its directory entry (below 46) or of its local header (from 100) changed. */
static void refuses_zip(size_t at, uint8_t byte, const char *words)
{
    struct archive_maker m = {0};
    zip_add(&m, "a", "one", 3, false, false);
    if (at < 46) m.directory[at] = byte;
    if (at >= 100) m.bytes[at - 100] = byte;
    zip_end(&m);
    refuses(&m, m.size, words);
    forget(&m);
}

static void test_hostile_zip(void **state)
{
    (void)state;
    refuses_zip(8, 1, "A: its member a is encrypted");
    refuses_zip(10, 12, "A: its member a is packed by method 12");
    refuses_zip(24, 4, "a stored member of two sizes");
    refuses_zip(20, 200, "A is damaged: its member a would lie outside of it");
    refuses_zip(45, 1, "A is damaged: its member a would lie outside of it");
    refuses_zip(2, 9, "its directory has no member where one should be");
    refuses_zip(28, 90, "its directory ends in the middle of a member");
    refuses_zip(16, 1, "a: its bytes do not have the checksum that the zip says");
    refuses_zip(42, 1, "a: the zip has no member where its directory says");
    refuses_zip(131, 'x', "a: its bytes do not have the checksum that the zip says");
    struct archive_maker m = {0};
    zip_add(&m, "a", "one one one one one", 19, true, false);
    m.bytes[31] = 0xff;
    zip_end(&m);
    refuses(&m, m.size, "a: its compressed data are damaged");
    for (size_t size = 22; size < m.size; size += 7)
        refuses(&m, size, "A has no directory at its end: it is cut short");
    forget(&m);
}

/* Deflated bytes of a beginning are read without the rest; a member may say more than it has. */
static void test_first_bytes(void **state)
{
    (void)state;
    struct archive_maker m = {0};
    char text[1000], head[10];
    memset(text, 'x', sizeof text);
    zip_add(&m, "a", text, sizeof text, true, false);
    size_t packed = m.size - 31;
    zip_end(&m);
    write_file(in("archive"), m.bytes, m.size);
    int fd = open(in("archive"), O_RDONLY | O_CLOEXEC);
    struct dg_member_place place = {.size = 1000, .packed = (int64_t)packed, .packing = DG_PACKING_DEFLATED};
    assert_ok(dg_member_read(fd, &place, "a", head, sizeof head, try_err));
    assert_memory_equal(head, text, sizeof head);
    struct dg_error err = {0};
    place.packed = 2;
    assert_int_equal(dg_member_read(fd, &place, "a", text, sizeof text, &err), DG_ERR_INPUT);
    place = (struct dg_member_place){.offset = (int64_t)m.size - 5, .size = 9, .packing = DG_PACKING_TAR};
    err = (struct dg_error){0};
    assert_int_equal(dg_member_read(fd, &place, "a", text, 9, &err), DG_ERR_INPUT);
    assert_non_null(strstr(err.text, "a: the archive is shorter than it was"));
    close(fd);
    forget(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tar),         cmocka_unit_test(test_tar_numbers),    cmocka_unit_test(test_tars_in_a_row),
        cmocka_unit_test(test_cut_tar),     cmocka_unit_test(test_hostile_tar),    cmocka_unit_test(test_zip),
        cmocka_unit_test(test_zip_between), cmocka_unit_test(test_zip64),          cmocka_unit_test(test_hostile_zip),
        cmocka_unit_test(test_first_bytes), cmocka_unit_test(test_tar_of_any_name)};
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
