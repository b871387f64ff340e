/* The table of flags by which a command states each of its flags once; parsing, messages and --help are made of it. */
#ifndef DG_TOOLS_CLI_TABLE_H
#define DG_TOOLS_CLI_TABLE_H

#include "ops/base/base.h"

/* The values of a flag, or the files, of which there may be several, in their order. dg_command_run frees them. */
struct dg_flag_values {
    const char **value;
    int count;
};

/* Pixels. */
struct dg_flag_size {
    int64_t height, width;
};

/* What processes that share the work, each with a command line of its own, may be given otherwise. */
enum dg_flag_sharing {
    DG_FLAG_ALIKE,     /* nothing */
    DG_FLAG_OWN_VALUE, /* the value, as of a path, whose file is compared instead; all or none have the flag */
    DG_FLAG_OWN,       /* the value, and whether the flag is there */
};

/* A flag. One of the pointers text to parse says where its value goes and by its type what is accepted; what stands
 * there before parsing is the default. Names of other flags stand without dashes, with a blank between two. */
struct dg_flag {
    const char *name;  /* "out" of --out; also given as --ou where no other flag begins so */
    const char *value; /* the value in --help and in messages: FILE, N, ...; NULL: the flag takes none */
    const char *help;
    char letter; /* 'o' of -o; 0: none */

    bool *given; /* set if the flag is there; may stand beside one of the others */
    const char **text;
    struct dg_flag_values *texts; /* may be given again */
    int64_t *integer;             /* min to max; max 0: without limit. So are the next two */
    int *count;
    uint64_t *seed;
    double *number; /* above 0, and up to max if that is not 0 */
    struct dg_flag_size *size;
    bool (*parse)(const char *text, void *parsed); /* false: the text is not what is expected */
    void *parsed;

    int64_t min, max;
    const char *choices;  /* of text: "teacher|student" */
    const char *expected; /* of parse and size, in messages: "pixels, as in 224 or 160x240" */
    const char *unset;    /* the default in words, where the variable does not say it */

    bool required;
    /* What stands in its place where the argument that is no flag is a folder; it is not required then. NULL: it is. */
    const char *in_folder;
    bool in_bundle;      /* nor where that argument is a bundle */
    const char *unless;  /* not required where one of these is given */
    const char *with;    /* makes sense only with this one */
    const char *without; /* excludes these */
    enum dg_flag_sharing sharing;
};

/* A program, or a command of one. */
struct dg_command {
    const char *program, *name; /* name NULL: the program has no commands */
    const char *summary;        /* what it does, without a full stop */
    const char *more;           /* printed after the flags; NULL: nothing */
    struct {
        const char *name, *what; /* "PLAN"; what: for messages, may be NULL. name NULL: there is no such argument */
        const char **value;
        const char *unless;            /* is not there where one of these flags is given */
        struct dg_flag_values *values; /* in place of `value`: one or more of them */
        const char *spared;            /* may be missing where one of these flags is given */
    } file;                            /* the argument that is no flag */
    const char *lifts; /* a flag with which no other is required: the command finds what it needs; NULL: none */
    const struct dg_flag *flags; /* ended by a NULL name */
    int (*run)(void);            /* returns the exit status */
};

/* A program with its commands. */
struct dg_commands {
    const char *name;
    const char *summary;                     /* as of a command */
    const struct dg_command *const *command; /* one without a name, or several with names */
    int commands;
};

#endif
