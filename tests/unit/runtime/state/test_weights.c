/* Weights against plans: what fits is taken, what does not is named on both sides, and nothing is changed by a load
 * that fails. */
#include "runtime/state/weights.h"
#include "tests/support/compile.h"
#include "tests/support/log.h"
#include "tests/support/tiny.h"

#include <math.h>

enum { MOST = 256 };

static char eval_plan[96], train_plan[96], path[96];

/* A file to be: the parameters of a network under a prefix, each filled with its number, and then changed by the
 * tests. */
struct build {
    struct dg_safetensors_item item[MOST];
    char name[MOST][128];
    int count;
};

static int setup(void **state)
{
    make_test_folder(state);
    snprintf(eval_plan, sizeof eval_plan, "%s/eval.plan", test_folder);
    snprintf(train_plan, sizeof train_plan, "%s/train.plan", test_folder);
    snprintf(path, sizeof path, "%s/w.safetensors", test_folder);
    dg_tiny_compile(train_plan, NULL);
    struct dg_compile_options options = {
        .file = DG_SOURCE_DIR "/graphs/vit.yaml",
        .name = "vit",
        .output = eval_plan,
        .set = (const char *const[]){"dim=32", "depth=2", "heads=2", "image=32", "patch=8"},
        .num_sets = 5,
        .batch = 2};
    compile_plan(&options);
    return 0;
}

/* ---- files ---- */

static void add(struct build *b, const char *name, int ndim, const int64_t *dim)
{
    assert_true(b->count < MOST);
    int64_t elements = 1;
    for (int d = 0; d < ndim; d++) elements *= dim[d];
    float *data = malloc((size_t)elements * sizeof *data);
    assert_non_null(data);
    for (int64_t i = 0; i < elements; i++) data[i] = (float)b->count + (float)(i % 7) / 8;
    snprintf(b->name[b->count], sizeof b->name[0], "%s", name);
    free((void *)(uintptr_t)b->item[b->count].data); /* of one that was cut off */
    b->item[b->count] = (struct dg_safetensors_item){b->name[b->count], DG_SAFETENSORS_F32, ndim, {0}, data};
    memcpy(b->item[b->count++].dim, dim, (size_t)ndim * sizeof *dim);
}

static void free_build(struct build *b)
{
    for (int i = 0; i < MOST; i++) free((void *)(uintptr_t)b->item[i].data); /* also of those cut off */
    free(b);
}

/* The plan's parameters whose names begin with `prefix`, as `other` and the rest. */
static void add_params(struct build *b, const char *plan_path, const char *prefix, const char *other)
{
    struct dg_plan plan;
    assert_ok(dg_plan_open(plan_path, &plan, try_err));
    const struct dg_plan_entry *entry = &plan.entry[0];
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &plan.tensor[t];
        const char *name = dg_plan_string(&plan, tensor->name);
        char full[128];
        if (tensor->region != DG_REGION_PARAM || strncmp(name, prefix, strlen(prefix))) continue;
        snprintf(full, sizeof full, "%s%s", other, name + strlen(prefix));
        add(b, full, tensor->ndim, tensor->dim);
    }
    dg_plan_close(&plan);
}

static struct build *bare(void)
{
    struct build *b = calloc(1, sizeof *b);
    assert_non_null(b);
    add_params(b, eval_plan, "", "");
    return b;
}

static struct dg_safetensors_item *item(struct build *b, const char *name)
{
    for (int i = 0; i < b->count; i++)
        if (!strcmp(b->name[i], name)) return &b->item[i];
    fail_msg("no %s", name);
    return NULL;
}

static void rename_item(struct build *b, const char *name, const char *to)
{
    snprintf(b->name[item(b, name) - b->item], sizeof b->name[0], "%s", to);
}

static void write_weights(const struct build *b)
{
    assert_ok(dg_safetensors_write(path, b->item, b->count, NULL, 0, try_err));
}

/* ---- loads ---- */

struct opened {
    struct dg_plan plan;
    struct dg_session *session;
};

/* In place: the session keeps a pointer to the plan. */
static void open_plan(struct opened *o, const char *plan_path, const char *entry)
{
    assert_ok(dg_plan_open(plan_path, &o->plan, try_err));
    assert_ok(dg_session_open(&o->plan, entry,
                              &(struct dg_session_options){.threads = 1, .ignore_memory = true, .log = &dg_test_log},
                              &o->session, try_err));
}

