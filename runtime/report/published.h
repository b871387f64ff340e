/* The published recipe, to compare a run's with. */
#ifndef DG_RUNTIME_REPORT_PUBLISHED_H
#define DG_RUNTIME_REPORT_PUBLISHED_H

#include "ops/base/base.h"

#define DG_PUBLISHED_RECIPE                                                                                            \
    "dino_vits16_100ep" /* ViT-S/16, the "vanilla DINO training" of the official code's README */

/* What it has under a key of recipes, as dg_report_run's settings have it; NULL: it has no such key. The learning rate is scaled to `batch`, as
 * the recipe's formula does (0: its own batch). The text lasts until the next call of the thread. */
const char *dg_published_value(const char *key, int64_t batch);

/* How many keys it has, and the names of them in order; for tests. */
int dg_published_count(void);
const char *dg_published_key(int index);

/* A setting for people, "20 epochs" of "2e+01 epochs"; two settings are the same if these texts are. Returns `text`. */
const char *dg_setting_text(char *text, size_t size, const char *value);

#endif
