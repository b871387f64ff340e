/* Weights under the names of other libraries: every name of theirs comes to one of ours, below any prefix, and files that are no
 * weights are called what they are. */
#include "runtime/layouts/weight_file.h"
#include "tests/support/files.h"
#include "tests/support/images.h"

#include <unistd.h>

enum { MOST = 64 };

static struct dg_safetensors_item item[MOST];
static char name[MOST][160];
static int count;
static float zeros[64];

static void add(const char *prefix, const char *rest)
{
    assert_true(count < MOST);
    snprintf(name[count], sizeof name[0], "%s%s", prefix, rest);
    item[count] = (struct dg_safetensors_item){name[count], DG_SAFETENSORS_F32, 2, {4, 2}, zeros};
    count++;
}

static const char *path(void) { return in("w.safetensors"); }

static struct dg_weight_file *open_weights(const struct dg_network_choice *choice)
{
    struct dg_weight_file *file;
    assert_ok(dg_safetensors_write(path(), item, count, NULL, 0, try_err));
    assert_ok(dg_weight_file_open(path(), choice, &file, try_err));
    return file;
}

static void has(const struct dg_weight_file *file, const char *ours)
{
    if (dg_weight_file_find(file, ours) < 0) fail_msg("%s: there is no %s", dg_weight_file_what(file), ours);
}

static void contains(const char *text, const char *words)
{
    if (!strstr(text, words)) fail_msg("%s\nhas no \"%s\"", text, words);
}

struct spelling {
    const char *theirs, *ours;
};

