#include "tools/dinorun/train_progress.h"
#include "tools/dinorun/command.h"
#include "tools/dinorun/stop_signals.h"

#include "ops/kernels/rates.h"
#include "runtime/base/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

void train_progress_end_line(struct train_progress *p)
{
    if (p->line_open) fputc('\n', stdout);
    p->line_open = false;
}

/* What a line off a terminal begins with. */
static const char *time_of_day(const struct train_progress *p, char *text, size_t size)
{
    time_t now = time(NULL);
    struct tm local;
    if (p->terminal || !localtime_r(&now, &local) || !strftime(text, size, "%F %T  ", &local)) *text = 0;
    return text;
}

static void on_measured(void *context, const struct dg_quality_report *r)
{
    struct train_progress *p = context;
    char when[32];
    train_progress_end_line(p);
    printf("%sstep %" PRId64 "/%" PRId64, time_of_day(p, when, sizeof when), r->step, p->start.end_step);
    for (int i = 0; i < r->num_k; i++) printf("%s %d-NN %.2f %%", i ? "," : "  top-1", r->k[i], r->result[i].top1);
    if (r->num_k) printf("; most frequent class %.2f %%", r->most_frequent);
    if (r->objects.images)
        printf("%sJaccard %.2f %%, mean of heads %.2f %%; everything %.2f %%", r->num_k ? "; " : "  ",
               100 * r->objects.best, 100 * r->objects.mean, 100 * r->objects.all);
    printf("; %.1f s\n", r->seconds);
    fflush(stdout);
}

static const char *duration(char *text, size_t size, double seconds)
{
    int64_t s = (int64_t)(seconds + 0.5);
    if (s >= 86400)
        snprintf(text, size, "%" PRId64 "d %02" PRId64 "h", s / 86400, s / 3600 % 24);
    else if (s >= 3600)
        snprintf(text, size, "%" PRId64 "h %02" PRId64 "m", s / 3600, s / 60 % 60);
    else
        snprintf(text, size, "%" PRId64 "m %02" PRId64 "s", s / 60, s % 60);
    return text;
}

/* "4 processes on 2 machines: a (2), b (2); ..." */
static void print_ranks(struct dg_comm *comm, const struct dg_train_start *start)
{
    int ranks = dg_comm_ranks(comm), machines = 0;
    char hosts[256] = "";
    size_t at = 0;
    for (int r = 0; r < ranks; r++) {
        int here = 0, before = 0;
        for (int o = 0; o < ranks; o++) {
            bool same = !strcmp(dg_comm_host(comm, o), dg_comm_host(comm, r));
            here += same;
            before += same && o < r;
        }
        if (before) continue;
        machines++;
        if (at + 80 < sizeof hosts)
            at += (size_t)snprintf(hosts + at, sizeof hosts - at, "%s%s (%d)", at ? ", " : "", dg_comm_host(comm, r),
                                   here);
    }
    char sums[160];
    printf("%d processes on %d machine%s: %s; each computes %" PRId64 " slice%s of a batch; %s; sums %s\n", ranks,
           machines, machines == 1 ? "" : "s", hosts, start->slices, start->slices == 1 ? "" : "s",
           dg_comm_library(comm), dg_comm_sums_text(comm, sums, sizeof sums));
    printf("to stop and save: kill -USR1 of mpirun or of any process; Ctrl-C ends mpirun before the run is saved\n");
}

static const char *plural(int64_t count) { return count == 1 ? "" : "s"; }

static void on_start(void *context, const struct dg_train_start *start)
{
    struct train_progress *p = context;
    p->start = *start;
    struct dg_comm *comm = p->options->comm;
    if (comm) print_ranks(comm, start);
    print_memory(&start->memory, start->loader_bytes);
    if (start->measure_lent + start->measure_own) {
        char lent[32], own[32];
        printf("measuring while training works in %s of the activations' memory, and %s beside it\n",
               dg_format_bytes(lent, sizeof lent, (double)start->measure_lent),
               dg_format_bytes(own, sizeof own, (double)start->measure_own));
    }
    printf("%" PRId64 " image%s, %" PRId64 " step%s an epoch, %" PRId64 " epoch%s; seed %" PRIu64
           ", %d thread%s, kernels %s\n",
           start->images, plural(start->images), start->steps_per_epoch, plural(start->steps_per_epoch), start->epochs,
           plural(start->epochs), start->seed, start->threads, start->threads == 1 ? "" : "s", dg_kernels_name().text);
    if (start->first_step > start->end_step)
        printf("the run is at step %" PRId64 " already: nothing is left to do up to step %" PRId64 "\n",
               start->first_step, start->end_step);
    else if (start->first_step == start->end_step)
        printf("all steps are done: %" PRId64 "\n", start->end_step);
    else if (start->first_step)
        printf("going on at step %" PRId64 " of %" PRId64 "\n", start->first_step, start->end_step);
    fflush(stdout);
}

