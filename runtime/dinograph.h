/* Dinograph in other programs: open what dinorun has trained, or a plan with weights, give it images, run it, read
 * what comes out. For C and C++, from libdinograph (pkg-config dinograph). Training is dinorun's.
 *
 *     dinograph_session *session;
 *     if (dinograph_open("run", "features", NULL, &session) != DINOGRAPH_OK ||
 *         dinograph_set_image_file(session, 0, "cat.jpg") != DINOGRAPH_OK || dinograph_run(session) != DINOGRAPH_OK)
 *         fprintf(stderr, "%s\n", dinograph_error());
 *     const float *features = dinograph_output_data(session, "features");
 *
 * Below that are its parts: a model (a plan with its weights, for several sessions), or a plan and the weights that
 * are loaded into its session.
 *
 * Errors: a function that can fail returns a status, and dinograph_error() has the text. A call that fails has no
 * effect, except where it says so. Nothing here ends the process, or prints, except for traces: see DINOGRAPH_TRACE
 * in runtime/README.md.
 *
 * Threads: one call at a time on a session. Several sessions of one plan or model may be opened and used by several
 * threads. A session computes with threads of its own (OpenMP): dinograph_run inside of a parallel region is
 * DINOGRAPH_ERR_USAGE, unless the session was opened in one. The calling thread's OpenMP settings are as before when
 * a call returns.
 *
 * Memory: opening a session takes all that its runs need. dinograph_run allocates nothing of Dinograph's own, but for
 * the first run after a higher row was set, which prepares the operations for as many; dinograph_set_rows does that
 * at once. */
#ifndef DINOGRAPH_H
#define DINOGRAPH_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define DINOGRAPH_API __attribute__((visibility("default")))
#else
#define DINOGRAPH_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* What kind of thing went wrong. Numbers are never reused. */
typedef enum dinograph_status {
    DINOGRAPH_OK = 0,
    DINOGRAPH_ERR_USAGE = 1,  /* something that does not exist was asked for, a size is wrong, a step was left out */
    DINOGRAPH_ERR_INPUT = 2,  /* a file's content is wrong: plan, weights, image */
    DINOGRAPH_ERR_IO = 3,     /* the operating system refused */
    DINOGRAPH_ERR_MEMORY = 4, /* too little memory */
    DINOGRAPH_ERR_UNSUPPORTED = 5, /* right, but this build or this oneDNN cannot do it */
    DINOGRAPH_ERR_NUMERIC = 6,     /* a number that is not finite */
    DINOGRAPH_ERR_INTERNAL = 7     /* a bug of Dinograph's */
} dinograph_status;

/* The text of the calling thread's last call that failed: what, where, and what to do. "" before the first. Valid until
 * the thread's next call that fails. */
DINOGRAPH_API const char *dinograph_error(void);

/* "0.2.0" */
DINOGRAPH_API const char *dinograph_version(void);

/* ---- plans ---- */

typedef struct dinograph_plan dinograph_plan;

/* Opens and verifies the plan file at `path`; *plan is then the caller's, to be closed with dinograph_plan_close. The
 * file stays mapped until then and must not be changed in place. On failure *plan is NULL. DINOGRAPH_ERR_IO,
 * DINOGRAPH_ERR_INPUT (not a plan, damaged, or of another version). */
DINOGRAPH_API dinograph_status dinograph_plan_open(const char *path, dinograph_plan **plan);

/* After the plan's sessions are closed. NULL is fine. */
DINOGRAPH_API void dinograph_plan_close(dinograph_plan *plan);

/* How many entry points the plan has, and the name of one (0 .. count - 1; NULL beyond); valid until the plan is
 * closed. The plan of a ViT recipe has "train", "features", "attention" and "tokens". */
DINOGRAPH_API int dinograph_plan_entries(const dinograph_plan *plan);
DINOGRAPH_API const char *dinograph_plan_entry(const dinograph_plan *plan, int index);