static const struct spelling official[] = {
    {"cls_token", "cls_token"},
    {"pos_embed", "pos_embed"},
    {"patch_embed.proj.weight", "patch_embed.proj.weight"},
    {"blocks.0.norm1.weight", "blocks.0.norm1.weight"},
    {"blocks.11.attn.qkv.bias", "blocks.11.attn.qkv.bias"},
    {"norm.bias", "norm.bias"},
    {0},
};
static const struct spelling chunks[] = {
    {"patch_embed.proj.weight", "patch_embed.proj.weight"},
    {"blocks.0.0.norm1.weight", "blocks.0.norm1.weight"},
    {"blocks.3.11.ls1.gamma", "blocks.11.ls1.gamma"},
    {"register_tokens", "register_tokens"},
    {0},
};
static const struct spelling transformers4[] = {
    {"embeddings.cls_token", "cls_token"},
    {"embeddings.position_embeddings", "pos_embed"},
    {"embeddings.patch_embeddings.projection.weight", "patch_embed.proj.weight"},
    {"encoder.layer.0.layernorm_before.weight", "blocks.0.norm1.weight"},
    {"encoder.layer.0.attention.attention.query.weight", "blocks.0.attn.qkv.weight"},
    {"encoder.layer.0.attention.attention.key.weight", "blocks.0.attn.qkv.weight"},
    {"encoder.layer.0.attention.attention.value.weight", "blocks.0.attn.qkv.weight"},
    {"encoder.layer.0.attention.output.dense.weight", "blocks.0.attn.proj.weight"},
    {"encoder.layer.0.layernorm_after.bias", "blocks.0.norm2.bias"},
    {"encoder.layer.0.intermediate.dense.bias", "blocks.0.mlp.fc1.bias"},
    {"encoder.layer.0.output.dense.bias", "blocks.0.mlp.fc2.bias"},
    {"layernorm.weight", "norm.weight"},
    {"pooler.dense.weight", "pooler.dense.weight"},
    {0},
};
static const struct spelling transformers5[] = {
    {"embeddings.patch_embeddings.projection.weight", "patch_embed.proj.weight"},
    {"layers.0.layernorm_before.weight", "blocks.0.norm1.weight"},
    {"layers.10.attention.q_proj.weight", "blocks.10.attn.qkv.weight"},
    {"layers.10.attention.k_proj.weight", "blocks.10.attn.qkv.weight"},
    {"layers.10.attention.v_proj.weight", "blocks.10.attn.qkv.weight"},
    {"layers.10.attention.o_proj.bias", "blocks.10.attn.proj.bias"},
    {"layers.10.mlp.fc2.bias", "blocks.10.mlp.fc2.bias"},
    {0},
};
static const struct spelling dinov2[] = {
    {"embeddings.mask_token", "mask_token"},
    {"embeddings.patch_embeddings.projection.weight", "patch_embed.proj.weight"},
    {"encoder.layer.0.norm1.weight", "blocks.0.norm1.weight"},
    {"encoder.layer.0.layer_scale1.lambda1", "blocks.0.ls1.gamma"},
    {"encoder.layer.0.mlp.fc1.weight", "blocks.0.mlp.fc1.weight"},
    {"encoder.layer.0.mlp.weights_in.weight", "blocks.0.mlp.w12.weight"},
    {0},
};
static const struct spelling dinov3[] = {
    {"embeddings.cls_token", "cls_token"},
    {"embeddings.register_tokens", "storage_tokens"},
    {"embeddings.patch_embeddings.weight", "patch_embed.proj.weight"},
    {"layer.0.norm1.weight", "blocks.0.norm1.weight"},
    {"layer.11.attention.q_proj.weight", "blocks.11.attn.qkv.weight"},
    {"layer.11.attention.k_proj.weight", "blocks.11.attn.qkv.weight"},
    {"layer.11.attention.v_proj.weight", "blocks.11.attn.qkv.weight"},
    {"layer.11.attention.o_proj.bias", "blocks.11.attn.proj.bias"},
    {"layer.11.layer_scale2.lambda1", "blocks.11.ls2.gamma"},
    {"layer.11.mlp.up_proj.bias", "blocks.11.mlp.fc1.bias"},
    {"layer.11.mlp.down_proj.bias", "blocks.11.mlp.fc2.bias"},
    {"norm.bias", "norm.bias"},
    {0},
};
static const struct spelling dinov3_in_memory[] = {
    {"embeddings.patch_embeddings.weight", "patch_embed.proj.weight"},
    {"model.layer.0.norm1.weight", "blocks.0.norm1.weight"},
    {"model.layer.1.layer_scale1.lambda1", "blocks.1.ls1.gamma"},
    {0},
};
static const struct spelling timm_dinov3[] = {
    {"reg_token", "storage_tokens"},
    {"patch_embed.proj.weight", "patch_embed.proj.weight"},
    {"blocks.0.gamma_1", "blocks.0.ls1.gamma"},
    {"blocks.0.norm1.weight", "blocks.0.norm1.weight"},
    {"blocks.0.attn.qkv.weight", "blocks.0.attn.qkv.weight"},
    {"blocks.3.mlp.fc1.bias", "blocks.3.mlp.fc1.bias"},
    {0},
};
static const struct spelling timm_xcit[] = {
    {"pos_embed.token_projection.weight", "pos_embeder.token_projection.weight"},
    {"cls_attn_blocks.0.attn.q.weight", "cls_attn_blocks.0.attn.qkv.weight"},
    {"cls_attn_blocks.0.attn.k.weight", "cls_attn_blocks.0.attn.qkv.weight"},
    {"cls_attn_blocks.0.attn.v.weight", "cls_attn_blocks.0.attn.qkv.weight"},
    {"cls_attn_blocks.0.attn.proj.weight", "cls_attn_blocks.0.attn.proj.weight"},
    {0},
};
static const struct spelling convnext[] = {
    {"embeddings.patch_embeddings.weight", "stem.0.weight"},
    {"embeddings.layernorm.bias", "stem.1.bias"},
    {"encoder.stages.0.layers.0.dwconv.weight", "stages.0.blocks.0.conv_dw.weight"},
    {"encoder.stages.2.layers.8.layernorm.bias", "stages.2.blocks.8.norm.bias"},
    {"encoder.stages.2.layers.8.pwconv1.bias", "stages.2.blocks.8.mlp.fc1.bias"},
    {"encoder.stages.2.layers.8.pwconv2.bias", "stages.2.blocks.8.mlp.fc2.bias"},
    {"encoder.stages.3.layers.0.layer_scale_parameter", "stages.3.blocks.0.gamma"},
    {"encoder.stages.1.downsampling_layer.1.bias", "stages.1.downsample.1.bias"},
    {"layernorm.bias", "head.norm.bias"},
    {0},
};
static const struct spelling torchvision[] = {
    {"class_token", "cls_token"},
    {"conv_proj.weight", "patch_embed.proj.weight"},
    {"encoder.pos_embedding", "pos_embed"},
    {"encoder.layers.encoder_layer_0.ln_1.weight", "blocks.0.norm1.weight"},
    {"encoder.layers.encoder_layer_0.self_attention.in_proj_weight", "blocks.0.attn.qkv.weight"},
    {"encoder.layers.encoder_layer_0.self_attention.out_proj.bias", "blocks.0.attn.proj.bias"},
    {"encoder.layers.encoder_layer_0.mlp.0.weight", "blocks.0.mlp.fc1.weight"},
    {"encoder.layers.encoder_layer_1.mlp.linear_2.weight", "blocks.1.mlp.fc2.weight"},
    {"encoder.ln.weight", "norm.weight"},
    {"heads.head.weight", "head.head.weight"},
    {0},
};
static const struct spelling mmpretrain[] = {
    {"cls_token", "cls_token"},
    {"pos_embed", "pos_embed"},
    {"patch_embed.projection.weight", "patch_embed.proj.weight"},
    {"layers.0.ln1.weight", "blocks.0.norm1.weight"},
    {"layers.11.attn.qkv.bias", "blocks.11.attn.qkv.bias"},
    {"layers.11.attn.proj.bias", "blocks.11.attn.proj.bias"},
    {"layers.11.ffn.layers.0.0.bias", "blocks.11.mlp.fc1.bias"},
    {"layers.11.ffn.layers.1.bias", "blocks.11.mlp.fc2.bias"},
    {"ln1.bias", "norm.bias"},
    {0},
};
static const struct spelling resnet[] = {
    {"conv1.weight", "conv1.weight"},
    {"layer1.0.conv1.weight", "layer1.0.conv1.weight"},
    {"layer4.2.bn3.running_mean", "layer4.2.bn3.running_mean"},
    {0},
};
static const struct spelling sequential[] = {
    {"0.weight", "conv1.weight"},
    {"1.running_var", "bn1.running_var"},
    {"4.0.conv1.weight", "layer1.0.conv1.weight"},
    {"7.2.downsample.1.bias", "layer4.2.downsample.1.bias"},
    {0},
};
static const struct spelling transformers_resnet[] = {
    {"embedder.embedder.convolution.weight", "conv1.weight"},
    {"embedder.embedder.normalization.bias", "bn1.bias"},
    {"encoder.stages.0.layers.0.layer.0.convolution.weight", "layer1.0.conv1.weight"},
    {"encoder.stages.3.layers.2.layer.2.normalization.running_var", "layer4.2.bn3.running_var"},
    {"encoder.stages.1.layers.0.shortcut.convolution.weight", "layer2.0.downsample.0.weight"},
    {0},
};

