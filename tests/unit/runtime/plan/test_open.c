/* Opening a hostile plan is safe: cut short, with flipped bits, with flipped bits and a checksum made to fit. What still
 * opens must also open as a session or be refused. */
#include "ops/base/rng.h"
#include "runtime/exec/session.h"
#include "tests/support/compile.h"
#include "tests/support/tiny.h"

#include <stddef.h>

static uint8_t *plan_bytes;
static size_t plan_size;

static int setup(void **state)
{
    (void)state;
    char folder[64], path[128];
    make_folder(folder);
    snprintf(path, sizeof path, "%s/plan", folder);
    dg_tiny_compile(path, NULL);
    plan_bytes = read_file(path, &plan_size);
    remove_folder(folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(plan_bytes);
    return 0;
}

/* Whether the bytes open as a plan; `sessions`: then its entries are tried, too. */
static bool opens_as(const uint8_t *bytes, size_t size, bool sessions)
{
    struct dg_plan plan;
    struct dg_error err = {0};
    uint8_t *copy = malloc(size + 1); /* of its exact size, for the sanitizer */
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    bool ok = dg_plan_open_bytes(copy, size, &plan, &err) == DG_OK;
    if (!ok) assert_true(err.text[0]);
    for (uint32_t e = 0; ok && sessions && e < plan.num_entries; e++) {
        uint64_t total = 0;
        for (int r = 0; r < DG_REGIONS; r++) total += plan.entry[e].region_bytes[r] >> 20;
        struct dg_session *session;
        struct dg_error why = {0};
        if (total > 1024) continue;
        if (dg_session_open(&plan, dg_plan_string(&plan, plan.entry[e].name),
                            &(struct dg_session_options){.threads = 1}, &session, &why) != DG_OK)
            assert_true(why.text[0]);
        else
            dg_session_close(session);
    }
    dg_plan_close(&plan);
    free(copy);
    return ok;
}

static bool opens(const uint8_t *bytes, size_t size) { return opens_as(bytes, size, true); }

static void fit_checksum(uint8_t *bytes, size_t size)
{
    const uint64_t zero = 0;
    memcpy(bytes + offsetof(struct dg_plan_header, checksum), &zero, sizeof zero);
    uint64_t sum = dg_fnv1a(DG_FNV_BASIS, bytes, size);
    memcpy(bytes + offsetof(struct dg_plan_header, checksum), &sum, sizeof sum);
}

static void test_prefixes(void **state)
{
    (void)state;
    assert_true(opens(plan_bytes, plan_size));
    for (size_t size = 0; size < plan_size; size++) assert_false(opens(plan_bytes, size));
}

static void test_flipped_bits(void **state)
{
    (void)state;
    struct dg_rng rng = dg_rng_make(1, DG_RNG_TEST, 0, 0);
    for (int i = 0; i < 300; i++) {
        size_t at = (size_t)dg_rng_int(&rng, 0, (int64_t)plan_size);
        uint8_t bit = (uint8_t)(1 << dg_rng_int(&rng, 0, 8));
        plan_bytes[at] ^= bit;
        assert_false(opens(plan_bytes, plan_size));
        plan_bytes[at] ^= bit;
    }
}

static void test_flipped_bits_with_a_checksum(void **state)
{
    (void)state;
    struct dg_rng rng = dg_rng_make(2, DG_RNG_TEST, 0, 0);
    uint8_t *copy = malloc(plan_size);
    assert_non_null(copy);
    int opened = 0;
    for (int i = 0; i < 600; i++) {
        memcpy(copy, plan_bytes, plan_size);
        size_t at = (size_t)dg_rng_int(&rng, 0, (int64_t)plan_size - 4);
        if (i % 3) {
            copy[at] ^= (uint8_t)(1 << dg_rng_int(&rng, 0, 8));
        } else { /* a whole word: counts, offsets, indices */
            uint32_t word = i % 2 ? UINT32_MAX : dg_rng_u32(&rng);
            memcpy(copy + at / 4 * 4, &word, sizeof word);
        }
        fit_checksum(copy, plan_size);
        opened += opens(copy, plan_size);
    }
    assert_true(opened < 600);
    free(copy);
}

/* How many bits are flipped, one at a time, each `stride`-th of a plan, under a checksum that fits. */
static int flip(uint8_t *bytes, size_t size, size_t stride)
{
    int flips = 0, opened = 0;
    for (size_t at = 0; at < 8 * size; at += stride, flips++) {
        bytes[at / 8] ^= (uint8_t)(1 << at % 8);
        fit_checksum(bytes, size);
        opened += opens_as(bytes, size, false);
        bytes[at / 8] ^= (uint8_t)(1 << at % 8);
    }
    fit_checksum(bytes, size);
    assert_true(opens(bytes, size));
    print_message("a plan of %zu bytes: %d flips, %d of them still a plan\n", size, flips, opened);
    return flips;
}

/* All bits of a plan of one attention block's features; of the training plan, which is too large for that, each 401st. */
static void test_every_bit_with_a_checksum(void **state)
{
    (void)state;
    static const char *const set[] = {"depth=1", "dim=32", "heads=2", "image=32"};
    char folder[64], path[128];
    struct dg_compile_result result = {0};
    struct dg_error err = {0};
    size_t size;
    make_folder(folder);
    snprintf(path, sizeof path, "%s/plan", folder);
    struct dg_compile_options options = {.file = DG_SOURCE_DIR "/graphs/vit.yaml",
                                         .name = "vit",
                                         .output = path,
                                         .set = set,
                                         .num_sets = sizeof set / sizeof *set,
                                         .batch = 2};
    if (dg_compile(&options, &result, &err) != DG_OK) fail_msg("%s", err.text);
    dg_compile_result_free(&result);
    uint8_t *small = read_file(path, &size);
    remove_folder(folder);
    assert_int_equal(flip(small, size, 1), 8 * size);
    free(small);
    flip(plan_bytes, plan_size, 401);
}

/* Another plan, of which single fields are changed: most often one with a loop over slices. */
static uint8_t *sliced;
static size_t sliced_size;

static void open_sliced(struct dg_plan *plan)
{
    char folder[64], path[128];
    struct dg_plan whole;
    int64_t planned = 0;
    assert_ok(dg_plan_open_bytes(plan_bytes, plan_size, &whole, try_err));
    for (int r = 0; r < DG_REGIONS; r++) planned += (int64_t)whole.entry[0].region_bytes[r];
    dg_plan_close(&whole);
    make_folder(folder);
    snprintf(path, sizeof path, "%s/plan", folder);
    dg_tiny_compile_within(path, NULL, planned - planned / 16);
    sliced = read_file(path, &sliced_size);
    remove_folder(folder);
    assert_ok(dg_plan_open_bytes(sliced, sliced_size, plan, try_err));
    assert_true(plan->entry[0].slices > 1);
}

static void refused(uint32_t *field, uint32_t value, const char *why)
{
    struct dg_plan plan;
    struct dg_error err = {0};
    struct dg_plan_header *header = (void *)sliced;
    uint32_t was = *field;
    *field = value;
    header->checksum = 0;
    header->checksum = dg_fnv1a(DG_FNV_BASIS, sliced, sliced_size);
    if (dg_plan_open_bytes(sliced, sliced_size, &plan, &err) == DG_OK) fail_msg("%u for %u is taken", value, was);
    if (!strstr(err.text, why)) fail_msg("\"%s\" does not say \"%s\"", err.text, why);
    *field = was;
}

/* Where batch norms see the rows of all processes, the loop runs once in each of exactly so many, and moments leave it. */
static void test_hostile_joins(void **state)
{
    (void)state;
    char folder[64], path[128];
    struct dg_plan plan;
    make_folder(folder);
    snprintf(path, sizeof path, "%s/plan", folder);
    dg_tiny_compile_ranks(path, "head.with.bn=true", 2);
    sliced = read_file(path, &sliced_size);
    remove_folder(folder);
    assert_ok(dg_plan_open_bytes(sliced, sliced_size, &plan, try_err));
    struct dg_plan_entry *entry = (void *)(uintptr_t)&plan.entry[0];
    refused(&entry->ranks, 0, "it cannot see rows of other processes");
    refused(&entry->ranks, 1, "it cannot see rows of other processes");
    refused(&entry->ranks, 4, "cannot be shared by 4 processes");
    int joined = 0;
    for (uint32_t n = 0; n < entry->num_ops; n++) {
        struct dg_plan_op *op = (void *)(uintptr_t)&plan.op[entry->first_op + n];
        if (!(op->flags & DG_PLAN_OP_JOINED)) continue;
        joined++;
        refused(&op->flags, op->flags & ~(uint32_t)DG_PLAN_OP_TRAIN, "it cannot see rows of other processes");
        op->flags &= ~(uint32_t)DG_PLAN_OP_JOINED;
    }
    assert_int_equal(joined, 6); /* two norms: the student's forward and backward, and the teacher's forward */
    refused(&entry->ranks, 2, "lasts beyond it");
    dg_plan_close(&plan);
    free(sliced);
}

static void test_hostile_loops(void **state)
{
    (void)state;
    struct dg_plan plan;
    open_sliced(&plan);
    struct dg_plan_entry *entry = (void *)(uintptr_t)&plan.entry[0];
    uint32_t end = entry->loop_first + entry->loop_ops;
    refused(&entry->math, DG_MATHS, "unknown products");
    refused(&entry->math, UINT32_MAX, "unknown products");
    refused(&entry->slices, 0, "bad loop");
    refused(&entry->slices, 1, "bad loop");
    refused(&entry->slices, UINT32_MAX, "bad loop");
    refused(&entry->slices, 3, ""); /* of four images */
    refused(&entry->slices, entry->slices * 2, "wrong shape");
    refused(&entry->loop_ops, 0, "bad loop");
    refused(&entry->loop_ops, UINT32_MAX, "bad loop");
    refused(&entry->loop_ops, entry->num_ops - entry->loop_first, "bad loop"); /* with the commit in it */
    refused(&entry->loop_ops, entry->loop_ops + 1, "");
    refused(&entry->loop_ops, entry->loop_ops - 1, "");
    refused(&entry->loop_first, 0, "lasts beyond it");
    refused(&entry->loop_first, entry->num_ops, "bad loop");
    refused(&entry->loop_first, UINT32_MAX, "bad loop");
    refused(&entry->loop_first, entry->loop_first - 1, "");
    refused(&entry->loop_first, entry->loop_first + 1, "");
    int sums = 0;
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors && sums < 3; t++) {
        struct dg_plan_tensor *tensor = (void *)(uintptr_t)&plan.tensor[t];
        if (tensor->region != DG_REGION_STEP || tensor->root != t) continue;
        if (tensor->first >= entry->loop_first || tensor->last < end) continue;
        sums++;
        refused(&tensor->last, end - 1, ""); /* a sum that the next slice may overwrite */
        refused(&tensor->first, entry->loop_first, "");
    }
    assert_int_equal(sums, 3);
    /* An op that reads a sum before all slices are in. */
    for (uint32_t n = entry->loop_first; n < end; n++) {
        const struct dg_plan_op *op = &plan.op[entry->first_op + n];
        if (strcmp(dg_plan_string(&plan, op->op), "dino_loss_grad")) continue;
        uint32_t temperature = op->first_operand + 2, loss = plan.operand[entry->first_output];
        refused((uint32_t *)(uintptr_t)&plan.operand[temperature], loss, "while the loop over slices adds to it");
        break;
    }
    dg_plan_close(&plan);
    free(sliced);
}