/* ---- sessions ---- */

typedef struct dinograph_session dinograph_session;

/* All zero (or NULL in place of the struct) is what most programs want. */
typedef struct dinograph_options {
    int threads;       /* to compute with; 0: as many as CPUs that this process may use */
    int ignore_memory; /* 1: open even if the machine seems to have too little memory */
    int reserved[6];   /* 0 */
} dinograph_options;

/* Opens the entry point of that name, "features" as a rule: prepares its operations and takes its memory. `plan` must
 * stay open as long as the session; *session is the caller's, to be closed with dinograph_session_close. On failure
 * *session is NULL. DINOGRAPH_ERR_USAGE (no such entry; or one that changes weights, which is "train"),
 * DINOGRAPH_ERR_MEMORY (the machine has less than the entry needs; the text has the numbers). */
DINOGRAPH_API dinograph_status dinograph_session_open(const dinograph_plan *plan, const char *entry,
                                                      const dinograph_options *options, dinograph_session **session);

/* The threads that the session computes with: as many as the options say, or fewer where OpenMP gives no more. */
DINOGRAPH_API int dinograph_session_threads(const dinograph_session *session);

/* Frees all that is the session's, with the memory that dinograph_output_data returned. NULL is fine. */
DINOGRAPH_API void dinograph_session_close(dinograph_session *session);

/* Loads the entry's parameters from a file of weights: a checkpoint of dinorun (`from` says whose backbone:
 * "teacher", which NULL stands for, or "student"), or a backbone in a safetensors file or one of torch.save, under
 * the names of a library that tools/README.md lists; of several networks in a file, dinorun import takes one out.
 * Needed once before the first run, and may be called again. After a failure there are no weights, and dinograph_run
 * says so, until a call succeeds. Entry "classifier" of a model takes no others than the model's. Where the file
 * says how images were normalised in its training, dinograph_set_image* do so from then on. DINOGRAPH_ERR_IO,
 * DINOGRAPH_ERR_INPUT (the text names tensors that are missing or of another shape; what differs from the network
 * that was trained; what is damaged), DINOGRAPH_ERR_NUMERIC (a tensor has numbers that are not finite). */
DINOGRAPH_API dinograph_status dinograph_load_weights(dinograph_session *session, const char *path, const char *from);

/* ---- models: a plan with its weights ---- */

typedef struct dinograph_model dinograph_model;

/* All zero (or NULL in place of the struct) for a run's folder and for a bundle. */
typedef struct dinograph_model_options {
    const char *weights; /* of a plan, or another checkpoint of a run: the file for dinograph_load_weights */
    const char *from;    /* "teacher" (NULL likewise) or "student" */
    const char *head;    /* a classifier's file, as dinorun linear leaves it: run/linear/best.safetensors */
    void *reserved[5];   /* NULL */
} dinograph_model_options;

/* Opens what is at `path`: the folder of dinorun train --out, whose newest checkpoint is taken; a bundle of dinorun
 * bundle; or a plan, with options->weights. Images are read, resized and normalised as in the training, as dinorun
 * does with the same path: from a plan, as dinograph_session_open does. A bundle has its weights and its classifier,
 * and takes no options.
 *
 * A classifier works on the features of the probe that it was trained by, whose plan is run.plan beside its file; or
 * on those of `path`, if that is such a plan, or there is none. *model is the caller's, to be closed with
 * dinograph_model_close; strings are copied. On failure *model is NULL. DINOGRAPH_ERR_USAGE (no weights, options that
 * do not go together, a classifier for other features), DINOGRAPH_ERR_IO, DINOGRAPH_ERR_INPUT (damaged, no bundle and
 * no plan, of another version), DINOGRAPH_ERR_MEMORY. */
DINOGRAPH_API dinograph_status dinograph_model_open(const char *path, const dinograph_model_options *options,
                                                    dinograph_model **model);

