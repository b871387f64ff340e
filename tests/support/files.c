#include "tests/support/files.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

void make_folder(char path[64])
{
    snprintf(path, 64, "%s/dinograph-test-XXXXXX", access("/tmp", W_OK) ? "." : "/tmp");
    assert_non_null(mkdtemp(path));
}

static int remove_one(const char *path, const struct stat *about, int type, struct FTW *walk)
{
    (void)about;
    (void)type;
    (void)walk;
    return remove(path);
}

void remove_folder(const char *folder) { assert_int_equal(nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0); }

char test_folder[64];

int make_test_folder(void **state)
{
    (void)state;
    make_folder(test_folder);
    return 0;
}

int remove_test_folder(void **state)
{
    (void)state;
    remove_folder(test_folder);
    return 0;
}

static const char *join(char path[512], const char *folder, const char *name)
{
    snprintf(path, 512, "%s/%s", folder, name);
    return path;
}

const char *path_in(const char *folder, const char *name)
{
    static char path[4][512];
    static int next;
    return join(path[next++ % 4], folder, name);
}

const char *in(const char *name)
{
    static char path[16][512];
    static int next;
    return join(path[next++ % 16], test_folder, name);
}

void write_file(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wbe");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

void *read_file(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rbe");
    if (!file) fail_msg("cannot read %s", path);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size + 1);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    bytes[*size] = 0;
    fclose(file);
    return bytes;
}

int count_lines(const char *path)
{
    size_t size;
    int lines = 0;
    char *text = read_file(path, &size);
    for (size_t i = 0; i < size; i++) lines += text[i] == '\n';
    free(text);
    return lines;
}

void copy_file(const char *from, const char *to)
{
    size_t size;
    void *bytes = read_file(from, &size);
    write_file(to, bytes, size);
    free(bytes);
}

void assert_same_file(const char *a, const char *b)
{
    size_t size_a, size_b;
    void *bytes_a = read_file(a, &size_a), *bytes_b = read_file(b, &size_b);
    if (size_a != size_b || memcmp(bytes_a, bytes_b, size_a)) fail_msg("%s and %s differ", a, b);
    free(bytes_a);
    free(bytes_b);
}