static const struct {
    const struct spelling *spelling;
    const char *what;
    double eps;
} layouts[] = {
    {official, "a Vision Transformer (the official names, timm's)", 1e-6},
    {chunks, "in chunks", 1e-6},
    {transformers4, "a Vision Transformer (transformers' names)", 1e-12},
    {transformers5, "a Vision Transformer (transformers' names)", 1e-12},
    {dinov2, "a DINOv2 (transformers' names)", 1e-6},
    {dinov3, "a DINOv3 (transformers' names)", 1e-5},
    {dinov3_in_memory, "a DINOv3 (transformers' names)", 1e-5},
    {timm_dinov3, "a DINOv3 (timm's names)", 1e-5},
    {timm_xcit, "an XCiT (timm's names)", 1e-6},
    {convnext, "a ConvNeXt (transformers' names)", 0},
    {torchvision, "a Vision Transformer (torchvision's names)", 1e-6},
    {mmpretrain, "a Vision Transformer (mmpretrain's names)", 1e-6},
    {resnet, "a ResNet (torchvision's names, timm's)", 0},
    {sequential, "a ResNet (the numbers of nn.Sequential)", 0},
    {transformers_resnet, "a ResNet (transformers' names)", 0},
};

static void test_names(void **state)
{
    (void)state;
    static const char *const prefixes[] = {
        "",         "module.",           "_orig_mod.module.",  "module._orig_mod.backbone.",
        "net.vit.", "module.encoder_q.", "model.module.trunk."};
    for (size_t l = 0; l < sizeof layouts / sizeof *layouts; l++)
        for (size_t p = 0; p < sizeof prefixes / sizeof *prefixes; p++) {
            count = 0;
            for (const struct spelling *s = layouts[l].spelling; s->theirs; s++) add(prefixes[p], s->theirs);
            struct dg_weight_file *file = open_weights(NULL);
            for (const struct spelling *s = layouts[l].spelling; s->theirs; s++) has(file, s->ours);
            contains(dg_weight_file_what(file), layouts[l].what);
            assert_int_equal(dg_weight_file_beside_count(file), 0);
            assert_true(dg_weight_file_eps(file) == layouts[l].eps);
            dg_weight_file_close(file);
        }
}

