/* dinorun export, as a command: which plan and which weights it takes, what it refuses, and that nothing is half-written. */
#include "runtime/formats/tensor_file.h"
#include "tests/support/onnx_model.h"
#include "tests/support/process.h"
#include "tests/support/runs.h"
#include "tests/support/tiny.h"

#include <dirent.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#define DINORUN DG_BUILD_DIR "/dinorun"

static int setup(void **state)
{
    setenv("OMP_WAIT_POLICY", "passive", 1);
    make_test_folder(state);
    dg_tiny_compile(in("tiny.plan"), NULL);
    dg_tiny_pictures(in("pictures"), 8);
    process_assert_status(RUN(DINORUN, "train", in("tiny.plan"), "--data", in("pictures"), "--out", in("run"),
                              "--steps", "1", "--ignore-memory"),
                          0);
    return 0;
}

/* Ends with `status` and says `text`; nothing is there whose name begins with "new", and nothing half-written. */
static void refuses(const struct process *process, int status, const char *text)
{
    process_assert_status(process, status);
    process_assert_says(process, process->err, text);
    DIR *dir = opendir(test_folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        if (!strncmp(entry->d_name, "new", 3) || strstr(entry->d_name, ".part")) fail_msg("%s was left", entry->d_name);
    closedir(dir);
}

/* The file of ONNX is of the run's images and width, and of the network that was asked for. */
static void assert_onnx(const char *path, const char *weights, const char *network)
{
    struct onnx_model model;
    struct dg_safetensors *file;
    onnx_read(path, &model);
    assert_true(model.input.dim[2] == TINY_GLOBAL && model.input.dim[3] == TINY_GLOBAL && model.output.dim[1] == 32);
    assert_ok(dg_safetensors_open(weights, &file, try_err));
    char name[64];
    snprintf(name, sizeof name, "%s.backbone.blocks.0.mlp.fc1.bias", network);
    const struct dg_safetensors_tensor *want = dg_safetensors_find(file, name);
    const struct onnx_tensor *bias = onnx_find_constant(&model, "blocks.0.mlp.fc1.bias");
    assert_true(want && bias && bias->ndim == 1 && bias->dim[0] == want->dim[0]);
    for (int64_t i = 0; i < bias->dim[0]; i++) {
        float number;
        memcpy(&number, (const char *)want->data + i * (int64_t)sizeof number, sizeof number);
        assert_true(bias->data[i] == (double)number);
    }
    dg_safetensors_close(file);
    onnx_free(&model);
}

static void test_onnx(void **state)
{
    (void)state;
    const char *w = in("run/checkpoint.safetensors"), *out = in("network.onnx");
    const struct process *p = RUN(DINORUN, "export", in("run"), "--onnx", out);
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "network.onnx: ONNX of opset 17");
    process_assert_says(p, p->out, "centre crop, RGB / 255, less the mean 0.485, 0.456, 0.406");
    assert_string_equal(p->err, "");
    assert_onnx(out, w, "teacher");
    process_assert_status(RUN(DINORUN, "export", w, "--onnx", in("student.onnx"), "--weights-from", "student"), 0);
    assert_onnx(in("student.onnx"), w, "student");
    /* Of weights alone a plan says what they are of. */
    copy_file(w, in("alone"));
    refuses(RUN(DINORUN, "export", in("alone"), "--onnx", in("new.onnx")), 2, "there is no run.plan beside");
    process_assert_status(RUN(DINORUN, "export", in("alone"), "--plan", in("tiny.plan"), "--onnx", in("again.onnx")),
                          0);
    assert_same_file(out, in("again.onnx"));
    process_assert_status(RUN(DINORUN, "export", in("run"), "--plan", in("tiny.plan"), "--onnx", in("again.onnx")), 0);
    assert_same_file(out, in("again.onnx"));
}

/* The folder's tensors are those of the checkpoint's network, bit for bit. */
static void assert_same_tensors(const char *path, const char *weights, const char *prefix)
{
    struct dg_safetensors *made, *file;
    int expected = 0;
    assert_ok(dg_safetensors_open(path, &made, try_err));
    assert_ok(dg_safetensors_open(weights, &file, try_err));
    for (int i = 0; i < dg_safetensors_count(file); i++) {
        const struct dg_safetensors_tensor *want = dg_safetensors_at(file, i);
        if (strncmp(want->name, prefix, strlen(prefix))) continue;
        const struct dg_safetensors_tensor *tensor = dg_safetensors_find(made, want->name + strlen(prefix));
        assert_true(tensor && tensor->bytes == want->bytes && !memcmp(tensor->data, want->data, want->bytes));
        expected++;
    }
    assert_int_equal(dg_safetensors_count(made), expected);
    dg_safetensors_close(made);
    dg_safetensors_close(file);
}