static void close_plan(struct opened *o)
{
    dg_session_close(o->session);
    dg_plan_close(&o->plan);
}

static float *values(const struct opened *o, const char *name)
{
    const struct dg_plan_entry *entry = dg_session_entry(o->session);
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++)
        if (o->plan.tensor[t].region == DG_REGION_PARAM &&
            !strcmp(dg_plan_string(&o->plan, o->plan.tensor[t].name), name))
            return dg_session_data(o->session, t);
    fail_msg("no parameter %s", name);
    return NULL;
}

static void contains(const char *text, const char *words)
{
    if (!strstr(text, words)) fail_msg("%s\nhas no \"%s\"", text, words);
}

/* Refused with these words, and not a parameter touched. */
static void refuses(const char *const *words)
{
    struct opened o;
    open_plan(&o, eval_plan, "features");
    struct dg_error err = {0};
    float *cls = values(&o, "cls_token");
    cls[0] = -77;
    assert_int_equal(dg_weights_load(o.session, &o.plan, path, &(struct dg_weights_options){0}, &err), DG_ERR_INPUT);
    for (; *words; words++) contains(err.text, *words);
    assert_true(cls[0] == -77);
    close_plan(&o);
}
#define REFUSES(...) refuses((const char *const[]){__VA_ARGS__, NULL})

static void test_bare(void **state)
{
    (void)state;
    static const char *const prefixes[] = {"", "backbone.", "module.backbone.", "teacher.backbone."};
    for (size_t p = 0; p < sizeof prefixes / sizeof *prefixes; p++) {
        struct build *b = calloc(1, sizeof *b);
        assert_non_null(b);
        add_params(b, eval_plan, "", prefixes[p]);
        if (!p) add(b, "head.weight", 2, (int64_t[]){3, 32}); /* a classifier is no difference */
        write_weights(b);
        struct opened o;
        open_plan(&o, eval_plan, "features");
        dg_test_hush();
        assert_ok(dg_weights_load(o.session, &o.plan, path, &(struct dg_weights_options){0}, try_err));
        for (int i = 0; i < b->count - !p; i++)
            assert_memory_equal(values(&o, b->name[i] + strlen(prefixes[p])), b->item[i].data, 4);
        contains(dg_test_said, p ? "0 others in the file" : "1 others in the file");
        bool foreign = p == 1 || p == 2; /* whose names are said in a line of their own */
        if (foreign) contains(dg_test_said, "(the official names, timm's) under backbone.; safetensors");
        const char *last = strrchr(dg_test_said, '\n');
        assert_ptr_equal(strchr(dg_test_said, '\n') == last, !foreign);
        close_plan(&o);
        free_build(b);
    }
}

static void test_both_sides_are_named(void **state)
{
    (void)state;
    struct build *b = bare();
    rename_item(b, "blocks.1.attn.qkv.weight", "blocks.1.attn.qvk.weight");
    write_weights(b);
    REFUSES("w.safetensors is of another network than the plan: 29 of the plan's 30 tensors fit",
            "missing from the file: blocks.1.attn.qkv.weight (nearest there: blocks.1.attn.qvk.weight)",
            "not in the plan: blocks.1.attn.qvk.weight (nearest there: blocks.1.attn.qkv.weight)");
    b->item[item(b, "norm.bias") - b->item].dim[0] = 31;
    write_weights(b);
    REFUSES("28 of the plan's 30", "another shape: norm.bias is [31], the plan has [32]");
    for (int i = 0; i < 5; i++) {
        char name[32];
        snprintf(name, sizeof name, "blocks.2.more%d", i);
        add(b, name, 1, (int64_t[]){2});
    }
    write_weights(b);
    REFUSES("and 3 more that the plan does not have");
    free_build(b);
}

static enum dg_status load_partly(struct opened *o, struct dg_error *err)
{
    open_plan(o, eval_plan, "features");
    dg_test_hush();
    return dg_weights_load(o->session, &o->plan, path, &(struct dg_weights_options){.partial = true}, err);
}

/* Heads and the like are no difference; groups that are not known are one that --partial passes over; what the
 * backbone's own path has or needs makes another network, with --partial or without. */
