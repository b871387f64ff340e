#include "tests/support/net.h"

#include "ops/token/position.h"
#include "tests/support/compile.h"
#include "tests/support/values.h"

#include <unistd.h>

void dg_net_images(const char *size, const struct dg_plan_tensor *tensor, float *out)
{
    int64_t pixels = tensor->dim[1] * tensor->dim[2];
    float *planes = malloc(tensor->bytes);
    assert_non_null(planes);
    char name[32];
    snprintf(name, sizeof name, "image%s", size);
    dg_named_uniform(name, tensor->dim[0] * 3 * pixels, -2, 2, planes);
    for (int64_t b = 0; b < tensor->dim[0]; b++)
        for (int64_t c = 0; c < 3; c++)
            for (int64_t p = 0; p < pixels; p++) out[(b * pixels + p) * 3 + c] = planes[(b * 3 + c) * pixels + p];
    free(planes);
}

void dg_net_compile(const char *path, const struct dg_net_spec *spec)
{
    char file[1024];
    int height, width;
    snprintf(file, sizeof file, "%s/graphs/%s", DG_SOURCE_DIR, spec->file);
    if (sscanf(spec->size, "%dx%d", &height, &width) != 2) height = width = atoi(spec->size);
    struct dg_compile_options options = {.file = file,
                                         .name = spec->module,
                                         .output = path,
                                         .set = spec->set,
                                         .num_sets = spec->num_sets,
                                         .batch = spec->batch,
                                         .height = height,
                                         .width = width,
                                         .plain = spec->plain};
    compile_plan(&options);
}

/* Fills a parameter. The position table of a grid that is no square is made of that of 224x224 pixels, as for weights of a file. */
static void fill(const struct dg_net *net, const struct dg_net_spec *spec, uint32_t t, const char *name)
{
    void (*value)(const char *, int, const int64_t *, float *) = spec->value ? spec->value : dg_initial_value;
    const struct dg_plan_tensor *tensor = &net->plan.tensor[t];
    float *data = dg_session_data(net->session, t);
    int64_t grid[2];
    if (!dg_plan_position_grid(&net->plan, dg_session_entry(net->session), t, grid) || grid[0] == grid[1]) {
        value(name, tensor->ndim, tensor->dim, data);
        return;
    }
    const int64_t side = 224 / (atoi(spec->size) / grid[0]), square[2] = {side, side},
                  dim[] = {1, 1 + side * side, tensor->dim[2]};
    float *table = malloc((size_t)(dim[1] * dim[2]) * sizeof *table);
    assert_non_null(table);
    value(name, 3, dim, table);
    dg_position_resize(table, square, data, grid, dim[2]);
    free(table);
}

void dg_net_run(struct dg_net *net, const struct dg_net_spec *spec, const char *entry_name)
{
    char path[] = "/tmp/dinograph-net-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    dg_net_compile(path, spec);
    assert_ok(dg_plan_open(path, &net->plan, try_err));
    unlink(path);
    assert_ok(
        dg_session_open(&net->plan, entry_name, &(struct dg_session_options){.threads = 2}, &net->session, try_err));
    const struct dg_plan_entry *entry = dg_session_entry(net->session);
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &net->plan.tensor[t];
        if (tensor->region != DG_REGION_PARAM || tensor->dtype != DG_F32)
            continue; /* a counter: evaluation has no use */
        char name[256];
        snprintf(name, sizeof name, "student.backbone.%s", dg_plan_string(&net->plan, tensor->name));
        fill(net, spec, t, name);
    }
    assert_ok(dg_session_pack(net->session, try_err));
    const struct dg_plan_tensor *images;
    float *input = dg_session_input(net->session, "images", &images);
    dg_net_images(spec->size, images, input);
    assert_ok(dg_session_compute(net->session, &(struct dg_step_info){0}, try_err));
}

void dg_net_close(struct dg_net *net)
{
    dg_session_close(net->session);
    dg_plan_close(&net->plan);
}
