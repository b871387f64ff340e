/* The place of a thing in the description. */
#ifndef DG_COMPILER_BASE_ORIGIN_H
#define DG_COMPILER_BASE_ORIGIN_H

/* Where something was written, and what it is called. */
struct dg_origin {
    const char *file; /* as given on the command line or in `import` */
    int line, column; /* from 1; 0: made by the compiler */
    const char *path; /* the node's path within its instance: "blocks.3.attn.qkv" */
};

#endif
