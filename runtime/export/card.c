#include "runtime/export/card.h"

#include "runtime/base/atomic_file.h"
#include "runtime/base/name.h"
#include "runtime/eval/evaluator.h"
#include "runtime/formats/json_text.h"
#include "runtime/formats/safetensors.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dg_eval_crop dg_export_crop(const struct dg_export_source *source)
{
    const struct dg_plan_entry *entry = dg_session_entry(source->session);
    return dg_evaluate_crop(source->knobs, dg_plan_slot(source->plan, entry, DG_SLOT_IMAGES));
}

enum dg_status dg_export_folder(const struct dg_export_source *source, const char *path,
                                const struct dg_export_library *library, struct dg_architecture *network,
                                struct dg_new_folder *folder, struct dg_error *err)
{
    DG_TRY(dg_architecture_recognise(source->plan, dg_session_entry(source->session), network, err));
    DG_TRY(library->check(network, err));
    DG_TRY(dg_new_folder_open(path, folder, err));
    enum dg_status status = library->write(source, network, folder, err);
    if (status == DG_OK) status = dg_new_folder_commit(folder, err);
    dg_new_folder_abandon(folder);
    return status;
}

enum dg_status dg_export_json(struct dg_new_folder *folder, const char *name, json_t *object, struct dg_error *err)
{
    char path[DG_MAX_PATH];
    struct dg_atomic_file file = {0};
    enum dg_status status = dg_atomic_open(dg_new_folder_file(folder, name, path), &file, err);
    if (status == DG_OK) status = dg_json_write(object, 15, file.stream, err);
    if (status == DG_OK) status = dg_atomic_commit(&file, err);
    dg_atomic_abandon(&file);
    json_decref(object);
    return status;
}

/* What a checkpoint says of its training; nothing of another file of weights. */
static void add_training(FILE *out, const struct dg_export_source *source)
{
    struct dg_safetensors *file;
    if (dg_safetensors_open(source->weights, &file, NULL) != DG_OK) return;
    const char *step = dg_safetensors_metadata(file, "step"), *epochs = dg_safetensors_metadata(file, "epochs"),
               *each = dg_safetensors_metadata(file, "steps_per_epoch"),
               *images = dg_safetensors_metadata(file, "images");
    if (step && each && epochs)
        fprintf(out, "- training: the %s after %s step%s, of a run of %s epochs of %s steps%s%s\n", source->network,
                step, strcmp(step, "1") ? "s" : "", epochs, each, images ? "; images: " : "", images ? images : "");
    dg_safetensors_close(file);
}

/* The last part of a path, escaped. */
static void add_file_name(FILE *out, const char *path)
{
    const char *slash = strrchr(path, '/');
    dg_name_write(out, slash ? slash + 1 : path);
}

enum dg_status dg_export_card(struct dg_new_folder *folder, const struct dg_export_source *source,
                              const struct dg_architecture *network, const struct dg_export_card *card,
                              struct dg_error *err)
{
    char *text = NULL, known[128];
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    const char *recipe = dg_plan_string(source->plan, source->plan->header->recipe);
    struct dg_eval_crop crop = dg_export_crop(source);
    fprintf(out, "---\nlibrary_name: %s\npipeline_tag: image-feature-extraction\ntags:\n- dino\n- self-supervised\n",
            card->library);
    fprintf(out,
            "---\n\n# %s\n\nThe backbone, without a head, of a network of DINO (https://arxiv.org/abs/2104.14294), "
            "written by Dinograph %s.\n\n",
            recipe, source->version);
    fprintf(out, "- network: %s; features of %" PRId64 " numbers\n- weights: ",
            dg_architecture_text(network, known, sizeof known), network->features);
    add_file_name(out, source->weights);
    fputc('\n', out);
    add_training(out, source);
    fprintf(out,
            "- images: RGB, short side resized to %d pixels (bicubic), centre crop of %dx%d, / 255, less the mean "
            "(%.9g, %.9g, %.9g), divided by (%.9g, %.9g, %.9g)\n\n```python\n%s```\n",
            crop.resize, crop.height, crop.width, crop.mean[0], crop.mean[1], crop.mean[2], crop.std[0], crop.std[1],
            crop.std[2], card->usage);
    bool lost = fclose(out);
    enum dg_status status =
        lost ? dg_fail(err, DG_ERR_MEMORY, "out of memory") : dg_new_folder_write(folder, "README.md", text, err);
    free(text);
    return status;
}
