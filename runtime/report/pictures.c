/* Pictures of the page: crops, attention and principal components over training, and the memory map. */
#include "runtime/draw/memory_map.h"
#include "runtime/image/format.h"
#include "runtime/report/sections.h"
#include "runtime/report/text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_BYTES = 8 << 20, MAX_ALL = 48 << 20 }; /* of a picture, and of all together */

/* The file's bytes, owned; NULL: it cannot be read, is empty, or has more than MAX_BYTES. */
static unsigned char *read_bytes(const char *path, size_t *size)
{
    FILE *file = fopen(path, "re");
    unsigned char *bytes = file ? malloc(MAX_BYTES + 1) : NULL;
    *size = bytes ? fread(bytes, 1, MAX_BYTES + 1, file) : 0;
    if (file) fclose(file);
    if (*size && *size <= MAX_BYTES) return bytes;
    free(bytes);
    return NULL;
}

static const char *type_of(const unsigned char *bytes, size_t size)
{
    enum dg_image_format format = dg_image_format(bytes, size);
    return format == DG_FORMAT_PNG ? "image/png" : format == DG_FORMAT_JPEG ? "image/jpeg" : NULL;
}

struct album {
    FILE *out;
    const struct dg_log *log;
    size_t bytes; /* so far */
};

/* Labels above the columns of a sheet of dg_attention_draw: the image, the heads, their mean. */
static void write_columns(FILE *out, int heads)
{
    double width = 100.0 / (heads + 2);
    for (int c = 0; c < heads + 2; c++) {
        fprintf(out, "<span style=\"left:%.2f%%;width:%.2f%%\">", c * width, width);
        if (c == 0)
            fputs("image", out);
        else if (c <= heads)
            fprintf(out, "%s%d", heads <= 8 ? "head " : "", c - 1);
        else
            fputs("mean", out);
        fputs("</span>", out);
    }
}

/* `name` is the caption; `heads`, if not 0, are those of an attention sheet, whose columns are labelled. Pictures that are too large
 * are left out, and it is said. */
static bool write_picture(struct album *album, const char *path, const char *name, int heads)
{
    size_t size;
    unsigned char *bytes = read_bytes(path, &size);
    const char *type = bytes ? type_of(bytes, size) : NULL;
    bool fits = type && album->bytes + size <= MAX_ALL;
    if (fits) {
        album->bytes += size;
        fputs("<figure><figcaption>", album->out);
        dg_html_text(album->out, name);
        fputs("</figcaption>", album->out);
        if (heads) fputs("<div class=\"columns\">", album->out);
        if (heads) write_columns(album->out, heads);
        fputs("<img alt=\"", album->out);
        dg_html_text(album->out, name);
        fprintf(album->out, "\" src=\"data:%s;base64,", type);
        dg_base64(album->out, bytes, size);
        fprintf(album->out, "\">%s</figure>\n", heads ? "</div>" : "");
    } else {
        dg_log(album->log, DG_LOG_WARNING, DG_LOG_RUN, "%s is left out: %s", path,
               type ? "the pictures of the page are larger than 48 MiB together"
                    : "it cannot be read as PNG or JPEG, or is larger than 8 MiB");
    }
    free(bytes);
    return fits;
}

/* What the pictures of a name are, and how to read them. */
static const struct {
    const char *part, *title, *how;
} groups[] = {
    {"crops", "What the network is shown",
     "At the left the image, then its global and local crops, cut and coloured differently each time. What one "
     "can still recognise in them is what can be learnt."},
    {"attention", "What its heads look at",
     "Attention of the last block's class token, head by head, over training: above how much, below the patches "
     "that take 60 % of it, at the left those of all heads in one. Heads that find the object mean that the "
     "features tell what is in the image; brightness that follows texture or edges alone means that they do not "
     "yet."},
    {"pca", "Principal components of the patches",
     "At the right of each image its patches in the colours of their features' first three principal components, "
     "over training. Parts of the same kind should have the same colour."},
    {"", "Other pictures in the run's folder", ""},
};
enum { GROUPS = sizeof groups / sizeof *groups };

