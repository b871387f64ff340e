/* dinorun's commands, one file each, and what they share. */
#ifndef DINORUN_COMMAND_H
#define DINORUN_COMMAND_H

#include "runtime/base/log.h"
#include "runtime/base/path.h"
#include "runtime/comm/comm.h"
#include "runtime/data/dataset.h"
#include "runtime/draw/patches.h"
#include "runtime/eval/evaluator.h"
#include "runtime/eval/sizes.h"
#include "runtime/exec/cpus.h"
#include "runtime/exec/knobs.h"
#include "runtime/exec/session.h"
#include "runtime/model/source.h"
#include "runtime/train/results.h"
#include "tools/cli/bytes.h"
#include "tools/cli/flags.h"

#include <stdio.h>

extern const struct dg_command command_train, command_crops, command_features, command_knn, command_linear,
    command_attention, command_pca, command_segment_score, command_retrieve, command_copy_detect, command_info,
    command_bench, command_scale, command_import, command_export, command_bundle, command_report, command_video_segment,
    command_video_score;

/* The words of the command line, ended by NULL. */
extern const char *const *command_line;

/* ---- flags of several commands: a row of the table, but for what is the command's own ---- */

#define PLAN_OR_RUN "PLAN|RUN"
#define NETWORK PLAN_OR_RUN "|BUNDLE" /* what has weights, or with --weights */
#define FLAG_WEIGHTS                                                                                                   \
    "weights", "FILE", "checkpoint of a run, or a backbone's file (safetensors or torch.save)",                        \
        .required = true, .in_folder = "the newest checkpoint", .in_bundle = true, .sharing = DG_FLAG_OWN_VALUE
#define FLAG_WEIGHTS_FROM "weights-from", "NET", "the network of a checkpoint", .choices = "teacher|student"
#define FLAG_KEY                                                                                                       \
    "key", "NAME", "of several networks in a file of torch.save, the one under this key", .unset = "the only one"
#define FLAG_PREFIX                                                                                                    \
    "prefix", "NAME", "of several networks in a file, the one whose names begin so", .unset = "the only one"
#define FLAG_POSITIONS                                                                                                 \
    "positions", "HxW", "rows and columns of patches that the file's position table is for",                           \
        .parse = parse_positions, .expected = "rows and columns, as in 16x4", .unset = "a square, or the plan's"
#define FLAG_PARTIAL "partial", NULL, "go on with a file that has more, or other heads, than the plan knows"
#define DEFAULT_THREADS "OMP_NUM_THREADS, or as many as there are CPUs to use"
#define FLAG_ACCEPT_CHANGES                                                                                            \
    "accept-changes", NULL, "go on with a checkpoint of another network than the plan's; what differs is listed"
#define FLAG_THREADS                                                                                                   \
    "threads", "N", "threads to compute and to read images with", .min = 1, .max = 1024, .unset = DEFAULT_THREADS,     \
                                                                  .sharing = DG_FLAG_OWN
#define FLAG_SET "set", "key=value", "change a knob of the recipe; dinorun info PLAN lists them"
#define FLAG_SEED "seed", "N"
#define FLAG_EPOCHS                                                                                                    \
    "epochs", "N", "length of the run and of all its schedules", .min = 1, .max = 1000000, .unset = "the recipe's"
#define FLAG_MAX_BAD_IMAGES(help)                                                                                      \
    "max-bad-images", "N|P%", help, .parse = read_bad_limit, .expected = "a whole number, or percent as in 0.1%"
#define FLAG_DATA                                                                                                      \
    "data", "DIR", "images: a folder with all below it, a tar or zip, or @LIST, a list of files",                      \
        .sharing = DG_FLAG_OWN_VALUE
#define FLAG_CLASSES_FROM                                                                                              \
    "classes-from", "FILE|DIR", "the classes and their order: a line each, or a folder each; others are passed over",  \
        .unset = "the folders with images, by name", .sharing = DG_FLAG_OWN_VALUE
