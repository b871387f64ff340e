/* Signals that ask a training run to finish its step, save and end. */
#ifndef DINORUN_STOP_SIGNALS_H
#define DINORUN_STOP_SIGNALS_H

#include <stdbool.h>

/* From here on SIGINT, SIGTERM, SIGHUP, SIGUSR1 and SIGXCPU ask for it; a second SIGINT or SIGTERM ends the program at once. To be
 * called before there are other threads. */
void watch_stop_signals(void);

/* As a signal does; from any thread. */
void ask_to_stop(void);
bool stop_is_asked(void);

#endif
