/* dinorun import: converts weights of other programs to a safetensors file with the official names. */
#include "tools/dinorun/command.h"

#include "runtime/layouts/import.h"

#include <stdio.h>

static struct {
    const char *file, *out;
    struct dg_network_choice choice;
} given;

static int import(void)
{
    struct dg_error err = {0};
    if (dg_import(given.file, &given.choice, given.out, &console, &err) == DG_OK) printf("%s written\n", given.out);
    return exit_status(&err);
}

static const struct dg_flag flags[] = {{"out", "W.safetensors",
                                        "the safetensors file to write, with the official names", .letter = 'o',
                                        .text = &given.out, .required = true},
                                       {FLAG_KEY, .text = &given.choice.key},
                                       {FLAG_PREFIX, .text = &given.choice.prefix},
                                       {FLAG_QUIET},
                                       {0}};

const struct dg_command command_import = {.program = "dinorun",
                                          .name = "import",
                                          .summary = "makes a safetensors file of weights of other programs",
                                          .more = "FILE is what torch.save wrote, a safetensors file, or the "
                                                  "index.json of a model in several: a full DINO checkpoint,\n"
                                                  "a backbone alone (also of timm, torchvision, transformers, DINOv2, "
                                                  "MoCo, ...), or a linear probe. Nothing in it is\n"
                                                  "executed.\n",
                                          .file = {.name = "FILE", .value = &given.file},
                                          .flags = flags,
                                          .run = import};
