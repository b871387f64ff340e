/* Recipes that are wrong: their keys, values and curves, what `--set` makes of them, and what they ask of backbone and head. */
#include "tests/support/diagnostics.h"

static const struct wrong_description cases[] = {
    {"backbone and head", NULL,
     "module: bad\n"
     "nodes: {a: zzz}\n"
     "outputs: {features: a}\n"
     "---\n"
     "module: worse\n"
     "nodes: {a: {op: linear, out: none}}\n"
     "---\n"
     "recipe: r\n"
     "batch: 2\n"
     "student: {backbone: bad}\n"
     "head: {module: worse}\n",
     "test.yaml:2:12: error: there is no op zzz; there are mul, add, relu, gelu, silu, relu6, linear, conv2d and "
     "others, which dinoc --ops lists\n"
     "    nodes: {a: zzz}\n"
     "               ^\n"
     "test.yaml:6:30: error: nothing is called none here, in \"none\"\n"
     "    nodes: {a: {op: linear, out: none}}\n"
     "                                 ^\n"},
    {"an unknown key of a recipe", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "crops: {local: {cuont: 3}}\n"
              "optim: {beta: [0.9, 0.99]}\n"
              "zzzzz: 1\n",
     "test.yaml:18:17: error: crops.local has no key cuont; did you mean count? It has count, turn, hue, size, "
     "scale, ratio, flip, contrast, gray, blur, jitter, saturation, solarize, brightness, blur_sigma, "
     "vertical_flip and solarize_threshold\n"
     "    crops: {local: {cuont: 3}}\n"
     "                    ^\n"
     "test.yaml:19:9: error: optim has no key beta; did you mean betas? It has betas, eps, kind, clip, freeze, "
     "no_decay, clip_norm and layer_decay\n"
     "    optim: {beta: [0.9, 0.99]}\n"
     "            ^\n"
     "test.yaml:20:1: error: a recipe has no key zzzzz; it has batch, dtype, head, crops, loss, optim, lr, like, "
     "import, recipe, epochs, student, teacher, entries, predictor, checkpoint, weight_decay and skip_bad_steps\n"
     "    zzzzz: 1\n"
     "    ^\n"},
    {"an unknown key of a curve", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "lr: {curve: cosine, peak: 1, to: 0, warmpu: 1 epoch}\n",
     "test.yaml:18:37: error: lr has no key warmpu; did you mean warmup? It has warmup, curve, per, from, to, peak "
     "and warmup_from\n"
     "    lr: {curve: cosine, peak: 1, to: 0, warmpu: 1 epoch}\n"
     "                                        ^\n"},
    {"incomplete curves", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "lr: {curve: cosine, to: 0}\n"
              "weight_decay: {from: 1, to: 2}\n"
              "teacher: {momentum: {curve: linear, from: 1, to: 1}}\n"
              "loss: {teacher_temp: {curve: stairs, from: 1, to: 2}}\n",
     "test.yaml:20:21: error: teacher.momentum needs `from`, `to` and `over`\n"
     "    teacher: {momentum: {curve: linear, from: 1, to: 1}}\n"
     "                        ^\n"
     "test.yaml:21:30: error: loss.teacher_temp: there is no curve stairs; there are cosine, linear and step\n"
     "    loss: {teacher_temp: {curve: stairs, from: 1, to: 2}}\n"
     "                                 ^\n"
     "test.yaml:18:5: error: lr needs `to` and either `peak` or `from`\n"
     "    lr: {curve: cosine, to: 0}\n"
     "        ^\n"
     "test.yaml:19:15: error: recipe r needs weight_decay.curve\n"
     "    weight_decay: {from: 1, to: 2}\n"
     "                  ^\n"},
    {"an unknown argument", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8, dropp: 0.1}}\n",
     "test.yaml:17:41: error: module net has no argument dropp; did you mean drop? It has drop and dim\n"
     "    student: {backbone: net, with: {dim: 8, dropp: 0.1}}\n"
     "                                            ^\n"},
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
    {"one mistake in an argument, one error", NULL,
     "module: net\n"
     "args: {dim: int, patch: 16}\n"
     "nodes:\n"
     "  blocks: {repeat: 3, op: conv2d, out: dim, kernel: patch, stride: patch}\n"
     "  taps: {repeat: 3, op: gelu, from: \"blocks[index]\"}\n"
     "  features: {op: mean_tokens}\n"
     "---\n" HEAD "recipe: r\n"
     "batch: 2\n"
     "student: {backbone: net, with: {dim: 8, patch: 7}}\n"
     "optim: {freeze: {params: last_layer, for: 1 epoch}}\n",
     "test.yaml:4:3: error: node blocks.1 (conv2d): kernel 7 does not divide height 32\n"
     "      blocks: {repeat: 3, op: conv2d, out: dim, kernel: patch, stride: patch}\n"
     "      ^\n"
     "test.yaml:16:41: note: patch is 7 from here\n"
     "    student: {backbone: net, with: {dim: 8, patch: 7}}\n"
     "                                            ^\n"},
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
    {"an unknown backbone", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: nett, with: {dim: 8}}\n",
     "test.yaml:17:21: error: there is no module nett; did you mean net? There are net and dino_head\n"
     "    student: {backbone: nett, with: {dim: 8}}\n"
     "                        ^\n"},
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
     "--set:2:1: error: a recipe has no key epocs; did you mean epochs? It has epochs, crops, loss, import, batch, "
     "optim, recipe, dtype, head, lr, entries, like, teacher, student, predictor, checkpoint, weight_decay and "
     "skip_bad_steps\n"
     "    epocs=3\n"
     "    ^\n"},
    {"--set of an unknown inner key", "crops.local.sizes=3",
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n",
     "--set:2:1: error: crops.local has no key sizes; did you mean size? It has size, scale, jitter, hue, count, "
     "ratio, flip, gray, blur, solarize, turn, brightness, contrast, blur_sigma, saturation, vertical_flip and "
     "solarize_threshold\n"
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
     "--set:2:1: error: module net has no argument dims; did you mean dim? It has dim and drop\n"
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

static void test_recipes(void **state)
{
    (void)state;
    check_diagnostics(cases, sizeof cases / sizeof *cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_recipes)};
    return cmocka_run_group_tests(tests, enter_diagnostics, leave_diagnostics);
}
