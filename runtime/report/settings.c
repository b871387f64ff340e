/* The recipe and the environment of the page, as tables. */
#include "runtime/report/published.h"
#include "runtime/report/sections.h"
#include "runtime/report/text.h"

#include <stdlib.h>
#include <string.h>

enum { TEXT = 256 };

/* ---- the recipe ---- */

static int compare_keys(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* The keys of all runs in order, each once, ended by NULL; owned, as are not its strings. */
static const char **keys_of(const struct dg_page *page, int *count)
{
    int all = 0, used = 0;
    for (int r = 0; r < page->runs; r++) all += page->run[r].settings.count;
    const char **key = malloc(sizeof *key * (size_t)(all + 1));
    *count = 0;
    if (!key) return NULL;
    for (int r = 0; r < page->runs; r++)
        for (int i = 0; i < page->run[r].settings.count; i++) key[used++] = page->run[r].settings.pair[i].key;
    qsort(key, (size_t)used, sizeof *key, compare_keys);
    for (int i = 0; i < used; i++)
        if (!*count || strcmp(key[*count - 1], key[i])) key[(*count)++] = key[i];
    key[*count] = NULL;
    return key;
}

static const char *value_of(const struct dg_report_run *run, const char *key, char text[TEXT])
{
    const char *value = dg_pairs_find(&run->settings, key);
    return value ? dg_setting_text(text, TEXT, value) : NULL;
}

/* A run's value is other than the published one, for a batch of its size. Keys of which results do not depend are not. */
static bool is_changed(const struct dg_report_run *run, const char *key)
{
    char own[TEXT], other[TEXT];
    const char *value = value_of(run, key, own), *published = dg_published_value(key, run->batch);
    if (!value || !strncmp(key, "checkpoint.", 11) || !strncmp(key, "entries.", 8)) return false;
    return !published || strcmp(value, dg_setting_text(other, sizeof other, published));
}

static void write_setting(FILE *out, const struct dg_page *page, const char *key, bool changed)
{
    char text[TEXT], first[TEXT];
    const char *published = dg_published_value(key, page->run[0].batch),
               *of_first = value_of(&page->run[0], key, first);
    fprintf(out, "<tr%s><td>", changed ? " class=\"changed\"" : "");
    dg_html_text(out, key);
    for (int r = 0; r < page->runs; r++) {
        const char *value = value_of(&page->run[r], key, text);
        bool differs = strcmp(value ? value : "", of_first ? of_first : "") != 0;
        fputs(differs ? "</td><td class=\"differs\">" : "</td><td>", out);
        dg_html_text(out, value ? value : "–");
    }
    fputs("</td><td class=\"soft\">", out);
    dg_html_text(out, published ? dg_setting_text(text, sizeof text, published) : "–");
    fputs("</td></tr>\n", out);
}

/* The keys that are changed, or those that are not. */
static void write_settings(FILE *out, const struct dg_page *page, const char *const *key, const bool *changed,
                           bool which)
{
    fputs("<div class=\"scroll\"><table><tr><th>key</th>", out);
    for (int r = 0; r < page->runs; r++) {
        fputs("<th>", out);
        dg_write_run_name(out, page, r);
        fputs("</th>", out);
    }
    fputs("<th>published</th></tr>\n", out);
    for (int k = 0; key[k]; k++)
        if (changed[k] == which) write_setting(out, page, key[k], which);
    fputs("</table></div>\n", out);
}

/* Which of the keys are changed in one of the runs, and how many; owned. */
static bool *changed_of(const struct dg_page *page, const char *const *key, int count, int *changes)
{
    bool *changed = calloc((size_t)count + 1, sizeof *changed);
    *changes = 0;
    for (int k = 0; changed && k < count; k++) {
        for (int r = 0; r < page->runs; r++) changed[k] |= is_changed(&page->run[r], key[k]);
        *changes += changed[k];
    }
    return changed;
}

void dg_section_recipe(FILE *out, const struct dg_page *page)
{
    int count, changes = 0;
    const char **key = keys_of(page, &count);
    bool *changed = key ? changed_of(page, key, count, &changes) : NULL;
    if (changed && count) {
        fputs("<h2>Recipe</h2>\n<p>Keys that are not as in the published recipe (<code>" DG_PUBLISHED_RECIPE
              "</code>, ViT-S/16, 100 epochs on ImageNet; its learning rate for this batch) are marked.</p>\n",
              out);
        if (changes) write_settings(out, page, key, changed, true);
        if (changes < count) {
            fputs("<details><summary>The other keys</summary>\n", out);
            write_settings(out, page, key, changed, false);
            fputs("</details>\n", out);
        }
    }
    free(changed);
    free(key);
}

/* ---- the environment ---- */

static void write_pair(FILE *out, const struct dg_pair *pair)
{
    fputs("<tr><td>", out);
    dg_html_text(out, pair->key);
    fputs("</td><td>", out);
    dg_html_text(out, pair->value);
    fputs("</td></tr>\n", out);
}

/* A run's parts, each time that a program worked on it: a table each. */
static void write_sessions(FILE *out, const struct dg_report_run *run)
{
    char prefix[48];
    for (int s = 0;; s++) {
        size_t length = (size_t)snprintf(prefix, sizeof prefix, "sessions.%d.", s);
        bool any = false;
        for (int i = 0; i < run->environment.count; i++) {
            struct dg_pair pair = run->environment.pair[i];
            if (strncmp(pair.key, prefix, length)) continue;
            if (!any) fprintf(out, "<h3>Part %d</h3>\n<div class=\"scroll\"><table>\n", s + 1);
            any = true;
            pair.key += length;
            write_pair(out, &pair);
        }
        if (!any) break;
        fputs("</table></div>\n", out);
    }
}

void dg_section_environment(FILE *out, const struct dg_page *page)
{
    fputs("<h2>Environment</h2>\n", out);
    for (int r = 0; r < page->runs; r++) {
        const struct dg_report_run *run = &page->run[r];
        dg_write_run_heading(out, page, r);
        fputs("<div class=\"scroll\"><table>\n<tr><td>folder</td><td>", out);
        dg_html_text(out, run->folder);
        fputs("</td></tr>\n", out);
        for (int i = 0; i < run->environment.count; i++)
            if (strncmp(run->environment.pair[i].key, "sessions.", 9)) write_pair(out, &run->environment.pair[i]);
        fputs("</table></div>\n", out);
        write_sessions(out, run);
    }
}