#define FLAG_EXIF                                                                                                      \
    "exif", NULL,                                                                                                      \
        "turn images as EXIF's orientation says; otherwise they are read as they are stored, as by torchvision"
#define FLAG_PILLOW                                                                                                    \
    "pillow", "VERSION", "resize in the order of passes of Pillow 13, or of 12 and before", .choices = "12|13",        \
                                                                                            .unset = "13"
#define FLAG_IGNORE_MEMORY "ignore-memory", NULL, "start even if the machine seems to have too little memory"
#define FLAG_THRESHOLD "threshold", "T", "the share of a head's attention that its mask holds", .max = 1
#define FLAG_RESIZE(help)                                                                                              \
    "resize", "HOW",                                                                                                   \
        "show images without a crop: exact (their own size), 'short-side N' or 'long-side N' (their own shape), "      \
        "'square N' (N x N "                                                                                           \
        "pixels)" help ". dinoc makes a plan for each size",                                                           \
        .parse = dg_fit_read, .expected = "exact, 'short-side N', 'long-side N' or 'square N'"
#define FLAG_MEMORY                                                                                                    \
    "memory", "SIZE",                                                                                                  \
        "what sessions for images of many sizes may take together; the one that was not used for the longest time is " \
        "closed for another",                                                                                          \
        .parse = dg_read_bytes, .expected = "a size, as in 2G or 800M", .unset = "half of what is free"
#define FLAG_IMAGE_SIZE                                                                                                \
    "image-size", "N|HxW", "resize images to this size; dinoc makes a plan for it if the given one has another",       \
        .parse = read_image_size, .expected = "pixels up to 16384, as in 480 or 160x240", .unset = "the plan's"

/* The rows of a table that choose weights within the file of FLAG_WEIGHTS; `options` are the command's struct
 * dg_evaluator_options or dg_linear_options. */
#define ROWS_CHOOSE_WEIGHTS(options)                                                                                   \
    {FLAG_WEIGHTS_FROM, .text = &(options).choice.from}, {FLAG_KEY, .text = &(options).choice.key},                    \
        {FLAG_PREFIX, .text = &(options).choice.prefix}, {FLAG_POSITIONS, .parsed = (options).choice.positions},       \
        {FLAG_PARTIAL, .given = &(options).choice.partial},                                                            \
    {                                                                                                                  \
        FLAG_ACCEPT_CHANGES, .given = &(options).accept_changes                                                        \
    }

/* ---- how gradients are added up ---- */

/* --reduce, --wire and --together; NULL: not given. */
struct sum_flags {
    const char *reduce, *wire;
    int together;
};
struct dg_comm_sums sums_of(const struct sum_flags *flags);

#define FLAG_WIRE                                                                                                      \
    "wire", "TYPE",                                                                                                    \
        "what gradients travel as between processes. bf16 halves the bytes, for slow networks; numbers and "           \
        "their sums are rounded to it, and are added in f32",                                                          \
        .choices = "f32|bf16"

/* The rows of a table for how gradients are added up; `unset` says what holds where they are not given. */
#define ROWS_SUMS(flags, more)                                                                                         \
    {"reduce",                                                                                                         \
     "BY",                                                                                                             \
     "with several processes: who adds up their gradients. ranks: dinorun, in the order of ranks, so that the "        \
     "bits depend on the number of processes alone; machines: dinorun, first the processes of each machine, then "     \
     "machines, which moves fewer bytes between them; mpi: the library, which may be faster on some networks",         \
     .text = &(flags).reduce,                                                                                          \
     .choices = "ranks|machines|mpi",                                                                                  \
     .unset = "ranks" more},                                                                                           \
        {FLAG_WIRE, .text = &(flags).wire, .unset = "f32" more},                                                       \
    {                                                                                                                  \
        "together", "N", "with --reduce machines: take that many processes of neighbouring ranks for a machine",       \
            .count = &(flags).together, .min = 1, .max = 65536, .with = "reduce", .unset = "those that share memory"   \
    }

