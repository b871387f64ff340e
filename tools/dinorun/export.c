/* dinorun export: writes a checkpoint's weights as a safetensors file for other programs. */
#include "tools/dinorun/command.h"

#include "runtime/formats/export.h"

static struct {
    const char *checkpoint, *out, *backbone;
} given;

static int export(void)
{
    struct dg_error err = {0};
    char newest[DG_MAX_PATH];
    if (is_folder(given.checkpoint) && find_run_weights(given.checkpoint, newest, &err) == DG_OK)
        given.checkpoint = newest;
    if (err.status == DG_OK) dg_export(given.checkpoint, given.out, given.backbone, &console, &err);
    return exit_status(&err);
}

static const struct dg_flag flags[] = {
    {"out", "FILE", "the safetensors file to write", .letter = 'o', .text = &given.out, .required = true},
    {"backbone", "NET", "only this network's backbone, under bare names (cls_token, blocks.0...)",
     .text = &given.backbone, .choices = "teacher|student", .unset = "student, teacher and centre"},
    {0}};

const struct dg_command command_export = {.program = "dinorun",
                                          .name = "export",
                                          .summary =
                                              "makes a safetensors file of a run's weights, for PyTorch and others",
                                          .file = {.name = "CHECKPOINT|RUN", .value = &given.checkpoint},
                                          .flags = flags,
                                          .run = export};