/* Teacher and student, their heads, and what is beside them. */
static void test_roles(void **state)
{
    (void)state;
    static const char *const prefix[][4] = {
        {"student.backbone.", "student.head.", "teacher.backbone.", "teacher.head."},
        {"student_backbone.", "student_head.", "teacher_backbone.", "teacher_head."},
        {"model.student.module.backbone.", "model.student.module.head.", "model.teacher.backbone.",
         "model.teacher.head."}};
    for (size_t p = 0; p < sizeof prefix / sizeof *prefix; p++) {
        count = 0;
        for (int n = 0; n < 4; n += 2) {
            for (const struct spelling *s = official; s->theirs; s++) add(prefix[p][n], s->theirs);
            add(prefix[p][n + 1], "last_layer.parametrizations.weight.original1");
        }
        add("", "criterion.center");
        struct dg_weight_file *file = open_weights(NULL);
        has(file, "student.backbone.blocks.11.attn.qkv.bias");
        has(file, "teacher.backbone.cls_token");
        has(file, "student.head.last_layer.weight_v");
        has(file, "teacher.head.last_layer.weight_v");
        assert_string_equal(dg_weight_file_beside(file), "criterion (1)");
        dg_weight_file_close(file);
    }
}

/* Query, key and value in the order of the rows; without one of them there is no tensor. */
static void test_joined(void **state)
{
    (void)state;
    static const float value[3][8] = {
        {1, 2, 3, 4, 5, 6, 7, 8}, {11, 12, 13, 14, 15, 16, 17, 18}, {21, 22, 23, 24, 25, 26, 27, 28}};
    count = 0;
    for (const struct spelling *s = transformers4; s->theirs; s++) {
        add("", s->theirs);
        if (strstr(s->theirs, "query")) item[count - 1].data = value[0];
        if (strstr(s->theirs, "key")) item[count - 1].data = value[1];
        if (strstr(s->theirs, "value")) item[count - 1].data = value[2];
    }
    struct dg_weight_file *file = open_weights(NULL);
    int at = dg_weight_file_find(file, "blocks.0.attn.qkv.weight");
    struct dg_safetensors_tensor tensor;
    assert_ok(dg_weight_file_read(file, at, &tensor, try_err));
    assert_int_equal(tensor.dim[0], 12);
    assert_int_equal(tensor.dim[1], 2);
    assert_memory_equal(tensor.data, value, sizeof value);
    dg_weight_file_close(file);
    item[5].dim[0] = 2; /* the key */
    item[5].dim[1] = 4;
    struct dg_error err = {0};
    assert_ok(dg_safetensors_write(path(), item, count, NULL, 0, try_err));
    assert_int_equal(dg_weight_file_open(path(), NULL, &file, &err), DG_ERR_INPUT);
    contains(err.text, "w.safetensors: blocks.0.attn.qkv.weight is of query, key and value: not all are there");
    snprintf(name[5], sizeof name[5], "nothing");
    assert_ok(dg_safetensors_write(path(), item, count, NULL, 0, try_err));
    err = (struct dg_error){0};
    assert_int_equal(dg_weight_file_open(path(), NULL, &file, &err), DG_ERR_INPUT);
    contains(err.text, "not all are there");
}

static struct dg_safetensors_tensor read_tensor(struct dg_weight_file *file, const char *ours)
{
    struct dg_safetensors_tensor tensor;
    assert_ok(dg_weight_file_read(file, dg_weight_file_find(file, ours), &tensor, try_err));
    return tensor;
}

