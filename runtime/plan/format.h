/* The plan file: what dinoc writes and dinorun maps and runs.
 *
 * One little-endian file: struct dg_plan_header, then the sections it lists, each a flat array of fixed-size records,
 * 8-byte aligned, zero padding, in the order of enum dg_plan_section. Records refer to each other by index; strings by
 * byte offset into the string section (zero-terminated UTF-8; offset 0 is the empty string). The same input gives the same
 * bytes on any machine.
 *
 * Opening verifies everything once (verify.c): magic, version, size, checksum, section bounds, every index, count,
 * enum, string, dimension, byte range, and the memory plan (overlap.c); after that nothing is checked again.
 *
 * Evolution: a reader accepts exactly its own version; any change of a record raises DG_PLAN_VERSION. The header up to and
 * with its sections stays where it is, so that an old plan can be told what it was compiled from.
 */
#ifndef DG_RUNTIME_PLAN_FORMAT_H
#define DG_RUNTIME_PLAN_FORMAT_H

#include "ops/op.h"

#define DG_PLAN_MAGIC "DINOPLAN"
#define DG_PLAN_VERSION 7u
#define DG_PLAN_ENDIAN 0x01020304u
#define DG_PLAN_ALIGN 64 /* of every tensor in its region */
#define DG_PLAN_NONE UINT32_MAX

enum dg_plan_section {
    DG_SECTION_STRINGS, /* bytes */
    DG_SECTION_ENTRIES,
    DG_SECTION_TENSORS,
    DG_SECTION_OPS,
    DG_SECTION_OPERANDS, /* uint32_t: tensor indices of the plan, DG_PLAN_NONE for absent ones */
    DG_SECTION_ATTRS,    /* union dg_attr, the op's attributes in its order */
    DG_SECTION_KNOBS,
    DG_SECTION_SCHEDULES,
    DG_SECTIONS,
};

/* What the plan is for. */
enum dg_plan_kind {
    DG_PLAN_MODULE, /* evaluation of a network */
    DG_PLAN_RECIPE, /* training and evaluation of a network, on images */
    DG_PLAN_PROBE,  /* training of a linear layer on the features of a network */
    DG_PLAN_KINDS,
};

/* What an entry does. A plan has at most one of each, by the names "train", "features", "attention", "tokens". */
enum dg_entry_role { DG_ENTRY_TRAIN, DG_ENTRY_FEATURES, DG_ENTRY_ATTENTION, DG_ENTRY_TOKENS, DG_ENTRY_ROLES };

enum { DG_LOCAL_GROUPS = 3 }; /* sizes of local views, of which each is an input of a recipe's step */

/* What a tensor is to its entry. An entry's inputs and outputs are its slots in this order. */
enum dg_slot {
    DG_SLOT_IMAGES,       /* evaluation: f32 [batch, height, width, 3] */
    DG_SLOT_CROPS_GLOBAL, /* a recipe's step: f32 [views * batch, height, width, 3] */
    /* Likewise, if there are local views. Those of the second and third size are in the slots of a probe's step, which has none. */
    DG_SLOT_CROPS_LOCAL,
    DG_SLOT_FEATURES, /* a probe's step: f32 [batch, width] */
    DG_SLOT_LABELS,   /* likewise: i64 [batch]; -1: the row does not count */
    DG_FIRST_OUTPUT,
    DG_SLOT_OUTPUT = DG_FIRST_OUTPUT, /* evaluation: f32 [batch, ...] */
    DG_SLOT_LOSS,                     /* a step: f64 */
    DG_SLOT_ENTROPY,                  /* a recipe's step, of the teacher: f64 */
    DG_SLOT_LOGITS,                   /* a probe's step: f32 [batch, classes] */
    DG_SLOT_GRAD_SUMMARY,             /* a step: f64 [2]: the norm over all gradients, 1 if all is finite, else 0 */
    DG_FIRST_PARAM,
    DG_SLOT_CENTER = DG_FIRST_PARAM, /* a recipe's step: f32 [1, out_dim] */
    DG_SLOT_WEIGHT,                  /* a probe's step: f32 [classes, width] */
    DG_SLOT_BIAS,                    /* likewise: f32 [classes] */
    DG_SLOTS,
};
_Static_assert(DG_SLOT_CROPS_LOCAL + DG_LOCAL_GROUPS <= DG_FIRST_OUTPUT, "local views are inputs");

