/* The machine that reads a pickle: pickle.c executes opcodes, pickle_callables.c knows what pickles import and call. */
#ifndef DG_RUNTIME_FORMATS_PICKLE_MACHINE_H
#define DG_RUNTIME_FORMATS_PICKLE_MACHINE_H

#include "runtime/formats/pickle_value.h"

/* One pickle being read. Stack and memo hold values of the pickle they are read for. */
struct dg_pickle_machine {
    struct dg_pickle *pickle;
    const unsigned char *bytes;
    size_t size, at;
    size_t opcode_at; /* of the opcode being executed, for messages */
    const struct dg_pickle_value **stack;
    int64_t depth, stack_room;
    int64_t *mark; /* depths of the stack */
    int64_t marks, mark_room;
    const struct dg_pickle_value **memo;
    int64_t memo_size, memo_room, memo_count; /* memo_size: indices below it may be set */
    struct dg_error *err;
};

/* Fails with DG_ERR_INPUT and the place in the pickle. */
void dg_pickle_complain(const struct dg_pickle_machine *m, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A constant, so that the compiler sees that what follows a failure is not run. */
#define dg_pickle_bad(...) (dg_pickle_complain(__VA_ARGS__), DG_ERR_INPUT)

/* Formats a name from the file for a message: cut, and without control characters. Returns `out`. */
const char *dg_pickle_printable(char *out, size_t room, const char *text, int64_t size);

/* `size` bytes for a value, the pickle's until it is closed. NULL: reported. */
void *dg_pickle_make(struct dg_pickle_machine *m, size_t size);

/* Adds an item to a list, dict or object that the machine made. */
enum dg_status dg_pickle_append(struct dg_pickle_machine *m, struct dg_pickle_value *list,
                                const struct dg_pickle_value *item);

typedef enum dg_status dg_pickle_call_fn(struct dg_pickle_machine *m, const struct dg_pickle_value *args,
                                         struct dg_pickle_value *result);

enum dg_pickle_is { DG_PICKLE_IS_FUNCTION, DG_PICKLE_IS_STORAGE, DG_PICKLE_IS_DTYPE };

/* What data are made of. */
struct dg_pickle_callable {
    const char *module, *name;
    enum dg_pickle_is is;
    dg_pickle_call_fn *call; /* of DG_PICKLE_IS_FUNCTION */
    enum dg_safetensors_dtype dtype;
};

/* What `module`.`name` stands for: a GLOBAL or a CLASS. DG_ERR_INPUT: a name that only an attack has a use for. */
enum dg_status dg_pickle_find_global(struct dg_pickle_machine *m, const char *module, int64_t module_size,
                                     const char *name, int64_t name_size, struct dg_pickle_value *result);

/* function(*args), or cls.__new__(cls, *args). */
enum dg_status dg_pickle_call(struct dg_pickle_machine *m, const struct dg_pickle_value *function,
                              const struct dg_pickle_value *args, struct dg_pickle_value *result);

#endif