static void test_partial(void **state)
{
    (void)state;
    static const char *const harmless[] = {"head.mlp.0.weight", "fc.0.bias",        "decoder_blocks.0.norm1.weight",
                                           "mask_token",        "predictor.weight", "queue"};
    static const char *const others[] = {"blocks.0.ls3.gamma", "register_tokens", "fc_norm.weight",
                                         "blocks.2.norm1.bias"};
    struct build *b = bare();
    struct opened o;
    int own = b->count;
    for (size_t h = 0; h < sizeof harmless / sizeof *harmless; h++) add(b, harmless[h], 1, (int64_t[]){2});
    write_weights(b);
    open_plan(&o, eval_plan, "features");
    dg_test_hush();
    assert_ok(dg_weights_load(o.session, &o.plan, path, &(struct dg_weights_options){0}, try_err));
    contains(dg_test_said,
             "6 others in the file were not needed: head (1), fc (1), decoder_blocks (1), mask_token (1), "
             "predictor (1), queue (1), none of which changes the features");
    close_plan(&o);
    add(b, "adapter.down", 1, (int64_t[]){2});
    write_weights(b);
    REFUSES("--partial", "not in the plan: adapter.down");
    assert_ok(load_partly(&o, try_err));
    contains(dg_test_said, "not in the plan: adapter.down");
    assert_memory_equal(values(&o, "cls_token"), item(b, "cls_token")->data, 32 * sizeof(float));
    close_plan(&o);
    for (size_t n = 0; n <= sizeof others / sizeof *others; n++) {
        bool lacks = n == sizeof others / sizeof *others;
        struct dg_error err = {0};
        b->count = own;
        if (lacks)
            rename_item(b, "norm.weight", "adapter.up");
        else
            add(b, others[n], 1, (int64_t[]){2});
        write_weights(b);
        assert_int_equal(load_partly(&o, &err), DG_ERR_INPUT);
        contains(err.text, "is of another network than the plan");
        contains(err.text, lacks ? "missing from the file: norm.weight" : others[n]);
        assert_null(strstr(err.text, "--partial"));
        close_plan(&o);
    }
    free_build(b);
}

/* Puts query, key and value of every block in three tensors, as transformers does. */
static void split_qkv(struct build *b)
{
    static const char *const third[] = {"query", "key", "value"};
    int count = b->count;
    for (int i = 0; i < count; i++) {
        char block[64], kind[16], name[128];
        if (sscanf(b->name[i], "blocks.%63[0-9].attn.qkv.%15s", block, kind) != 2) continue;
        struct dg_safetensors_item *item = &b->item[i];
        int64_t rows = item->dim[0] / 3, width = item->ndim == 2 ? item->dim[1] : 1;
        for (int t = 2; t >= 0; t--) {
            snprintf(name, sizeof name, "vit.encoder.layer.%s.attention.attention.%s.%s", block, third[t], kind);
            add(b, name, item->ndim, (int64_t[]){rows, width});
            memcpy((void *)(uintptr_t)b->item[b->count - 1].data, (const float *)item->data + t * rows * width,
                   (size_t)(rows * width) * sizeof(float));
        }
        snprintf(b->name[i], sizeof b->name[0], "classifier.%d", i); /* whatever it is, it is not needed */
    }
}

static void test_transformers(void **state)
{
    (void)state;
    static const char *const spelled[][2] = {{"norm1.", "layernorm_before."},
                                             {"norm2.", "layernorm_after."},
                                             {"attn.proj.", "attention.output.dense."},
                                             {"mlp.fc1.", "intermediate.dense."},
                                             {"mlp.fc2.", "output.dense."}};
    struct build *b = bare(), *want = bare();
    split_qkv(b);
    for (int i = 0; i < want->count; i++) {
        char block[64], *name = b->name[i];
        int used = 0;
        if (!strcmp(name, "cls_token")) strcpy(name, "vit.embeddings.cls_token");
        if (!strcmp(name, "pos_embed")) strcpy(name, "vit.embeddings.position_embeddings");
        if (!strncmp(name, "patch_embed.proj.", 17))
            snprintf(name, sizeof b->name[0], "vit.embeddings.patch_embeddings.projection.%s", want->name[i] + 17);
        if (!strncmp(name, "norm.", 5)) snprintf(name, sizeof b->name[0], "vit.layernorm.%s", want->name[i] + 5);
        if (sscanf(want->name[i], "blocks.%63[0-9].%n", block, &used) != 1 || strstr(name, "classifier")) continue;
        for (size_t s = 0; s < sizeof spelled / sizeof *spelled; s++)
            if (!strncmp(want->name[i] + used, spelled[s][0], strlen(spelled[s][0])))
                snprintf(name, sizeof b->name[0], "vit.encoder.layer.%s.%s%s", block, spelled[s][1],
                         want->name[i] + used + strlen(spelled[s][0]));
    }
    write_weights(b);
    struct opened o;
    open_plan(&o, eval_plan, "features");
    dg_test_hush();
    assert_ok(dg_weights_load(o.session, &o.plan, path, &(struct dg_weights_options){0}, try_err));
    contains(dg_test_said, "(transformers' names) under vit., query, key and value joined; safetensors");
    contains(dg_test_said, "eps 1e-12 where they are from, the plan's have 1e-06");
    contains(dg_test_said, "classifier (4)");
    for (int i = 0; i < want->count; i++) {
        int64_t elements = 1;
        for (int d = 0; d < want->item[i].ndim; d++) elements *= want->item[i].dim[d];
        assert_memory_equal(values(&o, want->name[i]), want->item[i].data, (size_t)elements * sizeof(float));
    }
    close_plan(&o);
    free_build(b);
    free_build(want);
}