/* The path behind the run's folder. */
static const char *inner_path(const struct dg_report_run *run, const char *path)
{
    const char *inner = path + strlen(run->folder);
    return inner + strspn(inner, "/");
}

static int group_of(const char *name)
{
    int g = 0;
    while (*groups[g].part && !strstr(name, groups[g].part)) g++;
    return g;
}

/* ---- a picture at many steps ---- */

enum { MOST_STEPS = 8, STEP_DIGITS = 8 };

/* The length of a name like "watch/pca-00000120.png" before "-00000120.png", and its step; 0: it has no step. */
static size_t series_of(const char *name, int64_t *step)
{
    const char *dot = strrchr(name, '.');
    if (!dot || dot - name <= STEP_DIGITS + 1 || dot[-STEP_DIGITS - 1] != '-') return 0;
    for (const char *c = dot - STEP_DIGITS; c < dot; c++)
        if (*c < '0' || *c > '9') return 0;
    *step = strtoll(dot - STEP_DIGITS, NULL, 10);
    return (size_t)(dot - name) - STEP_DIGITS - 1;
}

/* How many pictures from `first` on are the same but for their steps; 0: the picture has none. */
static int series_length(const struct dg_report_run *run, int first)
{
    const char *name = run->picture[first];
    int64_t step;
    size_t length = series_of(name, &step);
    int count = length > 0;
    while (count && first + count < run->pictures) {
        const char *next = run->picture[first + count];
        if (series_of(next, &step) != length || strncmp(name, next, length)) break;
        count++;
    }
    return count;
}

/* Of many steps the first, the last and some between, at equal distances. */
static bool is_shown(int index, int count)
{
    for (int s = 0; s < MOST_STEPS; s++)
        if (index == (2 * s * (count - 1) + MOST_STEPS - 1) / (2 * (MOST_STEPS - 1))) return true;
    return count <= MOST_STEPS;
}

/* "hen" of "watch/attention-01-hen-00000120.png"; "" of "watch/pca-00000120.png". */
static void write_subject(FILE *out, const char *name)
{
    int64_t step;
    const char *slash = strrchr(name, '/'), *end = name + series_of(name, &step);
    const char *dash = strchr(slash ? slash : name, '-');
    if (!dash || dash >= end) return;
    dash += 1 + strspn(dash + 1, "0123456789");
    dash += *dash == '-';
    fputs("<h3>", out);
    dg_html_format(out, "%.*s", (int)(end - dash), dash);
    fputs("</h3>\n", out);
}

/* Heads of the last block, if the file is a sheet of them that the run has drawn; else 0. */
static int sheet_heads(const struct dg_report_run *run, const char *name)
{
    if (strncmp(name, "watch/attention-", 16) || !run->plan.header) return 0;
    uint32_t entry = run->plan.header->entry[DG_ENTRY_ATTENTION];
    if (entry == DG_PLAN_NONE) return 0;
    const struct dg_plan_tensor *output = dg_plan_slot(&run->plan, &run->plan.entry[entry], DG_SLOT_OUTPUT);
    return output->ndim == 4 && output->dim[1] <= 64 ? (int)output->dim[1] : 0;
}

static void write_series(struct album *album, const struct dg_report_run *run, int first, int count)
{
    char caption[32];
    int64_t step = 0;
    int heads = sheet_heads(run, inner_path(run, run->picture[first]));
    write_subject(album->out, inner_path(run, run->picture[first]));
    fputs("<div class=\"pictures\">\n", album->out);
    for (int i = 0; i < count; i++) {
        if (!is_shown(i, count)) continue;
        series_of(run->picture[first + i], &step);
        snprintf(caption, sizeof caption, "step %" PRId64, step);
        write_picture(album, run->picture[first + i], caption, heads);
    }
    fputs("</div>\n", album->out);
}

/* ---- groups ---- */

static void begin_group(FILE *out, const struct dg_page *page, int r, int g)
{
    fprintf(out, "<h2>%s</h2>\n", groups[g].title);
    if (page->runs > 1) {
        fputs("<p>", out);
        dg_write_run_name(out, page, r);
        fputs("</p>\n", out);
    }
    if (*groups[g].how) fprintf(out, "<p class=\"soft\">%s</p>\n", groups[g].how);
}

