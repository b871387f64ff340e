#include "runtime/draw/memory_map.h"

#include "runtime/base/atomic_file.h"

#include <string.h>

enum { LEFT = 90, TOP = 30, WIDTH = 1400, HEIGHT = 700, MAX_LABELS = 16 };

/* Writes text with < and & escaped: a description's names may have them. */
static void escaped(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '&')
            fputs("&amp;", out);
        else
            fputc(*text, out);
    }
}

/* The application that makes the tensor: the label of the first op that touches it. */
static const char *label_of(const struct dg_plan *plan, const struct dg_plan_entry *entry,
                            const struct dg_plan_tensor *tensor)
{
    return dg_plan_string(plan, plan->op[entry->first_op + tensor->first].label);
}

struct map {
    const struct dg_plan *plan;
    const struct dg_plan_entry *entry;
    FILE *out;
    double total, ops; /* bytes of the step's region; operations */
    const char *label[MAX_LABELS];
    int labels;
};

/* The number of a label, which is new or known; the last number stands for all labels beyond it. */
static int color_of(struct map *map, const char *label)
{
    for (int i = 0; i < map->labels; i++)
        if (!strcmp(map->label[i], label)) return i;
    if (map->labels == MAX_LABELS) return MAX_LABELS - 1;
    map->label[map->labels] = label;
    return map->labels++;
}

static void draw_tensor(struct map *map, const struct dg_plan_tensor *tensor)
{
    char text[32];
    const char *from = label_of(map->plan, map->entry, tensor);
    double height = (double)tensor->bytes / map->total * HEIGHT;
    fprintf(map->out,
            "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"hsl(%d,60%%,65%%)\" "
            "stroke=\"white\" stroke-width=\"0.2\"><title>",
            LEFT + tensor->first / map->ops * WIDTH,
            TOP + HEIGHT - (double)tensor->offset / map->total * HEIGHT - height,
            (tensor->last - tensor->first + 1) / map->ops * WIDTH, height, color_of(map, from) * 67 % 360);
    escaped(map->out, dg_plan_string(map->plan, tensor->name));
    fprintf(map->out, ", %s, operations %u to %u, ", dg_format_bytes(text, sizeof text, (double)tensor->bytes),
            tensor->first, tensor->last);
    escaped(map->out, from);
    fprintf(map->out, "</title></rect>\n");
}

static void draw_loop(const struct map *map)
{
    const struct dg_plan_entry *entry = map->entry;
    if (!entry->loop_ops) return;
    double from = LEFT + entry->loop_first / map->ops * WIDTH, width = entry->loop_ops / map->ops * WIDTH;
    fprintf(map->out,
            "<rect x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\" fill=\"none\" stroke=\"black\" "
            "stroke-dasharray=\"6 4\"/>\n<text x=\"%.2f\" y=\"%d\" text-anchor=\"end\">for each of %u "
            "slices</text>\n",
            from, TOP, width, HEIGHT, from + width - 6, TOP + 16, entry->slices);
}

static void draw_axes(const struct map *map)
{
    char text[32];
    for (int i = 0; i <= 4; i++)
        fprintf(map->out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", LEFT - 6,
                TOP + HEIGHT - i * HEIGHT / 4 + 4, dg_format_bytes(text, sizeof text, map->total * i / 4));
    for (int i = 0; i <= 4; i++)
        fprintf(map->out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%u</text>\n", LEFT + i * WIDTH / 4,
                TOP + HEIGHT + 16, map->entry->num_ops * (unsigned)i / 4);
}

static void draw_legend(const struct map *map)
{
    for (int i = 0; i < map->labels; i++) {
        int x = LEFT + i % 6 * 230, y = TOP + HEIGHT + 32 + i / 6 * 14;
        fprintf(
            map->out,
            "<rect x=\"%d\" y=\"%d\" width=\"10\" height=\"10\" fill=\"hsl(%d,60%%,65%%)\"/><text x=\"%d\" y=\"%d\">",
            x, y - 9, i * 67 % 360, x + 14, y);
        escaped(map->out, map->label[i]);
        fprintf(map->out, "</text>\n");
    }
}

static void draw_title(const struct map *map)
{
    char text[32];
    fprintf(map->out, "<text x=\"%d\" y=\"18\">", LEFT);
    escaped(map->out, dg_plan_string(map->plan, map->plan->header->recipe));
    fprintf(map->out, ", entry %s: %s of activations and gradients", dg_plan_string(map->plan, map->entry->name),
            dg_format_bytes(text, sizeof text, map->total));
    fprintf(map->out, " (lower bound %s) over %u operations</text>\n</svg>\n",
            dg_format_bytes(text, sizeof text, (double)map->entry->step_bound), map->entry->num_ops);
}

void dg_memory_map_draw(const struct dg_plan *plan, const struct dg_plan_entry *entry, FILE *out)
{
    struct map map = {.plan = plan,
                      .entry = entry,
                      .out = out,
                      .total = (double)entry->region_bytes[DG_REGION_STEP],
                      .ops = entry->num_ops ? entry->num_ops : 1};
    int width = LEFT + WIDTH + 20, height = TOP + HEIGHT + 60;
    fprintf(map.out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" "
            "font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            width, height, width, height);
    fprintf(map.out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"#f4f4f4\"/>\n", LEFT, TOP, WIDTH,
            HEIGHT);
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &plan->tensor[t];
        if (tensor->region == DG_REGION_STEP && tensor->root == t && map.total > 0) draw_tensor(&map, tensor);
    }
    draw_loop(&map);
    draw_axes(&map);
    draw_legend(&map);
    draw_title(&map);
}

enum dg_status dg_memory_map(const struct dg_plan *plan, const struct dg_plan_entry *entry, const char *path,
                             struct dg_error *err)
{
    struct dg_atomic_file file;
    DG_TRY(dg_atomic_open(path, &file, err));
    dg_memory_map_draw(plan, entry, file.stream);
    return dg_atomic_commit(&file, err);
}