/* After the model's sessions are closed. NULL is fine. */
DINOGRAPH_API void dinograph_model_close(dinograph_model *model);

/* How many entries can be opened, and the name of one (0 .. count - 1; NULL beyond); valid until the model is closed.
 * Those of the plan that evaluate, and "classifier" if there is one. */
DINOGRAPH_API int dinograph_model_entries(const dinograph_model *model);
DINOGRAPH_API const char *dinograph_model_entry(const dinograph_model *model, int index);

/* Opens an entry with the model's weights loaded: dinograph_session_open and dinograph_load_weights, with the errors
 * of both. The model stays open as long as the session, and may be used by several threads. Entry "classifier" gives,
 * beside "features", "logits" and "probabilities", f32 [batch, classes]; DINOGRAPH_ERR_INPUT if the classifier was
 * trained on other weights or other features. */
DINOGRAPH_API dinograph_status dinograph_model_session(const dinograph_model *model, const char *entry,
                                                       const dinograph_options *options, dinograph_session **session);

/* Both in one call, with the usual options of a model: *session is closed with dinograph_session_close, and the model
 * with it. */
DINOGRAPH_API dinograph_status dinograph_open(const char *path, const char *entry, const dinograph_options *options,
                                              dinograph_session **session);

/* How many classes the session's classifier has, in the order of its outputs; 0: it has none. And the name of one,
 * as its folder of images was called, in whatever bytes; NULL beyond, or if the names are not known, as in published
 * heads. Valid until the model is closed. */
DINOGRAPH_API int dinograph_classes(const dinograph_session *session);
DINOGRAPH_API const char *dinograph_class(const dinograph_session *session, int index);

/* ---- inputs and outputs ---- */

typedef enum dinograph_type {
    DINOGRAPH_F32 = 1,
    DINOGRAPH_F64 = 2,
    DINOGRAPH_I64 = 3,
    DINOGRAPH_U8 = 4
} dinograph_type;

/* Shape and type of an input or output; row-major, without gaps. */
typedef struct dinograph_tensor {
    const char *name; /* valid until the plan is closed */
    dinograph_type type;
    int ndim;
    int64_t dim[8]; /* 0 beyond ndim; the first is the batch */
    size_t bytes;
} dinograph_tensor;

/* How many inputs the session's entry has, and their descriptions (0 .. count - 1). Most entries have one: "images",
 * f32 [batch, height, width, 3], RGB, (value / 255 - mean) / std by the recipe's mean and deviation.
 * DINOGRAPH_ERR_USAGE: no such index. */
DINOGRAPH_API int dinograph_inputs(const dinograph_session *session);
DINOGRAPH_API dinograph_status dinograph_input(const dinograph_session *session, int index, dinograph_tensor *tensor);

/* Likewise the outputs. Entries "features", "attention" and "tokens" have one of their own name: f32 [batch, dim], the
 * last block's attention [batch, heads, 1 + patches, 1 + patches], and the last block's normalised tokens [batch, 1 +
 * patches, dim]. */
DINOGRAPH_API int dinograph_outputs(const dinograph_session *session);
DINOGRAPH_API dinograph_status dinograph_output(const dinograph_session *session, int index, dinograph_tensor *tensor);

/* Copies `bytes` bytes from `data`; they must be all of the input's. An input begins as zeros and keeps its content
 * from run to run. DINOGRAPH_ERR_USAGE: no such input, or another size. */
DINOGRAPH_API dinograph_status dinograph_set_input(dinograph_session *session, const char *name, const void *data,
                                                   size_t bytes);

/* Binds the input to the caller's memory at `data`, which is 64-byte aligned, of the input's size, and valid for every
 * run until the input is bound or set again. It is never written. DINOGRAPH_ERR_USAGE. */
DINOGRAPH_API dinograph_status dinograph_bind_input(dinograph_session *session, const char *name, const void *data,
                                                    size_t bytes);

