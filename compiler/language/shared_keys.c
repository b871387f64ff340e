#include "compiler/language/shared_keys.h"

#include "ops/base/base.h"

const struct dg_key_choice dg_dtype_choices[] = {{.word = "f32"}, {.word = "bf16"}, {0}};

bool dg_read_definition(struct dg_program *program, enum dg_definition_kind kind, const char *name,
                        const struct dg_key *keys, struct dg_model_recipe *model, void *recipe)
{
    struct dg_definition *definition = dg_program_definition(program, kind, name);
    int errors = dg_diag_errors(program->diag);
    *model = (struct dg_model_recipe){.name = name, .origin = definition->map->origin, .image = {.count = 1}};
    model->origin.path = name;
    struct dg_reader r = {.program = program,
                          .kind = kind == DG_DEFINITION_PROBE ? "probe" : "recipe",
                          .name = name,
                          .map = definition->map,
                          .recipe = recipe,
                          .knobs = &model->knobs};
    dg_read_keys(&r, keys);
    return dg_diag_errors(program->diag) == errors;
}

const char *dg_size_text(struct dg_reader *r, const struct dg_recipe_crops *crops)
{
    long long height = crops->height, width = crops->width;
    return height == width ? dg_arena_printf(r->program->arena, "%lld", height)
                           : dg_arena_printf(r->program->arena, "[%lld, %lld]", height, width);
}

void dg_set_resize(struct dg_reader *r, struct dg_key *key, const struct dg_recipe_crops *image)
{
    int64_t least = dg_max_i64(image->width, 1);
    key->value = dg_arena_printf(r->program->arena, "%lld", (long long)((least * 256 + 112) / 224));
    key->min = (double)least;
}
