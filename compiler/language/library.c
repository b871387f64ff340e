#include "compiler/language/library.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Is there something to read as a file? A folder of a description's name is none. */
static bool is_there(const char *path)
{
    struct stat about;
    return !stat(path, &about) && !S_ISDIR(about.st_mode);
}

const char *dg_library_find(const struct dg_library *library, struct dg_arena *arena, const char *name)
{
    static const char *const endings[] = {"", ".yaml"};
    bool elsewhere = !*name || *name == '/' || !strncmp(name, "./", 2);
    for (int f = 0; f < library->folders && !elsewhere; f++)
        for (int e = 0; e < 2; e++) {
            const char *path = dg_arena_printf(arena, "%s/%s%s", library->folder[f], name, endings[e]);
            if (is_there(path)) return path;
        }
    return NULL;
}

const char *dg_library_path(const struct dg_library *library, struct dg_arena *arena, const char *path,
                            const char *name)
{
    const char *found = is_there(path) ? NULL : dg_library_find(library, arena, name);
    return found ? found : path;
}

const char *dg_library_text(const struct dg_library *library, struct dg_arena *arena)
{
    const char *text = "";
    for (int f = 0; f < library->folders; f++)
        text = dg_arena_printf(arena, "%s%s%s", text,
                               !f                          ? ""
                               : f + 1 == library->folders ? " and "
                                                           : ", ",
                               library->folder[f]);
    return text;
}

static int is_description(const struct dirent *file)
{
    size_t length = strlen(file->d_name);
    return length > 5 && !strcmp(file->d_name + length - 5, ".yaml");
}

/* The words behind `key` at the beginning of a line; NULL: the line begins otherwise. */
static const char *behind(char *line, const char *key)
{
    size_t length = strlen(key);
    if (strncmp(line, key, length)) return NULL;
    line[strcspn(line, "\r\n")] = 0;
    return line + length;
}

static void list_file(const char *path, const char *name, struct dg_text *text)
{
    static const char *const kinds[] = {"recipe: ", "probe: ", "module: "};
    char line[512];
    bool said = false;
    FILE *file = fopen(path, "re");
    if (!file) return;
    struct dg_text defined = {.arena = text->arena};
    dg_text_add(text, "%s", name);
    while (fgets(line, sizeof line, file)) {
        const char *comment = behind(line, "# ");
        if (comment && !said && strncmp(comment, "yaml-language-server", strlen("yaml-language-server"))) {
            said = true;
            size_t length = strlen(comment);
            dg_text_add(text, "\n    %s%s", comment, length && comment[length - 1] == '.' ? "" : " ...");
        }
        char *first = strncmp(line, "--- {", 5) ? line : line + 5; /* a document on one line */
        for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
            const char *word = behind(first, kinds[k]);
            if (word)
                dg_text_add(&defined, "%s%.*s %.*s", defined.length ? ", " : "", (int)strlen(kinds[k]) - 2, kinds[k],
                            (int)strcspn(word, " ,}"), word);
        }
    }
    fclose(file);
    dg_text_add(text, "\n    %s\n", defined.text ? defined.text : "");
}

void dg_library_list(const struct dg_library *library, struct dg_text *text)
{
    for (int f = 0; f < library->folders; f++) {
        struct dirent **file;
        int count = scandir(library->folder[f], &file, is_description, alphasort);
        if (count < 0) continue;
        dg_text_add(text, "%s%s:\n", f ? "\n" : "", library->folder[f]);
        for (int i = 0; i < count; i++) {
            list_file(dg_arena_printf(text->arena, "%s/%s", library->folder[f], file[i]->d_name), file[i]->d_name,
                      text);
            free(file[i]);
        }
        free(file);
    }
}
