/* What the files of this room share. No other room includes it. */
#ifndef DG_OPS_DNNL_INTERNAL_H
#define DG_OPS_DNNL_INTERNAL_H

#include "ops/dnnl/dnnl.h"

/* Images [n, h, w, c], dense; oneDNN counts their dimensions n, c, h, w. */
dg_md dg_md_image(enum dg_dtype dtype, int64_t n, int64_t h, int64_t w, int64_t c);

/* Fills err with "oneDNN x.y cannot WHAT"; returns DG_ERR_UNSUPPORTED. */
enum dg_status dg_dnnl_no(struct dg_error *err, const char *what);

/* Reference implementations are refused (dnnl.h). */
enum dg_status dg_dnnl_audit(const_dnnl_primitive_desc_t pd, struct dg_error *err);

/* The attributes of every primitive of this room: the caller owns the scratchpad; what `post` says becomes of the result. The
 * caller destroys them, also on failure if they are not NULL. */
enum dg_status dg_dnnl_attr(struct dg_post post, dnnl_primitive_attr_t *attr, struct dg_error *err);

/* A memory object of the descriptor that `pd` wants for `what`, NULL if it wants none. The caller owns its bytes and passes them with
 * each run. */
enum dg_status dg_dnnl_memory_for(const_dnnl_primitive_desc_t pd, dnnl_query_t what, dnnl_engine_t engine,
                                  dnnl_memory_t *memory, int64_t *bytes, struct dg_error *err);

/* The reorder plain -> packed, or packed -> plain with `unpack`; raises *scratch_bytes to what it needs. */
enum dg_status dg_dnnl_reorder(dnnl_engine_t engine, dg_md plain, dg_md packed, bool unpack, dnnl_primitive_t *reorder,
                               dnnl_memory_t *plain_memory, dnnl_memory_t *scratchpad, int64_t *scratch_bytes,
                               struct dg_error *err);

/* Runs with data[i] behind arg[i].memory; arguments whose memory is NULL are left out. */
enum dg_status dg_dnnl_execute(dnnl_primitive_t primitive, dnnl_stream_t stream, dnnl_exec_arg_t *arg, void **data,
                               int count, struct dg_error *err);

/* oneDNN takes pointers to non-const; it reads through them only. */
void *dg_unconst(const void *pointer);

#endif
