/* dinorun import: converts a file that torch.save wrote to a safetensors file. */
#include "tools/dinorun/command.h"

#include "runtime/formats/torch_import.h"

#include <stdio.h>

static struct {
    const char *file, *out;
} given;

static int import(void)
{
    struct dg_error err = {0};
    if (dg_torch_import(given.file, given.out, &console, &err) == DG_OK) printf("%s written\n", given.out);
    return exit_status(&err);
}

static const struct dg_flag flags[] = {{"out", "W.safetensors",
                                        "the safetensors file to write, with the official names", .letter = 'o',
                                        .text = &given.out, .required = true},
                                       {0}};

const struct dg_command command_import = {
    .program = "dinorun",
    .name = "import",
    .summary = "makes a safetensors file of a PyTorch checkpoint",
    .more =
        "FILE is what torch.save wrote: a full DINO checkpoint, a backbone alone (also of torchvision or timm), or a\n"
        "linear probe. Nothing in it is executed.\n",
    .file = {.name = "FILE", .value = &given.file},
    .flags = flags,
    .run = import};
