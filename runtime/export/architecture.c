/* A value is known by the hash of the expression that makes it: of the operation, its attributes, the names of its parameters and the
 * hashes of its inputs. Fused operations count as what they stand for, and the class token alone as all tokens, since what follows
 * works on each token by itself. The same expressions are built of the network that names and shapes of the parameters suggest;
 * if the outputs have the same hash, it is that network. */
#include "runtime/export/architecture.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t expression;

/* ---- expressions ---- */

/* A parameter's name in parts, which count as one text: block, layer, rest. NULL ends them; no part at all: it is absent. */
struct name {
    const char *part[4];
};
#define NAME(...) ((struct name){{__VA_ARGS__}})

static expression begin(const char *what) { return dg_fnv1a(DG_FNV_BASIS, what, strlen(what) + 1); }
static expression with_int(expression e, int64_t number) { return dg_fnv1a(e, &number, sizeof number); }
static expression with_real(expression e, double number) { return dg_fnv1a(e, &number, sizeof number); }
static expression of(expression e, expression input) { return dg_fnv1a(e, &input, sizeof input); }

static expression with_name(expression e, struct name name)
{
    for (int i = 0; name.part[i]; i++) e = dg_fnv1a(e, name.part[i], strlen(name.part[i]));
    return dg_fnv1a(e, "", 1);
}

static expression simple(const char *what, expression x) { return of(begin(what), x); }
static expression sum(expression a, expression b) { return of(of(begin("add"), a < b ? a : b), a < b ? b : a); }

static expression windows(expression e, int64_t kernel, int64_t stride, int64_t pad)
{
    return with_int(with_int(with_int(e, kernel), stride), pad);
}

/* geometry: kernel, stride, pad, groups, dilation */
static expression conv(expression x, struct name weight, struct name bias, const int64_t geometry[5])
{
    expression e = with_name(with_name(begin("conv2d"), weight), bias);
    e = windows(e, geometry[0], geometry[1], geometry[2]);
    return of(with_int(with_int(e, geometry[3]), geometry[4]), x);
}

static expression batch_norm(expression x, const struct name name[4], double eps)
{
    expression e = with_real(begin("batch_norm"), eps);
    for (int i = 0; i < 4; i++) e = with_name(e, name[i]);
    return of(e, x);
}

static expression layer_norm(expression x, struct name weight, struct name bias, double eps)
{
    return of(with_real(with_name(with_name(begin("layer_norm"), weight), bias), eps), x);
}

static expression linear(expression x, struct name weight, struct name bias)
{
    return of(with_name(with_name(begin("linear"), weight), bias), x);
}

static expression attention(expression x, int64_t heads) { return of(with_int(begin("attention"), heads), x); }

static expression add_parameter(const char *what, expression x, struct name name)
{
    return of(with_name(begin(what), name), x);
}

/* ---- the plan's ---- */

struct reading {
    const struct dg_plan *plan;
    const struct dg_plan_entry *entry;
    const struct dg_plan_op *record;
    const struct dg_op *op;
    expression *value; /* of the entry's tensors */
    char unknown[256]; /* the first operation that no such network has; "": there is none */
    int64_t heads;     /* of the first attention */
};

static uint32_t operand(const struct reading *r, int i)
{
    return i < 0 ? DG_PLAN_NONE : r->plan->operand[r->record->first_operand + (uint32_t)i];
}

static expression input(const struct reading *r, const char *name)
{
    uint32_t t = operand(r, dg_op_input_index(r->op, name));
    return t == DG_PLAN_NONE ? 0 : r->value[t - r->entry->first_tensor];
}

static struct name parameter(const struct reading *r, const char *name)
{
    uint32_t t = operand(r, dg_op_input_index(r->op, name));
    return t == DG_PLAN_NONE ? NAME(NULL) : NAME(dg_plan_string(r->plan, r->plan->tensor[t].name));
}

static union dg_attr attr(const struct reading *r, const char *name)
{
    return r->plan->attr[r->record->first_attr + (uint32_t)dg_op_attr(r->op, name)];
}

