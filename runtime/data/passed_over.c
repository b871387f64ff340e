#include "runtime/data/passed_over.h"

#include "runtime/base/atomic_file.h"
#include "runtime/base/name.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const what[DG_PASS_REASONS] = {
    [DG_PASS_HIDDEN] = "hidden",
    [DG_PASS_LEFTOVER] = "left by viewers, drives or archives",
    [DG_PASS_UNFINISHED] = "backups or unfinished",
    [DG_PASS_OWN] = "written by dinorun",
    [DG_PASS_OTHER] = "of other kinds",
    [DG_PASS_EMPTY] = "empty",
    [DG_PASS_DANGLING] = "linked to nothing",
    [DG_PASS_LOOP] = "linked in a circle",
    [DG_PASS_LINKED] = "linked to what is here by itself",
    [DG_PASS_SPECIAL] = "neither file nor folder",
    [DG_PASS_CLOSED] = "without permission to read",
    [DG_PASS_NO_IMAGES] = "without images",
    [DG_PASS_NO_CLASS] = "not of the classes asked for",
    [DG_PASS_ARCHIVED_LINK] = "links in an archive",
    [DG_PASS_SAMPLE] = "of samples, beside their images",
};

enum dg_pass_reason dg_pass_by_name(const char *name)
{
    static const char *const leftover[] = {"__MACOSX",
                                           "__pycache__",
                                           "@__thumb",
                                           "@SynoResource",
                                           "@SynoEAStream",
                                           "RECYCLED",
                                           "FOUND.000",
                                           "Picasa.ini",
                                           "@eaDir",
                                           "@Recycle",
                                           "@Recently-Snapshot",
                                           "@tmp",
                                           "#recycle",
                                           "#snapshot",
                                           "$RECYCLE.BIN",
                                           "RECYCLER",
                                           "System Volume Information",
                                           "lost+found",
                                           "Thumbs.db",
                                           "ehthumbs.db",
                                           "desktop.ini",
                                           "Icon\r",
                                           "Network Trash Folder",
                                           "Temporary Items"};
    if (name[0] == '.') return DG_PASS_HIDDEN;
    for (size_t l = 0; l < sizeof leftover / sizeof *leftover; l++)
        if (!strcasecmp(name, leftover[l])) return DG_PASS_LEFTOVER;
    return DG_PASS_NONE;
}

size_t dg_pass_by_path(const char *path, enum dg_pass_reason *reason)
{
    char part[256];
    size_t at = 0;
    for (*reason = DG_PASS_NONE; path[at]; at += path[at] == '/') {
        size_t size = strcspn(path + at, "/");
        snprintf(part, sizeof part, "%.*s", (int)dg_min_i64((int64_t)size, sizeof part - 1), path + at);
        at += size;
        *reason = dg_pass_by_name(part);
        if (*reason) break;
    }
    return at;
}

bool dg_is_unfinished(const char *name)
{
    static const char *const unfinished[] = {"~", ".bak", ".crdownload", ".download", ".part", ".partial", ".tmp"};
    size_t size = strlen(name);
    for (size_t u = 0; u < sizeof unfinished / sizeof *unfinished; u++) {
        size_t ending = strlen(unfinished[u]);
        if (size > ending && !strcasecmp(name + size - ending, unfinished[u])) return true;
    }
    return strstr(name, DG_ATOMIC_PART);
}

static void add(int64_t *count, char **example, const char *path)
{
    if (!(*count)++) *example = strdup(path); /* without memory, an example less */
}

void dg_passed_over_add(struct dg_passed_over *over, enum dg_pass_reason reason, const char *path)
{
    add(&over->count[reason], &over->example[reason], path);
}

void dg_passed_over_add_format(struct dg_passed_over *over, enum dg_image_format format, const char *path)
{
    add(&over->format_count[format], &over->format_example[format], path);
}

void dg_passed_over_add_known(struct dg_passed_over *over, enum dg_image_format format, const char *path)
{
    if (over->known || !format) return;
    over->known = format;
    over->known_example = strdup(path);
}

void dg_passed_over_free(struct dg_passed_over *over)
{
    free(over->known_example);
    for (int r = 0; r < DG_PASS_REASONS; r++) free(over->example[r]);
    for (int f = 0; f < DG_FORMAT_COUNT; f++) free(over->format_example[f]);
    *over = (struct dg_passed_over){0};
}

/* ---- words ---- */

/* Text that grows to the end of its room. */
struct words {
    char *text;
    size_t size, at;
};

static void add_item(struct words *w, int64_t count, const char *name, const char *example)
{
    char escaped[256];
    if (!count || w->at >= w->size) return;
    dg_name_escape(example ? example : "", escaped, sizeof escaped);
    w->at += (size_t)snprintf(w->text + w->at, w->size - w->at, "%s%" PRId64 " %s (%s)", w->at ? ", " : "", count, name,
                              escaped);
}

static void add_reasons(struct words *w, const struct dg_passed_over *over)
{
    for (int r = 0; r < DG_PASS_REASONS; r++) add_item(w, over->count[r], what[r], over->example[r]);
}

static void add_formats(struct words *w, const struct dg_passed_over *over)
{
    for (int f = 0; f < DG_FORMAT_COUNT; f++)
        add_item(w, over->format_count[f], dg_image_format_name(f), over->format_example[f]);
}

/* What the first file of a known kind is, and what can be done. */
static void add_known(struct words *w, const struct dg_passed_over *over)
{
    char name[256];
    if (over->known_example && w->at < w->size)
        snprintf(w->text + w->at, w->size - w->at, "; %s is %s: %s",
                 dg_name_escape(over->known_example, name, sizeof name), dg_image_format_name(over->known),
                 dg_image_format_advice(over->known));
}

const char *dg_passed_over_text(const struct dg_passed_over *over, char *text, size_t size)
{
    struct words w = {text, size, 0};
    *text = 0;
    add_reasons(&w, over);
    add_formats(&w, over);
    add_known(&w, over);
    return text;
}

static int64_t sum(const int64_t *count, int n)
{
    int64_t total = 0;
    for (int i = 0; i < n; i++) total += count[i];
    return total;
}

void dg_passed_over_say(const struct dg_passed_over *over, const char *data, const struct dg_log *log)
{
    char text[4096];
    int64_t others = sum(over->count, DG_PASS_REASONS), images = sum(over->format_count, DG_FORMAT_COUNT);
    struct words w = {text, sizeof text, 0};
    add_reasons(&w, over);
    add_known(&w, over);
    if (others) dg_log(log, DG_LOG_WARNING, DG_LOG_LOAD, "%s: passed over: %s", data, text);
    w.at = 0;
    add_formats(&w, over);
    int most = 0;
    for (int f = 1; f < DG_FORMAT_COUNT; f++)
        if (over->format_count[f] > over->format_count[most]) most = f;
    if (images)
        dg_log(log, DG_LOG_WARNING, DG_LOG_LOAD,
               "%s: %" PRId64 " in formats that this build does not read, left out: %s; %s: %s", data, images, text,
               dg_image_format_name(most), dg_image_format_advice(most));
}
