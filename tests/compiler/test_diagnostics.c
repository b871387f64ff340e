/* Every diagnostic as it is printed: place, line, caret, notes. Wrong descriptions in, exact text out. */
#include "compiler/compile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* Lines 1 to 8 of a file: a backbone; lines 9 to 14: a head. */
#define NET                                                                                                            \
    "module: net\n"                                                                                                    \
    "args: {dim: int, drop: 0.0}\n"                                                                                    \
    "nodes:\n"                                                                                                         \
    "  proj: {op: conv2d, out: dim, kernel: 16, stride: 16}\n"                                                         \
    "  tokens: to_tokens\n"                                                                                            \
    "  cls: {op: take_token, index: 0}\n"                                                                              \
    "outputs: {features: cls}\n"                                                                                       \
    "---\n"
#define HEAD                                                                                                           \
    "module: dino_head\n"                                                                                              \
    "args: {out_dim: 8}\n"                                                                                             \
    "nodes:\n"                                                                                                         \
    "  norm: l2_normalize\n"                                                                                           \
    "  last_layer: {op: weight_norm_linear, out: out_dim}\n"                                                           \
    "---\n"

static const struct {
    const char *what;
    const char *set; /* after `--set epochs=3` */
    const char *yaml, *diagnostics;
} cases[] = {
    {"an unknown key of a recipe", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "crops: {local: {cuont: 3}}\n"
              "optim: {beta: [0.9, 0.99]}\n"
              "zzzzz: 1\n",
     "test.yaml:18:17: error: crops.local has no key cuont; did you mean count?\n"
     "    crops: {local: {cuont: 3}}\n"
     "                    ^\n"
     "test.yaml:19:9: error: optim has no key beta; did you mean betas?\n"
     "    optim: {beta: [0.9, 0.99]}\n"
     "            ^\n"
     "test.yaml:20:1: error: a recipe has no key zzzzz\n"
     "    zzzzz: 1\n"
     "    ^\n"},
    {"an unknown key of a curve", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "lr: {curve: cosine, peak: 1, to: 0, warmpu: 1 epoch}\n",
     "test.yaml:18:37: error: lr has no key warmpu; did you mean warmup?\n"
     "    lr: {curve: cosine, peak: 1, to: 0, warmpu: 1 epoch}\n"
     "                                        ^\n"},
    {"incomplete curves", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "lr: {curve: cosine, to: 0}\n"
              "weight_decay: {from: 1, to: 2}\n"
              "teacher: {momentum: {curve: linear, from: 1, to: 1}}\n"
              "loss: {teacher_temp: {curve: step, from: 1, to: 2}}\n",
     "test.yaml:20:21: error: teacher.momentum needs `from`, `to` and `over`\n"
     "    teacher: {momentum: {curve: linear, from: 1, to: 1}}\n"
     "                        ^\n"
     "test.yaml:21:30: error: loss.teacher_temp: there is no curve step; there are cosine and linear\n"
     "    loss: {teacher_temp: {curve: step, from: 1, to: 2}}\n"
     "                                 ^\n"
     "test.yaml:18:5: error: lr needs `to` and either `peak` or `from`\n"
     "    lr: {curve: cosine, to: 0}\n"
     "        ^\n"
     "test.yaml:19:15: error: recipe r needs weight_decay.curve\n"
     "    weight_decay: {from: 1, to: 2}\n"
     "                  ^\n"},
    {"an unknown key of a node", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: linear, out: 4, form: x}\n",
     "test.yaml:3:27: error: linear has no key form; did you mean from?\n"
     "      a: {op: linear, out: 4, form: x}\n"
     "                              ^\n"},
    {"a misspelt attribute", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: conv2d, out: 4, kernal: 16}\n",
     "test.yaml:3:3: error: conv2d needs kernel (window, pixels)\n"
     "      a: {op: conv2d, out: 4, kernal: 16}\n"
     "      ^\n"
     "test.yaml:3:27: error: conv2d has no key kernal; did you mean kernel?\n"
     "      a: {op: conv2d, out: 4, kernal: 16}\n"
     "                              ^\n"},
    {"an unknown key beside use", NULL,
     NET "module: m\n"
         "nodes:\n"
         "  a: {use: net, wiht: {dim: 4}}\n",
     "test.yaml:11:17: error: a node with `use` has no key wiht; did you mean with?\n"
     "      a: {use: net, wiht: {dim: 4}}\n"
     "                    ^\n"
     "test.yaml:11:12: error: module net needs the argument dim (whole number)\n"
     "      a: {use: net, wiht: {dim: 4}}\n"
     "               ^\n"
     "test.yaml:2:8: note: it is declared here\n"
     "    args: {dim: int, drop: 0.0}\n"
     "           ^\n"},
    {"an unknown argument", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8, dropp: 0.1}}\n",
     "test.yaml:17:41: error: module net has no argument dropp; did you mean drop?\n"
     "    student: {backbone: net, with: {dim: 8, dropp: 0.1}}\n"
     "                                            ^\n"},
    {"an unknown key of a module", NULL,
     "module: net\n"
     "args: {dim: 8, drop: 0.0}\n"
     "nodes:\n"
     "  proj: {op: conv2d, out: dim, kernel: 16, stride: 16}\n"
     "  tokens: to_tokens\n"
     "  cls: {op: take_token, index: 0}\n"
     "output: {features: cls}\n",
     "test.yaml:7:1: error: a module has no key output; did you mean outputs?\n"
     "    output: {features: cls}\n"
     "    ^\n"},
    {"unknown keys beside like", NULL,
     NET "module: b\n"
         "like: net\n"
         "wiht: {dim: 3}\n"
         "nodes: {}\n",
     "test.yaml:11:1: error: a module with `like` has no key wiht; did you mean with?\n"
     "    wiht: {dim: 3}\n"
     "    ^\n"
     "test.yaml:12:1: error: a module with `like` has no key nodes\n"
     "    nodes: {}\n"
     "    ^\n"
     "test.yaml:10:7: error: module net needs the argument dim (whole number)\n"
     "    like: net\n"
     "          ^\n"
     "test.yaml:2:8: note: it is declared here\n"
     "    args: {dim: int, drop: 0.0}\n"
     "           ^\n"},
    {"misspelt defaults", NULL,
     "module: m\n"
     "defaults: {linaer: {bias: false}, linear: {bais: false}}\n"
     "nodes:\n"
     "  a: {op: linear, out: 4}\n",
     "test.yaml:2:12: error: there is no op linaer; did you mean linear?\n"
     "    defaults: {linaer: {bias: false}, linear: {bais: false}}\n"
     "               ^\n"
     "test.yaml:2:44: error: linear has no key bais; did you mean bias?\n"
     "    defaults: {linaer: {bias: false}, linear: {bais: false}}\n"
     "                                               ^\n"},
    {"wrong types in a recipe", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "crops: {global: {scale: 0.4, flip: [1]}, local: {count: 2.5}}\n"
              "loss: {student_temp: warm}\n",
     "test.yaml:18:25: error: crops.global.scale must be a pair: [low, high]\n"
     "    crops: {global: {scale: 0.4, flip: [1]}, local: {count: 2.5}}\n"
     "                            ^\n"
     "test.yaml:18:36: error: crops.global.flip must be a number\n"
     "    crops: {global: {scale: 0.4, flip: [1]}, local: {count: 2.5}}\n"
     "                                       ^\n"
     "test.yaml:18:57: error: crops.local.count must be a whole number, got 2.5\n"
     "    crops: {global: {scale: 0.4, flip: [1]}, local: {count: 2.5}}\n"
     "                                                            ^\n"
     "test.yaml:19:22: error: nothing is called warm here, in \"warm\"\n"
     "    loss: {student_temp: warm}\n"
     "                         ^\n"},
    {"wrong types of the optimiser", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "checkpoint: {every: 3}\n"
              "optim: {clip: -1, betas: [0.9], no_decay: bias, freeze: 3}\n",
     "test.yaml:19:26: error: optim.betas must be a list of 2 numbers\n"
     "    optim: {clip: -1, betas: [0.9], no_decay: bias, freeze: 3}\n"
     "                             ^\n"
     "test.yaml:19:15: error: optim.clip is -1, outside 0 .. 1e+09\n"
     "    optim: {clip: -1, betas: [0.9], no_decay: bias, freeze: 3}\n"
     "                  ^\n"
     "test.yaml:19:43: error: optim.no_decay must be a list, as in [bias, 1d]\n"
     "    optim: {clip: -1, betas: [0.9], no_decay: bias, freeze: 3}\n"
     "                                              ^\n"
     "test.yaml:19:57: error: optim.freeze must be a mapping: {params: last_layer, for: 1 epoch}\n"
     "    optim: {clip: -1, betas: [0.9], no_decay: bias, freeze: 3}\n"
     "                                                            ^\n"
     "test.yaml:18:21: error: checkpoint.every wants a length with its unit, as in `10 epochs` or `500 steps`\n"
     "    checkpoint: {every: 3}\n"
     "                        ^\n"},
    {"mappings that are none", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "crops: [1]\n"
              "optim: 3\n"
              "lr:\n",
     "test.yaml:18:8: error: crops must be a mapping\n"
     "    crops: [1]\n"
     "           ^\n"
     "test.yaml:19:8: error: optim must be a mapping\n"
     "    optim: 3\n"
     "           ^\n"
     "test.yaml:20:4: error: expected a value, in \"\"\n"
     "    lr:\n"
     "       ^\n"},
    {"a wrong type of an argument", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8.5}}\n",
     "test.yaml:17:33: error: dim must be a whole number, got 8.5\n"
     "    student: {backbone: net, with: {dim: 8.5}}\n"
     "                                    ^\n"},
    {"values out of their range", NULL,
     NET HEAD "recipe: r\n"
              "batch: 0\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "epochs: 0\n"
              "crops: {global: {scale: [1, 0.4]}, local: {count: 63, size: 0}, mean: [1, 2]}\n"
              "loss: {student_temp: 0}\n",
     "test.yaml:16:8: error: batch is 0, outside 1 .. 1048576\n"
     "    batch: 0\n"
     "           ^\n"
     "test.yaml:18:9: error: epochs is 0, outside 1 .. 1000000\n"
     "    epochs: 0\n"
     "            ^\n"
     "test.yaml:19:25: error: crops.global.scale: 1 is above 0.4\n"
     "    crops: {global: {scale: [1, 0.4]}, local: {count: 63, size: 0}, mean: [1, 2]}\n"
     "                            ^\n"
     "test.yaml:19:51: error: crops.local.count is 63, outside 0 .. 62\n"
     "    crops: {global: {scale: [1, 0.4]}, local: {count: 63, size: 0}, mean: [1, 2]}\n"
     "                                                      ^\n"
     "test.yaml:19:61: error: crops.local.size is 0, outside 1 .. 16384\n"
     "    crops: {global: {scale: [1, 0.4]}, local: {count: 63, size: 0}, mean: [1, 2]}\n"
     "                                                                ^\n"
     "test.yaml:19:71: error: crops.mean must be a list of 3 numbers\n"
     "    crops: {global: {scale: [1, 0.4]}, local: {count: 63, size: 0}, mean: [1, 2]}\n"
     "                                                                          ^\n"
     "test.yaml:20:22: error: loss.student_temp is 0, outside 1e-06 .. 1000\n"
     "    loss: {student_temp: 0}\n"
     "                         ^\n"},
    {"wrong kinds of module keys", NULL,
     "module: m\n"
     "inputs: x\n"
     "params: [t]\n"
     "defaults: [1]\n"
     "outputs: [a]\n"
     "nodes:\n"
     "  a: gelu\n",
     "test.yaml:2:9: error: `inputs` must be a list of names, as in [x, y]\n"
     "    inputs: x\n"
     "            ^\n"
     "test.yaml:5:10: error: `outputs` must be a mapping of names to values, as in {features: cls}\n"
     "    outputs: [a]\n"
     "             ^\n"
     "test.yaml:3:9: error: `params` must be a mapping, as in {token: {shape: [1, 1, dim]}}\n"
     "    params: [t]\n"
     "            ^\n"
     "test.yaml:4:11: error: `defaults` must be a mapping, as in {linear: {bias: false}}\n"
     "    defaults: [1]\n"
     "              ^\n"},
    {"no backbone", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n",
     "test.yaml:15:1: error: recipe r needs student.backbone\n"
     "    recipe: r\n"
     "    ^\n"},
    {"no batch", NULL,
     NET HEAD "recipe: r\n"
              "student: {backbone: net, with: {dim: 8}}\n",
     "test.yaml:15:1: error: recipe r needs batch\n"
     "    recipe: r\n"
     "    ^\n"},
    {"a required argument", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {}}\n",
     "test.yaml:17:21: error: module net needs the argument dim (whole number)\n"
     "    student: {backbone: net, with: {}}\n"
     "                        ^\n"
     "test.yaml:2:8: note: it is declared here\n"
     "    args: {dim: int, drop: 0.0}\n"
     "           ^\n"},
    {"a required argument of the default head", NULL,
     NET "module: dino_head\n"
         "args: {out_dim: int}\n"
         "nodes:\n"
         "  norm: l2_normalize\n"
         "  last_layer: {op: weight_norm_linear, out: out_dim}\n"
         "---\n"
         "recipe: r\n"
         "batch: 2\n"
         "student: {backbone: net, with: {dim: 8}}\n",
     "test.yaml:15:1: error: module dino_head needs the argument out_dim (whole number)\n"
     "    recipe: r\n"
     "    ^\n"
     "test.yaml:10:8: note: it is declared here\n"
     "    args: {out_dim: int}\n"
     "           ^\n"},
    {"a required attribute", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: linear\n"
     "  b: {op: conv2d, out: 3}\n",
     "test.yaml:3:3: error: linear needs out (output features)\n"
     "      a: linear\n"
     "      ^\n"},
    {"unknown ops", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: lienar, out: 3}\n"
     "  b: gelo\n"
     "  c: zzzzzzzz\n",
     "test.yaml:3:11: error: there is no op lienar; did you mean linear?\n"
     "      a: {op: lienar, out: 3}\n"
     "              ^\n"
     "test.yaml:4:6: error: there is no op gelo; did you mean gelu?\n"
     "      b: gelo\n"
     "         ^\n"
     "test.yaml:5:6: error: there is no op zzzzzzzz\n"
     "      c: zzzzzzzz\n"
     "         ^\n"},
    {"an op of the compiler alone", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: adamw}\n"
     "  b: {op: linear_grad_src}\n",
     "test.yaml:3:11: error: there is no op adamw\n"
     "      a: {op: adamw}\n"
     "              ^\n"
     "test.yaml:4:11: error: there is no op linear_grad_src\n"
     "      b: {op: linear_grad_src}\n"
     "              ^\n"},
    {"a node that is nothing", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {out: 3}\n",
     "test.yaml:3:3: error: node a needs one of `op`, `use`, `apply`, `list`\n"
     "      a: {out: 3}\n"
     "      ^\n"},
    {"an unknown backbone", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: nett, with: {dim: 8}}\n",
     "test.yaml:17:21: error: there is no module nett; did you mean net?\n"
     "    student: {backbone: nett, with: {dim: 8}}\n"
     "                        ^\n"},
    {"an unknown module", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {use: nott}\n",
     "test.yaml:3:12: error: there is no module nott\n"
     "      a: {use: nott}\n"
     "               ^\n"},
    {"a module with no output named features", NULL,
     "module: net\n"
     "args: {dim: int, drop: 0.0}\n"
     "nodes:\n"
     "  proj: {op: conv2d, out: dim, kernel: 16, stride: 16}\n"
     "  tokens: to_tokens\n"
     "  cls: {op: take_token, index: 0}\n"
     "outputs: {feature: cls}\n"
     "---\n"
     "module: dino_head\n"
     "args: {out_dim: 8}\n"
     "nodes:\n"
     "  norm: l2_normalize\n"
     "  last_layer: {op: weight_norm_linear, out: out_dim}\n"
     "---\n"
     "recipe: r\n"
     "batch: 2\n"
     "student: {backbone: net, with: {dim: 8}}\n",
     "test.yaml:15:1: error: backbone net has no output named features\n"
     "    recipe: r\n"
     "    ^\n"},
    {"a shape clash", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "crops: {local: {size: 100}}\n",
     "test.yaml:4:3: error: node proj (conv2d): kernel 16 does not divide height 100\n"
     "      proj: {op: conv2d, out: dim, kernel: 16, stride: 16}\n"
     "      ^\n"
     "test.yaml:18:23: note: for student.backbone(local): crops.local is 100x100 from here\n"
     "    crops: {local: {size: 100}}\n"
     "                          ^\n"},
    {"a shape clash in width", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "crops:\n"
              "  local:\n"
              "    size: [96, 100]\n",
     "test.yaml:4:3: error: node proj (conv2d): kernel 16 does not divide width 100\n"
     "      proj: {op: conv2d, out: dim, kernel: 16, stride: 16}\n"
     "      ^\n"
     "test.yaml:20:11: note: for student.backbone(local): crops.local is 96x100 from here\n"
     "        size: [96, 100]\n"
     "              ^\n"},
    {"a shape clash in the features entry", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "entries: {features: {size: 100}}\n",
     "test.yaml:4:3: error: node proj (conv2d): kernel 16 does not divide height 100\n"
     "      proj: {op: conv2d, out: dim, kernel: 16, stride: 16}\n"
     "      ^\n"
     "test.yaml:18:28: note: for features: images is 100x100 from here\n"
     "    entries: {features: {size: 100}}\n"
     "                               ^\n"},
    {"a shape clash in a used module", NULL,
     NET "module: m\n"
         "nodes:\n"
         "  a:\n"
         "    repeat: 2\n"
         "    use: net\n"
         "    with: {dim: 8}\n",
     "test.yaml:4:3: error: node a.1.proj (conv2d): input must have 4 dimensions, got f32 [1, 8]\n"
     "      proj: {op: conv2d, out: dim, kernel: 16, stride: 16}\n"
     "      ^\n"
     "test.yaml:13:10: note: in module net, used here as a.1\n"
     "        use: net\n"
     "             ^\n"},
    {"a shape clash in the head", NULL,
     "module: net\n"
     "args: {dim: int, drop: 0.0}\n"
     "nodes:\n"
     "  proj: {op: conv2d, out: dim, kernel: 16, stride: 16}\n"
     "  tokens: to_tokens\n"
     "  cls: {op: softmax}\n"
     "outputs: {features: cls}\n"
     "---\n"
     "module: dino_head\n"
     "args: {out_dim: 8}\n"
     "nodes:\n"
     "  norm: l2_normalize\n"
     "  last_layer: {op: weight_norm_linear, out: out_dim}\n"
     "---\n"
     "recipe: r\n"
     "batch: 2\n"
     "student: {backbone: net, with: {dim: 8}}\n",
     "test.yaml:12:3: error: node norm (l2_normalize): input must have 2 dimensions, got f32 [4, 196, 8]\n"
     "      norm: l2_normalize\n"
     "      ^\n"
     "test.yaml:6:3: note: for teacher.head(global): cls is 14x14 from here\n"
     "      cls: {op: softmax}\n"
     "      ^\n"},
    {"a head of other parameters", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "teacher: {with: {dim: 9}}\n",
     "test.yaml:15:1: error: student and teacher differ in parameter student.backbone.proj.weight: `teacher.with` may "
     "only change what leaves the parameters alone\n"
     "    recipe: r\n"
     "    ^\n"},
    {"several errors", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "lr: {curve: cosine, peak: 1, too: 0}\n"
              "epocs: 3\n"
              "crops: {local: {size: 96, blur: 2}}\n",
     "test.yaml:20:33: error: crops.local.blur is 2, outside 0 .. 1\n"
     "    crops: {local: {size: 96, blur: 2}}\n"
     "                                    ^\n"
     "test.yaml:18:5: error: lr needs `to` and either `peak` or `from`\n"
     "    lr: {curve: cosine, peak: 1, too: 0}\n"
     "        ^\n"
     "test.yaml:18:30: error: lr has no key too; did you mean to?\n"
     "    lr: {curve: cosine, peak: 1, too: 0}\n"
     "                                 ^\n"
     "test.yaml:19:1: error: a recipe has no key epocs; did you mean epochs?\n"
     "    epocs: 3\n"
     "    ^\n"},
    {"errors after an error", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: linear, out: 0}\n"
     "  b: {op: linear, out: 4, bias: 3}\n"
     "  c: {op: layer_norm, eps: tiny}\n"
     "  d: {op: add, from: [a, e]}\n"
     "  f: {op: gelu, from: zz}\n",
     "test.yaml:3:24: error: out is 0, outside 1 .. 268435456\n"
     "      a: {op: linear, out: 0}\n"
     "                           ^\n"
     "test.yaml:7:23: error: nothing above is called zz\n"
     "      f: {op: gelu, from: zz}\n"
     "                          ^\n"},
    {"more than twenty errors", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "k0: 1\n"
              "k1: 1\n"
              "k2: 1\n"
              "k3: 1\n"
              "k4: 1\n"
              "k5: 1\n"
              "k6: 1\n"
              "k7: 1\n"
              "k8: 1\n"
              "k9: 1\n"
              "k10: 1\n"
              "k11: 1\n"
              "k12: 1\n"
              "k13: 1\n"
              "k14: 1\n"
              "k15: 1\n"
              "k16: 1\n"
              "k17: 1\n"
              "k18: 1\n"
              "k19: 1\n"
              "k20: 1\n"
              "k21: 1\n"
              "k22: 1\n"
              "k23: 1\n"
              "k24: 1\n",
     "test.yaml:18:1: error: a recipe has no key k0\n"
     "    k0: 1\n"
     "    ^\n"
     "test.yaml:19:1: error: a recipe has no key k1\n"
     "    k1: 1\n"
     "    ^\n"
     "test.yaml:20:1: error: a recipe has no key k2\n"
     "    k2: 1\n"
     "    ^\n"
     "test.yaml:21:1: error: a recipe has no key k3\n"
     "    k3: 1\n"
     "    ^\n"
     "test.yaml:22:1: error: a recipe has no key k4\n"
     "    k4: 1\n"
     "    ^\n"
     "test.yaml:23:1: error: a recipe has no key k5\n"
     "    k5: 1\n"
     "    ^\n"
     "test.yaml:24:1: error: a recipe has no key k6\n"
     "    k6: 1\n"
     "    ^\n"
     "test.yaml:25:1: error: a recipe has no key k7\n"
     "    k7: 1\n"
     "    ^\n"
     "test.yaml:26:1: error: a recipe has no key k8\n"
     "    k8: 1\n"
     "    ^\n"
     "test.yaml:27:1: error: a recipe has no key k9\n"
     "    k9: 1\n"
     "    ^\n"
     "test.yaml:28:1: error: a recipe has no key k10\n"
     "    k10: 1\n"
     "    ^\n"
     "test.yaml:29:1: error: a recipe has no key k11\n"
     "    k11: 1\n"
     "    ^\n"
     "test.yaml:30:1: error: a recipe has no key k12\n"
     "    k12: 1\n"
     "    ^\n"
     "test.yaml:31:1: error: a recipe has no key k13\n"
     "    k13: 1\n"
     "    ^\n"
     "test.yaml:32:1: error: a recipe has no key k14\n"
     "    k14: 1\n"
     "    ^\n"
     "test.yaml:33:1: error: a recipe has no key k15\n"
     "    k15: 1\n"
     "    ^\n"
     "test.yaml:34:1: error: a recipe has no key k16\n"
     "    k16: 1\n"
     "    ^\n"
     "test.yaml:35:1: error: a recipe has no key k17\n"
     "    k17: 1\n"
     "    ^\n"
     "test.yaml:36:1: error: a recipe has no key k18\n"
     "    k18: 1\n"
     "    ^\n"
     "test.yaml:37:1: error: a recipe has no key k19\n"
     "    k19: 1\n"
     "    ^\n"
     "5 more errors\n"},
    {"an anchor", NULL,
     "module: m\n"
     "nodes: &n {a: gelu}\n",
     "test.yaml:2:8: error: anchors are not part of the language; give the value a name instead\n"
     "    nodes: &n {a: gelu}\n"
     "           ^\n"},
    {"an anchor on a key", NULL,
     "module: m\n"
     "&k nodes: {a: gelu}\n",
     "test.yaml:2:1: error: anchors are not part of the language; give the value a name instead\n"
     "    &k nodes: {a: gelu}\n"
     "    ^\n"},
    {"an alias", NULL,
     "module: m\n"
     "nodes: *n\n",
     "test.yaml:2:8: error: aliases are not part of the language; use `like:` or a module\n"
     "    nodes: *n\n"
     "           ^\n"},
    {"a tag", NULL, "module: !!str m\n",
     "test.yaml:1:9: error: tags are not part of the language\n"
     "    module: !!str m\n"
     "            ^\n"},
    {"a tag on a key", NULL,
     "module: m\n"
     "!k args: {dim: 3}\n",
     "test.yaml:2:1: error: tags are not part of the language\n"
     "    !k args: {dim: 3}\n"
     "    ^\n"},
    {"a merge key", NULL,
     "module: m\n"
     "nodes:\n"
     "  <<: {a: gelu}\n",
     "test.yaml:3:3: error: merge keys are not part of the language; use `like:`\n"
     "      <<: {a: gelu}\n"
     "      ^\n"},
    {"a key twice", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: gelu\n"
     "  a: gelu\n",
     "test.yaml:4:3: error: key a is there twice\n"
     "      a: gelu\n"
     "      ^\n"
     "test.yaml:3:3: note: the first is here\n"
     "      a: gelu\n"
     "      ^\n"},
    {"a name twice", NULL,
     "module: m\n"
     "nodes: {a: gelu}\n"
     "---\n"
     "module: m\n"
     "nodes: {a: gelu}\n",
     "test.yaml:4:9: error: m is defined twice\n"
     "    module: m\n"
     "            ^\n"
     "test.yaml:1:1: note: the first is here\n"
     "    module: m\n"
     "    ^\n"},
    {"a key that is a list", NULL,
     "module: m\n"
     "[a, b]: 3\n",
     "test.yaml:2:1: error: a key must be a plain word\n"
     "    [a, b]: 3\n"
     "    ^\n"},
    {"a zero byte", NULL,
     "module: \"a\\0b\"\n"
     "nodes: {a: gelu}\n",
     "test.yaml:1:9: error: a value with a zero byte\n"
     "    module: \"a\\0b\"\n"
     "            ^\n"},
    {"a zero byte in a key", NULL,
     "module: m\n"
     "\"a\\0b\": 3\n",
     "test.yaml:2:1: error: a key with a zero byte\n"
     "    \"a\\0b\": 3\n"
     "    ^\n"},
    {"an open brace", NULL,
     "module: m\n"
     "nodes: {a: gelu\n",
     "test.yaml:3:1: error: did not find expected ',' or '}'\n"
     "    \n"
     "    ^\n"
     "test.yaml:2:8: note: while parsing a flow mapping that begins here\n"
     "    nodes: {a: gelu\n"
     "           ^\n"},
    {"a tab", NULL,
     "module: m\n"
     "\tnodes: {a: gelu}\n",
     "test.yaml:2:1: error: found a tab character that violates indentation\n"
     "    \tnodes: {a: gelu}\n"
     "    ^\n"
     "test.yaml:1:9: note: while scanning a plain scalar that begins here\n"
     "    module: m\n"
     "            ^\n"},
    {"no text of UTF-8", NULL,
     "module: \xff\xfe\n"
     "nodes: {a: gelu}\n",
     "test.yaml:1:9: error: invalid leading UTF-8 octet\n"
     "    module: \xff\xfe\n"
     "            ^\n"},
    {"columns after wide characters", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {out: \"é\", op: lienar}\n",
     "test.yaml:3:21: error: there is no op lienar; did you mean linear?\n"
     "      a: {out: \"é\", op: lienar}\n"
     "                        ^\n"},
    {"tabs under tabs", NULL,
     "module: m\n"
     "nodes: {a:\tlienar}\n",
     "test.yaml:2:12: error: there is no op lienar; did you mean linear?\n"
     "    nodes: {a:\tlienar}\n"
     "              \t^\n"},
    {"lines of Windows", NULL,
     "module: m\r\n"
     "nodes:\r\n"
     "  a: lienar\r\n",
     "test.yaml:3:6: error: there is no op lienar; did you mean linear?\n"
     "      a: lienar\n"
     "         ^\n"},
    {"deep nesting", NULL,
     "module: m\n"
     "nodes: "
     "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
     "]]]]]]]]]]]]]]]]]]]\n",
     "test.yaml:2:72: error: nested too deeply\n"
     "    nodes: "
     "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
     "]]]]]]]]]]]]]]]]]]]\n"
     "                                                                           ^\n"},
    {"an unreadable import", NULL,
     "module: m\n"
     "import: [none.yaml]\n"
     "nodes: {a: gelu}\n",
     "test.yaml:2:10: error: cannot read none.yaml: No such file or directory\n"
     "    import: [none.yaml]\n"
     "             ^\n"},
    {"an import that is no name", NULL,
     "module: m\n"
     "import: [{a: b}]\n"
     "nodes: {a: gelu}\n",
     "test.yaml:2:10: error: import wants file names\n"
     "    import: [{a: b}]\n"
     "             ^\n"},
    {"an import that is a folder", NULL,
     "module: m\n"
     "import: .\n"
     "nodes: {a: gelu}\n",
     "test.yaml:2:9: error: cannot read .: Is a directory\n"
     "    import: .\n"
     "            ^\n"},
    {"a name that an import has", NULL,
     "module: net\n"
     "import: net.yaml\n"
     "nodes: {a: gelu}\n",
     "test.yaml:1:9: error: net is defined twice\n"
     "    module: net\n"
     "            ^\n"
     "net.yaml:1:1: note: the first is here\n"
     "    module: net\n"
     "    ^\n"},
    {"a circle of like", NULL,
     "module: a\n"
     "like: b\n"
     "---\n"
     "module: b\n"
     "like: a\n",
     "test.yaml:5:7: error: module a is like itself\n"
     "    like: a\n"
     "          ^\n"},
    {"like without a module", NULL,
     "module: a\n"
     "like: bb\n",
     "test.yaml:2:7: error: there is no module bb\n"
     "    like: bb\n"
     "          ^\n"},
    {"a module that uses itself", NULL,
     "module: a\n"
     "nodes:\n"
     "  n: {use: a}\n",
     "test.yaml:3:12: error: module a uses itself, or modules are nested more than 32 deep\n"
     "      n: {use: a}\n"
     "               ^\n"},
    {"nothing at all", NULL, "", "test.yaml: error: it defines no module, recipe or probe\n"},
    {"no definition", NULL, "hello\n",
     "test.yaml:1:1: error: expected a definition: `module: NAME`, `recipe: NAME` or `probe: NAME`\n"
     "    hello\n"
     "    ^\n"},
    {"a definition without a name", NULL, "nodes: {a: gelu}\n",
     "test.yaml:1:1: error: a definition begins with `module: NAME`, `recipe: NAME` or `probe: NAME`\n"
     "    nodes: {a: gelu}\n"
     "    ^\n"},
    {"no nodes", NULL, "module: m\n",
     "test.yaml:1:1: error: module m needs `nodes`, a mapping\n"
     "    module: m\n"
     "    ^\n"},
    {"no gradient", NULL,
     "module: net\n"
     "args: {dim: int, drop: 0.0}\n"
     "nodes:\n"
     "  proj: {op: conv2d, out: 3 * dim, kernel: 16, stride: 16}\n"
     "  tokens: to_tokens\n"
     "  heads: {op: attention, heads: 1}\n"
     "  maps: {op: linear, out: dim, from: heads.probs}\n"
     "  more: {op: global_avg_pool}\n"
     "  cls: {op: linear, out: 8}\n"
     "outputs: {features: cls}\n"
     "---\n"
     "module: dino_head\n"
     "args: {out_dim: 8}\n"
     "nodes:\n"
     "  norm: l2_normalize\n"
     "  last_layer: {op: weight_norm_linear, out: out_dim}\n"
     "---\n"
     "recipe: r\n"
     "batch: 2\n"
     "student: {backbone: net, with: {dim: 8}}\n",
     "test.yaml:6:3: error: no gradient for node heads (attention) in student.backbone(global): attention has no "
     "gradient for its output probs\n"
     "      heads: {op: attention, heads: 1}\n"
     "      ^\n"},
    {"initialisers", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: linear, out: 4, init: normal}\n",
     "test.yaml:3:33: error: expected an initialiser: trunc_normal(std), normal(std), uniform(bound), "
     "constant(value) or kaiming_normal\n"
     "      a: {op: linear, out: 4, init: normal}\n"
     "                                    ^\n"},
    {"parameters", NULL,
     "module: m\n"
     "params: {t: {shape: [1, 0]}, u: 3, v: {shpe: [1]}, w: {shape: [1.5]}}\n"
     "nodes:\n"
     "  a: gelu\n",
     "test.yaml:2:10: error: parameter t would be too large or empty\n"
     "    params: {t: {shape: [1, 0]}, u: 3, v: {shpe: [1]}, w: {shape: [1.5]}}\n"
     "             ^\n"
     "test.yaml:2:30: error: parameter u needs a shape: a list of whole numbers\n"
     "    params: {t: {shape: [1, 0]}, u: 3, v: {shpe: [1]}, w: {shape: [1.5]}}\n"
     "                                 ^\n"
     "test.yaml:2:40: error: a parameter has no key shpe; did you mean shape?\n"
     "    params: {t: {shape: [1, 0]}, u: 3, v: {shpe: [1]}, w: {shape: [1.5]}}\n"
     "                                           ^\n"
     "test.yaml:2:36: error: parameter v needs a shape: a list of whole numbers\n"
     "    params: {t: {shape: [1, 0]}, u: 3, v: {shpe: [1]}, w: {shape: [1.5]}}\n"
     "                                       ^\n"
     "test.yaml:2:52: error: parameter w needs a shape: a list of whole numbers\n"
     "    params: {t: {shape: [1, 0]}, u: 3, v: {shpe: [1]}, w: {shape: [1.5]}}\n"
     "                                                       ^\n"},
    {"an undeclared parameter", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: prepend_token, token: t}\n",
     "test.yaml:3:33: error: module m declares no parameter t under `params:`\n"
     "      a: {op: prepend_token, token: t}\n"
     "                                    ^\n"},
    {"a half expression", NULL,
     "module: m\n"
     "args: {dim: 3}\n"
     "nodes:\n"
     "  a: {op: linear, out: 3 * }\n"
     "  b: {op: linear, out: 3 * dmi}\n"
     "  c: {op: linear, out: 1 // 0}\n"
     "  d: {op: linear, out: 2 ** 80}\n"
     "  e: {op: linear, out: \"3 3\"}\n",
     "test.yaml:4:24: error: expected a value, in \"3 *\"\n"
     "      a: {op: linear, out: 3 * }\n"
     "                           ^\n"},
    {"an index too large", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: linear, out: \"[1, 2][5]\"}\n"
     "  b: {op: linear, out: \"true + 1\"}\n"
     "  c: {op: linear, out: {a: 1}}\n"
     "  e: {op: linear, out: 1e400}\n",
     "test.yaml:3:24: error: index 5 is outside a list of 2, in \"[1, 2][5]\"\n"
     "      a: {op: linear, out: \"[1, 2][5]\"}\n"
     "                           ^\n"},
    {"when is no truth", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: gelu, when: 3}\n",
     "test.yaml:3:23: error: `when` wants true or false\n"
     "      a: {op: gelu, when: 3}\n"
     "                          ^\n"},
    {"repeat below zero", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: gelu, repeat: -1}\n",
     "test.yaml:3:25: error: `repeat` wants a whole number from 0 to 4096\n"
     "      a: {op: gelu, repeat: -1}\n"
     "                            ^\n"},
    {"when beside repeat", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: gelu, repeat: 2, when: true}\n",
     "test.yaml:3:28: error: gelu has no key when\n"
     "      a: {op: gelu, repeat: 2, when: true}\n"
     "                               ^\n"},
    {"a repeated list", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {repeat: 2, list: [gelu]}\n",
     "test.yaml:3:24: error: a list is not repeated; make it a module and `use` that\n"
     "      a: {repeat: 2, list: [gelu]}\n"
     "                           ^\n"},
    {"apply of nothing", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: gelu}\n"
     "  b: {apply: c}\n",
     "test.yaml:4:14: error: `apply` wants the name of a node above that is one op\n"
     "      b: {apply: c}\n"
     "                 ^\n"},
    {"apply of a failed node", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: [x]}\n"
     "  b: {apply: a, from: x}\n",
     "test.yaml:3:3: error: node a needs one of `op`, `use`, `apply`, `list`\n"
     "      a: {op: [x]}\n"
     "      ^\n"},
    {"names of values", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: gelu}\n"
     "  b: {op: gelu, from: aa}\n"
     "  c: {op: gelu, from: \"a[0]\"}\n"
     "  d: {op: gelu, from: a.probs}\n"
     "  e: {op: add, from: a}\n",
     "test.yaml:4:23: error: nothing above is called aa; did you mean a?\n"
     "      b: {op: gelu, from: aa}\n"
     "                          ^\n"
     "test.yaml:5:23: error: a[0]: only a repeated node is indexed, as name[index]\n"
     "      c: {op: gelu, from: \"a[0]\"}\n"
     "                          ^\n"
     "test.yaml:6:23: error: a has no output probs\n"
     "      d: {op: gelu, from: a.probs}\n"
     "                          ^\n"
     "test.yaml:7:3: error: add takes 2 inputs, got 1\n"
     "      e: {op: add, from: a}\n"
     "      ^\n"},
    {"an index beyond", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: gelu, repeat: 2}\n"
     "  b: {op: gelu, from: \"a[2]\"}\n",
     "test.yaml:4:23: error: a[2]: there are 2 of a\n"
     "      b: {op: gelu, from: \"a[2]\"}\n"
     "                          ^\n"},
    {"half an index", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: gelu, repeat: 2}\n"
     "  b: {op: gelu, from: \"a[-1\"}\n"
     "  c: {op: gelu, from: {a: 1}}\n"
     "  d: {op: add, from: []}\n",
     "test.yaml:4:23: error: a[-1: expected name[index] or name[index].output\n"
     "      b: {op: gelu, from: \"a[-1\"}\n"
     "                          ^\n"
     "test.yaml:5:23: error: `from` wants names of values\n"
     "      c: {op: gelu, from: {a: 1}}\n"
     "                          ^\n"
     "test.yaml:6:3: error: add takes 2 inputs, got 0\n"
     "      d: {op: add, from: []}\n"
     "      ^\n"},
    {"too many inputs", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: add, from: [x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x]}\n",
     "test.yaml:3:22: error: `from` takes at most 16 names\n"
     "      a: {op: add, from: [x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x,x]}\n"
     "                         ^\n"},
    {"list is no list", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {list: gelu}\n",
     "test.yaml:3:13: error: `list` wants a list of nodes\n"
     "      a: {list: gelu}\n"
     "                ^\n"},
    {"op beside use", NULL,
     NET "module: m\n"
         "nodes:\n"
         "  a: {op: gelu, use: net, with: {dim: 8}}\n",
     "test.yaml:11:7: error: a node with `use` has no key op\n"
     "      a: {op: gelu, use: net, with: {dim: 8}}\n"
     "          ^\n"},
    {"two inputs", NULL,
     "module: m\n"
     "inputs: [x, y]\n"
     "nodes:\n"
     "  a: gelu\n",
     "test.yaml:1:1: error: module m takes 2 inputs, got 1\n"
     "    module: m\n"
     "    ^\n"},
    {"no inputs", NULL,
     "module: n\n"
     "inputs: []\n"
     "nodes: {a: gelu}\n"
     "---\n"
     "module: m\n"
     "nodes:\n"
     "  a: {use: n, from: []}\n",
     "test.yaml:2:9: error: `inputs` must be a list of names, as in [x, y]\n"
     "    inputs: []\n"
     "            ^\n"},
    {"an output of nothing", NULL,
     "module: m\n"
     "outputs: {features: b}\n"
     "nodes:\n"
     "  a: gelu\n",
     "test.yaml:2:21: error: nothing above is called b; did you mean x?\n"
     "    outputs: {features: b}\n"
     "                        ^\n"},
    {"--set without a value", "batch",
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n",
     "--set:2:1: error: expected key=value, e.g. --set batch=16\n"
     "    batch\n"
     "    ^\n"},
    {"--set with nothing after =", "batch=",
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n",
     "--set:2:1: error: --set batch=: expected one value after =\n"
     "    batch=\n"
     "    ^\n"},
    {"--set of no number", "batch=many",
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n",
     "--set:2:7: error: nothing is called many here, in \"many\"\n"
     "    batch=many\n"
     "          ^\n"},
    {"--set of an unknown key", "epocs=3",
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n",
     "--set:2:1: error: a recipe has no key epocs; did you mean epochs?\n"
     "    epocs=3\n"
     "    ^\n"},
    {"--set of an unknown inner key", "crops.local.sizes=3",
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n",
     "--set:2:1: error: crops.local has no key sizes; did you mean size?\n"
     "    crops.local.sizes=3\n"
     "    ^\n"},
    {"--set of half a curve", "lr.peak=1",
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n",
     "--set:2:1: error: recipe r needs lr.curve\n"
     "    lr.peak=1\n"
     "    ^\n"},
    {"--set of an unknown argument", "student.with.dims=3",
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n",
     "--set:2:1: error: module net has no argument dims; did you mean dim?\n"
     "    student.with.dims=3\n"
     "    ^\n"},
    {"--set of an open bracket", "batch=[1",
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n",
     "--set:2:9: error: did not find expected ',' or ']'\n"
     "    batch=[1\n"
     "            ^\n"
     "--set:2:7: note: while parsing a flow sequence that begins here\n"
     "    batch=[1\n"
     "          ^\n"},
    {"--set of an anchor", "batch=&a 3",
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n",
     "--set:2:7: error: anchors are not part of the language; give the value a name instead\n"
     "    batch=&a 3\n"
     "          ^\n"},
    {"--set that clashes", "crops.local.size=100",
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n",
     "test.yaml:4:3: error: node proj (conv2d): kernel 16 does not divide height 100\n"
     "      proj: {op: conv2d, out: dim, kernel: 16, stride: 16}\n"
     "      ^\n"
     "--set:2:18: note: for student.backbone(local): crops.local is 100x100 from here\n"
     "    crops.local.size=100\n"
     "                     ^\n"},
    {"--set of an empty key", ".a=3",
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n",
     "--set:2:1: error: --set .a=3: there is no empty key to set a part of\n"
     "    .a=3\n"
     "    ^\n"},
    {"--set of an inner value", "optim.freeze={params: last_layer, for: 3}",
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n",
     "--set:2:40: error: optim.freeze.for wants a length with its unit, as in `10 epochs` or `500 steps`\n"
     "    optim.freeze={params: last_layer, for: 3}\n"
     "                                           ^\n"},
    {"a freeze that meets nothing", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "optim: {freeze: {params: head.last_layr, for: 2 epochs}}\n",
     "test.yaml:18:26: error: optim.freeze.params: no parameter has head.last_layr in its name; did you mean "
     "head.last_layer, as in student.head.last_layer.weight_g?\n"
     "    optim: {freeze: {params: head.last_layr, for: 2 epochs}}\n"
     "                             ^\n"},
    {"--set of a freeze that meets nothing", "optim.freeze.params=xyzzy",
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n",
     "--set:2:21: error: optim.freeze.params: no parameter has xyzzy in its name\n"
     "    optim.freeze.params=xyzzy\n"
     "                        ^\n"},
    {"other kinds of values than wanted", "head.with.out_dim=[8]",
     NET HEAD "recipe: r\n"
              "batch: 4 / 2\n"
              "student: {backbone: net, with: {dim: 8 > 3}}\n",
     "test.yaml:16:8: error: batch must be a whole number, got 2.0\n"
     "    batch: 4 / 2\n"
     "           ^\n"
     "test.yaml:17:33: error: dim must be a whole number, got true\n"
     "    student: {backbone: net, with: {dim: 8 > 3}}\n"
     "                                    ^\n"
     "--set:2:1: error: out_dim must be a whole number, got a list\n"
     "    head.with.out_dim=[8]\n"
     "    ^\n"},
};