/* The pictures of a run in a group, if it has some: those at many steps first. */
static void write_group(struct album *album, const struct dg_page *page, int r, int g)
{
    const struct dg_report_run *run = &page->run[r];
    int single = 0, any = 0;
    for (int p = 0, count; p<run->pictures; p += count> 0 ? count : 1) {
        count = series_length(run, p);
        if (group_of(inner_path(run, run->picture[p])) != g) continue;
        if (!any++) begin_group(album->out, page, r, g);
        single += count == 0;
        if (count) write_series(album, run, p, count);
    }
    if (!single) return;
    fputs("<div class=\"pictures\">\n", album->out);
    for (int p = 0; p < run->pictures; p++) {
        const char *name = inner_path(run, run->picture[p]);
        if (group_of(name) == g && !series_length(run, p)) write_picture(album, run->picture[p], name, 0);
    }
    fputs("</div>\n", album->out);
}

/* What tells picture `p` of those that were asked for from the others: its file's name, with as many of its folders as that
 * takes; of a sheet of dinorun attention the folder says what it is of. */
static const char *distinct_name(const struct dg_page *page, int p)
{
    const char *path = page->picture[p], *name = path + strlen(path);
    for (bool distinct = false; !distinct && name > path;) {
        while (name > path && name[-1] != '/') name--;
        distinct = *name && strcmp(name, "sheet.png") != 0;
        for (int o = 0; o < page->pictures && distinct; o++) {
            const char *other = page->picture[o];
            size_t length = strlen(other), tail = strlen(name);
            distinct = o == p || length < tail || strcmp(other + length - tail, name) != 0;
        }
        if (!distinct && name > path) name--; /* the slash */
    }
    return name;
}

enum dg_status dg_section_pictures(FILE *out, const struct dg_page *page, struct dg_error *err)
{
    struct album album = {.out = out, .log = page->log};
    if (page->pictures) fputs("<h2>Pictures</h2>\n<div class=\"pictures\">\n", out);
    for (int p = 0; p < page->pictures; p++)
        if (!write_picture(&album, page->picture[p], distinct_name(page, p), 0))
            return dg_fail(err, DG_ERR_INPUT, "--picture %s: it cannot be read as PNG or JPEG, or is larger than 8 MiB",
                           page->picture[p]);
    if (page->pictures) fputs("</div>\n", out);
    for (int g = 0; g < GROUPS; g++)
        for (int r = 0; r < page->runs; r++) write_group(&album, page, r, g);
    return DG_OK;
}

/* ---- memory ---- */

static void write_regions(FILE *out, const struct dg_plan_entry *entry)
{
    static const char *const what[DG_REGIONS] = {"parameters", "optimiser's state", "activations and gradients",
                                                 "crops"};
    char text[32];
    fputs("<p>Planned: ", out);
    for (int g = 0; g < DG_REGIONS; g++)
        fprintf(out, "%s%s %s", g ? ", " : "", what[g],
                dg_format_bytes(text, sizeof text, (double)entry->region_bytes[g]));
    fputs(".</p>\n", out);
}

enum dg_status dg_section_memory(FILE *out, const struct dg_page *page, struct dg_error *err)
{
    bool any = false;
    for (int r = 0; r < page->runs; r++) {
        const struct dg_report_run *run = &page->run[r];
        if (!run->plan.header || !run->plan.num_entries) continue;
        if (!any) fputs("<h2>Memory of a step</h2>\n", out);
        any = true;
        dg_write_run_heading(out, page, r);
        write_regions(out, run->plan.entry);
        fputs(
            "<p class=\"soft\">Each rectangle is a tensor: to the right over the operations during which it is needed, "
            "upwards over its bytes. Gray is free at that time. Point at one for its name.</p>\n"
            "<div class=\"scroll map\">\n",
            out);
        dg_memory_map_draw(&run->plan, run->plan.entry, out);
        fputs("</div>\n", out);
    }
    return ferror(out) ? dg_fail(err, DG_ERR_IO, "the report cannot be written: %s", strerror(errno)) : DG_OK;
}
