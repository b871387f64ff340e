/* Every rewrite of ops/fused/rewrite_list.h: what the fused ops make is what the ops make that they stand for. A case is a small
 * graph; it is run node by node as it is, and again after the passes that fuse. */
#include "compiler/graph/verify.h"
#include "compiler/passes/pass.h"
#include "ops/op_rewrite.h"
#include "tests/support/op_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_VALUES = 64, STREAM = 99 };

static jmp_buf out_of_memory;
static struct dg_arena *arena;

/* --- building a graph --- */

struct net {
    struct dg_graph *graph;
    struct dg_node_options options;
    dg_value keep[6];
    int num_keep;
};

static dg_value in(struct net *net, const char *name, struct dg_desc desc)
{
    return dg_graph_input(net->graph, name, &desc);
}

/* Adds a node and returns its outputs. */
static dg_value *node(struct net *net, const char *name, const struct op_attr *attrs, const dg_value *input, int count)
{
    const struct dg_op *op = op_by_name(name);
    static const struct op_attr none[DG_MAX_ATTRS];
    union dg_attr attr[DG_MAX_ATTRS];
    dg_value *output = dg_arena_alloc(arena, DG_MAX_OUTPUTS * sizeof *output);
    struct dg_error err = {0};
    op_resolve_attrs(op, attrs ? attrs : none, attr);
    if (dg_graph_node(net->graph, &(struct dg_op_use){op, attr, input, count}, &net->options, output, &err) != DG_OK)
        fail_msg("%s: %s", name, err.text);
    return output;
}
#define NODE(net, name, attrs, ...)                                                                                    \
    node(net, name, attrs, (dg_value[]){__VA_ARGS__}, (int)(sizeof((dg_value[]){__VA_ARGS__}) / sizeof(dg_value)))
#define ATTRS(...) ((const struct op_attr[DG_MAX_ATTRS]){__VA_ARGS__})

static void keep(struct net *net, dg_value value) { net->keep[net->num_keep++] = value; }

static dg_value convolve(struct net *net)
{
    return NODE(net, "conv2d", ATTRS(ATTR("out", 4), ATTR("kernel", 3), ATTR("pad", 1), ATTR("bias", 0)),
                in(net, "x", F32(2, 5, 6, 3)), in(net, "weight", F32(4, 3, 3, 3)))[0];
}

static dg_value normalize(struct net *net, dg_value x, int64_t channels)
{
    return NODE(net, "batch_norm", NULL, x, in(net, "g", F32(channels)), in(net, "b", F32(channels)),
                in(net, "mean", F32(channels)), in(net, "var", F32(channels)), in(net, "count", I64_SCALAR))[0];
}

static dg_value relu(struct net *net, dg_value x) { return NODE(net, "relu", NULL, x)[0]; }

static void conv_norm(struct net *net)
{
    net->options.train = false;
    keep(net, normalize(net, convolve(net), 4));
}

static void conv_norm_relu(struct net *net)
{
    net->options.train = false;
    keep(net, relu(net, normalize(net, convolve(net), 4)));
}

/* The end of a residual block: its input, or its input's convolution, is added. */
static void conv_norm_add_relu(struct net *net)
{
    net->options.train = false;
    dg_value branch = normalize(net, convolve(net), 4);
    keep(net, relu(net, NODE(net, "add", NULL, branch, in(net, "shortcut", F32(2, 5, 6, 4)))[0]));
}

static void two_convs_add(struct net *net)
{
    net->options.train = false;
    dg_value branch = normalize(net, convolve(net), 4), pixels = in(net, "pixels", F32(2, 5, 6, 7));
    dg_value shortcut = NODE(net, "conv2d", ATTRS(ATTR("out", 4), ATTR("kernel", 1), ATTR("bias", 0)), pixels,
                             in(net, "weight 2", F32(4, 7, 1, 1)))[0];
    shortcut = normalize(net, shortcut, 4);
    keep(net, NODE(net, "add", NULL, branch, shortcut)[0]);
    keep(net, shortcut);
    dg_value once = NODE(net, "conv2d", ATTRS(ATTR("out", 4), ATTR("kernel", 1), ATTR("bias", 0)), shortcut,
                         in(net, "weight 3", F32(4, 4, 1, 1)))[0];
    keep(net, relu(net, NODE(net, "add", NULL, shortcut, normalize(net, once, 4))[0]));
}