struct dg_plan_header {
    char magic[8];
    uint32_t version, endian;
    uint64_t size;       /* of the file */
    uint64_t checksum;   /* FNV-1a of the file with this field zero */
    uint64_t model_hash; /* parameters, recipe and batch: a checkpoint fits plans with the same */
    uint32_t recipe;     /* string: name of the recipe or module */
    uint32_t source;     /* string: base name of the YAML file */
    struct {
        uint64_t offset, count;
    } section[DG_SECTIONS];
    uint32_t kind;                  /* enum dg_plan_kind */
    uint32_t entry[DG_ENTRY_ROLES]; /* by role: index of the entry; DG_PLAN_NONE: there is none */
    uint32_t facts;                 /* string: what results depend on, lines "key=value":
                                         dinoc                             its version
                                         computes.module, network.ARGUMENT  the backbone's module and its arguments
                                         computes.evaluated                 a hash of what it computes (compiler/graph/identity.h)
                                         computes.trained                   of a recipe: likewise, in training; .teacher, .head of those
                                         recipe.KEY                        of a recipe or probe: each key that is no knob
                                       Empty in plans that older compilers made. */
    uint32_t description; /* string: the description with every default filled in, as `dinoc --print` writes it */
};

/* Memory a tensor lives in. The first four are planned; scratch, packed and loader are sized at open. */
enum dg_region {
    DG_REGION_PARAM, /* parameters, teacher, buffers, centre: outlive the run (checkpoint) */
    DG_REGION_STATE, /* optimiser state: likewise */
    DG_REGION_STEP,  /* activations, gradients, saved values */
    DG_REGION_INPUT, /* crops or images, and the control scalars */
    DG_REGIONS,
};

enum {
    DG_TENSOR_TRAINABLE = 1, /* gets a gradient and an optimiser step */
    DG_TENSOR_BUFFER = 2,    /* running statistics, centre: never averaged */
    DG_TENSOR_OUTPUT = 4,    /* an output of the entry: lives to its end */
};

/* How a PARAM or STATE tensor begins. Kinds 1.. are enum dg_init_kind. */
enum { DG_INIT_NONE = 0, DG_INIT_COPY = 100 /* as tensor init_from: the teacher starts as the student */ };

struct dg_plan_tensor {
    uint32_t name; /* PARAM, STATE: the name in checkpoints; INPUT: see entry; control scalars: the control's key */
    uint8_t dtype, ndim, region, flags;
    int64_t dim[DG_MAX_DIMS]; /* zero beyond ndim */
    uint64_t offset, bytes;   /* in its region */
    uint32_t first, last; /* ops of the entry (counted from its first) between which the bytes are in use; PARAM, STATE
                                 and INPUT tensors: 0 and the last op */
    uint32_t root;        /* tensor whose bytes this one shares (views, in-place outputs); itself if none. A root's
                                 first..last and bytes cover all that share it */
    uint32_t init_kind, init_from; /* init_from: tensor index for DG_INIT_COPY, else DG_PLAN_NONE */
    double init_value;
    uint32_t
        control; /* string: key of the schedule or knob whose value this f64 scalar receives before each step; 0: none */
    uint32_t reserved;
};

enum {
    DG_PLAN_OP_TRAIN = 1,
    DG_PLAN_OP_CONSTANT_PARAMS = 2,
    DG_PLAN_OP_JOINED =
        4, /* sees the rows of all processes: as many as the entry's `ranks` then share the step, one slice each */
    DG_PLAN_OP_ALL = 7,
};