/* Ops go by what a row map says without looking: nothing else may stand in its place, and what it packs is read through it. */
static void test_hostile_row_maps(void **state)
{
    (void)state;
    struct dg_plan plan;
    open_sliced(&plan);
    const struct dg_plan_entry *entry = &plan.entry[0];
    uint32_t *operand = (void *)(uintptr_t)plan.operand, zeros = 0, maps = 0, readers = 0, joined = 0;
    for (uint32_t n = 0; n < entry->num_ops; n++) {
        struct dg_plan_op *op = (void *)(uintptr_t)&plan.op[entry->first_op + n];
        const char *name = dg_plan_string(&plan, op->op);
        const struct dg_op *of = dg_op_find(name);
        int rows = dg_op_row_map(of);
        if (!strcmp(name, "zeros_like")) zeros = op->op;
        if (rows >= 0 && operand[op->first_operand + (uint32_t)rows] != DG_PLAN_NONE) {
            uint32_t *map = &operand[op->first_operand + (uint32_t)rows];
            readers++;
            joined += !strcmp(name, "add_layer_norm");
            refused(map, DG_PLAN_NONE, "");
            refused(map, operand[op->first_operand], "");
            refused(&op->num_inputs, op->num_inputs - 1, "wrong number of operands");
        }
        refused(&op->flags, op->flags | DG_PLAN_OP_JOINED, "it cannot see rows of other processes");
        refused(&op->flags, op->flags | (DG_PLAN_OP_ALL + 1), "bad position");
        if (strcmp(name, "draw_rows") || strcmp(dg_plan_string(&plan, (op - 1)->op), "draw_rows")) continue;
        maps++;
        uint32_t own = operand[op->first_operand], before = operand[op->first_operand - 1];
        refused(&operand[op->first_operand], before, "which is made already");
        refused(&operand[op->first_operand - 1], own, "");
        struct dg_plan_tensor *map = (void *)(uintptr_t)&plan.tensor[own];
        refused((uint32_t *)(void *)map->dim, (uint32_t)map->dim[0] - 2, "wrong shape");
        struct dg_plan_op was = *op; /* zeros, of the right shape and type, in its place */
        op->num_attrs = 0;
        op->num_inputs = 1;
        op->first_operand--;
        refused(&op->op, zeros, "(add_layer_norm): blocks.1.path2.rows is not a row map");
        *op = was;
    }
    assert_true(zeros && maps && readers && joined);
    dg_plan_close(&plan);
    free(sliced);
}