static void norm_relu(struct net *net) { keep(net, relu(net, normalize(net, in(net, "x", F32(3, 4, 4, 5)), 5))); }

static void add_relu(struct net *net)
{
    keep(net, relu(net, NODE(net, "add", NULL, in(net, "a", F32(6, 7)), in(net, "b", F32(6, 7)))[0]));
}

static dg_value branch(struct net *net)
{
    dg_value dropped = NODE(net, "drop_path", ATTRS(ATTR("rate", 0.5)), in(net, "x", F32(16, 3, 5)))[0];
    return NODE(net, "add", NULL, in(net, "residual", F32(16, 3, 5)), dropped)[0];
}

static void drop_add(struct net *net) { keep(net, branch(net)); }

static void one_query(struct net *net)
{
    dg_value packed = NODE(net, "linear", ATTRS(ATTR("out", 24)), in(net, "x", F32(3, 5, 6)),
                           in(net, "weight", F32(24, 6)), in(net, "bias", F32(24)))[0];
    keep(net, NODE(net, "attention", ATTRS(ATTR("heads", 2), ATTR("query", 1)), packed)[0]);
}

static dg_value layer_norm(struct net *net, dg_value x, int64_t width)
{
    return NODE(net, "layer_norm", NULL, x, in(net, "weight", F32(width)), in(net, "bias", F32(width)))[0];
}

static void add_norm(struct net *net)
{
    dg_value sum = NODE(net, "add", NULL, in(net, "a", F32(4, 3, 5)), in(net, "b", F32(4, 3, 5)))[0];
    keep(net, layer_norm(net, sum, 5));
    keep(net, sum);
}

static void drop_add_norm(struct net *net)
{
    dg_value sum = branch(net);
    keep(net, layer_norm(net, sum, 5));
    keep(net, sum);
}

static void gelu_sums(struct net *net)
{
    net->options.role = DG_ROLE_BACKWARD;
    dg_value diff = NODE(net, "gelu_grad", NULL, in(net, "src", F32(7, 5)), in(net, "diff_dst", F32(7, 5)))[0];
    dg_value *made = NODE(net, "linear_grad_weights", NULL, in(net, "x", F32(7, 3)), diff,
                          in(net, "acc_weight", F32(5, 3)), in(net, "acc_bias", F32(5)));
    keep(net, diff);
    keep(net, made[0]);
    keep(net, made[1]);
}

/* The gradients of two readers of a ReLU. */
static void sum_of_gradients(struct net *net)
{
    net->options.role = DG_ROLE_BACKWARD;
    dg_value sum = NODE(net, "add", NULL, in(net, "a", F32(6, 7)), in(net, "b", F32(6, 7)))[0];
    keep(net, NODE(net, "relu_grad", NULL, sum, in(net, "dst", F32(6, 7)))[0]);
}

enum { BATCH = 2, PROTOTYPES = 300, WIDTH = 8, VIEWS = 3 };

static dg_value layer(struct net *net, const char *name, int64_t rows)
{
    char g[32], v[32];
    snprintf(g, sizeof g, "%s g", name);
    snprintf(v, sizeof v, "%s v", name);
    return NODE(net, "weight_norm_linear", ATTRS(ATTR("out", PROTOTYPES)), in(net, name, F32(rows, WIDTH)),
                in(net, g, F32(PROTOTYPES, 1)), in(net, v, F32(PROTOTYPES, WIDTH)))[0];
}

/* The loss, and what the targets give beside it; with `targets` these are read by others too. */
static void loss(struct net *net, bool targets)
{
    const struct dg_op *op = op_by_name("dino_target");
    dg_value *target = NODE(net, "dino_target", NULL, layer(net, "teacher", 2 * BATCH),
                            in(net, "center", F32(1, PROTOTYPES)), in(net, "teacher_temp", F64_SCALAR));
    dg_value q = target[dg_op_output_index(op, "q")];
    keep(net, NODE(net, "dino_loss", ATTRS(ATTR("views", VIEWS)), layer(net, "student", VIEWS * BATCH), q,
                   in(net, "student_temp", F64_SCALAR), in(net, "loss_so_far", F64_SCALAR))[0]);
    keep(net, target[dg_op_output_index(op, "batch_mean")]);
    keep(net, target[dg_op_output_index(op, "entropy")]);
    if (targets) keep(net, q);
}

static void loss_and_targets(struct net *net) { loss(net, true); }
static void loss_only(struct net *net) { loss(net, false); }

/* --- cases --- */