static void set_shape(int ndim, int64_t a, int64_t b, int64_t c, const float *data)
{
    struct dg_safetensors_item *last = &item[count - 1];
    *last = (struct dg_safetensors_item){last->name, DG_SAFETENSORS_F32, ndim, {a, b, c}, data};
}

/* DINOv3 has no bias of keys in other libraries, which is one of zeros here; that of values must be there. */
static void test_keys_without_bias(void **state)
{
    (void)state;
    static const float value[4] = {1, 2, 3, 4}, want[6] = {1, 2, 0, 0, 3, 4};
    count = 0;
    for (const struct spelling *s = timm_dinov3; s->theirs; s++) add("", s->theirs);
    add("", "blocks.0.attn.q_bias");
    set_shape(1, 2, 0, 0, value);
    add("", "blocks.0.attn.v_bias");
    set_shape(1, 2, 0, 0, value + 2);
    struct dg_weight_file *file = open_weights(NULL);
    struct dg_safetensors_tensor tensor = read_tensor(file, "blocks.0.attn.qkv.bias");
    assert_int_equal(tensor.dim[0], 6);
    assert_memory_equal(tensor.data, want, sizeof want);
    dg_weight_file_close(file);
    count--;
    struct dg_error err = {0};
    assert_ok(dg_safetensors_write(path(), item, count, NULL, 0, try_err));
    assert_int_equal(dg_weight_file_open(path(), NULL, &file, &err), DG_ERR_INPUT);
    contains(err.text, "blocks.0.attn.qkv.bias is of query, key and value: not all are there");
}

/* A table of patches alone gets a position of zeros for the class token. */
static void test_positions_of_patches(void **state)
{
    (void)state;
    static const float value[4] = {1, 2, 3, 4}, want[6] = {0, 0, 1, 2, 3, 4};
    count = 0;
    for (const struct spelling *s = official; s->theirs; s++) add("", s->theirs);
    add("", "reg_token");
    snprintf(name[1], sizeof name[1], "nothing"); /* the official table */
    add("", "pos_embed");
    set_shape(3, 1, 2, 2, value);
    struct dg_weight_file *file = open_weights(NULL);
    contains(dg_weight_file_what(file), "a Vision Transformer with registers (timm's names)");
    has(file, "register_tokens");
    struct dg_safetensors_tensor tensor = read_tensor(file, "pos_embed");
    assert_int_equal(tensor.dim[1], 3);
    assert_int_equal(tensor.bytes, sizeof want);
    assert_memory_equal(tensor.data, want, sizeof want);
    dg_weight_file_close(file);
    item[count - 2].dim[0] = 1; /* a register, and positions of class token, register and one patch */
    item[count - 2].dim[1] = 1;
    set_shape(3, 1, 3, 1, value);
    file = open_weights(NULL);
    assert_int_equal(read_tensor(file, "pos_embed").dim[1], 3);
    dg_weight_file_close(file);
    set_shape(2, 2, 2, 0, value);
    struct dg_error err = {0};
    assert_ok(dg_safetensors_write(path(), item, count, NULL, 0, try_err));
    assert_int_equal(dg_weight_file_open(path(), NULL, &file, &err), DG_ERR_INPUT);
    contains(err.text, "pos_embed is no table of positions [1, patches, dim]");
}

/* Names that no library has: those that are expected, below a prefix; else all, as they are. */
static void test_unknown(void **state)
{
    (void)state;
    static const char *const expected[] = {"stem.conv.weight", "stage.0.mix.weight", "stage.1.mix.weight"};
    count = 0;
    for (int e = 0; e < 3; e++) add("net.module.", expected[e]);
    add("", "aux.weight");
    struct dg_network_choice choice = {.name = expected, .names = 3};
    struct dg_weight_file *file = open_weights(&choice);
    for (int e = 0; e < 3; e++) has(file, expected[e]);
    assert_string_equal(dg_weight_file_beside(file), "aux (1)");
    dg_weight_file_close(file);
    file = open_weights(NULL);
    has(file, "net.stem.conv.weight");
    has(file, "aux.weight");
    dg_weight_file_close(file);
    add("", "net.aux.weight"); /* and net.module.aux.weight would be one name */
    add("net.module.", "aux.weight");
    struct dg_error err = {0};
    assert_ok(dg_safetensors_write(path(), item, count, NULL, 0, try_err));
    assert_int_equal(dg_weight_file_open(path(), NULL, &file, &err), DG_ERR_INPUT);
    contains(err.text, "two tensors would be called net.aux.weight");
}

