/* The networks in a file of weights, each under a prefix of its tensors' names. */
#ifndef DG_RUNTIME_LAYOUTS_NETWORKS_H
#define DG_RUNTIME_LAYOUTS_NETWORKS_H

#include "runtime/formats/tensor_file.h"
#include "runtime/layouts/layouts.h"

enum { DG_NETWORKS_MAX = 32 };

/* What the user or the program says of the network that is wanted; all may be NULL. */
struct dg_network_choice {
    const char *key;         /* of the dict that holds it: "state_dict_ema" */
    const char *prefix;      /* of its names: "encoder_q." */
    const char *const *name; /* the parameters that a backbone is expected to have, under our names */
    int names;
};

struct dg_file_network {
    char prefix[DG_LAYOUT_NAME];         /* of the tensors' full names */
    int key;                             /* how much of it is the path of dicts, with the dot */
    const struct dg_name_layout *layout; /* NULL: the names are taken to be ours */
    const char *role;                    /* "teacher", "student"; NULL: neither */
    int count;                           /* tensors under the prefix */
};

struct dg_networks {
    struct dg_file_network item[DG_NETWORKS_MAX];
    int count;
    char **name; /* of each tensor in the file: its key, a dot, and its name without wrappers */
    int *key;    /* how much of it is the key, with the dot */
    const char **sorted;
    int names;
};

/* Finds the networks that are wanted: one, or a teacher and a student. Wrappers' names (module, _orig_mod, ...) are left out
 * wherever they are. DG_ERR_INPUT: there are several, or none of those that are asked for; the text lists what there is. A file
 * without a network that is known has one, of all tensors. Close it, whatever the status. */
enum dg_status dg_networks_find(const struct dg_tensor_file *file, const struct dg_network_choice *choice,
                                struct dg_networks *networks, struct dg_error *err);
void dg_networks_close(struct dg_networks *networks);

#endif
