/* The instructions of AMX on a CPU that lacks them: each is an illegal instruction there, and a handler of SIGILL does what it does. So
 * the code that compilers make of kernels on tiles runs, too slowly for anything but tests. */
#ifndef DG_TESTS_AMX_TRAP_H
#define DG_TESTS_AMX_TRAP_H

#include <stdbool.h>

/* Whether the kernels of the level v5 may be called in this process: the CPU has the level, or it has v4b and, from this call on, the
 * handler. */
bool amx_can_run(void);

#endif
