#include "runtime/formats/ground_truth.h"

#include "runtime/base/file_map.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const list_name[DG_TRUTH_LISTS] = {"easy", "hard", "junk"};

/* ---- whole numbers, in lists or as NumPy writes them ---- */

/* Whole numbers somewhere in the pickle: values, or bytes of an array. */
struct numbers {
    const struct dg_pickle_value *list; /* NULL: it is an array */
    const unsigned char *bytes;
    int64_t count;
    int width; /* bytes of a number */
    bool is_signed;
};

static bool is_list(const struct dg_pickle_value *value)
{
    return value && (value->kind == DG_PICKLE_LIST || value->kind == DG_PICKLE_TUPLE);
}

static const struct dg_pickle_value *item(const struct dg_pickle_value *list, int64_t i)
{
    return is_list(list) && i < list->list.count ? list->list.item[i] : NULL;
}

/* An object of NumPy's that was made by `name`, whose module has had two names. */
static bool is_numpy(const struct dg_pickle_value *value, const char *name)
{
    if (!value || value->kind != DG_PICKLE_OBJECT || strncmp(value->class_name, "numpy.", 6)) return false;
    const char *dot = strrchr(value->class_name, '.');
    return !strcmp(dot + 1, name);
}

/* Sets width and sign of a dtype of little-endian whole numbers. */
static bool read_dtype(const struct dg_pickle_value *dtype, struct numbers *numbers)
{
    const char *text = is_numpy(dtype, "dtype") ? dg_pickle_text(item(dtype->args, 0)) : NULL;
    const char *order = text ? dg_pickle_text(item(dtype->state, 1)) : NULL;
    if (!text || strlen(text) != 2 || (order && *order == '>')) return false;
    numbers->width = text[1] - '0';
    numbers->is_signed = text[0] == 'i';
    return (text[0] == 'i' || text[0] == 'u') &&
           (numbers->width == 1 || numbers->width == 2 || numbers->width == 4 || numbers->width == 8);
}

/* An array of one dimension: _reconstruct(...) with the state (1, (count,), dtype, false, bytes), or
 * _frombuffer(bytes, dtype, (count,), "C"). An empty one may be of any type. */
static bool read_array(const struct dg_pickle_value *value, struct numbers *numbers)
{
    bool rebuilt = is_numpy(value, "_reconstruct"), buffer = is_numpy(value, "_frombuffer");
    if (!rebuilt && !buffer) return false;
    const struct dg_pickle_value *parts = rebuilt ? value->state : value->args;
    const struct dg_pickle_value *shape = item(parts, rebuilt ? 1 : 2), *dtype = item(parts, rebuilt ? 2 : 1),
                                 *bytes = item(parts, rebuilt ? 4 : 0), *count = item(shape, 0);
    if (!is_list(shape) || shape->list.count != 1 || count->kind != DG_PICKLE_INT || count->i < 0) return false;
    numbers->count = count->i;
    if (!numbers->count) return true;
    if (!read_dtype(dtype, numbers) || !bytes || bytes->kind != DG_PICKLE_BYTES) return false;
    numbers->bytes = (const unsigned char *)bytes->text.bytes;
    return numbers->count <= bytes->text.size / numbers->width && numbers->count * numbers->width == bytes->text.size;
}

static int64_t number_at(const unsigned char *bytes, int width, bool is_signed)
{
    uint64_t bits = 0;
    for (int b = 0; b < width; b++) bits |= (uint64_t)bytes[b] << 8 * b;
    if (is_signed && width < 8 && bits >> (8 * width - 1)) bits |= UINT64_MAX << 8 * width;
    return (int64_t)bits;
}

static bool read_numbers(const struct dg_pickle_value *value, struct numbers *numbers)
{
    *numbers = (struct numbers){0};
    if (!is_list(value)) return read_array(value, numbers);
    numbers->list = value;
    numbers->count = value->list.count;
    return true;
}

/* Number i; false: it is none. */
static bool get_number(const struct numbers *numbers, int64_t i, int64_t *number)
{
    struct numbers one;
    if (!numbers->list) {
        *number = number_at(numbers->bytes + i * numbers->width, numbers->width, numbers->is_signed);
        return true;
    }
    const struct dg_pickle_value *value = numbers->list->list.item[i];
    if (value->kind == DG_PICKLE_INT) {
        *number = value->i;
        return true;
    }
    const struct dg_pickle_value *bytes = item(value->args, 1);
    if (!is_numpy(value, "scalar") || !read_dtype(item(value->args, 0), &one) || !bytes ||
        bytes->kind != DG_PICKLE_BYTES || bytes->text.size != one.width)
        return false;
    *number = number_at((const unsigned char *)bytes->text.bytes, one.width, one.is_signed);
    return true;
}