/* A model in two files, by its index. */
static void test_parts(void **state)
{
    (void)state;
    struct dg_weight_file *file;
    count = 0;
    for (const struct spelling *s = official; s->theirs; s++) add("", s->theirs);
    assert_ok(dg_safetensors_write(in("part1.safetensors"), item, 2, NULL, 0, try_err));
    assert_ok(dg_safetensors_write(in("part2.safetensors"), item + 2, count - 2, NULL, 0, try_err));
    static const char index[] = "{\"weight_map\": {\"a\": \"part1.safetensors\", \"b\": \"part2.safetensors\", "
                                "\"c\": \"part1.safetensors\"}}";
    write_file(in("index.json"), index, sizeof index - 1);
    assert_ok(dg_weight_file_open(in("index.json"), NULL, &file, try_err));
    for (const struct spelling *s = official; s->theirs; s++) has(file, s->ours);
    contains(dg_weight_file_what(file), "2 files");
    dg_weight_file_close(file);
    static const char *const wrong[][2] = {
        {"{\"weight_map\": {\"a\": \"../part1.safetensors\"}}", "the file of a is not the name of a file beside it"},
        {"{\"weight_map\": {\"a\": \"index.json\"}}", "an index, named by an index"},
        {"{\"weight_map\": {\"a\": \"part3.safetensors\"}}", "part3.safetensors"},
        {"{\"weight_map\": 3}", "without a weight_map"}};
    for (int w = 0; w < 4; w++) {
        struct dg_error err = {0};
        write_file(in("index.json"), wrong[w][0], strlen(wrong[w][0]));
        assert_int_not_equal(dg_weight_file_open(in("index.json"), NULL, &file, &err), DG_OK);
        contains(err.text, wrong[w][1]);
    }
}

/* Files that are something else. */
static void test_other_files(void **state)
{
    (void)state;
    static char tar[600];
    memcpy(tar + 257, "ustar", 5);
#define FILE_OF(bytes, words)                                                                                          \
    {                                                                                                                  \
        bytes, sizeof(bytes) - 1, words                                                                                \
    }
    const struct {
        const char *bytes;
        size_t size;
        const char *words;
    } files[] = {
        FILE_OF("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 3\n", "a Git LFS pointer"),
        FILE_OF("<!DOCTYPE html>\n<html>", "a web page (HTML)"),
        FILE_OF("\n  <HTML lang=en>", "a web page (HTML)"),
        FILE_OF("<?xml version='1.0'?><Error>AccessDenied</Error>", "an XML text"),
        FILE_OF("{\"architectures\": [\"ViTModel\"]}", "a JSON text"),
        FILE_OF("Entry not found", "a text, no weights"),
        FILE_OF("\x08\x07\x12\x07pytorch\x1a\x05", "an ONNX model"),
        FILE_OF("\x08\x08:\xf3\x10\n\x11\n\x01x", "an ONNX model"),
        FILE_OF("\x89HDF\r\n\x1a\n", "an HDF5 file"),
        FILE_OF("\x93NUMPY\x01", "a NumPy array"),
        FILE_OF("\x1f\x8b\x08", "compressed by gzip"),
        FILE_OF("\x81\xa6params\x82", "a msgpack file"),
        FILE_OF("DINOPLAN", "a plan of dinoc"),
        FILE_OF("\0\0\0\0\0\0\0\0\0\0\0\0", "nothing but zero bytes"),
        FILE_OF("\x02\x80\x03\x07", "neither a safetensors file nor one of torch.save"),
        {tar, sizeof tar, "a tar archive"},
    };
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        struct dg_weight_file *file;
        struct dg_error err = {0};
        write_file(in("thing"), files[f].bytes, files[f].size);
        assert_int_equal(dg_weight_file_open(in("thing"), NULL, &file, &err), DG_ERR_INPUT);
        contains(err.text, files[f].words);
        contains(err.text, "thing: ");
    }
}