static void set_output(struct reading *r, const char *name, expression e)
{
    uint32_t t = operand(r, (int)r->record->num_inputs + dg_op_output_index(r->op, name));
    if (t != DG_PLAN_NONE) r->value[t - r->entry->first_tensor] = e;
}

static expression read_conv(struct reading *r)
{
    const int64_t geometry[] = {attr(r, "kernel").i, attr(r, "stride").i, attr(r, "pad").i, attr(r, "groups").i,
                                attr(r, "dilation").i};
    const struct name norm[] = {parameter(r, "norm_weight"), parameter(r, "norm_bias"), parameter(r, "norm_mean"),
                                parameter(r, "norm_var")};
    expression e = conv(input(r, "src"), parameter(r, "weight"), parameter(r, "bias"), geometry);
    if (attr(r, "fold").i) e = batch_norm(e, norm, attr(r, "eps").f);
    if (operand(r, dg_op_input_index(r->op, "addend")) != DG_PLAN_NONE) e = sum(e, input(r, "addend"));
    return attr(r, "relu").i ? simple("relu", e) : e;
}

static expression read_batch_norm(struct reading *r)
{
    const struct name name[] = {parameter(r, "weight"), parameter(r, "bias"), parameter(r, "running_mean"),
                                parameter(r, "running_var")};
    expression e = batch_norm(input(r, "src"), name, attr(r, "eps").f);
    return attr(r, "relu").i ? simple("relu", e) : e;
}

static expression read_sum_and_norm(struct reading *r)
{
    expression e = sum(input(r, "src"), input(r, "residual"));
    set_output(r, "sum", e);
    set_output(r, "dst", layer_norm(e, parameter(r, "weight"), parameter(r, "bias"), attr(r, "eps").f));
    return 0;
}

/* Of one token, the class token, or of all. */
static expression read_attention(struct reading *r)
{
    expression e = input(r, "src");
    if (!r->heads) r->heads = attr(r, "heads").i;
    if (dg_op_input_index(r->op, "weight") >= 0) e = linear(e, parameter(r, "weight"), parameter(r, "bias"));
    return attr(r, "query").i <= 0 ? attention(e, attr(r, "heads").i) : 0;
}

static bool is(const struct reading *r, const char *name) { return !strcmp(r->op->name, name); }

static expression read_op(struct reading *r)
{
    if (is(r, "conv2d")) return read_conv(r);
    if (is(r, "batch_norm")) return read_batch_norm(r);
    if (is(r, "add_layer_norm")) return read_sum_and_norm(r);
    if (is(r, "attention") || is(r, "class_attention")) return read_attention(r);
    if (is(r, "add")) return sum(input(r, "a"), input(r, "b"));
    if (is(r, "add_relu")) return simple("relu", sum(input(r, "a"), input(r, "b")));
    if (is(r, "linear")) return linear(input(r, "src"), parameter(r, "weight"), parameter(r, "bias"));
    if (is(r, "layer_norm"))
        return layer_norm(input(r, "src"), parameter(r, "weight"), parameter(r, "bias"), attr(r, "eps").f);
    if (is(r, "max_pool"))
        return of(windows(begin("max_pool"), attr(r, "kernel").i, attr(r, "stride").i, attr(r, "pad").i),
                  input(r, "src"));
    if (is(r, "prepend_token")) return add_parameter("prepend_token", input(r, "src"), parameter(r, "token"));
    if (is(r, "add_position")) return add_parameter("add_position", input(r, "src"), parameter(r, "table"));
    if (is(r, "take_token") && attr(r, "index").i == 0) return input(r, "src");
    if (is(r, "relu") || is(r, "gelu") || is(r, "to_tokens") || is(r, "global_avg_pool"))
        return simple(r->op->name, input(r, "src"));
    if (!*r->unknown)
        snprintf(r->unknown, sizeof r->unknown, "%s (%s, %s line %d)", dg_plan_string(r->plan, r->record->name),
                 r->op->name, dg_plan_string(r->plan, r->record->file), r->record->line);
    return 0;
}