/* ---- data ---- */

/* --exif and --pillow. */
struct image_flags {
    bool exif;
    const char *pillow;
};
struct dg_image_rules image_rules(const struct image_flags *flags);
/* The rows of a table that fill in `flags`. */
#define ROWS_IMAGE_RULES(flags)                                                                                        \
    {FLAG_EXIF, .given = &(flags).exif}, { FLAG_PILLOW, .text = &(flags).pillow }

/* The folders and lists of a flag, which outlives it, --classes-from, and how images are read. */
struct dg_data data_of(const struct dg_flag_values *path, const char *classes_from, const struct image_flags *images);

/* "10" or "0.5%" into a struct dg_bad_limit. */
bool read_bad_limit(const char *text, void *parsed);

/* Reads "HxW" into int64_t[2]. */
bool parse_positions(const char *text, void *positions);

/* ---- plans ---- */

/* A plan and the values of its knobs after --set and --epochs (0: not given). Close it, whatever open_plan returned. */
struct opened_plan {
    const char *path; /* a plan, or what leads to one */
    struct dg_model_source source;
    const char *run; /* the run's folder; NULL: it is none */
    struct dg_flag_values set;
    int64_t epochs;
    struct dg_plan plan;
    struct dg_knobs knobs;
};
enum dg_status open_plan(struct opened_plan *opened, struct dg_error *err);
/* The same of the plan at `path`. */
enum dg_status open_plan_file(struct opened_plan *opened, const char *path, struct dg_error *err);
void close_plan(struct opened_plan *opened);

/* An evaluation entry of a plan, run over images. The flags fill in the options. */
struct evaluation {
    struct opened_plan of;
    struct dg_evaluator_options options;
    struct image_flags images;
    struct dg_evaluator *evaluator;
    struct dg_sizes *sizes;  /* in its place, for images of many sizes */
    bool multiscale;         /* of these (dg_sizes_options) */
    char found[DG_MAX_PATH]; /* the weights, where no flag names them */
};
/* Opens the plan. Of a run's folder the weights are its newest checkpoint unless flags name others, of a bundle they are its own; images
 * are read, resized and normalised as run or bundle says. */
enum dg_status open_weights_plan(struct evaluation *evaluation, struct dg_error *err);
/* Images that are shown without a crop, and the size that all of them are resized to: DG_FIT_NONE: the plan's. */
struct whole_images {
    struct dg_fit fit;
    const char *const *path;
    int count;
};
/* Opens the plan, and finds the patches of its images. Where `images` (may be NULL) have another size than the plan, it
 * becomes one for that size, which dinoc makes. */
enum dg_status open_patches(struct evaluation *evaluation, const struct whole_images *images,
                            struct dg_patches *patches, struct dg_error *err);
/* That change of the plan, which is open. DG_ERR_INPUT: the images come to different sizes. */
enum dg_status take_size(struct evaluation *evaluation, const struct whole_images *images, struct dg_error *err);
/* Reads "480" or "160x240" into a struct dg_fit. */
bool read_image_size(const char *text, void *fit);
/* Opens the evaluator of the plan, which is open. */
enum dg_status open_evaluator(struct evaluation *evaluation, struct dg_error *err);
/* The same for images of many sizes: dinoc makes the plans (runtime/eval/sizes.h). `std` outlives them. */
enum dg_status open_sizes(struct evaluation *evaluation, const double *std, struct dg_error *err);
/* Opens the session of the largest images that `fit` lets through, where it says so, and prints what it takes. */
enum dg_status prepare_sizes(struct evaluation *evaluation, struct dg_fit fit, struct dg_error *err);
/* Says which sizes there were, and what memory they took. */
void print_sizes(const struct evaluation *evaluation);
void close_evaluation(struct evaluation *evaluation);
int evaluation_threads(const struct evaluation *evaluation);

