/* Files to definitions, and arguments to values. */
#include "compiler/language/program.h"

#include "compiler/base/choices.h"

#include "ops/base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_FILE = 1 << 20, MAX_LIKE = 16 };

static bool load(struct dg_program *program, const char *path, const struct dg_origin *from);

static char *read_file(struct dg_program *program, const char *path, const struct dg_origin *from, size_t *size)
{
    struct dg_origin at = from ? *from : (struct dg_origin){.file = path};
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* opening a pipe must not block */
    FILE *file = fd < 0 ? NULL : fdopen(fd, "rb");
    if (!file) {
        int problem = errno;
        dg_diag_error(program->diag, &at, "cannot read %s: %s", path, strerror(problem));
        if (problem == ENOENT && program->library.folders)
            dg_diag_note(program->diag, &at, "it was also looked for in %s; dinoc --list shows what is there",
                         dg_library_text(&program->library, program->arena));
        if (fd >= 0) close(fd);
        return NULL;
    }
    if (!fstat(fd, &about) && !S_ISREG(about.st_mode) && !S_ISDIR(about.st_mode)) { /* reading a folder fails below */
        dg_diag_error(program->diag, &at, "%s is a pipe or a device, and no file", path);
        fclose(file);
        return NULL;
    }
    char *text = dg_arena_alloc(program->arena, MAX_FILE + 2);
    *size = fread(text, 1, MAX_FILE + 1, file);
    bool failed = ferror(file);
    int problem = errno;
    fclose(file);
    if (failed)
        dg_diag_error(program->diag, &at, "cannot read %s: %s", path, strerror(problem));
    else if (*size > MAX_FILE)
        dg_diag_error(program->diag, &at, "%s is larger than 1 MiB: no description", path);
    else
        return text;
    return NULL;
}

bool dg_program_add(struct dg_program *program, struct dg_yaml *map, enum dg_definition_kind kind,
                    const struct dg_yaml *name)
{
    if (name->kind != DG_YAML_SCALAR || !*name->text) {
        dg_diag_error(program->diag, &name->origin, "a definition's name must be a word");
        return false;
    }
    for (struct dg_definition *d = program->first; d; d = d->next)
        if (d->kind == kind && !strcmp(d->name, name->text)) {
            dg_diag_error(program->diag, &name->origin, "%s is defined twice", name->text);
            dg_diag_note(program->diag, &d->map->origin, "the first is here");
            return false;
        }
    struct dg_definition *d = dg_arena_alloc(program->arena, sizeof *d);
    *d = (struct dg_definition){.kind = kind, .name = name->text, .map = map};
    if (program->last)
        program->last->next = d;
    else
        program->first = d;
    program->last = d;
    return true;
}

/* Beside the file that imports it, else in the library. */
static const char *find_import(struct dg_program *program, const char *from, const char *name)
{
    const char *slash = strrchr(from, '/'), *beside = name;
    if (slash && *name != '/') beside = dg_arena_printf(program->arena, "%.*s%s", (int)(slash - from) + 1, from, name);
    return dg_library_path(&program->library, program->arena, beside, name);
}

static bool load_document(struct dg_program *program, const char *path, struct dg_yaml *map)
{
    if (map->kind != DG_YAML_MAP) {
        dg_diag_error(program->diag, &map->origin,
                      "expected a definition: `module: NAME`, `recipe: NAME` or `probe: NAME`");
        return false;
    }
    bool ok = true;
    struct dg_yaml *import = dg_yaml_get(program->arena, map, "import");
    for (size_t i = 0; import && i < (import->kind == DG_YAML_LIST ? import->count : 1); i++) {
        const struct dg_yaml *name = import->kind == DG_YAML_LIST ? import->item[i].value : import;
        if (name->kind != DG_YAML_SCALAR) {
            dg_diag_error(program->diag, &name->origin, "import wants file names");
            ok = false;
            continue;
        }
        ok &= load(program, find_import(program, path, name->text), &name->origin);
    }
    struct dg_yaml *module = dg_yaml_get_if(program->arena, map, "module"),
                   *recipe = module ? NULL : dg_yaml_get_if(program->arena, map, "recipe"),
                   *probe = module || recipe ? NULL : dg_yaml_get_if(program->arena, map, "probe");
    if (module) return dg_program_add(program, map, DG_DEFINITION_MODULE, module) && ok;
    if (recipe) return dg_program_add(program, map, DG_DEFINITION_RECIPE, recipe) && ok;
    if (probe) return dg_program_add(program, map, DG_DEFINITION_PROBE, probe) && ok;
    dg_diag_error(program->diag, &map->origin,
                  "a definition begins with `module: NAME`, `recipe: NAME` or `probe: NAME`");
    return false;
}