/* ---- the file ---- */

static enum dg_status read_names(const struct dg_pickle_value *list, const char *key, const char ***name,
                                 int64_t *count, struct dg_error *err)
{
    if (!is_list(list) || !list->list.count || list->list.count > INT32_MAX)
        return dg_fail(err, DG_ERR_INPUT, "%s is not a list of names", key);
    *count = list->list.count;
    *name = malloc((size_t)*count * sizeof **name);
    if (!*name) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < *count; i++) {
        (*name)[i] = dg_pickle_text(list->list.item[i]);
        if (!(*name)[i]) return dg_fail(err, DG_ERR_INPUT, "%s[%" PRId64 "] is no name", key, i);
    }
    return DG_OK;
}

static enum dg_status read_indices(const struct dg_ground_truth *truth, const struct dg_pickle_value *entry,
                                   int64_t query, int which, struct dg_error *err)
{
    struct dg_ground_truth_query *of = &truth->of[query];
    const struct dg_pickle_value *value = dg_pickle_get(entry, list_name[which]);
    struct numbers numbers;
    if (!read_numbers(value, &numbers))
        return dg_fail(err, DG_ERR_INPUT, "gnd[%" PRId64 "] has no list or array of whole numbers \"%s\"", query,
                       list_name[which]);
    of->count[which] = numbers.count;
    of->index[which] = malloc((size_t)numbers.count * sizeof **of->index + 1);
    if (!of->index[which]) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < numbers.count; i++) {
        int64_t number;
        if (!get_number(&numbers, i, &number))
            return dg_fail(err, DG_ERR_INPUT, "gnd[%" PRId64 "][\"%s\"][%" PRId64 "] is no whole number", query,
                           list_name[which], i);
        if (number < 0 || number >= truth->images)
            return dg_fail(err, DG_ERR_INPUT,
                           "gnd[%" PRId64 "][\"%s\"][%" PRId64 "] is %" PRId64 ", and there are %" PRId64 " images",
                           query, list_name[which], i, number, truth->images);
        of->index[which][i] = (int32_t)number;
    }
    return DG_OK;
}

static enum dg_status read_truth(const struct dg_pickle_value *all, struct dg_ground_truth *truth, struct dg_error *err)
{
    const struct dg_pickle_value *gnd = dg_pickle_get(all, "gnd");
    if (!gnd || !dg_pickle_get(all, "imlist") || !dg_pickle_get(all, "qimlist"))
        return dg_fail(err, DG_ERR_INPUT,
                       "it is no dict with imlist, qimlist and gnd, as gnd_roxford5k.pkl and gnd_rparis6k.pkl are");
    DG_TRY(read_names(dg_pickle_get(all, "imlist"), "imlist", &truth->image, &truth->images, err));
    DG_TRY(read_names(dg_pickle_get(all, "qimlist"), "qimlist", &truth->query, &truth->queries, err));
    if (!is_list(gnd) || gnd->list.count != truth->queries)
        return dg_fail(err, DG_ERR_INPUT, "gnd is not a list with an entry for each of the %" PRId64 " queries",
                       truth->queries);
    truth->of = calloc((size_t)truth->queries, sizeof *truth->of);
    if (!truth->of) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (int64_t q = 0; q < truth->queries; q++)
        for (int which = 0; which < DG_TRUTH_LISTS; which++)
            DG_TRY(read_indices(truth, gnd->list.item[q], q, which, err));
    return DG_OK;
}

enum dg_status dg_ground_truth_parse(const void *bytes, size_t size, struct dg_ground_truth *truth,
                                     struct dg_error *err)
{
    const struct dg_pickle_value *all;
    DG_TRY(dg_pickle_open(&truth->pickle, err));
    DG_TRY(dg_pickle_read(truth->pickle, bytes, size, NULL, &all, err));
    return read_truth(all, truth, err);
}

enum dg_status dg_ground_truth_read(const char *path, struct dg_ground_truth *truth, struct dg_error *err)
{
    struct dg_file_map map = {0};
    DG_TRY(dg_file_map_open(path, "a ground truth", &map, err));
    enum dg_status status = dg_ground_truth_parse(map.bytes, map.size, truth, err);
    dg_file_map_close(&map);
    if (status != DG_OK) dg_error_prefix(err, "%s", path);
    return status;
}

void dg_ground_truth_free(struct dg_ground_truth *truth)
{
    for (int64_t q = 0; truth->of && q < truth->queries; q++)
        for (int which = 0; which < DG_TRUTH_LISTS; which++) free(truth->of[q].index[which]);
    free(truth->of);
    free(truth->image);
    free(truth->query);
    dg_pickle_close(truth->pickle);
    *truth = (struct dg_ground_truth){0};
}