/* What is at a path of keys in a JSON file: "pretrained_cfg.crop_pct"; the caller frees it. */
static json_t *json_at(const char *file, const char *keys)
{
    json_error_t error;
    json_t *root = json_load_file(file, 0, &error), *at = root;
    if (!root) fail_msg("%s: %s", file, error.text);
    char path[128];
    snprintf(path, sizeof path, "%s", keys);
    for (char *rest = path, *key; (key = strsep(&rest, "."));) at = json_object_get(at, key);
    if (!at) fail_msg("%s has no %s", file, keys);
    json_incref(at);
    json_decref(root);
    return at;
}

static void assert_json(const char *file, const char *keys, const char *want)
{
    json_t *value = json_at(file, keys);
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15));
    assert_string_equal(text, want);
    free(text);
    json_decref(value);
}

static void test_timm(void **state)
{
    (void)state;
    const char *w = in("run/checkpoint.safetensors");
    const struct process *p = RUN(DINORUN, "export", in("run"), "--timm", in("timm"));
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "a ViT of 2 blocks, 32 wide, of 2 heads, with patches of 8 pixels");
    assert_same_tensors(in("timm/model.safetensors"), w, "teacher.backbone.");
    const char *config = in("timm/config.json");
    assert_json(config, "architecture", "\"vit_base_patch16_224\"");
    assert_json(config, "num_classes", "0");
    assert_json(config, "model_args",
                "{\"img_size\":[32,32],\"patch_size\":8,\"embed_dim\":32,\"depth\":2,\"num_heads\":2}");
    assert_json(config, "pretrained_cfg.input_size", "[3,32,32]");
    assert_json(config, "pretrained_cfg.mean", "[0.485,0.456,0.406]");
    size_t size;
    char *card = read_file(in("timm/README.md"), &size);
    assert_non_null(strstr(card, "library_name: timm"));
    assert_non_null(strstr(card, "weights: checkpoint.safetensors\n- training: the teacher after 1 step,"));
    free(card);
    /* A folder that is there is taken if it is empty. */
    refuses(RUN(DINORUN, "export", in("run"), "--timm", in("timm")), 2, "timm is there and has files in it");
    refuses(RUN(DINORUN, "export", in("run"), "--timm", w), 2, "is there and is not an empty folder");
    refuses(RUN(DINORUN, "export", in("run"), "--timm", in("no/new")), 1, "no/new");
    assert_int_equal(mkdir(in("empty"), 0777), 0);
    process_assert_status(RUN(DINORUN, "export", in("run"), "--timm", in("empty"), "--weights-from", "student"), 0);
    assert_same_tensors(in("empty/model.safetensors"), w, "student.backbone.");
}

/* Under transformers' names, and back by import: query, key and value are one again, and every bit is there. */
static void test_transformers(void **state)
{
    (void)state;
    const struct process *p = RUN(DINORUN, "export", in("run"), "--transformers", in("hf"));
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "model.safetensors, config.json, preprocessor_config.json, README.md");
    struct dg_safetensors *file;
    assert_ok(dg_safetensors_open(in("hf/model.safetensors"), &file, try_err));
    const struct dg_safetensors_tensor *key =
        dg_safetensors_find(file, "encoder.layer.1.attention.attention.key.weight");
    assert_true(key && key->dim[0] == 32 && key->dim[1] == 32);
    dg_safetensors_close(file);
    process_assert_status(RUN(DINORUN, "import", in("hf/model.safetensors"), "-o", in("joined")), 0);
    assert_same_tensors(in("joined"), in("run/checkpoint.safetensors"), "teacher.backbone.");
    const char *config = in("hf/config.json"), *images = in("hf/preprocessor_config.json");
    assert_json(config, "architectures", "[\"ViTModel\"]");
    assert_json(config, "hidden_size", "32");
    assert_json(config, "num_hidden_layers", "2");
    assert_json(config, "intermediate_size", "128");
    assert_json(config, "image_size", "32");
    assert_json(config, "layer_norm_eps", "1e-6");
    assert_json(images, "size.shortest_edge", "37");
    assert_json(images, "crop_size", "{\"height\":32,\"width\":32}");
    assert_json(images, "image_std", "[0.229,0.224,0.225]");
    refuses(RUN(DINORUN, "export", in("run"), "--transformers", in("hf")), 2, "hf is there and has files in it");
}

