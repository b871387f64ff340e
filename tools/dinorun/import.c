#include "tools/dinorun/command.h"

#include "runtime/formats/torch_import.h"

#include <stdio.h>

static int import(int argc, char **argv)
{
    enum { OUT = 'o' };
    static const struct option flags[] = {{"out", required_argument, NULL, OUT}, {"help", no_argument, NULL, 'h'}, {0}};
    const struct command *me = &command_import;
    const char *out = NULL;
    for (int flag; (flag = next_flag(me, argc, argv, flags)) != -1;) {
        if (flag != OUT) return flag == 'h' ? 0 : 2;
        out = optarg;
    }
    const char *in = file_argument(me, argc, argv, "FILE");
    if (!in) return 2;
    if (!out) return usage_error(me, "-o W.safetensors says where the weights go");
    struct dg_error err = {0};
    if (dg_torch_import(in, out, &console, &err) != DG_OK) return fail(&err);
    printf("%s written\n", out);
    return 0;
}

const struct command command_import = {
    .name = "import",
    .arguments = "FILE -o W.safetensors",
    .summary = "makes a safetensors file of a PyTorch checkpoint",
    .flags =
        "  -o, --out FILE        safetensors file with the official names\n\n"
        "FILE is what torch.save wrote: a full DINO checkpoint, a backbone alone (also of torchvision or timm), or a\n"
        "linear probe. Nothing in it is executed.\n",
    .run = import};