/* LayerScale without an op for it: the layer before it has the product. */
static void test_layer_scale(void **state)
{
    (void)state;
    struct build *b = bare();
    for (int l = 0; l < 4; l++) {
        char name[64];
        snprintf(name, sizeof name, "blocks.%d.ls%d.gamma", l / 2, l % 2 + 1);
        add(b, name, 1, (int64_t[]){32});
    }
    write_weights(b);
    struct opened o;
    open_plan(&o, eval_plan, "features");
    dg_test_hush();
    assert_ok(dg_weights_load(o.session, &o.plan, path, &(struct dg_weights_options){0}, try_err));
    contains(dg_test_said,
             "LayerScale, which the plan has no op for, is multiplied into attn.proj and mlp.fc2 (4 tensors)");
    const float *gamma = item(b, "blocks.1.ls2.gamma")->data, *was = item(b, "blocks.1.mlp.fc2.weight")->data,
                *bias = item(b, "blocks.1.mlp.fc2.bias")->data, *is = values(&o, "blocks.1.mlp.fc2.weight");
    for (int row = 0; row < 32; row++) {
        for (int i = 0; i < 128; i++) assert_true(is[row * 128 + i] == was[row * 128 + i] * gamma[row]);
        assert_true(values(&o, "blocks.1.mlp.fc2.bias")[row] == bias[row] * gamma[row]);
    }
    assert_memory_equal(values(&o, "blocks.1.mlp.fc1.bias"), item(b, "blocks.1.mlp.fc1.bias")->data, 128 * 4);
    close_plan(&o);
    b->item[b->count - 1].dim[0] = 31;
    write_weights(b);
    REFUSES("is of another network", "not in the plan: blocks.1.ls2.gamma");
    free_build(b);
}

/* Two networks: one is chosen, or the choice is asked for. */
static void test_choice(void **state)
{
    (void)state;
    struct build *b = calloc(1, sizeof *b);
    assert_non_null(b);
    add_params(b, eval_plan, "", "module.encoder_q.");
    add_params(b, eval_plan, "", "module.encoder_k.");
    write_weights(b);
    REFUSES("it holds 2 networks; say which is wanted", "--prefix encoder_q.  a Vision Transformer",
            "--prefix encoder_k. ", "30 tensors");
    static const char *const prefix[] = {"module.encoder_k.", "encoder_k", "module.encoder_k"};
    for (int p = 0; p < 3; p++) {
        struct opened o;
        open_plan(&o, eval_plan, "features");
        dg_test_hush();
        assert_ok(
            dg_weights_load(o.session, &o.plan, path, &(struct dg_weights_options){.prefix = prefix[p]}, try_err));
        contains(dg_test_said, "under encoder_k.");
        assert_memory_equal(values(&o, "cls_token"), item(b, "module.encoder_k.cls_token")->data, 32 * sizeof(float));
        close_plan(&o);
    }
    struct opened o;
    struct dg_error err = {0};
    open_plan(&o, eval_plan, "features");
    assert_int_equal(
        dg_weights_load(o.session, &o.plan, path, &(struct dg_weights_options){.prefix = "momentum"}, &err),
        DG_ERR_INPUT);
    contains(err.text, "no tensors under the prefix momentum; there are\n  --prefix encoder_q.");
    close_plan(&o);
    free_build(b);
}