/* What torch.save would write comes in again as it went out. */
static void test_torch(void **state)
{
    (void)state;
    const char *w = in("run/checkpoint.safetensors"), *pth = in("full.pth");
    const struct process *p = RUN(DINORUN, "export", in("run"), "--torch", pth);
    process_assert_status(p, 0);
    process_assert_says(p, p->out, "student, teacher and centre");
    process_assert_status(RUN(DINORUN, "import", pth, "-o", in("again")), 0);
    process_assert_status(RUN(DINORUN, "export", w, "-o", in("plain")), 0);
    assert_same_tensors(in("again"), in("plain"), "");
    process_assert_status(RUN(DINORUN, "export", w, "--torch", in("teacher.pth"), "--backbone", "teacher"), 0);
    process_assert_status(
        RUN(DINORUN, "export", in("teacher.pth"), "--plan", in("tiny.plan"), "--onnx", in("pth.onnx")), 0);
    assert_onnx(in("pth.onnx"), w, "teacher");
    refuses(RUN(DINORUN, "export", w, "--torch", in("new.pth"), "--plan", in("tiny.plan")), 2, "--plan");
    refuses(RUN(DINORUN, "export", in("pth.onnx"), "--torch", in("new.pth")), 1, "ONNX");
}

static const struct dg_pickle_value *part(const struct dg_pickle_value *of, const char *key)
{
    const struct dg_pickle_value *value = dg_pickle_get(of, key);
    if (!value) fail_msg("there is no %s", key);
    return value;
}

/* Two groups whose parameters are numbered from 0 on, of which the first has weight decay; and what the run was. */
static void check_groups(const char *path, const char *kind)
{
    struct dg_tensor_file *file;
    assert_ok(dg_tensor_file_open(path, &file, try_err));
    const struct dg_pickle_value *object = dg_tensor_file_object(file),
                                 *groups = part(part(object, "optimizer"), "param_groups");
    int64_t count = 0;
    assert_int_equal(groups->list.count, 2);
    for (int g = 0; g < 2; g++) {
        const struct dg_pickle_value *group = groups->list.item[g], *numbers = part(group, "params");
        assert_true(part(group, "lr")->f == 0.001);
        assert_true(part(group, "weight_decay")->f == (g ? 0 : 0.04));
        for (int64_t p = 0; p < numbers->list.count; p++) assert_int_equal(numbers->list.item[p]->i, count++);
        if (strcmp(kind, "adamw")) continue;
        assert_true(part(group, "betas")->list.item[1]->f == 0.999 && part(group, "eps")->f == 1e-8);
    }
    /* The last layer, which is frozen, has no counts and moments yet; other optimisers have nothing to count. */
    assert_int_equal(part(part(object, "optimizer"), "state")->list.count, 2 * (count - !strcmp(kind, "adamw")));
    assert_int_equal(part(object, "epoch")->i, 1);
    assert_int_equal(part(part(object, "args"), "epochs")->i, 3);
    assert_string_equal(part(part(object, "args"), "optimizer")->text.bytes, kind);
    assert_int_equal(part(part(object, "args"), "norm_last_layer")->i, 1);
    dg_tensor_file_close(file);
}

/* A full checkpoint in the published form has all that a run goes on with: read again, it ends where the run itself ends, to the bit.
 * The last layer is frozen in the first epoch, and has no state there. */
