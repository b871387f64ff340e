#include "runtime/draw/memory_map.h"

#include "runtime/base/atomic_file.h"

#include <string.h>

enum { LEFT = 90, TOP = 30, WIDTH = 1400, HEIGHT = 700 };

/* Names of ours hold no quotes, but a description's may. */
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

static int color_of(const char *labels[], int *count, const char *label)
{
    static const int most = 16;
    for (int i = 0; i < *count; i++)
        if (!strcmp(labels[i], label)) return i;
    if (*count == most) return most - 1;
    labels[*count] = label;
    return (*count)++;
}

enum dg_status dg_memory_map(const struct dg_plan *plan, const struct dg_plan_entry *entry, const char *path,
                             struct dg_error *err)
{
    struct dg_atomic_file file;
    DG_TRY(dg_atomic_open(path, &file, err));
    FILE *out = file.stream;
    double total = (double)entry->region_bytes[DG_REGION_STEP], ops = entry->num_ops ? entry->num_ops : 1;
    const char *label[16];
    int labels = 0;
    char text[32];
    fprintf(out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" "
            "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            LEFT + WIDTH + 20, TOP + HEIGHT + 60);
    fprintf(out, "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"#f4f4f4\"/>\n", LEFT, TOP, WIDTH, HEIGHT);
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        const struct dg_plan_tensor *tensor = &plan->tensor[t];
        if (tensor->region != DG_REGION_STEP || tensor->root != t || total <= 0) continue;
        const char *from = label_of(plan, entry, tensor);
        int color = color_of(label, &labels, from);
        double height = (double)tensor->bytes / total * HEIGHT;
        fprintf(out,
                "<rect x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\" fill=\"hsl(%d,60%%,65%%)\" "
                "stroke=\"white\" stroke-width=\"0.2\"><title>",
                LEFT + tensor->first / ops * WIDTH, TOP + HEIGHT - (double)tensor->offset / total * HEIGHT - height,
                (tensor->last - tensor->first + 1) / ops * WIDTH, height, color * 67 % 360);
        escaped(out, dg_plan_string(plan, tensor->name));
        fprintf(out, ", %s, operations %u to %u, ", dg_format_bytes(text, sizeof text, (double)tensor->bytes),
                tensor->first, tensor->last);
        escaped(out, from);
        fprintf(out, "</title></rect>\n");
    }
    if (entry->loop_ops) {
        double from = LEFT + entry->loop_first / ops * WIDTH, width = entry->loop_ops / ops * WIDTH;
        fprintf(out,
                "<rect x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\" fill=\"none\" stroke=\"black\" "
                "stroke-dasharray=\"6 4\"/>\n<text x=\"%.2f\" y=\"%d\" text-anchor=\"end\">for each of %u "
                "slices</text>\n",
                from, TOP, width, HEIGHT, from + width - 6, TOP + 16, entry->slices);
    }
    for (int i = 0; i <= 4; i++)
        fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>\n", LEFT - 6,
                TOP + HEIGHT - i * HEIGHT / 4 + 4, dg_format_bytes(text, sizeof text, total * i / 4));
    for (int i = 0; i <= 4; i++)
        fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%u</text>\n", LEFT + i * WIDTH / 4,
                TOP + HEIGHT + 16, entry->num_ops * (unsigned)i / 4);
    for (int i = 0; i < labels; i++) {
        int x = LEFT + i % 6 * 230, y = TOP + HEIGHT + 32 + i / 6 * 14;
        fprintf(
            out,
            "<rect x=\"%d\" y=\"%d\" width=\"10\" height=\"10\" fill=\"hsl(%d,60%%,65%%)\"/><text x=\"%d\" y=\"%d\">",
            x, y - 9, i * 67 % 360, x + 14, y);
        escaped(out, label[i]);
        fprintf(out, "</text>\n");
    }
    fprintf(out, "<text x=\"%d\" y=\"18\">", LEFT);
    escaped(out, dg_plan_string(plan, plan->header->recipe));
    fprintf(out, ", entry %s: %s of activations and gradients", dg_plan_string(plan, entry->name),
            dg_format_bytes(text, sizeof text, total));
    fprintf(out, " (lower bound %s) over %u operations</text>\n</svg>\n",
            dg_format_bytes(text, sizeof text, (double)entry->step_bound), entry->num_ops);
    return dg_atomic_commit(&file, err);
}
