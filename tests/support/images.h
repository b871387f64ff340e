/* Pictures for tests: noise, fixtures, views. */
#ifndef DG_TESTS_IMAGES_H
#define DG_TESTS_IMAGES_H

#include "runtime/image/augment.h"
#include "tests/support/check.h"
#include "tests/support/files.h"

#define FIXTURE(name) DG_SOURCE_DIR "/tests/fixtures/image/" name

/* The picture make_image_fixtures.py calls noise(name): one byte a draw. The caller frees it. */
struct dg_image dg_test_noise(const char *name, int width, int height);

/* Every combination of the values 0, 6, ..., 252 and some around the ends and the middle: lattice() of the script. */
struct dg_image dg_test_lattice(void);

uint64_t dg_test_hash(const void *bytes, size_t size);

/* Opens a fixture table and passes its first line, the comment. */
FILE *dg_test_table(const char *path);

/* A view as the published recipe has it. */
struct dg_view_spec dg_test_view(int size, double low, double high, double blur, double solarize);

#endif
