/* Reads Python pickles as PyTorch writes state dicts, with a machine that builds plain values and runs nothing.
 *
 * A pickle is a program for a stack machine; Python's own imports and calls whatever it names. This one knows the
 * opcodes of protocols 0 to 5 and the few callables that checkpoints need (pickle_callables.c lists each with its
 * reason), and makes data of them. What any other class or function would make becomes a DG_PICKLE_OBJECT, which only
 * has its name and the attributes that were saved. Names that only an attack has a use for (os.system) are refused.
 * Time and memory are bounded by the pickle's length and by the limits of pickle_value.h. */
#ifndef DG_RUNTIME_FORMATS_PICKLE_H
#define DG_RUNTIME_FORMATS_PICKLE_H

#include "runtime/formats/pickle_value.h"

/* Reads the pickle that begins at `bytes`; `*used` (may be NULL) receives its length. The value lives until
 * dg_pickle_close. DG_ERR_INPUT names the byte and what is there. */
enum dg_status dg_pickle_read(struct dg_pickle *pickle, const void *bytes, size_t size, size_t *used,
                              const struct dg_pickle_value **value, struct dg_error *err);

#endif