static char folder[] = "/tmp/dinograph-test-XXXXXX";

static void write_file(const char *name, const char *text, size_t size)
{
    FILE *file = fopen(name, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

/* Messages name files as they were given: with the folder as the current one they are the same everywhere. */
static int setup(void **state)
{
    (void)state;
    if (!mkdtemp(folder) || chdir(folder)) return 1;
    write_file("net.yaml", NET, strlen(NET) - strlen("---\n"));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink("test.yaml");
    unlink("net.yaml");
    return chdir("/") || rmdir(folder);
}

static void test_diagnostics(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *const set[] = {"epochs=3", cases[i].set};
        struct dg_compile_options options = {.file = "test.yaml", .set = set, .num_sets = cases[i].set ? 2 : 0};
        struct dg_compile_result result;
        struct dg_error err = {0};
        write_file("test.yaml", cases[i].yaml, strlen(cases[i].yaml));
        enum dg_status status = dg_compile(&options, &result, &err);
        if (status != DG_ERR_INPUT || strcmp(result.diagnostics, cases[i].diagnostics) || !*err.text) {
            print_error("%s: status %d, expected\n%sgot\n%s\n", cases[i].what, (int)status, cases[i].diagnostics,
                        result.diagnostics);
            wrong++;
        }
        dg_compile_result_free(&result);
    }
    assert_int_equal(wrong, 0);
}

static void test_missing_file(void **state)
{
    (void)state;
    struct dg_compile_options options = {.file = "none.yaml"};
    struct dg_compile_result result;
    struct dg_error err = {0};
    assert_int_equal(dg_compile(&options, &result, &err), DG_ERR_INPUT);
    assert_string_equal(result.diagnostics, "none.yaml: error: cannot read none.yaml: No such file or directory\n");
    assert_string_equal(err.text, "none.yaml: 1 error");
    dg_compile_result_free(&result);
}

static void test_missing_name(void **state)
{
    (void)state;
    struct dg_compile_options options = {.file = "net.yaml", .name = "nets"};
    struct dg_compile_result result;
    struct dg_error err = {0};
    assert_int_equal(dg_compile(&options, &result, &err), DG_ERR_INPUT);
    assert_string_equal(result.diagnostics, "net.yaml: error: there is no module, recipe or probe nets in it\n");
    dg_compile_result_free(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_diagnostics), cmocka_unit_test(test_missing_file),
                                       cmocka_unit_test(test_missing_name)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
