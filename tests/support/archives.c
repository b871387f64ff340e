#include "tests/support/archives.h"

#include "tests/support/check.h"
#include "tests/support/files.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

void archive_put(struct archive_maker *m, const void *bytes, size_t size)
{
    if (m->size + size > m->capacity) {
        m->capacity = 2 * (m->size + size) + 4096;
        m->bytes = realloc(m->bytes, m->capacity);
        assert_non_null(m->bytes);
    }
    if (size) memcpy(m->bytes + m->size, bytes, size);
    m->size += size;
}

static void pad(struct archive_maker *m)
{
    static const char zeros[512];
    archive_put(m, zeros, (512 - m->size % 512) % 512);
}

/* ---- tar ---- */

void tar_mend_header(struct archive_maker *m, size_t at)
{
    unsigned sum = 0;
    memset(m->bytes + at + 148, ' ', 8);
    for (int i = 0; i < 512; i++) sum += m->bytes[at + (size_t)i];
    char text[8];
    snprintf(text, sizeof text, "%06o", sum);
    memcpy(m->bytes + at + 148, text, 7);
}

void tar_put_header(struct archive_maker *m, const char *name, size_t size, char type, const char *target)
{
    char block[512] = {0}, number[13];
    strncpy(block, name, 100);
    memcpy(block + 100, "0000644", 8);
    snprintf(number, sizeof number, "%011zo", size);
    memcpy(block + 124, number, 12);
    memcpy(block + 136, "00000000000", 12);
    block[156] = type;
    if (target) strncpy(block + 157, target, 100);
    memcpy(block + 257, "ustar\00000", 8);
    archive_put(m, block, sizeof block);
    tar_mend_header(m, m->size - 512);
}

void tar_add(struct archive_maker *m, const char *name, const void *bytes, size_t size)
{
    tar_put_header(m, name, size, '0', NULL);
    archive_put(m, bytes, size);
    pad(m);
}

void tar_add_text(struct archive_maker *m, const char *name, const char *text) { tar_add(m, name, text, strlen(text)); }

void tar_end(struct archive_maker *m)
{
    static const char zeros[1024];
    archive_put(m, zeros, sizeof zeros);
}

/* ---- zip ---- */

static uint8_t *little(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) *at++ = (uint8_t)(value >> (8 * i));
    return at;
}

static void *deflated_bytes(const void *bytes, size_t size, size_t *packed)
{
    z_stream z = {.next_in = (void *)(uintptr_t)bytes, .avail_in = (uInt)size};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    size_t room = deflateBound(&z, size);
    void *to = malloc(room);
    assert_non_null(to);
    z.next_out = to;
    z.avail_out = (uInt)room;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    *packed = z.total_out;
    deflateEnd(&z);
    return to;
}

void zip_add(struct archive_maker *m, const char *name, const void *bytes, size_t size, bool deflated, bool zip64)
{
    size_t packed = size, length = strlen(name), offset = m->size;
    void *owned = deflated ? deflated_bytes(bytes, size, &packed) : NULL;
    uint32_t crc = (uint32_t)crc32(crc32(0, NULL, 0), bytes, (uInt)size);
    uint8_t local[30] = "PK\3\4\24", *at = little(local + 8, deflated ? 8 : 0, 2);
    at = little(at + 4, crc, 4);
    at = little(at, packed, 4);
    at = little(at, size, 4);
    little(at, length, 2);
    archive_put(m, local, sizeof local);
    archive_put(m, name, length);
    archive_put(m, owned ? owned : bytes, packed);
    free(owned);
    uint8_t entry[46] = "PK\1\2\24\3\24", extra[28] = {1, 0, 24, 0};
    at = little(entry + 10, deflated ? 8 : 0, 2);
    at = little(at + 4, crc, 4);
    at = little(at, zip64 ? UINT32_MAX : packed, 4);
    at = little(at, zip64 ? UINT32_MAX : size, 4);
    at = little(at, length, 2);
    little(at, zip64 ? sizeof extra : 0, 2);
    little(entry + 42, zip64 ? UINT32_MAX : offset, 4);
    little(little(little(extra + 4, size, 8), packed, 8), offset, 8);
    struct archive_maker directory = {m->directory, m->directory_size, m->directory_size};
    archive_put(&directory, entry, sizeof entry);
    archive_put(&directory, name, length);
    archive_put(&directory, extra, zip64 ? sizeof extra : 0);
    m->directory = directory.bytes;
    m->directory_size = directory.size;
    m->members++;
}

void zip_end(struct archive_maker *m)
{
    uint8_t end[22] = "PK\5\6";
    size_t offset = m->size;
    archive_put(m, m->directory, m->directory_size);
    uint8_t *at = little(end + 8, m->members, 2);
    at = little(at, m->members, 2);
    at = little(at, m->directory_size, 4);
    little(at, offset, 4);
    archive_put(m, end, sizeof end);
    free(m->directory);
    m->directory = NULL;
}

/* ---- files ---- */

void archive_write(struct archive_maker *m, const char *path)
{
    write_file(path, m->bytes, m->size);
    free(m->bytes);
    *m = (struct archive_maker){0};
}

enum packing { TAR, ZIP_STORED, ZIP_DEFLATED };

static void pack(struct archive_maker *m, const char *folder, const char *below, enum packing how)
{
    char path[1024], name[512];
    snprintf(path, sizeof path, "%s/%s", folder, below);
    DIR *list = opendir(path);
    assert_non_null(list);
    for (struct dirent *item; (item = readdir(list));) {
        struct stat about;
        if (!strcmp(item->d_name, ".") || !strcmp(item->d_name, "..")) continue;
        snprintf(name, sizeof name, "%s%s%s", below, *below ? "/" : "", item->d_name);
        snprintf(path, sizeof path, "%s/%s", folder, name);
        assert_int_equal(stat(path, &about), 0);
        if (S_ISDIR(about.st_mode)) {
            pack(m, folder, name, how);
            continue;
        }
        size_t size;
        void *bytes = read_file(path, &size);
        if (how == TAR)
            tar_add(m, name, bytes, size);
        else
            zip_add(m, name, bytes, size, how == ZIP_DEFLATED, false);
        free(bytes);
    }
    closedir(list);
}

void tar_folder(const char *folder, const char *path)
{
    struct archive_maker m = {0};
    pack(&m, folder, "", TAR);
    tar_end(&m);
    archive_write(&m, path);
}

void zip_folder(const char *folder, const char *path, bool deflated)
{
    struct archive_maker m = {0};
    pack(&m, folder, "", deflated ? ZIP_DEFLATED : ZIP_STORED);
    zip_end(&m);
    archive_write(&m, path);
}