/* ---- several processes ---- */

enum { STALL_LIMIT = 600 }; /* seconds that a process waits for others unless told */

/* dg_comm_open, and that all processes were given the same flags, but for those that may differ (tools/cli/table.h). DG_ERR_USAGE:
 * they were not, the same on all. */
enum dg_status join_ranks(const struct dg_comm_options *options, struct dg_comm **comm, struct dg_error *err);
/* The same for an evaluation. Afterwards rank 0 alone prints, and once check_ranks or
 * let_ranks_warn was called the others warn. *threads, if 0, receives this process's share of the machine. */
enum dg_status open_ranks(struct dg_comm **comm, int *threads, struct dg_error *err);
bool leads(const struct dg_comm *comm); /* rank 0, or alone */
void let_ranks_warn(void);
/* Collective: all evaluate the same plan, settings, weights and images, which are those of `path`. DG_ERR_USAGE as
 * of dg_ranks_check. */
enum dg_status check_ranks(struct evaluation *evaluation, const struct dg_dataset *dataset, const char *path,
                           struct dg_error *err);
/* Reports the error that all have come to, leaves, and returns the exit status. */
int end_ranks(struct dg_comm *comm, const struct dg_error *err);

/* ---- runs ---- */

/* Images are read as in the training of the source, unless flags say otherwise. */
void take_images(const struct dg_model_source *source, struct image_flags *images);
/* Appends what was measured to results.csv of the run's folder that was given in the place of a plan, if one was.
 * Sets step, network and weights of the results. */
enum dg_status add_results(const struct opened_plan *of, const struct dg_evaluator_options *options,
                           struct dg_results *results, struct dg_error *err);

/* ILSVRC 2012's training images, in which the published recipes count their epochs, and the days that so many epochs
 * of them take at `rate` images a second. */
enum { IMAGENET_IMAGES = 1281167 };
double imagenet_days(double epochs, double rate);

/* ---- output ---- */

/* --quiet. main opens it before the command runs, with standard output then at /dev/null. */
extern bool quiet;
#define FLAG_QUIET                                                                                                     \
    "quiet", NULL, "print results, warnings and errors, and neither progress nor what was done", .given = &quiet
enum dg_status quiet_open(struct dg_error *err);
/* DG_ERR_IO: not all results could be written. */
enum dg_status quiet_close(struct dg_error *err);
/* Where a command prints what it was asked for: standard output, also with --quiet. */
FILE *results(void);

/* Reports the error, and returns the exit status: 0 if there is none, 2 for a mistake in the command line, else 1. */
int exit_status(const struct dg_error *err);

/* DG_ERR_USAGE: the name of a drawing ends as that of another kind of file. */
enum dg_status check_png_name(const char *path, struct dg_error *err);

/* Writes FILE.left-out.tsv, the images that have no line in FILE: path, tab, reason. If there are none, one of an
 * earlier run goes. */
enum dg_status write_left_out(const struct dg_dataset *dataset, const char *file, struct dg_error *err);

/* Where the runtime's messages go: what was done to standard output, warnings and traces to standard error. The
 * traces are those that DINOGRAPH_TRACE asks for. */
extern struct dg_log console;
void write_message(void *context, enum dg_log_level level, enum dg_log_topic topic, const char *text);
/* Warnings and traces to standard error, after what is in standard output; for callbacks of a command's own. */
void write_to_stderr(enum dg_log_level level, enum dg_log_topic topic, const char *text);

/* Shows "12/400 images" on the last line of the terminal, in place of the one before; does nothing where standard
 * output is no terminal. clear_images removes the line. */
void show_images(int64_t done, int64_t all);
void clear_images(void);

/* Prints the memory that a session takes, region by region. */
void print_memory(const struct dg_session_memory *memory, int64_t loader_bytes);

#endif