/* Off a terminal: after the first step, then so often. */
enum { LINE_SECONDS = 60 };

/* On a terminal in place of the line before, no wider than that is; off one with the time of day. */
static void print_step(struct train_progress *p, const struct dg_step_report *r, double seconds)
{
    char left[32], line[256], when[32];
    struct winsize window = {0};
    snprintf(line, sizeof line,
             "%sstep %" PRId64 "/%" PRId64 "  epoch %" PRId64 "/%" PRId64
             "  loss %.4f  kl %.4f  entropy %.1f %%  %.1f images/s  %s left",
             time_of_day(p, when, sizeof when), r->step + 1, p->start.end_step, r->epoch + 1, p->start.epochs, r->loss,
             r->kl, 100 * r->teacher_entropy / p->start.log_out_dim, r->images_per_s * seconds / p->recent,
             duration(left, sizeof left, p->recent * (double)(p->start.end_step - r->step - 1)));
    int width = (int)sizeof line;
    if (p->terminal && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &window) && window.ws_col) width = window.ws_col - 1;
    printf("%s%.*s%s", p->terminal ? "\r\033[K" : "", width, line, p->terminal ? "" : "\n");
    p->line_open = p->terminal;
}

static void on_step(void *context, const struct dg_step_report *r, double seconds, double waited)
{
    struct train_progress *p = context;
    p->seconds += seconds;
    p->waited += waited;
    p->recent = p->steps++ ? p->recent + 0.05 * (seconds - p->recent) : seconds;
    p->last = *r;
    bool last = r->step + 1 == p->start.end_step;
    double now = dg_seconds_now();
    struct pollfd reader = {.fd = STDOUT_FILENO};
    if (p->terminal || last || p->steps == 1 || now - p->said >= LINE_SECONDS) {
        p->said = now;
        print_step(p, r, seconds);
    }
    /* Whoever read the output is gone: a closed terminal, the other end of a pipe. */
    if (fflush(stdout) && (errno == EPIPE || errno == EIO)) ask_to_stop();
    if (!p->terminal && poll(&reader, 1, 0) > 0 && reader.revents & POLLERR) ask_to_stop();
}

static void on_saved(void *context, int64_t step)
{
    struct train_progress *p = context;
    p->saved = step;
}

void train_progress_message(void *context, enum dg_log_level level, enum dg_log_topic topic, const char *text)
{
    struct train_progress *p = context;
    char line[2048];
    int rank = dg_comm_rank(p->options->comm);
    if (rank) snprintf(line, sizeof line, "rank %d (%s): %s", rank, dg_comm_host(p->options->comm, rank), text);
    train_progress_end_line(p);
    write_to_stderr(level, topic, rank ? line : text);
}

struct train_progress train_progress_of(const struct dg_train_options *options)
{
    return (struct train_progress){
        .options = options, .terminal = isatty(STDOUT_FILENO), .begin = dg_seconds_now(), .saved = -1};
}

struct dg_train_events train_progress_events(struct train_progress *p)
{
    return (struct dg_train_events){
        .context = p, .start = on_start, .step = on_step, .saved = on_saved, .measured = on_measured};
}

int64_t train_progress_steps(const struct train_progress *p)
{
    return p->steps ? p->last.step + 1 : p->start.first_step;
}

void train_progress_end(const struct train_progress *p)
{
    char peak[32];
    const char *how = p->interrupted ? "stopped" : "ended";
    int64_t done = train_progress_steps(p),
            saved = p->saved < 0 && p->start.first_step ? p->start.first_step : p->saved;
    if (!p->steps && !p->interrupted) return;
    if (saved >= done)
        printf("%s at step %" PRId64 ": %s/checkpoint.safetensors\n", how, done, p->options->out);
    else if (saved >= 0)
        printf("%s at step %" PRId64 ", which is not saved: the newest checkpoint is of step %" PRId64 "\n", how, done,
               saved);
    else
        printf("%s at step %" PRId64 ", which is not saved\n", how, done);
    if (p->interrupted && done < p->start.end_step && saved >= done)
        printf("dinorun train --resume %s goes on from there\n", p->options->out);
    if (saved >= 0) printf("dinorun report %s -o report.html shows how it went\n", p->options->out);
    if (!p->steps) return;
    printf("%.3f s a step, %.1f %% of it waiting for images; most memory in use %s\n", p->seconds / (double)p->steps,
           100 * p->waited / p->seconds, dg_format_bytes(peak, sizeof peak, (double)dg_memory_peak()));
}
