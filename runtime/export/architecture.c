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

/* Of two values; with_parameter writes the product of a value and a parameter. */
static expression product(expression a, expression b) { return of(of(begin("mul"), a), b); }

static expression columns(expression x, int64_t first, int64_t count, int64_t stride)
{
    return of(with_int(with_int(with_int(begin("slice_columns"), first), count), stride), x);
}

static expression rotary(expression x, int64_t heads, double base)
{
    return of(with_real(with_int(begin("rotary"), heads), base), x);
}

static expression attention(expression x, int64_t heads) { return of(with_int(begin("attention"), heads), x); }

static expression with_parameter(const char *what, expression x, struct name name)
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
    double base;       /* of the first rotary positions */
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

/* Of two values, or of a value and a parameter. */
static expression read_mul(const struct reading *r)
{
    uint32_t b = operand(r, dg_op_input_index(r->op, "b"));
    expression a = input(r, "a");
    if (r->plan->tensor[b].region == DG_REGION_PARAM) return with_parameter("mul", a, parameter(r, "b"));
    return product(a, input(r, "b"));
}

static expression read_rotary(struct reading *r)
{
    if (r->base == 0) r->base = attr(r, "base").f;
    return rotary(input(r, "src"), attr(r, "heads").i, attr(r, "base").f);
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
    if (is(r, "mul")) return read_mul(r);
    if (is(r, "rotary")) return read_rotary(r);
    if (is(r, "slice_columns"))
        return columns(input(r, "src"), attr(r, "first").i, attr(r, "count").i, attr(r, "stride").i);
    if (is(r, "linear")) return linear(input(r, "src"), parameter(r, "weight"), parameter(r, "bias"));
    if (is(r, "layer_norm"))
        return layer_norm(input(r, "src"), parameter(r, "weight"), parameter(r, "bias"), attr(r, "eps").f);
    if (is(r, "max_pool"))
        return of(windows(begin("max_pool"), attr(r, "kernel").i, attr(r, "stride").i, attr(r, "pad").i),
                  input(r, "src"));
    if (is(r, "prepend_token")) return with_parameter("prepend_token", input(r, "src"), parameter(r, "token"));
    if (is(r, "insert_tokens") && attr(r, "index").i == 1)
        return with_parameter("insert_tokens", input(r, "src"), parameter(r, "tokens"));
    if (is(r, "add_position")) return with_parameter("add_position", input(r, "src"), parameter(r, "table"));
    if (is(r, "take_token") && attr(r, "index").i == 0) return input(r, "src");
    if (is(r, "relu") || is(r, "gelu") || is(r, "silu") || is(r, "to_tokens") || is(r, "global_avg_pool"))
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

static expression mlp(const struct dg_architecture *n, expression x, const char *block)
{
    if (!n->swiglu) return layer(simple("gelu", layer(x, block, "mlp.fc1")), block, "mlp.fc2");
    expression both = layer(x, block, "mlp.w12");
    expression gate = simple("silu", columns(both, 0, n->hidden, 1)), up = columns(both, n->hidden, n->hidden, 1);
    return layer(product(gate, up), block, "mlp.w3");
}

/* A residual branch, which DINOv2 and DINOv3 scale. */
static expression branch(const struct dg_architecture *n, expression x, const char *block, const char *scale)
{
    return n->kind == DG_ARCHITECTURE_VIT ? x : with_parameter("mul", x, NAME(block, scale));
}

/* Also DINOv2 and DINOv3. */
static expression vit(const struct dg_architecture *n)
{
    bool turns = n->kind == DG_ARCHITECTURE_DINOV3;
    const int64_t geometry[] = {n->patch, n->patch, 0, 1, 1};
    expression x = conv(begin("images"), NAME("patch_embed.proj.weight"), NAME("patch_embed.proj.bias"), geometry);
    x = with_parameter("prepend_token", simple("to_tokens", x), NAME("cls_token"));
    if (!turns) x = with_parameter("add_position", x, NAME("pos_embed"));
    if (n->registers) x = with_parameter("insert_tokens", x, turns ? NAME("storage_tokens") : NAME("register_tokens"));
    for (int64_t i = 0; i < n->depth; i++) {
        char block[BLOCK];
        snprintf(block, sizeof block, "blocks.%" PRId64 ".", i);
        expression y = layer(norm(x, block, "norm1", n->eps), block, "attn.qkv");
        if (turns) y = rotary(y, n->heads, n->base);
        x = sum(x, branch(n, layer(attention(y, n->heads), block, "attn.proj"), block, "ls1.gamma"));
        x = sum(x, branch(n, mlp(n, norm(x, block, "norm2", n->eps), block), block, "ls2.gamma"));
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

static expression convnext(const struct dg_architecture *n)
{
    const int64_t stem[] = {4, 4, 0, 1, 1}, down[] = {2, 2, 0, 1, 1};
    expression x = begin("images");
    for (int stage = 0; stage < 4; stage++) {
        char block[BLOCK];
        snprintf(block, sizeof block, "stages.%d.downsample.", stage);
        if (stage) x = norm(x, block, "0", n->eps);
        x = stage ? conv(x, NAME(block, "1.weight"), NAME(block, "1.bias"), down)
                  : conv(x, NAME("stem.0.weight"), NAME("stem.0.bias"), stem);
        if (!stage) x = norm(x, "", "stem.1", n->eps);
        const int64_t depthwise[] = {7, 1, 3, n->dims[stage], 1};
        for (int64_t i = 0; i < n->blocks[stage]; i++) {
            snprintf(block, sizeof block, "stages.%d.blocks.%" PRId64 ".", stage, i);
            expression y = conv(x, NAME(block, "conv_dw.weight"), NAME(block, "conv_dw.bias"), depthwise);
            y = layer(simple("gelu", layer(norm(y, block, "norm", n->eps), block, "mlp.fc1")), block, "mlp.fc2");
            x = sum(x, with_parameter("mul", y, NAME(block, "gamma")));
        }
    }
    return norm(simple("global_avg_pool", x), "", "head.norm", n->eps);
}

static expression expected(const struct dg_architecture *n)
{
    if (n->kind == DG_ARCHITECTURE_RESNET) return resnet(n);
    return n->kind == DG_ARCHITECTURE_CONVNEXT ? convnext(n) : vit(n);
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

static bool guess_vit(const struct reading *r, struct dg_architecture *n)
{
    const struct dg_plan_tensor *patch = find(r, "patch_embed.proj.weight"), *fc1 = find(r, "blocks.0.mlp.fc1.weight"),
                                *w12 = find(r, "blocks.0.mlp.w12.weight"), *tokens = find(r, "register_tokens");
    if (!patch || !(fc1 || w12)) return false;
    n->kind = !find(r, "blocks.0.ls1.gamma") ? DG_ARCHITECTURE_VIT
              : find(r, "pos_embed")         ? DG_ARCHITECTURE_DINOV2
                                             : DG_ARCHITECTURE_DINOV3;
    if (!tokens) tokens = find(r, "storage_tokens");
    if ((n->kind == DG_ARCHITECTURE_VIT && tokens) || (n->kind != DG_ARCHITECTURE_DINOV2 && !fc1)) return false;
    n->dim = patch->dim[0];
    n->patch = patch->dim[2];
    n->swiglu = !fc1;
    n->hidden = fc1 ? fc1->dim[0] : w12->dim[0] / 2;
    n->registers = tokens ? tokens->dim[1] : 0;
    n->heads = r->heads;
    n->base = r->base;
    while (find(r, "blocks.%" PRId64 ".norm1.weight", n->depth)) n->depth++;
    return true;
}

static bool guess_resnet(const struct reading *r, struct dg_architecture *n)
{
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

static bool guess_convnext(const struct reading *r, struct dg_architecture *n)
{
    const struct dg_plan_tensor *stem = find(r, "stem.0.weight"), *fc1 = find(r, "stages.0.blocks.0.mlp.fc1.weight");
    if (!stem || !fc1) return false;
    n->kind = DG_ARCHITECTURE_CONVNEXT;
    for (int stage = 0; stage < 4; stage++) {
        const struct dg_plan_tensor *down = stage ? find(r, "stages.%d.downsample.1.weight", stage) : stem;
        if (!down) return false;
        n->dims[stage] = down->dim[0];
        while ((fc1 = find(r, "stages.%d.blocks.%" PRId64 ".mlp.fc1.weight", stage, n->blocks[stage]))) {
            if (fc1->dim[0] != 4 * down->dim[0]) return false;
            n->blocks[stage]++;
        }
    }
    return true;
}

/* What the names and shapes of the parameters suggest. False: none of the networks. */
static bool guess(const struct reading *r, struct dg_architecture *n)
{
    n->eps = dg_plan_layer_norm_eps(r->plan, r->entry);
    return guess_vit(r, n) || guess_resnet(r, n) || guess_convnext(r, n);
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
    if (known && output->ndim == 2 && made == expected(network)) return DG_OK;
    return dg_fail(err, DG_ERR_UNSUPPORTED,
                   "the network is no Vision Transformer, DINOv2, DINOv3, ResNet or ConvNeXt as other libraries have "
                   "them%s%s; --onnx writes every network",
                   *r.unknown ? ": it has "
                   : known    ? ": its layers are put together in another way"
                              : "",
                   r.unknown);
}

const char *dg_architecture_text(const struct dg_architecture *n, char *text, size_t size)
{
    static const char *const vits[] = {
        [DG_ARCHITECTURE_VIT] = "ViT", [DG_ARCHITECTURE_DINOV2] = "DINOv2", [DG_ARCHITECTURE_DINOV3] = "DINOv3"};
    char registers[64] = "";
    if (n->registers) snprintf(registers, sizeof registers, " and %" PRId64 " registers", n->registers);
    if (n->kind == DG_ARCHITECTURE_RESNET)
        snprintf(text, size, "a ResNet of %" PRId64 ", %" PRId64 ", %" PRId64 " and %" PRId64 " %s", n->blocks[0],
                 n->blocks[1], n->blocks[2], n->blocks[3], n->basic ? "basic blocks" : "bottlenecks");
    else if (n->kind == DG_ARCHITECTURE_CONVNEXT)
        snprintf(text, size,
                 "a ConvNeXt of %" PRId64 ", %" PRId64 ", %" PRId64 " and %" PRId64 " blocks, %" PRId64 " wide",
                 n->blocks[0], n->blocks[1], n->blocks[2], n->blocks[3], n->dims[3]);
    else
        snprintf(text, size,
                 "a %s of %" PRId64 " blocks, %" PRId64 " wide, of %" PRId64 " heads, with patches of %" PRId64
                 " pixels%s",
                 vits[n->kind], n->depth, n->dim, n->heads, n->patch, registers);
    return text;
}