/* The expression of the entry's output. */
static expression read_entry(struct reading *r)
{
    const struct dg_plan_entry *entry = r->entry;
    r->value[entry->slot[DG_SLOT_IMAGES] - entry->first_tensor] = begin("images");
    for (uint32_t n = 0; n < entry->num_ops; n++) {
        r->record = &r->plan->op[entry->first_op + n];
        r->op = dg_op_find(dg_plan_string(r->plan, r->record->op));
        expression e = read_op(r);
        if (e) set_output(r, r->op->outputs[DG_RESULT].name, e);
    }
    return r->value[entry->slot[DG_SLOT_OUTPUT] - entry->first_tensor];
}

/* ---- the libraries' ---- */

enum { BLOCK = 40 }; /* characters of a block's name */

static expression layer(expression x, const char *block, const char *name)
{
    return linear(x, NAME(block, name, ".weight"), NAME(block, name, ".bias"));
}

static expression norm(expression x, const char *block, const char *name, double eps)
{
    return layer_norm(x, NAME(block, name, ".weight"), NAME(block, name, ".bias"), eps);
}

static expression vit(const struct dg_architecture *n)
{
    const int64_t geometry[] = {n->patch, n->patch, 0, 1, 1};
    expression x = conv(begin("images"), NAME("patch_embed.proj.weight"), NAME("patch_embed.proj.bias"), geometry);
    x = add_parameter("prepend_token", simple("to_tokens", x), NAME("cls_token"));
    x = add_parameter("add_position", x, NAME("pos_embed"));
    for (int64_t i = 0; i < n->depth; i++) {
        char block[BLOCK];
        snprintf(block, sizeof block, "blocks.%" PRId64 ".", i);
        expression y = layer(norm(x, block, "norm1", n->eps), block, "attn.qkv");
        x = sum(x, layer(attention(y, n->heads), block, "attn.proj"));
        y = layer(norm(x, block, "norm2", n->eps), block, "mlp.fc1");
        x = sum(x, layer(simple("gelu", y), block, "mlp.fc2"));
    }
    return norm(x, "", "norm", n->eps);
}

/* A convolution without a bias, and the batch norm behind it. */
static expression conv_norm(expression x, const char *block, const char *conv_name, const char *norm_name,
                            const int64_t geometry[5])
{
    x = conv(x, NAME(block, conv_name, ".weight"), NAME(NULL), geometry);
    const struct name names[] = {NAME(block, norm_name, ".weight"), NAME(block, norm_name, ".bias"),
                                 NAME(block, norm_name, ".running_mean"), NAME(block, norm_name, ".running_var")};
    return batch_norm(x, names, 1e-5);
}

/* `project`: the shortcut is a convolution, too. */
static expression residual(const struct dg_architecture *n, expression x, const char *block, int64_t stride,
                           bool project)
{
    const int64_t one[] = {1, 1, 0, 1, 1}, first[] = {3, stride, 1, 1, 1}, second[] = {3, 1, 1, 1, 1},
                  middle[] = {3, stride, 1, n->groups, 1}, across[] = {1, stride, 0, 1, 1};
    expression shortcut = project ? conv_norm(x, block, "downsample.0", "downsample.1", across) : x, y;
    y = simple("relu", conv_norm(x, block, "conv1", "bn1", n->basic ? first : one));
    y = conv_norm(y, block, "conv2", "bn2", n->basic ? second : middle);
    if (!n->basic) y = conv_norm(simple("relu", y), block, "conv3", "bn3", one);
    return simple("relu", sum(y, shortcut));
}

static expression resnet(const struct dg_architecture *n)
{
    const int64_t stem[] = {n->small ? 3 : 7, n->small ? 1 : 2, n->small ? 1 : 3, 1, 1};
    expression x = simple("relu", conv_norm(begin("images"), "", "conv1", "bn1", stem));
    if (!n->small) x = of(windows(begin("max_pool"), 3, 2, 1), x);
    for (int stage = 0; stage < 4; stage++)
        for (int64_t i = 0; i < n->blocks[stage]; i++) {
            char block[BLOCK];
            snprintf(block, sizeof block, "layer%d.%" PRId64 ".", stage + 1, i);
            x = residual(n, x, block, stage && !i ? 2 : 1, !i && (stage || !n->basic));
        }
    return simple("global_avg_pool", x);
}

