/* Modules that are wrong: their keys, ops, attributes and parameters, shapes that clash, names of values. */
#include "tests/support/diagnostics.h"

static const struct wrong_description cases[] = {
    {"an unknown key of a node", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: linear, out: 4, form: x}\n",
     "test.yaml:3:27: error: linear has no key form; did you mean from? It has from, op, out, when, bias, init and "
     "repeat\n"
     "      a: {op: linear, out: 4, form: x}\n"
     "                              ^\n"},
    {"a misspelt attribute", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: conv2d, out: 4, kernal: 16}\n",
     "test.yaml:3:3: error: conv2d needs kernel (window, pixels)\n"
     "      a: {op: conv2d, out: 4, kernal: 16}\n"
     "      ^\n"
     "test.yaml:3:27: error: conv2d has no key kernal; did you mean kernel? It has kernel, repeat, when, from, stride, "
     "pad, bias, init, op, out, groups and dilation\n"
     "      a: {op: conv2d, out: 4, kernal: 16}\n"
     "                              ^\n"},
    {"an unknown key beside use", NULL,
     NET "module: m\n"
         "nodes:\n"
         "  a: {use: net, wiht: {dim: 4}}\n",
     "test.yaml:11:17: error: a node with `use` has no key wiht; did you mean with? It has with, when, use, from and "
     "repeat\n"
     "      a: {use: net, wiht: {dim: 4}}\n"
     "                    ^\n"
     "test.yaml:11:12: error: module net needs the argument dim (whole number)\n"
     "      a: {use: net, wiht: {dim: 4}}\n"
     "               ^\n"
     "test.yaml:2:8: note: it is declared here\n"
     "    args: {dim: int, drop: 0.0}\n"
     "           ^\n"},
    {"an unknown key of a module", NULL,
     "module: net\n"
     "args: {dim: 8, drop: 0.0}\n"
     "nodes:\n"
     "  proj: {op: conv2d, out: dim, kernel: 16, stride: 16}\n"
     "  tokens: to_tokens\n"
     "  cls: {op: take_token, index: 0}\n"
     "output: {features: cls}\n",
     "test.yaml:7:1: error: a module has no key output; did you mean outputs? It has outputs, inputs, import, module, "
     "like, args, defaults, params and nodes\n"
     "    output: {features: cls}\n"
     "    ^\n"},
    {"unknown keys beside like", NULL,
     NET "module: b\n"
         "like: net\n"
         "wiht: {dim: 3}\n"
         "nodes: {}\n",
     "test.yaml:11:1: error: a module with `like` has no key wiht; did you mean with? It has with, like, import and "
     "module\n"
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
     "test.yaml:2:12: error: there is no op linaer; did you mean linear? There are linear, conv2d, rotary, silu, add, "
     "relu, gelu, sigmoid and others, which dinoc --ops lists\n"
     "    defaults: {linaer: {bias: false}, linear: {bais: false}}\n"
     "               ^\n"
     "test.yaml:2:44: error: linear has no key bais; did you mean bias? It has bias and out\n"
     "    defaults: {linaer: {bias: false}, linear: {bais: false}}\n"
     "                                               ^\n"},
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
    {"a required attribute", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: linear\n"
     "  b: {op: conv2d, out: 3}\n",
     "test.yaml:3:3: error: linear needs out (output features)\n"
     "      a: linear\n"
     "      ^\n"
     "test.yaml:4:3: error: conv2d needs kernel (window, pixels)\n"
     "      b: {op: conv2d, out: 3}\n"
     "      ^\n"},
    {"unknown ops", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: lienar, out: 3}\n"
     "  b: gelo\n"
     "  c: zzzzzzzz\n",
     "test.yaml:3:11: error: there is no op lienar; did you mean linear? There are linear, relu, gelu, rotary, silu, "
     "relu6, conv2d, layer_norm and others, which dinoc --ops lists\n"
     "      a: {op: lienar, out: 3}\n"
     "              ^\n"
     "test.yaml:4:6: error: there is no op gelo; did you mean gelu? There are gelu, relu, silu, relu6, mul, add, "
     "linear, conv2d and others, which dinoc --ops lists\n"
     "      b: gelo\n"
     "         ^\n"
     "test.yaml:5:6: error: there is no op zzzzzzzz; there are linear, conv2d, relu, max_pool, avg_pool, to_pixel, "
     "rms_norm, dropout and others, which dinoc --ops lists\n"
     "      c: zzzzzzzz\n"
     "         ^\n"},
    {"modules and nodes whose input failed", NULL,
     "module: inner\n"
     "nodes:\n"
     "  a: silo\n"
     "  b: {op: linear, out: 4, bais: true}\n"
     "outputs: {both: b}\n"
     "---\n"
     "module: m\n"
     "nodes:\n"
     "  t: {op: prepend_token, token: cls}\n"
     "  i: {use: inner}\n"
     "  o: {op: linear, out: 0, from: i.both}\n"
     "  q: {op: add, from: [o]}\n",
     "test.yaml:9:33: error: module m declares no parameter cls under `params:`\n"
     "      t: {op: prepend_token, token: cls}\n"
     "                                    ^\n"
     "test.yaml:3:6: error: there is no op silo; did you mean silu? There are silu, relu, gelu, mul, sigmoid, relu6, "
     "add, linear and others, which dinoc --ops lists\n"
     "      a: silo\n"
     "         ^\n"
     "test.yaml:4:27: error: linear has no key bais; did you mean bias? It has bias, init, when, op, from, out and "
     "repeat\n"
     "      b: {op: linear, out: 4, bais: true}\n"
     "                              ^\n"
     "test.yaml:11:24: error: out is 0, outside 1 .. 268435456\n"
     "      o: {op: linear, out: 0, from: i.both}\n"
     "                           ^\n"
     "test.yaml:12:3: error: add takes 2 inputs, got 1\n"
     "      q: {op: add, from: [o]}\n"
     "      ^\n"},
    {"a parameter in another shape", NULL,
     "module: m\n"
     "params: {p: {shape: [1, 2, 2, 3]}}\n"
     "nodes:\n"
     "  a: {op: to_tokens, from: p}\n",
     "test.yaml:4:3: error: to_tokens gives a value another shape and takes no parameter: declare it in that shape\n"
     "      a: {op: to_tokens, from: p}\n"
     "      ^\n"},
    {"an op of the compiler alone", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: adamw}\n"
     "  b: {op: linear_grad_src}\n",
     "test.yaml:3:11: error: there is no op adamw; there are add, relu, gelu, rotary, silu, relu6, mul, linear and "
     "others, which dinoc --ops lists\n"
     "      a: {op: adamw}\n"
     "              ^\n"
     "test.yaml:4:11: error: there is no op linear_grad_src; there are linear, concat_rows, layer_norm, insert_tokens, "
     "mean_tokens, concat_columns, slice_columns, rotary and others, which dinoc --ops lists\n"
     "      b: {op: linear_grad_src}\n"
     "              ^\n"},
    {"a node that is nothing", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {out: 3}\n",
     "test.yaml:3:3: error: node a needs one of `op`, `use`, `apply`, `list`\n"
     "      a: {out: 3}\n"
     "      ^\n"},
    {"an unknown module", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {use: nott}\n",
     "test.yaml:3:12: error: there is no module nott; there is m\n"
     "      a: {use: nott}\n"
     "               ^\n"},
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
     "test.yaml:14:12: note: dim is 8 from here\n"
     "        with: {dim: 8}\n"
     "               ^\n"
     "test.yaml:13:10: note: in module net, used here as a.1\n"
     "        use: net\n"
     "             ^\n"},
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
     "test.yaml:2:40: error: a parameter has no key shpe; did you mean shape? It has shape, when and init\n"
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
     "                           ^\n"
     "test.yaml:5:24: error: nothing is called dmi here; did you mean dim?, in \"3 * dmi\"\n"
     "      b: {op: linear, out: 3 * dmi}\n"
     "                           ^\n"
     "test.yaml:6:24: error: division by zero, in \"1 // 0\"\n"
     "      c: {op: linear, out: 1 // 0}\n"
     "                           ^\n"
     "test.yaml:7:24: error: the result does not fit 64 bits, in \"2 ** 80\"\n"
     "      d: {op: linear, out: 2 ** 80}\n"
     "                           ^\n"
     "test.yaml:8:24: error: did not expect \"3\", in \"3 3\"\n"
     "      e: {op: linear, out: \"3 3\"}\n"
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
     "                           ^\n"
     "test.yaml:4:24: error: + wants numbers, got true and 1, in \"true + 1\"\n"
     "      b: {op: linear, out: \"true + 1\"}\n"
     "                           ^\n"
     "test.yaml:5:24: error: expected a value, got a mapping\n"
     "      c: {op: linear, out: {a: 1}}\n"
     "                           ^\n"
     "test.yaml:6:24: error: the result is not finite, in \"1e400\"\n"
     "      e: {op: linear, out: 1e400}\n"
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
     "test.yaml:3:28: error: gelu has no key when; it has op, from and repeat\n"
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
     "test.yaml:11:7: error: a node with `use` has no key op; it has use, from, when, with and repeat\n"
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
    {"an index of a node repeated no times", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: gelu, repeat: 0}\n"
     "  b: {op: relu, from: \"a[-1]\"}\n",
     "test.yaml:4:23: error: a[-1]: there are 0 of a\n"
     "      b: {op: relu, from: \"a[-1]\"}\n"
     "                          ^\n"},
    {"an output of nothing", NULL,
     "module: m\n"
     "outputs: {features: b}\n"
     "nodes:\n"
     "  a: gelu\n",
     "test.yaml:2:21: error: nothing above is called b; did you mean x?\n"
     "    outputs: {features: b}\n"
     "                        ^\n"},
};

static void test_modules(void **state)
{
    (void)state;
    check_diagnostics(cases, sizeof cases / sizeof *cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_modules)};
    return cmocka_run_group_tests(tests, enter_diagnostics, leave_diagnostics);
}
