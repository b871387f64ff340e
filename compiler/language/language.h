/* The description language: files of modules and recipes, and what a compile asks of them. Written to by parse (syntax to
 * definitions) and elaborate (definitions to nodes of a graph). Grammar: README and graphs/schema.json.
 *
 * All errors go to a struct dg_diagnostics (compiler/base/diag.h) with file:line:col; functions return false once they have
 * reported one, and callers go on where that can find more errors. */
#ifndef DG_COMPILER_LANGUAGE_LANGUAGE_H
#define DG_COMPILER_LANGUAGE_LANGUAGE_H

#include "compiler/base/diag.h"
#include "compiler/graph/graph.h"

struct dg_program; /* all definitions of a file and its imports */

/* Reads `path` and everything it imports. NULL: errors are in diag, among them an unreadable file. */
struct dg_program *dg_program_load(struct dg_arena *arena, struct dg_diagnostics *diag, const char *path);

/* The definition to compile: `name`, or when NULL the last recipe or probe of the file, else its last module. */
enum dg_definition_kind { DG_DEFINITION_NONE, DG_DEFINITION_MODULE, DG_DEFINITION_RECIPE, DG_DEFINITION_PROBE };
enum dg_definition_kind dg_program_find(struct dg_program *program, const char *name, const char **found);

/* --- instances and applications --- */

struct dg_instance; /* a module with its arguments bound; owns parameters, once per graph it is applied in */

/* Binds arguments: `given` ones (dg_program_give), else the module's defaults; `at` is where the module is asked for.
 * `prefix` is put before parameter names ("student.backbone."). `trainable` false: all parameters are frozen (the teacher,
 * evaluation). NULL: reported. */
struct dg_given;
struct dg_instance *dg_instance_create(struct dg_program *program, struct dg_graph *graph, const char *module,
                                       struct dg_given *given, const struct dg_origin *at, const char *prefix,
                                       bool trainable);

/* Applies the instance to `input` values: elaborates its nodes into the graph, with shapes inferred as it goes. Parameters
 * are created by the first application and shared by the later ones. */
struct dg_application;
struct dg_application *dg_instance_apply(struct dg_instance *instance, const dg_value *input, int num_inputs,
                                         bool train, struct dg_position position, const char *label);
/* A named output of the module (`outputs:`); what the module stands for when name is NULL: its first named output, or its
 * last node. DG_NO_VALUE when there is none of that name. */
dg_value dg_application_output(const struct dg_application *application, const char *name);
/* Of an output that names a repeated node, how often it is repeated (0: there is no such output), and the value of one
 * repetition, 0 <= index < that. */
int64_t dg_application_repeats(const struct dg_application *application, const char *name);
dg_value dg_application_repeated(const struct dg_application *application, const char *name, int64_t index);

/* Parameters of an instance in definition order (PyTorch's order), after its first application. */
int dg_instance_num_params(const struct dg_instance *instance);
dg_value dg_instance_param(const struct dg_instance *instance, int index);

/* --- a recipe or a probe, checked and with every default filled in --- */

struct dg_recipe_crops {
    int64_t height, width;        /* pixels */
    int64_t count;                /* views of this resolution; 0: no such group */
    struct dg_origin size_origin; /* where the size is written, for shape errors */
};

/* A number that stays a knob is in `knobs`; what shapes the graph is here. */
struct dg_recipe {
    const char *name;
    int64_t batch;
    const char *backbone, *head;                              /* modules */
    struct dg_given *student_with, *teacher_with, *head_with; /* their arguments; the teacher's include the student's */
    struct dg_recipe_crops global, local;
    const char *optimizer;           /* "adamw", "sgd", "lars" */
    const char *buffers;             /* teacher.buffers: "own", "copy", "ema" */
    bool bf16;                       /* dtype */
    bool no_decay_bias, no_decay_1d; /* optim.no_decay: names ending in .bias; tensors of one dimension */
    const char *freeze_params; /* parameters whose name contains this are frozen until optim.freeze ends; NULL: none */
    struct dg_origin freeze_origin;  /* line 0: the recipe says nothing of freezing */
    int64_t classes, blocks;         /* of a probe */
    bool avgpool;                    /* of a probe */
    int64_t features_batch;          /* entries.features.batch; a probe's batch */
    struct dg_recipe_crops features; /* entries.features.size, of evaluation images */
    struct dg_plan_knob *knobs;      /* key, unit..: `key` indexes key_text */
    const char **knob_key;
    int num_knobs;
    struct dg_plan_schedule *schedules;
    const char **schedule_key;
    int num_schedules;
    struct dg_origin origin;
};

#endif