static void test_whose_backbone(void **state)
{
    (void)state;
    struct build *b = calloc(1, sizeof *b);
    assert_non_null(b);
    add_params(b, eval_plan, "", "student.backbone.");
    write_weights(b);
    REFUSES("holds the student's backbone, not the teacher's: --weights-from student");
    struct opened o;
    open_plan(&o, eval_plan, "features");
    dg_test_hush();
    assert_ok(dg_weights_load(o.session, &o.plan, path, &(struct dg_weights_options){.from = "student"}, try_err));
    close_plan(&o);
    b->count = 1;
    rename_item(b, b->name[0], "bert.embeddings");
    write_weights(b);
    REFUSES("holds none of the plan's parameters", "its first tensor is bert.embeddings");
    b->count = 0;
    write_weights(b);
    REFUSES("holds no tensors");
    free_build(b);
}

/* An entry that uses a part of the backbone does not call the rest extra. */
static void test_entries_that_need_less(void **state)
{
    (void)state;
    struct build *b = calloc(1, sizeof *b);
    assert_non_null(b);
    add_params(b, train_plan, "teacher.", "teacher.");
    write_weights(b);
    struct dg_plan plan;
    assert_ok(dg_plan_open(train_plan, &plan, try_err));
    for (uint32_t e = 0; e < plan.num_entries; e++) {
        const char *name = dg_plan_string(&plan, plan.entry[e].name);
        if (!strcmp(name, "train")) continue;
        struct opened o;
        open_plan(&o, train_plan, name);
        dg_test_hush();
        assert_ok(dg_weights_load(o.session, &o.plan, path, &(struct dg_weights_options){0}, try_err));
        close_plan(&o);
    }
    dg_plan_close(&plan);
    free_build(b);
}

/* Worked out by PyTorch's interpolate with the published scale. */
static void test_positions_of_another_grid(void **state)
{
    (void)state;
    static const double want[] = {100,        -0.457096983, -0.0516124745, 1.103909,   2.2680829,  1.99196764,
                                  3.07893356, 5.14445428,   6.78636681,    8.47215342, 10.3559472, 13.5354205,
                                  15.8074768, 14.7885709,   16.9879364,    20.6603445, 23.2561435};
    static float table[10][32];
    for (int c = 0; c < 32; c++) {
        table[0][c] = 100;
        for (int t = 0; t < 9; t++) table[1 + t][c] = powf((float)t, 1.5f);
    }
    struct build *b = bare();
    struct dg_safetensors_item *positions = item(b, "pos_embed");
    void *data = (void *)(uintptr_t)positions->data;
    positions->data = table;
    positions->dim[1] = 10;
    write_weights(b);
    struct opened o;
    open_plan(&o, eval_plan, "features");
    dg_test_hush();
    assert_ok(dg_weights_load(o.session, &o.plan, path, &(struct dg_weights_options){0}, try_err));
    contains(dg_test_said, "pos_embed: positions of 3x3 resized to 4x4 (bicubic)");
    const float *have = values(&o, "pos_embed");
    for (int t = 0; t < 17; t++)
        for (int c = 0; c < 32; c++) assert_true(fabs(have[t * 32 + c] - want[t]) < 2e-5);
    close_plan(&o);
    positions->dim[1] = 9; /* no class token and square */
    write_weights(b);
    REFUSES("another shape: pos_embed is [1, 9, 32], the plan has [1, 17, 32]");
    positions->data = data;
    free_build(b);
}

/* A plan of images of 64x32 pixels has a table of 8x4 patches: one of that grid is taken as it is, one of a square
 * is resized as the op does it, and one of 16 x 4 = 8 x 8 is what the user says. */
