#include "tools/dinorun/stop_signals.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

/* A thread of its own waits for signals. A signal handler would run on the stack of whatever thread the signal
 * interrupts, and oneDNN's generated code was seen to lose values that it stores there. */
static sigset_t stop_signals;
static atomic_bool stop_asked;

/* Any of the signals asks the run to stop. A second Ctrl-C or SIGTERM ends the program at once, in the middle of a
 * step. The others do not: a closed terminal sends SIGHUP twice (its shell and the system), a limit of CPU time
 * SIGXCPU every second, and a batch system SIGTERM some time after SIGUSR1. */
static void *wait_for_signals(void *unused)
{
    int signal;
    (void)unused;
    for (int urgent = 0; urgent < 2;) {
        if (sigwait(&stop_signals, &signal)) continue;
        atomic_store(&stop_asked, true);
        urgent += signal == SIGINT || signal == SIGTERM;
    }
    struct sigaction plain = {.sa_handler = SIG_DFL}; /* a shell starts its background jobs with SIGINT ignored */
    sigaction(signal, &plain, NULL);
    pthread_sigmask(SIG_UNBLOCK, &stop_signals, NULL);
    raise(signal);
    return NULL;
}

void watch_stop_signals(void)
{
    pthread_t watcher;
    static const int asking[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGXCPU};
    sigemptyset(&stop_signals);
    for (size_t s = 0; s < sizeof asking / sizeof *asking; s++) sigaddset(&stop_signals, asking[s]);
    signal(SIGPIPE, SIG_IGN);                        /* whoever writes sees the error instead */
    pthread_sigmask(SIG_BLOCK, &stop_signals, NULL); /* before there are other threads: they inherit it */
    if (pthread_create(&watcher, NULL, wait_for_signals, NULL))
        pthread_sigmask(SIG_UNBLOCK, &stop_signals, NULL); /* then they end the program, as they do without us */
    else
        pthread_detach(watcher);
}

void ask_to_stop(void) { atomic_store(&stop_asked, true); }

bool stop_is_asked(void) { return atomic_load(&stop_asked); }
