/* What an accuracy is to be compared with. */
#ifndef DG_RUNTIME_EVAL_MOST_FREQUENT_H
#define DG_RUNTIME_EVAL_MOST_FREQUENT_H

#include "ops/base/base.h"

/* The share of the most frequent of label[count], each in [0, classes), in percent: the accuracy of who always
 * answers with that class. NaN: out of memory, or no labels. */
double dg_most_frequent(const int *label, int64_t count, int classes);

#endif