/* No op reads tensors of another type than it was written for, be it one input, two or all of them: a byte in place of an f32
 * would let it read beyond the tensor. Ops that only move bytes take any. */
static void refuses_types(const struct dg_plan *plan, const struct dg_plan_entry *entry, uint32_t n)
{
    const struct dg_plan_op *record = &plan->op[entry->first_op + n];
    const struct dg_op *op = dg_op_find(dg_plan_string(plan, record->op));
    int count = (int)record->num_inputs;
    if ((op->outputs && dg_is_view(op->outputs)) || !strcmp(op->name, "zeros_like") || !strcmp(op->name, "take_images"))
        return;
    struct dg_desc *was = calloc((size_t)count + 1, sizeof *was), *desc = calloc((size_t)count + 1, sizeof *desc);
    assert_non_null(was);
    assert_non_null(desc);
    for (int i = 0; i < count; i++) {
        uint32_t t = plan->operand[record->first_operand + (uint32_t)i];
        was[i] = DG_ABSENT_DESC;
        if (t == DG_PLAN_NONE) continue;
        was[i] = dg_desc_make((enum dg_dtype)plan->tensor[t].dtype, plan->tensor[t].ndim, plan->tensor[t].dim);
    }
    struct dg_op_call call = {.op = op,
                              .attr = plan->attr + record->first_attr,
                              .num_inputs = count,
                              .input = desc,
                              .train = record->flags & DG_PLAN_OP_TRAIN,
                              .slices = dg_plan_slices(entry, n),
                              .bf16 = entry->dtype == DG_BF16};
    struct dg_desc made[DG_MAX_OUTPUTS];
    struct dg_error err = {0};
    memcpy(desc, was, (size_t)count * sizeof *desc);
    assert_ok(dg_op_infer(&call, made, try_err));
    static const enum dg_dtype types[] = {DG_U8, DG_I64};
    for (int type = 0; type < 2; type++)
        for (int a = -1; a < count; a++) /* -1: all */
            for (int b = a < 0 ? count - 1 : a; b < count; b++) {
                bool other = false;
                for (int i = 0; i < count; i++) {
                    desc[i] = was[i];
                    if ((a >= 0 && i != a && i != b) || (was[i].dtype != DG_F32 && was[i].dtype != DG_BF16)) continue;
                    desc[i].dtype = types[type];
                    other = true;
                }
                if (other && dg_op_infer(&call, made, &err) == DG_OK)
                    fail_msg("%s takes %s for inputs %d and %d", op->name, dg_dtype_name(types[type]), a, b);
            }
    free(was);
    free(desc);
}

