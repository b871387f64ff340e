/* A recipe's YAML to struct dg_recipe, and `--set` before that. */
#ifndef DG_COMPILER_LANGUAGE_RECIPE_H
#define DG_COMPILER_LANGUAGE_RECIPE_H

#include "compiler/language/program.h"

/* One `--set a.b=value` on the tree of a definition: keys are a path of mapping keys and list positions, the value is YAML.
 * What is not there yet is added; whether it may be there is asked later, as of what the file says. `number` counts the
 * assignments of this compile from 1, for the places in messages. False: reported. */
bool dg_recipe_set(struct dg_program *program, struct dg_yaml *map, const char *assignment, int number);

/* Reads the recipe. Every default is written into the tree, so that printing it shows all there is. Unknown keys, wrong
 * types and values out of range are reported, all of them; false if there were any. Defaults are those of DINO's published
 * training script (paper, section 3.2 and its public command line). */
bool dg_recipe_read(struct dg_program *program, const char *name, struct dg_recipe *recipe);

/* Reads the probe likewise; defaults are those of the published linear evaluation (eval_linear.py). */
bool dg_probe_read(struct dg_program *program, const char *name, struct dg_recipe *probe);

/* The knobs that a module compiled alone has: how pixels become its input (crops.mean, crops.std). */
void dg_recipe_pixels(struct dg_program *program, struct dg_recipe *recipe);

/* Writes the value of an argument into a map of arguments, where printing shows it: if it is not there, or always. */
void dg_recipe_show_argument(struct dg_program *program, struct dg_yaml *map, const struct dg_scope *argument,
                             bool replace);

#endif