static void test_positions_of_a_rectangle(void **state)
{
    (void)state;
    char wide[96];
    snprintf(wide, sizeof wide, "%s/wide.plan", test_folder);
    compile_plan(&(struct dg_compile_options){
        .file = DG_SOURCE_DIR "/graphs/vit.yaml",
        .name = "vit",
        .output = wide,
        .set = (const char *const[]){"dim=32", "depth=2", "heads=2", "image=32", "patch=8"},
        .num_sets = 5,
        .batch = 2,
        .height = 64,
        .width = 32});
    struct build *b = bare();
    struct dg_safetensors_item *positions = item(b, "pos_embed");
    static float table[65 * 32];
    for (int i = 0; i < 65 * 32; i++) table[i] = (float)(i % 97) / 16;
    void *data = (void *)(uintptr_t)positions->data;
    positions->data = table;
    const struct {
        int64_t rows, grid[2];
        const char *words; /* NULL: taken as it is */
    } cases[] = {{33, {0, 0}, NULL},
                 {33, {8, 4}, NULL},
                 {33, {4, 8}, "positions of 4x8 resized to 8x4 (bicubic)"},
                 {17,
                  {0, 0},
                  "positions of 4x4 resized to 8x4 (bicubic); if they are of no square, say of what: --positions HxW"},
                 {65, {0, 0}, "positions of 8x8 resized to 8x4"},
                 {65, {16, 4}, "positions of 16x4 resized to 8x4 (bicubic)"}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct opened o;
        struct dg_weights_options options = {.positions = {cases[c].grid[0], cases[c].grid[1]}};
        positions->dim[1] = cases[c].rows;
        write_weights(b);
        open_plan(&o, wide, "features");
        dg_test_hush();
        assert_ok(dg_weights_load(o.session, &o.plan, path, &options, try_err));
        const float *have = values(&o, "pos_embed");
        if (cases[c].words)
            contains(dg_test_said, cases[c].words);
        else
            assert_memory_equal(have, table, 33 * 32 * sizeof *table);
        close_plan(&o);
    }
    struct opened o;
    struct dg_error err = {0};
    open_plan(&o, wide, "features");
    assert_int_equal(dg_weights_load(o.session, &o.plan, path, &(struct dg_weights_options){.positions = {5, 5}}, &err),
                     DG_ERR_INPUT);
    contains(err.text, "--positions 5x5: pos_embed has 64 rows beside the class token's");
    close_plan(&o);
    positions->data = data;
    free_build(b);
}

/* A table without a row for a class token is not resized: one with such a row does not fit into it. */
static void test_positions_without_class_token(void **state)
{
    (void)state;
    static const char net[] = "module: net\n"
                              "params: {pos_embed: {shape: [1, 16, 8]}}\n"
                              "nodes:\n"
                              "  embed: {op: conv2d, out: 8, kernel: 8, stride: 8}\n"
                              "  tokens: to_tokens\n"
                              "  all: {op: add_position, table: pos_embed}\n"
                              "  mean: mean_tokens\n";
    static const int64_t size[][2] = {{32, 32}, {64, 32}}; /* in the second the table is of 8x4 patches */
    char *source = strdup(in("net.yaml")), *plan = strdup(in("net.plan"));
    write_file(source, net, sizeof net - 1);
    for (int s = 0; s < 2; s++) {
        struct build *b = calloc(1, sizeof *b);
        struct opened o;
        struct dg_error err = {0};
        assert_non_null(b);
        compile_plan(&(struct dg_compile_options){
            .file = source, .output = plan, .batch = 2, .height = size[s][0], .width = size[s][1]});
        add_params(b, plan, "", "");
        item(b, "pos_embed")->dim[1] = 10; /* of 3x3 patches and a class token */
        write_weights(b);
        open_plan(&o, plan, "features");
        assert_int_equal(dg_weights_load(o.session, &o.plan, path, &(struct dg_weights_options){0}, &err),
                         DG_ERR_INPUT);
        contains(err.text, "pos_embed is [1, 10, 8], the plan has [1, ");
        close_plan(&o);
        free_build(b);
    }
    free(source);
    free(plan);
}

/* ---- the start of a training run ---- */

static enum dg_status start(struct opened *o, bool partial, struct dg_error *err)
{
    open_plan(o, train_plan, "train");
    assert_ok(dg_session_initialize(o->session, 5, try_err));
    dg_test_hush();
    return dg_weights_init(o->session, &o->plan, path, &(struct dg_weights_options){.partial = partial}, err);
}

