/* Size of fixed arrays for paths. */
#ifndef DG_RUNTIME_BASE_PATH_H
#define DG_RUNTIME_BASE_PATH_H

enum { DG_MAX_PATH = 4096 };

#endif