struct dg_plan_op {
    uint32_t op;    /* string: struct dg_op's name */
    uint32_t name;  /* string: path of the node, e.g. "blocks.3.attn.qkv" */
    uint32_t label; /* string: which application, e.g. "student.backbone(local)" */
    uint32_t file;  /* string: YAML file (base name) the node comes from */
    int32_t line, column;
    uint32_t first_operand, num_inputs, num_outputs; /* operands: inputs, then outputs */
    uint32_t first_attr, num_attrs;
    uint32_t flags;
    uint64_t stream;
    int32_t view0, batch;
    double flops, useful, bytes; /* of a whole step: of all slices */
};

struct dg_plan_entry {
    uint32_t name; /* string: dg_entry_name() of its role */
    uint32_t batch;
    uint32_t first_tensor, num_tensors;
    uint32_t first_op, num_ops;
    uint32_t first_commit;         /* op (counted from first_op) where the commit begins; num_ops if there is none */
    uint32_t loop_first, loop_ops; /* ops (counted from first_op) that run `slices` times, once for each slice of the
                                         batch; none if slices is 1 */
    uint32_t slices;
    uint32_t dtype; /* DG_BF16: matmuls are in bf16, and so are values between ops that can; else DG_F32 */
    uint32_t first_input, num_inputs; /* operands: tensors to bind, by name: "crops.global", "crops.local", "images" */
    uint32_t first_output, num_outputs; /* operands: tensors to read, by name: "features", "loss", ... */
    uint32_t slot[DG_SLOTS];            /* by role: tensor; DG_PLAN_NONE: the entry has none */
    uint32_t bind;                      /* string: prefix of this entry's parameter names in a full checkpoint, e.g.
                                              "teacher.backbone."; empty: names are complete */
    uint32_t ranks;                     /* processes that the step was made for; as many as divide `slices` may share
                                              them. 0: one process alone. Sums over slices are then
                                              at the beginning of DG_REGION_STEP, in the order in which the last slice
                                              completes them */
    uint32_t math;                      /* enum dg_math, with dtype DG_F32 */
    uint64_t region_bytes[DG_REGIONS];
    uint64_t step_bound, step_naive; /* largest sum of live bytes; sum of all step tensors */
};

enum dg_knob_type { DG_KNOB_FLOAT = 1, DG_KNOB_INT, DG_KNOB_PAIR };
enum dg_knob_unit { DG_UNIT_NONE = 0, DG_UNIT_STEPS, DG_UNIT_EPOCHS };

/* A value dinorun may change with --set. Keys are recipe paths: "lr.peak", "crops.global.scale", "crops.global.views.1.blur". */
struct dg_plan_knob {
    uint32_t key;
    uint32_t type;   /* enum dg_knob_type */
    uint32_t unit;   /* enum dg_knob_unit */
    uint32_t line;   /* in the recipe's file, 0 if a default */
    double value[2]; /* second only for pairs */
    double min, max; /* inclusive */
};

/* A formula over the run (utils.cosine_scheduler and the like of the official code), evaluated in f64. Its numbers are
 * knobs named <key>.<field>; a curve's field that it does not use is absent. */
enum dg_curve {
    DG_CURVE_CONSTANT = 1, /* knob <key> */
    /* <key>.peak -> <key>.to, after a linear <key>.warmup from <key>.warmup_from or 0; or <key>.from -> <key>.to */
    DG_CURVE_COSINE,
    DG_CURVE_LINEAR, /* <key>.from -> <key>.to over <key>.over, both ends included, then <key>.to */
    DG_CURVE_UNTIL,  /* 1 before <key>.for, 0 after: freezing */
    DG_CURVE_EPOCH,  /* 0 at the last step of each epoch, 1 at the others: a teacher that is copied once an epoch */
    DG_CURVE_STEP,   /* <key>.from times <key>.by for each whole <key>.every that has passed */
    DG_CURVE_END,
};
struct dg_plan_schedule {
    uint32_t key;       /* string: the control's key: "lr", "weight_decay", "teacher.momentum", "loss.teacher_temp" */
    uint32_t curve;     /* enum dg_curve */
    uint32_t per_epoch; /* 1: the value changes with the epoch, 0: with the step */
    uint32_t line;
};

#endif