struct rewrite_case {
    const char *rewrite; /* its name */
    void (*build)(struct net *net);
    const char *plain, *fused; /* the ops before and after, in order */
    double tolerance;          /* relative to the largest number of a tensor; 0: to the bit */
};

static const struct rewrite_case cases[] = {
    {"conv2d + batch_norm", conv_norm, "conv2d batch_norm", "conv2d", 1e-5},
    {"conv2d + add", conv_norm_add_relu, "conv2d batch_norm add relu", "conv2d", 1e-5},
    {"conv2d + add", two_convs_add, "conv2d batch_norm conv2d batch_norm add conv2d batch_norm add relu",
     "conv2d conv2d add conv2d", 1e-5},
    {"conv2d + relu", conv_norm_relu, "conv2d batch_norm relu", "conv2d", 1e-5},
    {"batch_norm + relu", norm_relu, "batch_norm relu", "batch_norm", 0},
    {"add + relu", add_relu, "add relu", "add_relu", 0},
    {"drop_path + add", drop_add, "drop_path add", "drop_path_add", 0},
    {"linear + attention", one_query, "linear attention", "class_attention", 1e-5},
    {"weight_norm_linear + dino_loss", loss_and_targets, "weight_norm_linear dino_target weight_norm_linear dino_loss",
     "weight_norm_linear dino_target prototype_loss", 1e-5},
    {"weight_norm_linear + dino_target", loss_only, "weight_norm_linear dino_target weight_norm_linear dino_loss",
     "prototype_target prototype_loss", 1e-5},
    {"add + layer_norm", add_norm, "add layer_norm", "add_layer_norm", 0},
    {"drop_path_add + layer_norm", drop_add_norm, "drop_path add layer_norm", "add_layer_norm", 0},
    {"gelu_grad + linear_grad_weights", gelu_sums, "gelu_grad linear_grad_weights",
     "gelu_grad_sums linear_grad_weights", 1e-5},
    {"add + relu_grad", sum_of_gradients, "add relu_grad", "add_relu_grad", 0},
};
enum { NUM_CASES = sizeof cases / sizeof *cases };

/* --- running a graph --- */

/* Numbers of an input, by its name: temperatures and variances are positive. */
static void *numbers_of(const struct dg_graph_value *value)
{
    int64_t count = dg_desc_count(&value->desc);
    if (value->desc.dtype == DG_I64) return calloc((size_t)count, sizeof(int64_t));
    float *numbers = random_f32(value->name, 1, count);
    if (!strcmp(value->name, "var"))
        for (int64_t i = 0; i < count; i++) numbers[i] = 1.5f + numbers[i];
    if (value->desc.dtype == DG_F32) return numbers;
    double *scalar = malloc(sizeof *scalar);
    assert_non_null(scalar);
    *scalar = strstr(value->name, "temp") ? 0.1 : (double)numbers[0];
    free(numbers);
    return scalar;
}

static void run(const struct dg_graph *graph, bool constant_params, void *data[MAX_VALUES])
{
    assert_true(graph->num_values <= MAX_VALUES);
    for (uint32_t v = 0; v < graph->num_values; v++)
        data[v] = graph->value[v].region == DG_REGION_INPUT ? numbers_of(&graph->value[v]) : NULL;
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        const struct dg_graph_node *node = &graph->node[n];
        struct op_run one = {.op = node->op->name,
                             .attr = node->attr,
                             .eval = !node->train,
                             .constant_params = constant_params,
                             .stream = node->stream,
                             .view0 = node->rows.view0,
                             .batch = node->rows.batch,
                             .step = {.seed = 3}};
        for (int i = 0; i < node->num_inputs; i++) {
            bool absent = node->input[i] == DG_NO_VALUE;
            one.input[i].desc = absent ? DG_ABSENT_DESC : graph->value[node->input[i]].desc;
            one.input[i].data = absent ? NULL : data[node->input[i]];
        }
        struct op_result result = op_run(&one);
        for (int o = 0; o < node->num_outputs; o++) data[node->output[o]] = result.data[o];
    }
}

static void check_ops(const struct dg_graph *graph, const char *ops, const char *rewrite)
{
    char found[256] = "";
    for (uint32_t n = 0; n < graph->num_nodes; n++) {
        size_t length = strlen(found);
        snprintf(found + length, sizeof found - length, "%s%s", n ? " " : "", graph->node[n].op->name);
    }
    if (strcmp(found, ops)) fail_msg("%s: the graph is \"%s\", not \"%s\"", rewrite, found, ops);
}

