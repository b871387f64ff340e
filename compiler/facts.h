/* What a plan's results depend on, as text in the plan: checkpoints take it along, and what reads them compares. */
#ifndef DG_COMPILER_FACTS_H
#define DG_COMPILER_FACTS_H

#include "compiler/language/recipe.h"

/* What was compiled. */
struct dg_facts_input {
    struct dg_program *program;
    const struct dg_definition *definition; /* read, with every default */
    const struct dg_model_recipe *model;
    const struct dg_train_recipe *recipe; /* NULL: it is no recipe */
};

/* Lines "key=value" (runtime/plan/format.h says which), in the program's arena. To be called when the same networks have been
 * compiled without an error. */
const char *dg_facts_text(const struct dg_facts_input *in);

#endif
