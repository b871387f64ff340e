#include "compiler/language/expr.h"

#include "ops/base/base.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct parser {
    struct dg_arena *arena;
    struct dg_diagnostics *diag;
    const struct dg_origin *at;
    const char *text, *next;
    const struct dg_scope *scope;
    int depth;
    bool failed;
};

enum { MAX_DEPTH = 100 };

static struct dg_term fail(struct parser *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static struct dg_term fail(struct parser *p, const char *format, ...)
{
    if (!p->failed) {
        va_list args;
        va_start(args, format);
        char *what = dg_arena_vprintf(p->arena, format, args);
        va_end(args);
        dg_diag_error(p->diag, p->at, "%s, in \"%s\"", what, p->text);
    }
    p->failed = true;
    return (struct dg_term){0};
}

static struct dg_term from_int(int64_t i) { return (struct dg_term){.kind = DG_TERM_INT, .i = i}; }
static struct dg_term from_bool(bool b) { return (struct dg_term){.kind = DG_TERM_BOOL, .i = b}; }
static struct dg_term from_float(struct parser *p, double f)
{
    if (!isfinite(f)) return fail(p, "the result is not finite");
    return (struct dg_term){.kind = DG_TERM_FLOAT, .f = f};
}

const char *dg_term_kind_name(enum dg_term_kind kind)
{
    static const char *const name[] = {"whole number", "number", "true or false", "list"};
    return name[kind];
}

const char *dg_term_text(char *text, size_t size, const struct dg_term *term)
{
    switch (term->kind) {
    case DG_TERM_INT: snprintf(text, size, "%lld", (long long)term->i); break;
    case DG_TERM_FLOAT:
        snprintf(text, size, term->f == rint(term->f) && fabs(term->f) < 1e15 ? "%.1f" : "%.9g", term->f);
        break;
    case DG_TERM_BOOL: snprintf(text, size, "%s", term->i ? "true" : "false"); break;
    case DG_TERM_LIST: snprintf(text, size, "a list"); break;
    }
    return text;
}

static void skip(struct parser *p)
{
    while (isspace((unsigned char)*p->next)) p->next++;
}

static bool take(struct parser *p, const char *token)
{
    skip(p);
    size_t length = strlen(token);
    if (strncmp(p->next, token, length)) return false;
    bool word = isalpha((unsigned char)token[0]);
    if (word && (isalnum((unsigned char)p->next[length]) || p->next[length] == '_')) return false;
    p->next += length;
    return true;
}

static bool numeric(const struct dg_term *t) { return t->kind == DG_TERM_INT || t->kind == DG_TERM_FLOAT; }

enum arithmetic { ADD, SUBTRACT, MULTIPLY, DIVIDE, FLOOR_DIVIDE, REMAINDER, POWER };
static const char *const symbol[] = {"+", "-", "*", "/", "//", "%", "**"};

/* a ** b of whole numbers, b at least 0. True: it does not fit. */
static bool power(int64_t a, int64_t b, int64_t *result)
{
    *result = b ? a : 1;
    if (a == -1) *result = b % 2 ? -1 : 1;
    bool overflow = false; /* at the latest after 63 products, for all other a */
    for (int64_t n = 1; n < b && !overflow && (a < -1 || a > 1); n++)
        overflow = __builtin_mul_overflow(*result, a, result);
    return overflow;
}

/* a // b, rounded down, or a % b, which has the sign of b. b is not 0. True: it does not fit. */
static bool divide_ints(bool remainder, int64_t a, int64_t b, int64_t *result)
{
    *result = 0;
    if (b == -1) return !remainder && __builtin_sub_overflow(0, a, result); /* INT64_MIN / -1 traps */
    int64_t quotient = a / b - (a % b && (a < 0) != (b < 0));
    *result = remainder ? a - quotient * b : quotient;
    return false;
}

/* Of whole numbers; not for DIVIDE. */
static struct dg_term integer_result(struct parser *p, enum arithmetic op, int64_t a, int64_t b)
{
    int64_t r = 0;
    bool overflow = false;
    switch (op) {
    case ADD: overflow = __builtin_add_overflow(a, b, &r); break;
    case SUBTRACT: overflow = __builtin_sub_overflow(a, b, &r); break;
    case MULTIPLY: overflow = __builtin_mul_overflow(a, b, &r); break;
    case POWER: overflow = power(a, b, &r); break;
    case DIVIDE:
    case FLOOR_DIVIDE:
    case REMAINDER: overflow = divide_ints(op == REMAINDER, a, b, &r); break;
    }
    return overflow ? fail(p, "the result does not fit 64 bits") : from_int(r);
}

static struct dg_term binary(struct parser *p, enum arithmetic op, struct dg_term a, struct dg_term b)
{
    if (p->failed) return a;
    if (!numeric(&a) || !numeric(&b)) {
        char left[64], right[64];
        return fail(p, "%s wants numbers, got %s and %s", symbol[op], dg_term_text(left, sizeof left, &a),
                    dg_term_text(right, sizeof right, &b));
    }
    bool ints = a.kind == DG_TERM_INT && b.kind == DG_TERM_INT, floor = op == FLOOR_DIVIDE || op == REMAINDER;
    double x = dg_term_number(&a), y = dg_term_number(&b);
    if (floor && !ints) return fail(p, "%s wants whole numbers", symbol[op]);
    if ((floor || op == DIVIDE) && y == 0) return fail(p, "division by zero");
    if (op == DIVIDE) return from_float(p, x / y);
    if (op == POWER && (!ints || b.i < 0)) return from_float(p, pow(x, y));
    if (ints) return integer_result(p, op, a.i, b.i);
    return from_float(p, op == ADD ? x + y : op == SUBTRACT ? x - y : x * y);
}

static struct dg_term parse_choice(struct parser *p);

static struct dg_term parse_number(struct parser *p)
{
    char *end_int, *end_float;
    errno = 0;
    long long i = strtoll(p->next, &end_int, 10);
    bool too_large = errno == ERANGE;
    double f = strtod(p->next, &end_float);
    if (end_float > end_int) {
        p->next = end_float;
        return from_float(p, f);
    }
    p->next = end_int;
    if (too_large) return fail(p, "a number too large");
    return from_int(i);
}

static struct dg_term parse_list(struct parser *p)
{
    struct dg_term *item = NULL;
    size_t count = 0, capacity = 0;
    if (!take(p, "]")) {
        do {
            item = dg_arena_grow(p->arena, item, count, &capacity, sizeof *item);
            item[count++] = parse_choice(p);
        } while (!p->failed && take(p, ","));
        if (!p->failed && !take(p, "]")) return fail(p, "expected ]");
    }
    return (struct dg_term){.kind = DG_TERM_LIST, .item = item, .count = count};
}

/* The values of min( or max(, up to the closing bracket. */
static struct dg_term parse_extreme(struct parser *p, bool largest)
{
    struct dg_term best = parse_choice(p);
    while (!p->failed && take(p, ",")) {
        struct dg_term other = parse_choice(p);
        if (p->failed) break;
        if (!numeric(&best) || !numeric(&other)) return fail(p, "min and max want numbers");
        double now = dg_term_number(&best), then = dg_term_number(&other);
        if (largest ? then > now : then < now) best = other;
    }
    if (!p->failed && !take(p, ")")) return fail(p, "expected )");
    return best;
}

struct names {
    const char *name[64];
    int count;
};

static const char *name_at(const void *context, int index) { return ((const struct names *)context)->name[index]; }

static struct dg_term parse_name(struct parser *p)
{
    const char *start = p->next;
    while (isalnum((unsigned char)*p->next) || *p->next == '_') p->next++;
    size_t length = (size_t)(p->next - start);
    for (const struct dg_scope *s = p->scope; s; s = s->outer)
        if (strlen(s->name) == length && !memcmp(s->name, start, length)) return s->value;
    const char *word = dg_arena_strndup(p->arena, start, length);
    struct names names = {0};
    for (const struct dg_scope *s = p->scope; s && names.count < 64; s = s->outer) names.name[names.count++] = s->name;
    const char *near = dg_nearest_name(word, name_at, &names, names.count);
    if (!strcmp(word, "yes") || !strcmp(word, "on")) near = "true"; /* as YAML 1.1 had it */
    if (!strcmp(word, "no") || !strcmp(word, "off")) near = "false";
    return near ? fail(p, "nothing is called %s here; did you mean %s?", word, near)
                : fail(p, "nothing is called %s here", word);
}

static struct dg_term parse_primary(struct parser *p)
{
    struct dg_term value;
    skip(p);
    if (++p->depth > MAX_DEPTH) return fail(p, "nested too deeply");
    if (take(p, "(")) {
        value = parse_choice(p);
        if (!p->failed && !take(p, ")")) return fail(p, "expected )");
    } else if (take(p, "[")) {
        value = parse_list(p);
    } else if (take(p, "true")) {
        value = from_bool(true);
    } else if (take(p, "false")) {
        value = from_bool(false);
    } else if (!strncmp(p->next, "min(", 4)) {
        p->next += 4;
        value = parse_extreme(p, false);
    } else if (!strncmp(p->next, "max(", 4)) {
        p->next += 4;
        value = parse_extreme(p, true);
    } else if (isdigit((unsigned char)*p->next) || (*p->next == '.' && isdigit((unsigned char)p->next[1]))) {
        value = parse_number(p);
    } else if (isalpha((unsigned char)*p->next) || *p->next == '_') {
        value = parse_name(p);
    } else {
        value = *p->next ? fail(p, "did not expect '%c'", *p->next) : fail(p, "expected a value");
    }
    while (!p->failed && take(p, "[")) {
        struct dg_term index = parse_choice(p);
        if (p->failed) break;
        if (value.kind != DG_TERM_LIST || index.kind != DG_TERM_INT)
            return fail(p, "only a list can be indexed, by a whole number");
        int64_t i = index.i < 0 ? index.i + (int64_t)value.count : index.i;
        if (i < 0 || i >= (int64_t)value.count)
            return fail(p, "index %lld is outside a list of %zu", (long long)index.i, value.count);
        if (!take(p, "]")) return fail(p, "expected ]");
        value = value.item[i];
    }
    p->depth--;
    return value;
}

static struct dg_term parse_unary(struct parser *p)
{
    if (++p->depth > MAX_DEPTH) return fail(p, "nested too deeply");
    struct dg_term value;
    if (take(p, "-")) {
        value = parse_unary(p);
        if (!p->failed) value = binary(p, SUBTRACT, from_int(0), value);
    } else {
        value = parse_primary(p);
        if (!p->failed && take(p, "**")) value = binary(p, POWER, value, parse_unary(p));
    }
    p->depth--;
    return value;
}

static struct dg_term parse_product(struct parser *p)
{
    struct dg_term value = parse_unary(p);
    while (!p->failed) {
        if (take(p, "//"))
            value = binary(p, FLOOR_DIVIDE, value, parse_unary(p));
        else if (take(p, "*"))
            value = binary(p, MULTIPLY, value, parse_unary(p));
        else if (take(p, "/"))
            value = binary(p, DIVIDE, value, parse_unary(p));
        else if (take(p, "%"))
            value = binary(p, REMAINDER, value, parse_unary(p));
        else
            break;
    }
    return value;
}

static struct dg_term parse_sum(struct parser *p)
{
    struct dg_term value = parse_product(p);
    while (!p->failed) {
        if (take(p, "+"))
            value = binary(p, ADD, value, parse_product(p));
        else if (take(p, "-"))
            value = binary(p, SUBTRACT, value, parse_product(p));
        else
            break;
    }
    return value;
}

static struct dg_term parse_comparison(struct parser *p)
{
    struct dg_term a = parse_sum(p);
    static const char *const ops[] = {"==", "!=", "<=", ">=", "<", ">"};
    for (int o = 0; o < 6 && !p->failed; o++) {
        if (!take(p, ops[o])) continue;
        struct dg_term b = parse_sum(p);
        if (p->failed) return a;
        bool bools = a.kind == DG_TERM_BOOL && b.kind == DG_TERM_BOOL && o < 2;
        if (!bools && (!numeric(&a) || !numeric(&b))) return fail(p, "%s wants two numbers", ops[o]);
        double x = dg_term_number(&a), y = dg_term_number(&b);
        bool result[] = {x == y, x != y, x <= y, x >= y, x<y, x> y};
        return from_bool(result[o]);
    }
    return a;
}

static struct dg_term parse_not(struct parser *p)
{
    bool negate = false;
    while (take(p, "not")) negate = !negate;
    struct dg_term value = parse_comparison(p);
    if (!negate || p->failed) return value;
    if (value.kind != DG_TERM_BOOL) return fail(p, "not wants true or false");
    return from_bool(!value.i);
}

static struct dg_term parse_and(struct parser *p)
{
    struct dg_term a = parse_not(p);
    while (!p->failed && take(p, "and")) {
        struct dg_term b = parse_not(p);
        if (!p->failed && (a.kind != DG_TERM_BOOL || b.kind != DG_TERM_BOOL)) return fail(p, "and wants true or false");
        a = from_bool(a.i && b.i);
    }
    return a;
}

static struct dg_term parse_or(struct parser *p)
{
    struct dg_term a = parse_and(p);
    while (!p->failed && take(p, "or")) {
        struct dg_term b = parse_and(p);
        if (!p->failed && (a.kind != DG_TERM_BOOL || b.kind != DG_TERM_BOOL)) return fail(p, "or wants true or false");
        a = from_bool(a.i || b.i);
    }
    return a;
}

/* a if condition else b; both sides are evaluated. */
static struct dg_term parse_choice(struct parser *p)
{
    struct dg_term value = parse_or(p);
    if (p->failed || !take(p, "if")) return value;
    struct dg_term condition = parse_or(p);
    if (!p->failed && condition.kind != DG_TERM_BOOL) return fail(p, "if wants true or false");
    if (!p->failed && !take(p, "else")) return fail(p, "expected else");
    if (p->failed) return value;
    if (++p->depth > MAX_DEPTH) return fail(p, "nested too deeply");
    struct dg_term otherwise = parse_choice(p);
    p->depth--;
    return condition.i ? value : otherwise;
}

bool dg_expr_evaluate(struct dg_arena *arena, struct dg_diagnostics *diag, const struct dg_origin *at, const char *text,
                      const struct dg_scope *scope, struct dg_term *result)
{
    struct parser p = {.arena = arena, .diag = diag, .at = at, .text = text, .next = text, .scope = scope};
    *result = parse_choice(&p);
    skip(&p);
    if (!p.failed && *p.next) fail(&p, "did not expect \"%s\"", p.next);
    return !p.failed;
}

bool dg_expr_yaml(struct dg_arena *arena, struct dg_diagnostics *diag, const struct dg_yaml *node,
                  const struct dg_scope *scope, struct dg_term *result)
{
    if (node->kind == DG_YAML_SCALAR) return dg_expr_evaluate(arena, diag, &node->origin, node->text, scope, result);
    if (node->kind == DG_YAML_MAP) {
        dg_diag_error(diag, &node->origin, "expected a value, got a mapping");
        return false;
    }
    struct dg_term *item = dg_arena_alloc(arena, (node->count + 1) * sizeof *item);
    for (size_t i = 0; i < node->count; i++)
        if (!dg_expr_yaml(arena, diag, node->item[i].value, scope, &item[i])) return false;
    *result = (struct dg_term){.kind = DG_TERM_LIST, .item = item, .count = node->count};
    return true;
}