static void test_full(void **state)
{
    (void)state;
    static const char *const kinds[] = {"adamw", "sgd", "lars"};
    for (int k = 0; k < 3; k++) {
        char kind[32], plan[160], whole[160], half[160], again[160], pth[160], checkpoint[192];
        snprintf(kind, sizeof kind, "optim.kind=%s", kinds[k]);
        snprintf(plan, sizeof plan, "%s/%s.plan", test_folder, kinds[k]);
        snprintf(whole, sizeof whole, "%s/whole-%s", test_folder, kinds[k]);
        snprintf(half, sizeof half, "%s/half-%s", test_folder, kinds[k]);
        snprintf(again, sizeof again, "%s/again-%s", test_folder, kinds[k]);
        snprintf(pth, sizeof pth, "%s/%s.pth", test_folder, kinds[k]);
        snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint.safetensors", again);
        dg_tiny_compile(plan, kind);
#define TRAIN(out, steps)                                                                                              \
    DINORUN, "train", plan, "--data", in("pictures"), "--out", out, "--steps", steps, "--ignore-memory"
        process_assert_status(RUN(TRAIN(whole, "4")), 0);
        process_assert_status(RUN(TRAIN(half, "2")), 0);
        const struct process *p = RUN(DINORUN, "export", half, "--torch", pth, "--full");
        process_assert_status(p, 0);
        process_assert_says(p, p->out, "1 epoch done");
        check_groups(pth, kinds[k]);
        assert_int_equal(mkdir(again, 0777), 0);
        p = RUN(DINORUN, "import", pth, "-o", checkpoint);
        process_assert_status(p, 0);
        process_assert_says(p, p->out, "epochs done: 1");
        process_assert_says(p, p->out, "args: the options of its training");
        process_assert_status(RUN(TRAIN(again, "4"), "--resume"), 0);
        assert_same_state(whole, again, 0);
        if (k) continue;
        /* Another recipe than the args tell is refused, with what differs. */
        process_assert_status(RUN(DINORUN, "import", pth, "-o", checkpoint), 0);
        dg_tiny_compile(in("peak.plan"), "lr.peak=0.002");
        p = RUN(DINORUN, "train", in("peak.plan"), "--data", in("pictures"), "--out", again, "--resume", "--steps", "4",
                "--ignore-memory");
        process_assert_status(p, 2);
        process_assert_says(p, p->err, "lr.peak was 0.001 and is 0.002");
        assert_null(strstr(p->err, "\n  optim"));
    }
    const char *run = in("run"), *made = in("new.pth");
    refuses(RUN(DINORUN, "export", run, "--torch", made, "--full"), 1, "is of step 1, within epoch 1 of 2 steps");
    refuses(RUN(DINORUN, "export", in("whole-sgd"), "--torch", in("new.pth"), "--full", "--backbone", "teacher"), 2,
            "--full goes without --backbone");
    refuses(RUN(DINORUN, "export", in("teacher.pth"), "--torch", in("new.pth"), "--full"), 1, "teacher.pth");
    static const char *const others[][2] = {
        {"optim.no_decay=[bias]", "its optimiser has other groups"},
        {"loss={targets: sinkhorn, teacher_temp: 0.05}",
         "loss.targets of this run is sinkhorn, and the published code knows center alone"},
        {"teacher={update: iteration}", "teacher.update of this run is iteration"},
        {"optim.layer_decay=0.5", "this run has optim.layer_decay, 0.5, and the published code knows no such thing"}};
    for (size_t o = 0; o < sizeof others / sizeof *others; o++) {
        char plan[160], out[160];
        snprintf(plan, sizeof plan, "%s/other%zu.plan", test_folder, o);
        snprintf(out, sizeof out, "%s/other%zu", test_folder, o);
        dg_tiny_compile(plan, others[o][0]);
        process_assert_status(RUN(TRAIN(out, "2")), 0);
        refuses(RUN(DINORUN, "export", out, "--torch", in("new.pth"), "--full"), 1, others[o][1]);
    }
}

static void test_refused(void **state)
{
    (void)state;
    char run[96], made[96]; /* what in() returns is not valid for long */
    snprintf(run, sizeof run, "%s", in("run"));
    snprintf(made, sizeof made, "%s", in("new.onnx"));
    refuses(RUN(DINORUN, "export", run), 2, "is needed: the safetensors file to write");
    refuses(RUN(DINORUN, "export", run, "-o", in("new"), "--onnx", made), 2, "--onnx");
    refuses(RUN(DINORUN, "export", run, "-o", in("new"), "--plan", in("tiny.plan")), 2, "--plan");
    refuses(RUN(DINORUN, "export", run, "--onnx", made, "--backbone", "student"), 2, "--backbone");
    refuses(RUN(DINORUN, "export", run, "--torch", made, "--weights-from", "student"), 2, "--weights-from");
    /* Another network's plan: what differs is said, and --accept-changes goes on where shapes fit. */
    dg_tiny_compile(in("heads.plan"), "student.with.heads=4");
    refuses(RUN(DINORUN, "export", run, "--plan", in("heads.plan"), "--timm", made), 1, "heads");
    process_assert_status(
        RUN(DINORUN, "export", run, "--plan", in("heads.plan"), "--timm", in("four"), "--accept-changes"), 0);
    assert_json(in("four/config.json"), "model_args.num_heads", "4");
    refuses(RUN(DINORUN, "export", in("pictures"), "--onnx", made), 2, "is a folder without run.plan");
    refuses(RUN(DINORUN, "export", in("nothing"), "--onnx", made), 2, "there is no run.plan beside");
    refuses(RUN(DINORUN, "export", in("tiny.plan"), "--plan", in("tiny.plan"), "--onnx", made), 1, "a plan of dinoc");
    refuses(RUN(DINORUN, "export", run, "--onnx", in("no/new.onnx")), 1, "no/new.onnx");
    assert_int_equal(symlink("/dev/full", in("full")), 0);
    refuses(RUN(DINORUN, "export", run, "--onnx", in("full")), 1, "full: No space left on device");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_onnx),         cmocka_unit_test(test_timm),
                                       cmocka_unit_test(test_transformers), cmocka_unit_test(test_torch),
                                       cmocka_unit_test(test_full),         cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}