/* Our names in another library's words, and back to ours by the same table. */
static void test_back(void **state)
{
    (void)state;
    static const struct {
        const char *sign, *ours;
        int part;
        const char *theirs;
    } names[] = {
        {"encoder.layer.0.layernorm_before.weight", "cls_token", 0, "embeddings.cls_token"},
        {"encoder.layer.0.layernorm_before.weight", "pos_embed", 0, "embeddings.position_embeddings"},
        {"encoder.layer.0.layernorm_before.weight", "patch_embed.proj.bias", 0,
         "embeddings.patch_embeddings.projection.bias"},
        {"encoder.layer.0.layernorm_before.weight", "blocks.11.attn.qkv.weight", 1,
         "encoder.layer.11.attention.attention.query.weight"},
        {"encoder.layer.0.layernorm_before.weight", "blocks.0.attn.qkv.bias", 3,
         "encoder.layer.0.attention.attention.value.bias"},
        {"encoder.layer.0.layernorm_before.weight", "blocks.3.attn.proj.weight", 0,
         "encoder.layer.3.attention.output.dense.weight"},
        {"encoder.layer.0.layernorm_before.weight", "blocks.3.norm2.bias", 0, "encoder.layer.3.layernorm_after.bias"},
        {"encoder.layer.0.layernorm_before.weight", "blocks.3.mlp.fc1.bias", 0,
         "encoder.layer.3.intermediate.dense.bias"},
        {"encoder.layer.0.layernorm_before.weight", "blocks.3.mlp.fc2.bias", 0, "encoder.layer.3.output.dense.bias"},
        {"encoder.layer.0.layernorm_before.weight", "norm.weight", 0, "layernorm.weight"},
        {"embedder.embedder.convolution.weight", "bn1.running_var", 0, "embedder.embedder.normalization.running_var"},
        {"embedder.embedder.convolution.weight", "layer4.2.bn3.num_batches_tracked", 0,
         "encoder.stages.3.layers.2.layer.2.normalization.num_batches_tracked"},
        {"embedder.embedder.convolution.weight", "layer1.0.conv1.weight", 0,
         "encoder.stages.0.layers.0.layer.0.convolution.weight"},
        {"embedder.embedder.convolution.weight", "layer2.0.downsample.0.weight", 0,
         "encoder.stages.1.layers.0.shortcut.convolution.weight"},
        {"embedder.embedder.convolution.weight", "layer2.0.downsample.1.bias", 0,
         "encoder.stages.1.layers.0.shortcut.normalization.bias"},
    };
    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        const struct dg_name_layout *layout = dg_layout_find(names[n].sign);
        char theirs[DG_LAYOUT_NAME], ours[DG_LAYOUT_NAME];
        assert_non_null(layout);
        assert_true(dg_layout_translate_back(layout, names[n].ours, names[n].part, theirs));
        assert_string_equal(theirs, names[n].theirs);
        assert_int_equal(dg_layout_translate(layout, theirs, ours), names[n].part);
        assert_string_equal(ours, names[n].ours);
        for (int part = 0; part <= DG_LAYOUT_PARTS; part++) /* either of three, or by itself */
            assert_true((names[n].part > 0) == (part > 0) ||
                        !dg_layout_translate_back(layout, names[n].ours, part, theirs));
    }
    char theirs[DG_LAYOUT_NAME];
    const struct dg_name_layout *vit = dg_layout_find("encoder.layer.0.layernorm_before.weight");
    assert_false(dg_layout_translate_back(vit, "fc_norm.weight", 0, theirs));
    assert_string_equal(theirs, "fc_norm.weight");
    /* DINOv2's chunks lose a number, so there is no way back. */
    assert_false(
        dg_layout_translate_back(dg_layout_find("blocks.0.0.norm1.weight"), "blocks.3.norm1.weight", 0, theirs));
    assert_null(dg_layout_find("nothing.weight"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_back),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_joined),
        cmocka_unit_test(test_keys_without_bias),
        cmocka_unit_test(test_positions_of_patches),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_parts),
        cmocka_unit_test(test_other_files),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