static void refused_with(uint8_t *bytes, size_t size, const char *message)
{
    struct dg_plan plan;
    struct dg_error err = {0};
    fit_checksum(bytes, size);
    assert_int_equal(dg_plan_open_bytes(bytes, size, &plan, &err), DG_ERR_INPUT);
    if (!strstr(err.text, message)) fail_msg("\"%s\" does not say \"%s\"", err.text, message);
}

/* Slots are what the runtime reads without looking again: each is of its entry, and of the type that it must have; an entry has
 * those of its role, and its inputs and outputs are these. */
static void test_hostile_slots(void **state)
{
    (void)state;
    sliced = malloc(plan_size);
    assert_non_null(sliced);
    memcpy(sliced, plan_bytes, plan_size);
    sliced_size = plan_size;
    struct dg_plan plan;
    assert_ok(dg_plan_open_bytes(sliced, sliced_size, &plan, try_err));
    struct dg_plan_header *header = (void *)sliced;
    struct dg_plan_entry *entry = (void *)(uintptr_t)plan.entry, *evaluation = entry + header->entry[DG_ENTRY_FEATURES];
    struct dg_plan_tensor *tensor = (void *)(uintptr_t)plan.tensor;
    uint32_t *operand = (void *)(uintptr_t)plan.operand, *slot = entry->slot;
    static const enum dg_slot must[] = {DG_SLOT_CROPS_GLOBAL, DG_SLOT_LOSS, DG_SLOT_ENTROPY, DG_SLOT_GRAD_SUMMARY,
                                        DG_SLOT_CENTER};
    assert_int_equal(header->entry[DG_ENTRY_TRAIN], 0);
    for (size_t m = 0; m < sizeof must / sizeof *must; m++)
        refused(&slot[must[m]], DG_PLAN_NONE, "entry 0 is not a training step");
    refused(&slot[DG_SLOT_CENTER], slot[DG_SLOT_CROPS_GLOBAL], "slot 10 of entry 0 does not live where it must");
    refused(&slot[DG_SLOT_LOSS], entry[1].first_tensor, "slot 6 of entry 0 belongs to another entry");
    refused(&slot[DG_SLOT_LOSS], slot[DG_SLOT_GRAD_SUMMARY], "entry 0 is not a training step");
    refused(&slot[DG_SLOT_LOSS], slot[DG_SLOT_ENTROPY], "are not the slots of their entry");
    refused(&slot[DG_SLOT_IMAGES], slot[DG_SLOT_CROPS_GLOBAL], "entry 0 has a slot 0, which is another kind's");
    refused(&slot[DG_SLOT_CROPS_LOCAL], DG_PLAN_NONE, "are not the slots of their entry");
    refused(&header->kind, DG_PLAN_PROBE, "which is another kind's");
    refused(&header->kind, DG_PLAN_KINDS, "it is of no kind");
    refused(&header->entry[DG_ENTRY_FEATURES], 0, "entry 0 is not called features");
    refused(&header->entry[DG_ENTRY_FEATURES], DG_PLAN_NONE, "an entry without a role");
    refused(&entry->name, evaluation->name, "entry 0 is not called train");
    refused(&operand[entry->first_input], slot[DG_SLOT_CROPS_LOCAL], "are not the slots of their entry");
    refused(&operand[entry->first_output], slot[DG_SLOT_ENTROPY], "are not the slots of their entry");
    refused(&entry->num_inputs, 0, "are not the slots of their entry");
    refused(&entry->num_outputs, entry->num_outputs + 1, "are not the slots of their entry");
    refused(&evaluation->first_input, plan.num_operands, "outside the operands");
    refused(&evaluation->batch, 1, "does not take images");
    refused(&tensor[tensor[slot[DG_SLOT_LOSS]].root].last, entry->num_ops - 2, "does not live where it must");
    dg_plan_close(&plan);
    free(sliced);
}

