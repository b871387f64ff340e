/* Modules to nodes of a graph: an instance is a module with its arguments bound, an application puts its nodes into the graph.
 *
 * All errors go to the program's diagnostics with file:line:col. Functions return NULL or DG_NO_VALUE once they have reported
 * one, and callers go on where that can find more errors. */
#ifndef DG_COMPILER_LANGUAGE_ELABORATE_H
#define DG_COMPILER_LANGUAGE_ELABORATE_H

#include "compiler/graph/graph.h"
#include "compiler/language/program.h"

/* A module with its arguments bound; owns its parameters, of which there is one set in the graph however often it is applied. */
struct dg_instance;

/* Binds the arguments of `module`: `args`, else the module's defaults. `at` is the place that asks for the module. `prefix`
 * is put before parameter names ("student.backbone."). With trainable false all parameters are frozen (the teacher,
 * evaluation). NULL: reported. */
struct dg_instance *dg_instance_create(struct dg_program *program, struct dg_graph *graph, const char *module,
                                       struct dg_args *args, const struct dg_origin *at, const char *prefix,
                                       bool trainable);

/* Applies the instance to `input` values: adds its nodes to the graph, with shapes inferred as they come. The first
 * application creates the parameters, later ones share them. `rows` says which images of the step the leading dimension
 * holds; `application` is an index of the graph's (dg_graph_application). NULL: reported. */
struct dg_application;
struct dg_application *dg_instance_apply(struct dg_instance *instance, const dg_value *input, int num_inputs,
                                         bool train, struct dg_row_range rows, uint32_t application);

/* An output of the module by its name in `outputs:`. name NULL: the module's default output, which is its first named
 * output, or its last node. DG_NO_VALUE when there is none of that name. */
dg_value dg_application_output(const struct dg_application *application, const char *name);

/* Of an output that names a repeated node: the number of repetitions (0: there is no such output), and the value of one,
 * 0 <= index < that number. */
int64_t dg_application_repeats(const struct dg_application *application, const char *name);
dg_value dg_application_repeated(const struct dg_application *application, const char *name, int64_t index);

/* Parameters of an instance in the order of their definition (PyTorch's order), after its first application. */
int dg_instance_num_params(const struct dg_instance *instance);
dg_value dg_instance_param(const struct dg_instance *instance, int index);

#endif