static void compare(const struct rewrite_case *c, const struct dg_desc *desc, const void *plain, const void *fused)
{
    double most = 0, off = 0;
    if (!c->tolerance && memcmp(plain, fused, (size_t)dg_desc_bytes(desc))) fail_msg("%s: not to the bit", c->rewrite);
    for (int64_t i = 0; i < dg_desc_count(desc); i++) {
        double a = op_element(desc, plain, i), b = op_element(desc, fused, i);
        if (!isfinite(a) || !isfinite(b)) fail_msg("%s: %g and %g", c->rewrite, a, b);
        most = fmax(most, fabs(a));
        off = fmax(off, fabs(a - b));
    }
    if (off > c->tolerance * most) fail_msg("%s: off by %g, of up to %g", c->rewrite, off, most);
}

static void check(const struct rewrite_case *c)
{
    struct net net = {
        .graph = dg_graph_create(arena),
        .options = {.train = true, .stream = STREAM, .rows = {.batch = BATCH}, .origin = {.path = "net"}}};
    struct dg_error err = {0};
    void *plain[MAX_VALUES] = {NULL}, *fused[MAX_VALUES] = {NULL};
    c->build(&net);
    check_ops(net.graph, c->plain, c->rewrite);
    run(net.graph, !net.options.train, plain);
    struct dg_pass_context context = {.graph = net.graph,
                                      .diag = dg_diag_create(arena),
                                      .subject = c->rewrite,
                                      .keep = net.keep,
                                      .num_keep = net.num_keep,
                                      .constant_params = !net.options.train};
    /* Twice, as a step does: what reads the targets is known when the losses are fused. */
    assert_true(dg_fuse(&context) && dg_fuse(&context) && dg_fuse_late(&context));
    if (dg_graph_verify(net.graph, 0, &err) != DG_OK) fail_msg("%s: %s", c->rewrite, err.text);
    check_ops(net.graph, c->fused, c->rewrite);
    run(net.graph, !net.options.train, fused);
    for (int k = 0; k < net.num_keep; k++)
        compare(c, &net.graph->value[net.keep[k]].desc, plain[net.keep[k]], fused[net.keep[k]]);
    for (uint32_t v = 0; v < net.graph->num_values; v++) {
        free(plain[v]);
        free(fused[v]);
    }
}

static void test_fused_is_the_same(void **state)
{
    (void)state;
    arena = dg_arena_create(&out_of_memory);
    assert_non_null(arena);
    for (int c = 0; c < NUM_CASES; c++) check(&cases[c]);
    dg_arena_free(arena);
}

static void test_every_rewrite_has_a_case(void **state)
{
    (void)state;
    for (int i = 0; i < dg_rewrite_count(); i++) {
        const struct dg_rewrite *rewrite = dg_rewrite_at(i);
        int c = 0;
        while (c < NUM_CASES && strcmp(cases[c].rewrite, rewrite->name)) c++;
        if (c == NUM_CASES) fail_msg("rewrite %s has no case", rewrite->name);
        char name[128];
        snprintf(name, sizeof name, "%s + %s", rewrite->producer->name, rewrite->consumer->name);
        assert_string_equal(rewrite->name, name);
        for (int j = 0; j < i; j++) assert_string_not_equal(rewrite->name, dg_rewrite_at(j)->name);
    }
}

/* What others read stays: a rewrite that does not keep the producer's output leaves the pair alone. */
static void test_a_second_reader(void **state)
{
    (void)state;
    arena = dg_arena_create(&out_of_memory);
    assert_non_null(arena);
    struct net net = {.graph = dg_graph_create(arena), .options = {.train = true, .origin = {.path = "net"}}};
    dg_value sum = NODE(&net, "add", NULL, in(&net, "a", F32(6, 7)), in(&net, "b", F32(6, 7)))[0];
    keep(&net, relu(&net, sum));
    keep(&net, sum);
    struct dg_pass_context context = {
        .graph = net.graph, .diag = dg_diag_create(arena), .keep = net.keep, .num_keep = net.num_keep};
    assert_true(dg_fuse(&context) && dg_fuse_late(&context));
    check_ops(net.graph, "add relu", "add + relu");
    dg_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_rewrite_has_a_case),
                                       cmocka_unit_test(test_fused_is_the_same),
                                       cmocka_unit_test(test_a_second_reader)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