/* A plan of an older version says how it was compiled, as far as that lies within the file. */
static void test_older_versions(void **state)
{
    (void)state;
    uint8_t *copy = malloc(plan_size);
    assert_non_null(copy);
    memcpy(copy, plan_bytes, plan_size);
    struct dg_plan_header *header = (void *)copy;
    header->version = DG_PLAN_VERSION - 1;
    char message[256];
    const char *strings = (const char *)copy + header->section[DG_SECTION_STRINGS].offset;
    snprintf(message, sizeof message, "compile it again, with dinoc %s:%s -o PLAN", strings + header->source,
             strings + header->recipe);
    refused_with(copy, plan_size, message);
    header->source = (uint32_t)plan_size;
    refused_with(copy, plan_size, "compile it again");
    header->section[DG_SECTION_STRINGS].offset = UINT64_MAX - 8;
    refused_with(copy, plan_size, "compile it again");
    header->version = DG_PLAN_VERSION + 1;
    refused_with(copy, plan_size, "this program reads version");
    for (size_t size = sizeof *header; size < sizeof *header + 64; size++) refused_with(copy, size, "compile it again");
    free(copy);
}

static void test_types(void **state)
{
    (void)state;
    static const struct {
        const char *file, *set[4];
    } cases[] = {{"demo.yaml", {"student.with.drop_path=0.2", "student.with.depth=3"}},
                 {"dino_resnet50_800ep.yaml", {"crops.local.count=2", "head.with.out_dim=64"}},
                 {"linear.yaml", {"backbone=vit_tiny", "classes=10"}}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int plain = 0; plain < 2; plain++) {
            char folder[64], path[128], file[1024];
            struct dg_compile_result result = {0};
            struct dg_error err = {0};
            struct dg_plan plan;
            make_folder(folder);
            snprintf(path, sizeof path, "%s/plan", folder);
            snprintf(file, sizeof file, "%s/graphs/%s", DG_SOURCE_DIR, cases[c].file);
            struct dg_compile_options options = {.file = file,
                                                 .output = path,
                                                 .set = cases[c].set,
                                                 .num_sets = 2,
                                                 .batch = 2,
                                                 .plain = plain,
                                                 .dtype = plain ? "bf16" : NULL};
            if (dg_compile(&options, &result, &err) != DG_OK) fail_msg("%s%s", result.diagnostics, err.text);
            dg_compile_result_free(&result);
            assert_ok(dg_plan_open(path, &plan, try_err));
            for (uint32_t e = 0; e < plan.num_entries; e++)
                for (uint32_t n = 0; n < plan.entry[e].num_ops; n++) refuses_types(&plan, &plan.entry[e], n);
            dg_plan_close(&plan);
            remove_folder(folder);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_prefixes),
                                       cmocka_unit_test(test_flipped_bits),
                                       cmocka_unit_test(test_flipped_bits_with_a_checksum),
                                       cmocka_unit_test(test_every_bit_with_a_checksum),
                                       cmocka_unit_test(test_hostile_loops),
                                       cmocka_unit_test(test_hostile_row_maps),
                                       cmocka_unit_test(test_hostile_slots),
                                       cmocka_unit_test(test_hostile_joins),
                                       cmocka_unit_test(test_older_versions),
                                       cmocka_unit_test(test_types)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
