#include "runtime/layouts/networks.h"

#include "runtime/base/name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names ---- */

/* Copies a dotted name without the components that torch.compile, data parallelism and checkpointing put into it, and with
 * the published names of weight normalisation in place of PyTorch 2's. */
static void put_unwrapped(char *to, const char *name)
{
    static const char *const wrapper[] = {"module.", "_orig_mod.", "_fsdp_wrapped_module.",
                                          "_checkpoint_wrapped_module.", "_forward_module."};
    static const char *const spelled[][2] = {{"last_layer.parametrizations.weight.original0", "last_layer.weight_g"},
                                             {"last_layer.parametrizations.weight.original1", "last_layer.weight_v"}};
    while (*name) {
        size_t skipped = 0;
        for (size_t w = 0; w < sizeof wrapper / sizeof *wrapper && !skipped; w++)
            if (dg_name_after(name, wrapper[w])) skipped = strlen(wrapper[w]);
        name += skipped;
        if (skipped) continue;
        for (int s = 0; s < 2; s++)
            if (!strcmp(name, spelled[s][0])) name = spelled[s][1];
        size_t length = strcspn(name, ".");
        length += name[length] == '.';
        memcpy(to, name, length);
        to += length;
        name += length;
    }
    *to = 0;
}

static int compare_texts(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

static enum dg_status list_names(const struct dg_tensor_file *file, struct dg_networks *n, struct dg_error *err)
{
    int count = dg_tensor_file_count(file);
    n->name = calloc((size_t)count + 1, sizeof *n->name);
    n->key = calloc((size_t)count + 1, sizeof *n->key);
    n->sorted = calloc((size_t)count + 1, sizeof *n->sorted);
    if (!n->name || !n->key || !n->sorted) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (int i = 0; i < count; i++) {
        const struct dg_named_tensor *tensor = dg_tensor_file_at(file, i);
        char *name = malloc(strlen(tensor->key) + strlen(tensor->name) + 2);
        if (!name) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
        n->key[i] = sprintf(name, "%s%s", tensor->key, *tensor->key ? "." : "");
        put_unwrapped(name + n->key[i], tensor->name);
        n->name[n->names++] = name;
        n->sorted[i] = name;
    }
    qsort(n->sorted, (size_t)count, sizeof *n->sorted, compare_texts);
    return DG_OK;
}

/* True if there is a tensor of that name below the prefix. */
static bool has(const struct dg_networks *n, const char *prefix, const char *name)
{
    char full[2 * DG_LAYOUT_NAME];
    const char *key = full;
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return bsearch(&key, n->sorted, (size_t)n->names, sizeof *n->sorted, compare_texts) != NULL;
}

/* How many names begin with the prefix: they are neighbours in the sorted list. */
static int count_below(const struct dg_networks *n, const char *prefix)
{
    int first = 0, end = n->names, count = 0;
    while (first < end) {
        int middle = (first + end) / 2;
        if (strcmp(n->sorted[middle], prefix) < 0)
            first = middle + 1;
        else
            end = middle;
    }
    while (first + count < n->names && dg_name_after(n->sorted[first + count], prefix)) count++;
    return count;
}

/* ---- candidates ---- */

static bool is_known(const struct dg_networks *n, const char *prefix)
{
    for (int i = 0; i < n->count; i++)
        if (!strcmp(n->item[i].prefix, prefix)) return true;
    return false;
}

static void add(struct dg_networks *n, const char *prefix, int key, const struct dg_name_layout *layout)
{
    if (n->count == DG_NETWORKS_MAX || is_known(n, prefix)) return;
    struct dg_file_network *network = &n->item[n->count++];
    *network = (struct dg_file_network){.layout = layout, .key = key, .count = count_below(n, prefix)};
    snprintf(network->prefix, sizeof network->prefix, "%s", prefix);
    network->role = strstr(prefix, "teacher") ? "teacher" : strstr(prefix, "student") ? "student" : NULL;
}

/* Sets `prefix` to what comes before `sign` at the end of name `i`; false: it does not end so. */
static bool before(const struct dg_networks *n, int i, const char *sign, char prefix[DG_LAYOUT_NAME])
{
    const char *name = n->name[i];
    size_t length = strlen(name), tail = strlen(sign);
    if (length < tail || strcmp(name + length - tail, sign) || length - tail >= DG_LAYOUT_NAME) return false;
    if ((int)(length - tail) < n->key[i] || (length > tail && name[length - tail - 1] != '.')) return false;
    snprintf(prefix, DG_LAYOUT_NAME, "%.*s", (int)(length - tail), name);
    return !dg_name_after(prefix, "optim."); /* our optimiser's state, under the parameters' names */
}

static void add_by_layout(struct dg_networks *n)
{
    char prefix[DG_LAYOUT_NAME];
    for (int l = 0; l < dg_layout_count; l++) {
        const struct dg_name_layout *layout = &dg_layouts[l];
        for (int i = 0; i < n->names; i++)
            if (before(n, i, layout->sign[0], prefix) && (!layout->sign[1] || has(n, prefix, layout->sign[1])))
                add(n, prefix, n->key[i], layout);
    }
}

/* Finds networks by the names that are expected: under a prefix that has one of the deepest, and half of all. */
static void add_by_names(struct dg_networks *n, const struct dg_network_choice *choice)
{
    char prefix[DG_LAYOUT_NAME];
    int most = -1, deepest = 0;
    for (int e = 0; e < choice->names; e++) {
        int dots = 0;
        for (const char *c = choice->name[e]; *c; c++) dots += *c == '.';
        if (dots > most) most = dots, deepest = e;
    }
    for (int i = 0; i < n->names && choice->names; i++) {
        int found = 0;
        if (!before(n, i, choice->name[deepest], prefix) || is_known(n, prefix)) continue;
        for (int e = 0; e < choice->names; e++) found += has(n, prefix, choice->name[e]);
        if (found * 2 >= choice->names) add(n, prefix, n->key[i], NULL);
    }
}

/* Finds the networks of a full checkpoint whose layout is not known: what is under student or teacher. */
static void add_by_role(struct dg_networks *n)
{
    static const char *const roles[] = {"teacher.", "student."};
    for (int r = 0; r < 2; r++) {
        char prefix[DG_LAYOUT_NAME];
        int i = 0;
        while (i < n->names && !dg_name_after(n->name[i], roles[r])) i++;
        if (i == n->names) continue;
        snprintf(prefix, sizeof prefix, "%sbackbone.", roles[r]);
        add(n, count_below(n, prefix) ? prefix : roles[r], n->key[i] ? (int)strlen(roles[r]) : 0, NULL);
    }
}

/* ---- choice ---- */

static void list(const struct dg_networks *n, const struct dg_network_choice *choice, char *text, size_t size)
{
    bool keys = false, prefixes = false;
    for (int i = 1; i < n->count; i++) {
        const struct dg_file_network *a = &n->item[0], *b = &n->item[i];
        keys |= a->key != b->key || strncmp(a->prefix, b->prefix, (size_t)a->key);
        prefixes |= strcmp(a->prefix + a->key, b->prefix + b->key) != 0;
    }
    prefixes |= !keys || choice->prefix;
    size_t used = 0;
    for (int i = 0; i < n->count && used < size; i++) {
        const struct dg_file_network *network = &n->item[i];
        used += (size_t)snprintf(text + used, size - used, "\n ");
        if (keys && used < size)
            used += (size_t)snprintf(text + used, size - used, " --key %.*s", network->key ? network->key - 1 : 2,
                                     network->key ? network->prefix : "''");
        if (prefixes && used < size)
            used += (size_t)snprintf(text + used, size - used, " --prefix %.100s",
                                     network->prefix[network->key] ? network->prefix + network->key : "''");
        if (used < size)
            used += (size_t)snprintf(text + used, size - used, "  %s, %d tensors",
                                     network->layout ? network->layout->what : "a network", network->count);
    }
}

/* "prefix." without wrappers, "" for nothing. */
static void put_prefix(char to[DG_LAYOUT_NAME], const char *prefix)
{
    char room[DG_LAYOUT_NAME];
    size_t length = strlen(prefix);
    snprintf(room, sizeof room, "%.*s%s", DG_LAYOUT_NAME - 2, prefix, length && prefix[length - 1] != '.' ? "." : "");
    put_unwrapped(to, room);
}

static bool key_fits(const char *full, int key, const char *wanted)
{
    size_t length = strlen(wanted);
    if (!length) return !key;
    return (int)length < key && !strncmp(full, wanted, length) && full[length] == '.';
}

/* Leaves the networks that the user asks for. One whose layout is not known may be asked for, too. */
static enum dg_status keep_chosen(struct dg_networks *n, const struct dg_network_choice *choice, struct dg_error *err)
{
    char prefix[DG_LAYOUT_NAME] = "", text[1000] = "";
    struct dg_networks all = *n;
    if (choice->prefix) put_prefix(prefix, choice->prefix);
    n->count = 0;
    for (int i = 0; i < all.count; i++) {
        const struct dg_file_network *network = &all.item[i];
        if (choice->key && !key_fits(network->prefix, network->key, choice->key)) continue;
        const char *rest = network->prefix + network->key;
        if (choice->prefix && (*prefix ? !dg_name_after(rest, prefix) : *rest)) continue;
        n->item[n->count++] = *network;
    }
    for (int i = 0; i < n->names && !n->count; i++) {
        char full[2 * DG_LAYOUT_NAME];
        if (choice->key && !key_fits(n->name[i], n->key[i], choice->key)) continue;
        if (n->key[i] >= DG_LAYOUT_NAME || !dg_name_after(n->name[i] + n->key[i], prefix)) continue;
        snprintf(full, sizeof full, "%.*s%s", n->key[i], n->name[i], prefix);
        if (strlen(full) < DG_LAYOUT_NAME) add(n, full, n->key[i], NULL);
    }
    for (int i = 0; i < n->count; i++) n->item[i].role = NULL; /* it is the one, whatever it was */
    if (n->count) return DG_OK;
    list(&all, choice, text, sizeof text);
    return dg_fail(err, DG_ERR_INPUT, "no tensors under%s%s%s%s; %s%s", choice->key ? " the key " : "",
                   choice->key ? choice->key : "", choice->prefix ? " the prefix " : "",
                   choice->prefix ? choice->prefix : "", *text ? "there are" : "the first tensor is ",
                   *text ? text : n->name[0]);
}

static enum dg_status check_single(const struct dg_networks *n, const struct dg_network_choice *choice,
                                   struct dg_error *err)
{
    int role[2] = {0, 0}, others = 0;
    for (int i = 0; i < n->count; i++) {
        const char *r = n->item[i].role;
        if (r)
            role[*r == 's']++;
        else
            others++;
    }
    if (others + role[0] + role[1] <= 1 || (!others && role[0] <= 1 && role[1] <= 1)) return DG_OK;
    char text[1200];
    list(n, choice, text, sizeof text);
    return dg_fail(err, DG_ERR_INPUT, "it holds %d networks; say which is wanted:%s", n->count, text);
}

/* The network of all tensors, where none is known. */
static void add_all(struct dg_networks *n)
{
    int key = n->names ? n->key[0] : 0;
    char prefix[DG_LAYOUT_NAME] = "";
    for (int i = 1; i < n->names; i++)
        if (n->key[i] != key || strncmp(n->name[i], n->name[0], (size_t)key)) key = 0;
    if (key < DG_LAYOUT_NAME && n->names) snprintf(prefix, sizeof prefix, "%.*s", key, n->name[0]);
    add(n, prefix, key, NULL);
    n->item[0].role = NULL;
}

enum dg_status dg_networks_find(const struct dg_tensor_file *file, const struct dg_network_choice *choice,
                                struct dg_networks *networks, struct dg_error *err)
{
    memset(networks, 0, sizeof *networks);
    DG_TRY(list_names(file, networks, err));
    add_by_layout(networks);
    add_by_names(networks, choice);
    if (!networks->count) add_by_role(networks);
    if (choice->key || choice->prefix) DG_TRY(keep_chosen(networks, choice, err));
    if (!networks->count) add_all(networks);
    return check_single(networks, choice, err);
}

void dg_networks_close(struct dg_networks *networks)
{
    for (int i = 0; i < networks->names; i++) free(networks->name[i]);
    free(networks->name);
    free(networks->key);
    free(networks->sorted);
    memset(networks, 0, sizeof *networks);
}
