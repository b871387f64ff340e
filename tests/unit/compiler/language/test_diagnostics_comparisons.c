/* Combinations of keys that say which teacher, targets and loss a recipe has, recipes like others, lists of views and of freezes,
 * curves. */
#include "tests/support/diagnostics.h"

static const struct wrong_description cases[] = {
    {"a teacher that is a copy has no momentum", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "teacher: {update: epoch, momentum: 0.9}\n",
     "test.yaml:18:36: error: teacher.momentum: goes with `update: momentum`; other teachers are copies of the "
     "student\n"
     "    teacher: {update: epoch, momentum: 0.9}\n"
     "                                       ^\n"},
    {"a teacher of no kind", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "teacher: {update: last}\n",
     "test.yaml:18:19: error: teacher.update must be momentum (an average of the student, a step at a time), epoch "
     "(the student as it was at the end of the last epoch), iteration (the student as it was a step ago) or student (a "
     "copy of the student), got last\n"
     "    teacher: {update: last}\n"
     "                      ^\n"},
    {"a loss without temperatures", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "loss: {kind: mse, targets: sinkhorn, student_temp: 0.2, teacher_temp: 0.1}\n",
     "test.yaml:18:28: error: loss.targets: makes probabilities, which go with `kind: cross_entropy`\n"
     "    loss: {kind: mse, targets: sinkhorn, student_temp: 0.2, teacher_temp: 0.1}\n"
     "                               ^\n"
     "test.yaml:18:52: error: loss.student_temp: `kind: mse` has no temperature: outputs have length one\n"
     "    loss: {kind: mse, targets: sinkhorn, student_temp: 0.2, teacher_temp: 0.1}\n"
     "                                                       ^\n"
     "test.yaml:18:71: error: loss.teacher_temp: goes with `kind: cross_entropy`; outputs of length one are not "
     "sharpened\n"
     "    loss: {kind: mse, targets: sinkhorn, student_temp: 0.2, teacher_temp: 0.1}\n"
     "                                                                          ^\n"},
    {"targets without a centre", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "loss: {targets: sinkhorn, teacher_temp: 0, center_momentum: 0.5}\n",
     "test.yaml:18:41: error: loss.teacher_temp: 0, the largest output, goes with `targets: center`\n"
     "    loss: {targets: sinkhorn, teacher_temp: 0, center_momentum: 0.5}\n"
     "                                            ^\n"
     "test.yaml:18:61: error: loss.center_momentum: goes with `targets: center`; the other targets have no centre\n"
     "    loss: {targets: sinkhorn, teacher_temp: 0, center_momentum: 0.5}\n"
     "                                                                ^\n"},
    {"one view alone", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "crops: {global: {views: [{}]}, local: {count: 0}}\n",
     "test.yaml:18:25: error: crops: one global view and no local crops leave no other view to teach: add either\n"
     "    crops: {global: {views: [{}]}, local: {count: 0}}\n"
     "                            ^\n"},
    {"no view", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "crops: {global: {views: []}}\n",
     "test.yaml:18:25: error: crops.global.views must be a list of one to sixteen: the teacher sees all of them, and "
     "each teaches the others\n"
     "    crops: {global: {views: []}}\n"
     "                            ^\n"},
    {"a predictor that is not there", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "predictor: {}\n",
     "test.yaml:15:1: error: there is no module predictor; there are net and dino_head\n"
     "    recipe: r\n"
     "    ^\n"},
    {"a predictor of another width", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "predictor: {module: dino_head, with: {out_dim: 5}}\n",
     "test.yaml:18:12: error: predictor: module dino_head makes 5 numbers of the head's 8 outputs: it must make as "
     "many, see its argument out_dim\n"
     "    predictor: {module: dino_head, with: {out_dim: 5}}\n"
     "               ^\n"},
    {"a recipe like one that is not there", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "like: s\n",
     "test.yaml:18:7: error: there is no recipe s; did you mean r?\n"
     "    like: s\n"
     "          ^\n"},
    {"a recipe without what the other one has not", NULL,
     NET HEAD "recipe: s\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "---\n"
              "recipe: r\n"
              "like: s\n"
              "without: [student.with.dim, loss.kind]\n",
     "test.yaml:21:29: error: without: the other recipe has no key loss.kind\n"
     "    without: [student.with.dim, loss.kind]\n"
     "                                ^\n"},
    {"a recipe like itself", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "like: r\n",
     "test.yaml:18:7: error: recipe r is like itself\n"
     "    like: r\n"
     "          ^\n"},
    {"a recipe like several", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "like: [r, s]\n",
     "test.yaml:18:7: error: `like` wants the name of a recipe\n"
     "    like: [r, s]\n"
     "          ^\n"},
    {"without what is no list", NULL,
     NET HEAD "recipe: s\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "---\n"
              "recipe: r\n"
              "like: s\n"
              "without: loss\n",
     "test.yaml:21:10: error: `without` must be a list of keys, as in [loss.teacher_temp]\n"
     "    without: loss\n"
     "             ^\n"},
    {"without a list in the list", NULL,
     NET HEAD "recipe: s\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "---\n"
              "recipe: r\n"
              "like: s\n"
              "without: [[loss]]\n",
     "test.yaml:21:11: error: without: the other recipe has no key that is a list\n"
     "    without: [[loss]]\n"
     "              ^\n"},
    {"local views of four sizes", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "crops: {local: [{}, {}, {}, {count: 1}]}\n",
     "test.yaml:18:29: error: crops.local: a list of up to 3 sizes\n"
     "    crops: {local: [{}, {}, {}, {count: 1}]}\n"
     "                                ^\n"},
    {"a size of local views that is no mapping", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "crops: {local: [96]}\n",
     "test.yaml:18:17: error: crops.local.0 must be a mapping\n"
     "    crops: {local: [96]}\n"
     "                    ^\n"},
    {"more views than there can be", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "crops: {local: [{count: 40}, {count: 40}]}\n",
     "test.yaml:18:8: error: crops: 82 views are more than 64\n"
     "    crops: {local: [{count: 40}, {count: 40}]}\n"
     "           ^\n"},
    {"directions that are sharpened", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "loss: {kind: infonce, teacher_temp: 0.04}\n",
     "test.yaml:18:37: error: loss.teacher_temp: goes with `kind: cross_entropy`; outputs of length one are not "
     "sharpened\n"
     "    loss: {kind: infonce, teacher_temp: 0.04}\n"
     "                                        ^\n"},
    {"a freeze that is a word", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "optim: {freeze: [last_layer]}\n",
     "test.yaml:18:18: error: optim.freeze: a list of up to 16 mappings, as in {params: last_layer, for: 1 epoch}\n"
     "    optim: {freeze: [last_layer]}\n"
     "                     ^\n"},
    {"a freeze for no time", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "optim: {freeze: [{params: last_layer}]}\n",
     "test.yaml:18:18: error: optim.freeze.0 needs params and for\n"
     "    optim: {freeze: [{params: last_layer}]}\n"
     "                     ^\n"},
    {"steps that are never taken", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "lr: {curve: step, from: 1, by: 0.1}\n",
     "test.yaml:18:5: error: lr needs `from`, `by` and `every`\n"
     "    lr: {curve: step, from: 1, by: 0.1}\n"
     "        ^\n"},
    {"the start of no warm-up", NULL,
     NET HEAD "recipe: r\n"
              "batch: 2\n"
              "student: {backbone: net, with: {dim: 8}}\n"
              "lr: {curve: cosine, peak: 1, to: 0, warmup_from: 0.1}\n",
     "test.yaml:18:50: error: lr.warmup_from needs lr.warmup, the length of the way from it\n"
     "    lr: {curve: cosine, peak: 1, to: 0, warmup_from: 0.1}\n"
     "                                                     ^\n"},
};

static void test_comparisons(void **state)
{
    (void)state;
    check_diagnostics(cases, sizeof cases / sizeof *cases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_comparisons)};
    return cmocka_run_group_tests(tests, enter_diagnostics, leave_diagnostics);
}
