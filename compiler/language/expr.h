/* Expressions of the language (graphs/README.md, Expressions). `/` always gives a float; `//` and `%` round down, as in Python,
 * and take whole numbers only. */
#ifndef DG_COMPILER_LANGUAGE_EXPR_H
#define DG_COMPILER_LANGUAGE_EXPR_H

#include "compiler/language/yaml.h"

#include <stdint.h>

enum dg_term_kind { DG_TERM_INT, DG_TERM_FLOAT, DG_TERM_BOOL, DG_TERM_LIST };
struct dg_term {
    enum dg_term_kind kind;
    int64_t i; /* INT, BOOL */
    double f;  /* FLOAT */
    const struct dg_term *item;
    size_t count; /* LIST */
};

/* Names an expression may use. */
struct dg_scope {
    const struct dg_scope *outer;
    const char *name;
    struct dg_term value;
    struct dg_origin origin; /* where it was given; line 0: it was not, or by the compiler */
};

/* Evaluates `text`, which stands at `at`. False: reported. */
bool dg_expr_evaluate(struct dg_arena *arena, struct dg_diagnostics *diag, const struct dg_origin *at, const char *text,
                      const struct dg_scope *scope, struct dg_term *result);
/* A YAML value: a scalar is an expression, a list a list of them. */
bool dg_expr_yaml(struct dg_arena *arena, struct dg_diagnostics *diag, const struct dg_yaml *node,
                  const struct dg_scope *scope, struct dg_term *result);

const char *dg_term_kind_name(enum dg_term_kind kind);
/* The value, for messages: "2.5", "true", "a list". Returns `text`. */
const char *dg_term_text(char *text, size_t size, const struct dg_term *term);
static inline double dg_term_number(const struct dg_term *term)
{
    return term->kind == DG_TERM_FLOAT ? term->f : (double)term->i;
}

#endif