static void test_init_bare(void **state)
{
    (void)state;
    struct build *b = calloc(1, sizeof *b);
    struct opened o;
    assert_non_null(b);
    add_params(b, train_plan, "teacher.backbone.", "");
    add_params(b, train_plan, "teacher.head.", "head.");
    write_weights(b);
    assert_ok(start(&o, false, try_err));
    contains(dg_test_said, "student's backbone, student's head; the rest is new");
    assert_memory_equal(values(&o, "student.backbone.cls_token"), item(b, "cls_token")->data, 32 * sizeof(float));
    assert_memory_equal(values(&o, "teacher.backbone.cls_token"), item(b, "cls_token")->data, 32 * sizeof(float));
    assert_memory_equal(values(&o, "student.head.mlp.0.weight"), item(b, "head.mlp.0.weight")->data, 48);
    assert_memory_equal(values(&o, "teacher.head.mlp.0.weight"), item(b, "head.mlp.0.weight")->data, 48);
    close_plan(&o);
    free_build(b);
}

/* A teacher alone begins both networks. */
static void test_init_teacher(void **state)
{
    (void)state;
    struct build *b = calloc(1, sizeof *b);
    struct opened o;
    assert_non_null(b);
    add_params(b, train_plan, "teacher.backbone.", "teacher.backbone.");
    write_weights(b);
    assert_ok(start(&o, false, try_err));
    contains(dg_test_said, "student's backbone, teacher's backbone; the rest is new");
    contains(dg_test_said, "0 others in the file were not needed");
    assert_memory_equal(values(&o, "student.backbone.norm.bias"), item(b, "teacher.backbone.norm.bias")->data, 32 * 4);
    assert_memory_equal(values(&o, "teacher.backbone.norm.bias"), item(b, "teacher.backbone.norm.bias")->data, 32 * 4);
    close_plan(&o);
    free_build(b);
}

static void test_init_full(void **state)
{
    (void)state;
    struct build *b = calloc(1, sizeof *b);
    struct opened o;
    assert_non_null(b);
    add_params(b, train_plan, "student.", "student.");
    add_params(b, train_plan, "teacher.", "teacher.");
    add(b, "center", 2, (int64_t[]){1, 64});
    add(b, "optim.step.student.head.mlp.0.bias", 1, (int64_t[]){1}); /* not looked at */
    write_weights(b);
    assert_ok(start(&o, false, try_err));
    contains(dg_test_said,
             "student's backbone, student's head, teacher's backbone, teacher's head, centre; the rest is new");
    contains(dg_test_said, "1 others in the file were not needed: optim (1)");
    contains(dg_test_said, "the optimiser's state is not used: the run begins at its first step");
    assert_memory_equal(values(&o, "teacher.backbone.norm.bias"), item(b, "teacher.backbone.norm.bias")->data, 32 * 4);
    assert_memory_equal(values(&o, "center"), item(b, "center")->data, 64 * 4);
    close_plan(&o);

    /* A head of another size: refused, or with `partial` begun anew. */
    item(b, "center")->dim[1] = 63;
    item(b, "student.head.last_layer.weight_v")->dim[0] = 63;
    rename_item(b, "teacher.head.mlp.4.bias", "teacher.head.mlp.6.bias");
    write_weights(b);
    struct dg_error err = {0};
    assert_int_equal(start(&o, false, &err), DG_ERR_INPUT);
    contains(err.text, "another shape: student.head.last_layer.weight_v is [63, 16], the plan has [64, 16]");
    contains(err.text, "another shape: center is [1, 63], the plan has [1, 64]");
    contains(err.text, "missing from the file: teacher.head.mlp.4.bias (nearest there: teacher.head.mlp.6.bias)");
    contains(err.text, "not in the plan: teacher.head.mlp.6.bias (nearest there: teacher.head.mlp.4.bias)");
    close_plan(&o);
    assert_ok(start(&o, true, try_err));
    contains(dg_test_said, "3 of ");
    assert_true(values(&o, "center")[5] == 0);
    assert_memory_equal(values(&o, "teacher.head.mlp.4.bias"), item(b, "student.head.mlp.4.bias")->data, 16 * 4);
    close_plan(&o);
    free_build(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bare),
        cmocka_unit_test(test_both_sides_are_named),
        cmocka_unit_test(test_partial),
        cmocka_unit_test(test_transformers),
        cmocka_unit_test(test_layer_scale),
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_whose_backbone),
        cmocka_unit_test(test_entries_that_need_less),
        cmocka_unit_test(test_positions_of_another_grid),
        cmocka_unit_test(test_positions_of_a_rectangle),
        cmocka_unit_test(test_positions_without_class_token),
        cmocka_unit_test(test_init_bare),
        cmocka_unit_test(test_init_teacher),
        cmocka_unit_test(test_init_full),
    };
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}