/* ---- which of them ---- */

/* The parameter of that name; NULL: there is none. */
__attribute__((format(printf, 2, 3))) static const struct dg_plan_tensor *find(const struct reading *r,
                                                                               const char *format, ...)
{
    char name[128];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    for (uint32_t t = r->entry->first_tensor; t < r->entry->first_tensor + r->entry->num_tensors; t++)
        if (r->plan->tensor[t].region == DG_REGION_PARAM &&
            !strcmp(dg_plan_string(r->plan, r->plan->tensor[t].name), name))
            return &r->plan->tensor[t];
    return NULL;
}

/* What the names and shapes of the parameters suggest. False: neither of the two. */
static bool guess(const struct reading *r, struct dg_architecture *n)
{
    const struct dg_plan_tensor *patch = find(r, "patch_embed.proj.weight"), *fc1 = find(r, "blocks.0.mlp.fc1.weight");
    if (patch && fc1) {
        n->kind = DG_ARCHITECTURE_VIT;
        n->dim = patch->dim[0];
        n->patch = patch->dim[2];
        n->hidden = fc1->dim[0];
        n->heads = r->heads;
        n->eps = dg_plan_layer_norm_eps(r->plan, r->entry);
        while (find(r, "blocks.%" PRId64 ".norm1.weight", n->depth)) n->depth++;
        return true;
    }
    const struct dg_plan_tensor *stem = find(r, "conv1.weight"), *conv2 = find(r, "layer1.0.conv2.weight");
    if (!stem || !conv2) return false;
    n->kind = DG_ARCHITECTURE_RESNET;
    n->planes = stem->dim[0];
    n->small = stem->dim[2] == 3;
    n->basic = !find(r, "layer1.0.conv3.weight");
    n->block_width = conv2->dim[0];
    n->groups = conv2->dim[0] / conv2->dim[1]; /* as many channels come in as go out */
    for (int stage = 0; stage < 4; stage++)
        while (find(r, "layer%d.%" PRId64 ".conv1.weight", stage + 1, n->blocks[stage])) n->blocks[stage]++;
    return true;
}

enum dg_status dg_architecture_recognise(const struct dg_plan *plan, const struct dg_plan_entry *entry,
                                         struct dg_architecture *network, struct dg_error *err)
{
    struct reading r = {.plan = plan, .entry = entry};
    const struct dg_plan_tensor *images = &plan->tensor[entry->slot[DG_SLOT_IMAGES]],
                                *output = &plan->tensor[entry->slot[DG_SLOT_OUTPUT]];
    r.value = calloc(entry->num_tensors, sizeof *r.value);
    if (!r.value) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    expression made = read_entry(&r);
    free(r.value);
    *network = (struct dg_architecture){.height = images->dim[1], .width = images->dim[2], .features = output->dim[1]};
    bool known = guess(&r, network);
    if (known && output->ndim == 2 && made == (network->kind == DG_ARCHITECTURE_VIT ? vit(network) : resnet(network)))
        return DG_OK;
    return dg_fail(err, DG_ERR_UNSUPPORTED,
                   "the network is neither a Vision Transformer nor a ResNet as other libraries have them%s%s; --onnx "
                   "writes every network",
                   *r.unknown ? ": it has "
                   : known    ? ": its layers are put together in another way"
                              : "",
                   r.unknown);
}

const char *dg_architecture_text(const struct dg_architecture *n, char *text, size_t size)
{
    if (n->kind == DG_ARCHITECTURE_VIT)
        snprintf(text, size,
                 "a ViT of %" PRId64 " blocks, %" PRId64 " wide, of %" PRId64 " heads, with patches of %" PRId64
                 " pixels",
                 n->depth, n->dim, n->heads, n->patch);
    else
        snprintf(text, size, "a ResNet of %" PRId64 ", %" PRId64 ", %" PRId64 " and %" PRId64 " %s", n->blocks[0],
                 n->blocks[1], n->blocks[2], n->blocks[3], n->basic ? "basic blocks" : "bottlenecks");
    return text;
}