/* Puts an image into row `row` of the input "images", prepared as `dinorun features` does: short side resized to
 * 256/224 of the input's (or as the recipe says), bicubic, centre crop, normalised. Other rows stay and do not
 * influence this row's results: a batch need not be full. dinograph_set_image takes `pixels`, RGB, 8 bits, [height,
 * width, 3]; dinograph_set_image_file the file at `path`, of any format that the build reads;
 * dinograph_set_image_memory `size` bytes of such a file, as they come from a socket or a database, with the pixels of
 * the file. Nothing of the caller's is used after the call. DINOGRAPH_ERR_USAGE (the entry has no such input or row,
 * dinograph_set_rows has chosen fewer rows, or the input is bound to memory of the caller's), DINOGRAPH_ERR_INPUT (no
 * image, damaged, empty, too large), DINOGRAPH_ERR_IO. */
DINOGRAPH_API dinograph_status dinograph_set_image(dinograph_session *session, int64_t row, const uint8_t *pixels,
                                                   int width, int height);
DINOGRAPH_API dinograph_status dinograph_set_image_file(dinograph_session *session, int64_t row, const char *path);
DINOGRAPH_API dinograph_status dinograph_set_image_memory(dinograph_session *session, int64_t row, const void *bytes,
                                                          size_t size);

/* How many rows a run computes, from row 0 on. Unless it is told, a session computes those up to the last that was
 * ever set, or the whole batch if none was, so that one image costs one image. dinograph_set_rows chooses the first
 * `rows`, 1 to the batch, from the next run on, and prepares the operations for as many; 0 ends the choice. Outputs
 * have their first `rows` rows then, equal to rounding to those of other numbers of rows; what stands in the others
 * is not defined. Inputs stay as they are. DINOGRAPH_ERR_USAGE (more than the batch), DINOGRAPH_ERR_MEMORY. */
DINOGRAPH_API dinograph_status dinograph_set_rows(dinograph_session *session, int64_t rows);
DINOGRAPH_API int64_t dinograph_rows(const dinograph_session *session);

/* What a caller may want to know of a session's entry, beside shapes. Zero where there is nothing of the kind. */
typedef struct dinograph_info {
    int64_t batch;              /* rows of inputs and outputs */
    int64_t dim;                /* numbers of a row's features, or of each of its tokens */
    int height, width;          /* pixels of an image as the network sees it */
    int resize;                 /* pixels of the side that is resized to before the crop; 256 for 224 */
    int patch_size;             /* pixels of a patch's side */
    int patch_rows, patch_cols; /* patches; tokens come row by row */
    int first_patch;            /* tokens before those of the patches: class token, registers */
    int classes;                /* of the classifier */
    double mean[3], std[3];     /* of red, green and blue, for pixels from 0 to 1 */
    int64_t reserved[16];       /* 0 */
} dinograph_info;

/* Fills in *info. Mean, deviation and size before the crop may change with dinograph_load_weights. Never fails. */
DINOGRAPH_API dinograph_status dinograph_session_info(const dinograph_session *session, dinograph_info *info);

/* The current content of the input of that name, for example what dinograph_set_image made of an image; NULL if there
 * is no such input. The memory is the session's (or the caller's, if the input is bound) and must only be read. */
DINOGRAPH_API const void *dinograph_input_data(const dinograph_session *session, const char *name);

/* Computes the outputs from the inputs. DINOGRAPH_ERR_USAGE: no weights were loaded. After a failure there are no
 * outputs. */
DINOGRAPH_API dinograph_status dinograph_run(dinograph_session *session);

/* The output of that name, of the last run; NULL if there is no such output or no run yet. The memory is the session's,
 * and its content is valid until the next run. */
DINOGRAPH_API const void *dinograph_output_data(const dinograph_session *session, const char *name);

#ifdef __cplusplus
}
#endif

#endif
