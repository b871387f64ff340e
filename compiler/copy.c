/* Copies a description that comes with the program for a user to edit. */
#include "compiler/compile.h"

#include "compiler/language/library.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* All lines as they are, but for the schema, which stays where it is: the path to it is relative to the file. */
static void copy_lines(FILE *from, FILE *to, const char *path)
{
    static const char schema[] = "$schema=";
    const char *slash = strrchr(path, '/');
    char line[1024];
    while (fgets(line, sizeof line, from)) {
        char *at = strstr(line, schema), *name = at ? at + strlen(schema) : NULL;
        if (at && *name != '/' && !strstr(name, "://"))
            fprintf(to, "%.*s%.*s/%s", (int)(name - line), line, (int)(slash - path), path, name);
        else
            fputs(line, to);
    }
}

static enum dg_status copy(const char *path, const char *output, struct dg_error *err)
{
    FILE *from = fopen(path, "re"), *to = from ? fopen(output, "wxe") : NULL;
    if (!to) {
        int problem = errno;
        if (from) fclose(from);
        return problem == EEXIST ? dg_fail(err, DG_ERR_USAGE, "%s is there already: -o names another file", output)
                                 : dg_fail(err, DG_ERR_IO, "cannot copy %s to %s: %s", path, output, strerror(problem));
    }
    copy_lines(from, to, path);
    bool failed = ferror(from) || ferror(to);
    fclose(from);
    failed |= fclose(to) != 0;
    if (!failed) return DG_OK;
    unlink(output);
    return dg_fail(err, DG_ERR_IO, "cannot write %s: %s", output, strerror(errno));
}

enum dg_status dg_compile_copy(const char *const *folder, int folders, const char *name, const char *output,
                               char **written, struct dg_error *err)
{
    *written = NULL;
    jmp_buf out_of_memory;
    struct dg_arena *arena = dg_arena_create(&out_of_memory);
    if (!arena) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    if (setjmp(out_of_memory)) {
        dg_arena_free(arena);
        return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    }
    const struct dg_library library = {folder, folders};
    const char *path = dg_library_find(&library, arena, name);
    enum dg_status status = DG_OK;
    if (!path)
        status = dg_fail(err, DG_ERR_USAGE, "there is no description %s in %s; dinoc --list shows what is there", name,
                         dg_library_text(&library, arena));
    const char *to = output || !path ? output : strrchr(path, '/') + 1;
    if (path) status = copy(path, to, err);
    if (status == DG_OK) *written = strdup(to);
    dg_arena_free(arena);
    if (status == DG_OK && !*written) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    return status;
}
