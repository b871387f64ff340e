/* Runs a fuzz target over its committed corpus: what a fuzzer found once, and what it starts from, as a plain test. */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <cmocka.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void test_corpus(void **state)
{
    (void)state;
    DIR *list = opendir(DG_CORPUS);
    assert_non_null(list);
    int count = 0;
    for (struct dirent *item; (item = readdir(list));) {
        char path[4096];
        struct stat about;
        snprintf(path, sizeof path, "%s/%s", DG_CORPUS, item->d_name);
        if (stat(path, &about) || !S_ISREG(about.st_mode)) continue;
        size_t size = (size_t)about.st_size;
        uint8_t *bytes = malloc(size + 1);
        FILE *file = fopen(path, "rb");
        assert_true(bytes && file);
        assert_int_equal(fread(bytes, 1, size, file), size);
        fclose(file);
        LLVMFuzzerTestOneInput(bytes, size);
        free(bytes);
        count++;
    }
    closedir(list);
    assert_true(count > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_corpus)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
