/* Files that are wrong before anything is built of them: YAML that is not taken, imports, definitions and their names; many
 * errors at once. */
#include "tests/support/diagnostics.h"

static const struct wrong_description cases[] = {
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
     "test.yaml:18:30: error: lr has no key too; did you mean to? It has to, per, from, peak, curve, warmup and "
     "warmup_from\n"
     "    lr: {curve: cosine, peak: 1, too: 0}\n"
     "                                 ^\n"
     "test.yaml:19:1: error: a recipe has no key epocs; did you mean epochs? It has epochs, crops, loss, import, "
     "batch, optim, recipe, dtype, head, lr, entries, like, teacher, student, predictor, checkpoint, weight_decay and "
     "skip_bad_steps\n"
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
     "test.yaml:4:33: error: bias must be true or false, got 3\n"
     "      b: {op: linear, out: 4, bias: 3}\n"
     "                                    ^\n"
     "test.yaml:5:28: error: nothing is called tiny here, in \"tiny\"\n"
     "      c: {op: layer_norm, eps: tiny}\n"
     "                               ^\n"
     "test.yaml:6:26: error: nothing above is called e; did you mean x?\n"
     "      d: {op: add, from: [a, e]}\n"
     "                             ^\n"
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
     "test.yaml:18:1: error: a recipe has no key k0; it has lr, like, head, loss, batch, dtype, crops, optim, "
     "import, recipe, epochs, student, teacher, entries, predictor, checkpoint, weight_decay and skip_bad_steps\n"
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
    {"brackets within braces", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {repeat: 2, op: gelu}\n"
     "  b: {op: add, from: [a[0], a[-1]]}\n",
     "test.yaml:4:24: error: within { } or [ ] an expression with brackets needs quotes: \"a[0]\"\n"
     "      b: {op: add, from: [a[0], a[-1]]}\n"
     "                           ^\n"},
    {"brackets within braces, behind a name", NULL,
     "module: m\n"
     "nodes:\n"
     "  a: {op: gelu, from: blocks[-1].attn.core}\n",
     "test.yaml:3:29: error: within { } or [ ] an expression with brackets needs quotes: \"blocks[-1].attn.core\"\n"
     "      a: {op: gelu, from: blocks[-1].attn.core}\n"
     "                                ^\n"},
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
     "test.yaml:3:21: error: there is no op lienar; did you mean linear? There are linear, relu, gelu, rotary, silu, "
     "relu6, conv2d, layer_norm and others, which dinoc --ops lists\n"
     "      a: {out: \"é\", op: lienar}\n"
     "                        ^\n"},
    {"tabs under tabs", NULL,
     "module: m\n"
     "nodes: {a:\tlienar}\n",
     "test.yaml:2:12: error: there is no op lienar; did you mean linear? There are linear, relu, gelu, rotary, silu, "
     "relu6, conv2d, layer_norm and others, which dinoc --ops lists\n"
     "    nodes: {a:\tlienar}\n"
     "              \t^\n"},
    {"lines of Windows", NULL,
     "module: m\r\n"
     "nodes:\r\n"
     "  a: lienar\r\n",
     "test.yaml:3:6: error: there is no op lienar; did you mean linear? There are linear, relu, gelu, rotary, silu, "
     "relu6, conv2d, layer_norm and others, which dinoc --ops lists\n"
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
     "test.yaml:2:7: error: there is no module bb; there is a\n"
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
};

static void test_files(void **state)
{
    (void)state;
    check_diagnostics(cases, sizeof cases / sizeof *cases);
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
    assert_string_equal(result.diagnostics,
                        "net.yaml: error: there is no module, recipe or probe nets in it; did you mean net?\n");
    dg_compile_result_free(&result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_files), cmocka_unit_test(test_missing_file),
                                       cmocka_unit_test(test_missing_name)};
    return cmocka_run_group_tests(tests, enter_diagnostics, leave_diagnostics);
}