/* Do the paths lead to one file, as vit.yaml and backbones/../vit.yaml do? */
static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return !strcmp(a, b) || (!stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

static bool load(struct dg_program *program, const char *path, const struct dg_origin *from)
{
    for (size_t i = 0; i < program->num_files; i++)
        if (is_same_file(program->file[i], path)) return true;
    path = dg_arena_strdup(program->arena, path);
    program->file = dg_arena_grow(program->arena, program->file, program->num_files, &program->file_capacity,
                                  sizeof *program->file);
    program->file[program->num_files++] = path;
    size_t size;
    const char *text = read_file(program, path, from, &size);
    if (!text) return false;
    dg_diag_source(program->diag, path, text);
    struct dg_yaml *documents = dg_yaml_parse(program->arena, program->diag, path, text, size);
    if (!documents) return false;
    bool ok = true;
    for (size_t i = 0; i < documents->count; i++) ok &= load_document(program, path, documents->item[i].value);
    return ok;
}

struct dg_program *dg_program_load(struct dg_arena *arena, struct dg_diagnostics *diag, const char *path,
                                   const struct dg_library *library)
{
    struct dg_program *program = dg_arena_alloc(arena, sizeof *program);
    program->arena = arena;
    program->diag = diag;
    if (library) program->library = *library;
    return load(program, path, NULL) ? program : NULL;
}

struct candidates {
    const struct dg_definition *first;
    enum dg_definition_kind kind; /* DG_DEFINITION_NONE: of all kinds */
};

static const char *definition_name(const void *context, int index)
{
    const struct candidates *c = context;
    for (const struct dg_definition *d = c->first; d; d = d->next)
        if ((!c->kind || d->kind == c->kind) && !index--) return d->name;
    return NULL;
}

static int count_candidates(const struct candidates *candidates)
{
    int count = 0;
    while (definition_name(candidates, count)) count++;
    return count;
}

const char *dg_program_nearest(const struct dg_program *program, const char *name)
{
    const struct candidates all = {program->first, DG_DEFINITION_NONE};
    return dg_did_you_mean(program->arena, name, definition_name, &all, count_candidates(&all));
}

struct dg_definition *dg_program_definition(struct dg_program *program, enum dg_definition_kind kind, const char *name)
{
    for (struct dg_definition *d = program->first; d; d = d->next)
        if (d->kind == kind && !strcmp(d->name, name)) return d;
    return NULL;
}

enum dg_definition_kind dg_program_find(struct dg_program *program, const char *name, const char **found)
{
    const struct dg_definition *run = NULL, *module = NULL;
    for (const struct dg_definition *d = program->first; d; d = d->next) {
        if (name && strcmp(d->name, name)) continue;
        if (d->kind == DG_DEFINITION_MODULE)
            module = d;
        else
            run = d;
    }
    const struct dg_definition *best = run ? run : module;
    if (best) *found = best->name;
    return best ? best->kind : DG_DEFINITION_NONE;
}

bool dg_program_read_args(struct dg_program *program, struct dg_yaml *with, const struct dg_scope *scope,
                          struct dg_args **args)
{
    bool ok = true;
    if (!with) return true;
    if (with->kind != DG_YAML_MAP) {
        dg_diag_error(program->diag, &with->origin, "`with` must be a mapping of arguments");
        return false;
    }
    for (size_t i = 0; i < with->count; i++) {
        const struct dg_args *other = *args;
        while (other && strcmp(other->name, with->item[i].key)) other = other->next;
        if (other) continue;
        struct dg_args *arg = dg_arena_alloc(program->arena, sizeof *arg);
        *arg = (struct dg_args){.name = with->item[i].key, .origin = with->item[i].key_origin, .next = *args};
        if (dg_expr_yaml(program->arena, program->diag, with->item[i].value, scope, &arg->value))
            *args = arg;
        else
            ok = false;
    }
    return ok;
}

static const char *declared_name(const void *context, int index)
{
    const struct dg_yaml *declared = context;
    return declared->item[index].key;
}

/* Makes a value be of the kind that an argument wants: whole numbers are numbers too. False: it is of another kind. */
static bool convert(struct dg_term *value, enum dg_term_kind want)
{
    if (value->kind == want) return true;
    if (want != DG_TERM_FLOAT || value->kind != DG_TERM_INT) return false;
    *value = (struct dg_term){.kind = DG_TERM_FLOAT, .f = (double)value->i};
    return true;
}

/* Puts one argument, as `declared` in the module, into *scope: its value in `args`, else its default. */
static bool bind_argument(struct dg_program *program, const struct dg_definition *module,
                          const struct dg_yaml_item *declared, const struct dg_origin *at, struct dg_args *args,
                          const struct dg_scope **scope)
{
    static const char *const types[] = {"int", "float", "bool", "list"};
    struct dg_term value;
    enum dg_term_kind want = DG_TERM_INT;
    bool required = false;
    for (int t = 0; t < 4; t++)
        if (declared->value->kind == DG_YAML_SCALAR && !strcmp(declared->value->text, types[t])) {
            required = true;
            want = (enum dg_term_kind)t;
        }
    if (!required) {
        if (!dg_expr_yaml(program->arena, program->diag, declared->value, *scope, &value)) return false;
        want = value.kind;
    }
    while (args && strcmp(args->name, declared->key)) args = args->next;
    if (args) {
        args->used = true;
        value = args->value;
    } else if (required) {
        dg_diag_error(program->diag, at, "module %s needs the argument %s (%s)", module->name, declared->key,
                      dg_term_kind_name(want));
        dg_diag_note(program->diag, &declared->key_origin, "it is declared here");
        return false;
    }
    if (!convert(&value, want)) {
        char got[64];
        dg_diag_error(program->diag, args ? &args->origin : &declared->key_origin, "%s must be %s%s, got %s",
                      declared->key, want == DG_TERM_BOOL ? "" : "a ", dg_term_kind_name(want),
                      dg_term_text(got, sizeof got, &value));
        return false;
    }
    struct dg_scope *bound = dg_arena_alloc(program->arena, sizeof *bound);
    *bound = (struct dg_scope){.outer = *scope, .name = declared->key, .value = value};
    if (args) bound->origin = args->origin;
    *scope = bound;
    return true;
}

/* The module that has the nodes of module `name`, by its `like` and the `like` of that and so on, whose `with` add to *args.
 * *at becomes the place that names it. NULL: reported. */
static struct dg_definition *follow_like(struct dg_program *program, const char *name, const struct dg_origin **at,
                                         struct dg_args **args)
{
    for (int depth = 0;; depth++) {
        struct dg_definition *module = dg_program_definition(program, DG_DEFINITION_MODULE, name);
        if (!module || depth > MAX_LIKE) {
            const struct candidates modules = {program->first, DG_DEFINITION_MODULE};
            dg_diag_error(program->diag, *at, module ? "module %s is like itself%s" : "there is no module %s%s", name,
                          module ? ""
                                 : dg_choices(program->arena, "there are", name, definition_name, &modules,
                                              count_candidates(&modules)));
            if (!module && dg_library_find(&program->library, program->arena, name))
                dg_diag_note(program->diag, *at, "`import: [%s.yaml]` may have it", name);
            return NULL;
        }
        struct dg_yaml *like = dg_yaml_get(program->arena, module->map, "like");
        if (!like) return module;
        struct dg_yaml *with = dg_yaml_get(program->arena, module->map, "with");
        dg_yaml_check_used(program->diag, module->map, "a module with `like`");
        if (like->kind != DG_YAML_SCALAR) {
            dg_diag_error(program->diag, &like->origin, "`like` wants the name of a module");
            return NULL;
        }
        if (!dg_program_read_args(program, with, NULL, args)) return NULL;
        *at = &like->origin;
        name = like->text;
    }
}

bool dg_program_bind_args(struct dg_program *program, const char *name, const struct dg_origin *at,
                          struct dg_args *args, struct dg_definition **base, const struct dg_scope **scope)
{
    struct dg_definition *module = follow_like(program, name, &at, &args);
    if (!module) return false;
    *base = module;
    *scope = NULL;
    bool ok = true;
    struct dg_yaml *declared = dg_yaml_get(program->arena, module->map, "args"), none = {.kind = DG_YAML_MAP};
    if (!declared) declared = &none;
    if (declared->kind != DG_YAML_MAP) {
        dg_diag_error(program->diag, &declared->origin, "`args` must be a mapping, as in {dim: int, depth: 12}");
        return false;
    }
    for (size_t i = 0; i < declared->count; i++)
        ok &= bind_argument(program, module, &declared->item[i], at, args, scope);
    for (const struct dg_args *arg = args; arg; arg = arg->next) {
        if (arg->used) continue;
        dg_diag_error(program->diag, &arg->origin, "module %s has no argument %s%s", module->name, arg->name,
                      dg_choices(program->arena, "it has", arg->name, declared_name, declared, (int)declared->count));
        ok = false;
    }
    return ok;
}

void dg_program_show_argument(struct dg_program *program, struct dg_yaml *map, const struct dg_scope *argument,
                              bool replace)
{
    const struct dg_term *value = &argument->value;
    if (!map || map->kind != DG_YAML_MAP || value->kind > DG_TERM_BOOL) return;
    if (!replace && dg_yaml_get(program->arena, map, argument->name)) return;
    struct dg_yaml *shown = dg_arena_alloc(program->arena, sizeof *shown);
    *shown = (struct dg_yaml){.kind = DG_YAML_SCALAR, .origin = {.file = map->origin.file}};
    if (value->kind == DG_TERM_BOOL) {
        shown->text = value->i ? "true" : "false";
    } else if (value->kind == DG_TERM_INT) {
        shown->text = dg_arena_printf(program->arena, "%lld", (long long)value->i);
    } else { /* the shortest that reads back as the same number, and as a float */
        for (int digits = 6; !shown->text || strtod(shown->text, NULL) != value->f; digits++)
            shown->text = dg_arena_printf(program->arena, "%.*g", digits, value->f);
        if (!strpbrk(shown->text, ".e")) shown->text = dg_arena_printf(program->arena, "%s.0", shown->text);
    }
    dg_yaml_put(program->arena, map, argument->name, shown);
    dg_yaml_get(program->arena, map, argument->name);
}
