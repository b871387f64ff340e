#include "tools/dinorun/command.h"

#include "runtime/formats/export.h"

#include <stdio.h>
#include <string.h>

static int export(int argc, char **argv)
{
    enum { OUT = 'o', BACKBONE = 256 };
    static const struct option flags[] = {{"out", required_argument, NULL, OUT},
                                          {"backbone", required_argument, NULL, BACKBONE},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    const struct command *me = &command_export;
    const char *out = NULL, *backbone = NULL;
    for (int flag; (flag = next_flag(me, argc, argv, flags)) != -1;) {
        switch (flag) {
        case OUT: out = optarg; break;
        case BACKBONE: backbone = optarg; break;
        default: return flag == 'h' ? 0 : 2;
        }
    }
    const char *in = file_argument(me, argc, argv, "CHECKPOINT");
    if (!in) return 2;
    if (!out) return usage_error(me, "-o FILE says where the weights go");
    if (backbone && strcmp(backbone, "teacher") && strcmp(backbone, "student"))
        return usage_error(me, "--backbone %s: expected teacher or student", backbone);
    struct dg_error err = {0};
    return dg_export(in, out, backbone, &console, &err) == DG_OK ? 0 : fail(&err);
}

const struct command command_export = {
    .name = "export",
    .arguments = "CHECKPOINT -o FILE [flags]",
    .summary = "makes a safetensors file of a run's weights, for PyTorch and others",
    .flags =
        "  -o, --out FILE        safetensors file to write\n"
        "  --backbone NET        only the backbone of teacher or student, under bare names (cls_token, blocks.0...);\n"
        "                        otherwise student, teacher and centre\n",
    .run = export};
