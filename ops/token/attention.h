/* What asks for attention: an op that makes the projection in front of it along with it needs to know. */
#ifndef DG_OPS_TOKEN_ATTENTION_H
#define DG_OPS_TOKEN_ATTENTION_H

#include "ops/op.h"

extern const struct dg_op dg_op_attention, dg_op_class_attention;

enum { DG_ATTENTION_HEADS, DG_ATTENTION_QUERY }; /* attributes of both; query -1: all tokens ask */

#endif
