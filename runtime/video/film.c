#include "runtime/video/film.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

struct dg_film {
    char *path, *partial;
    size_t bytes; /* a picture */
    int input;    /* a socket, so that ffmpeg's end is an error and no signal; -1: closed */
    pid_t ffmpeg; /* 0: waited for */
};

bool dg_film_can_be_made(void)
{
    const char *path = getenv("PATH");
    char *folders = strdup(path ? path : ""), *rest = folders, *folder;
    bool found = false;
    while (folders && !found && (folder = strsep(&rest, ":"))) {
        char *file;
        if (asprintf(&file, "%s/ffmpeg", folder) < 0) break;
        found = !access(file, X_OK);
        free(file);
    }
    free(folders);
    return found;
}

/* OUT/attention.mp4 is encoded as OUT/partial-attention.mp4, since the ending says the format. */
static char *partial_path(const char *path)
{
    char *partial;
    const char *slash = strrchr(path, '/');
    int folder = slash ? (int)(slash - path) + 1 : 0;
    return asprintf(&partial, "%.*spartial-%s", folder, path, path + folder) < 0 ? NULL : partial;
}

static int start_ffmpeg(struct dg_film *film, const char *const *words, int input)
{
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, input, STDIN_FILENO);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    int problem = posix_spawnp(&film->ffmpeg, words[0], &files, NULL, (char *const *)(uintptr_t)words, environ);
    posix_spawn_file_actions_destroy(&files);
    return problem;
}

enum dg_status dg_film_open(const char *path, int width, int height, double frames_per_second, struct dg_film **result,
                            struct dg_error *err)
{
    int ends[2];
    char size[32], rate[32];
    struct dg_film *film = calloc(1, sizeof *film);
    *result = NULL;
    if (film) film->input = -1;
    if (film) film->path = strdup(path);
    if (film) film->partial = partial_path(path);
    if (!film || !film->path || !film->partial) {
        dg_film_close(film);
        return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    }
    film->bytes = 3 * (size_t)width * (size_t)height;
    snprintf(size, sizeof size, "%dx%d", width, height);
    snprintf(rate, sizeof rate, "%g", frames_per_second);
    /* Most players want both sides even, and colours at half the resolution. */
    const char *const words[] = {
        "ffmpeg",   "-loglevel", "error",       "-y", "-f", "rawvideo", "-pix_fmt", "rgb24",
        "-s",       size,        "-r",          rate, "-i", "-",        "-vf",      "pad=ceil(iw/2)*2:ceil(ih/2)*2",
        "-pix_fmt", "yuv420p",   film->partial, NULL};
    int problem = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) ? errno : 0;
    if (!problem) {
        film->input = ends[0];
        problem = start_ffmpeg(film, words, ends[1]);
        if (problem) film->ffmpeg = 0;
        close(ends[1]);
    }
    if (!problem) {
        *result = film;
        return DG_OK;
    }
    dg_film_close(film);
    return dg_fail(err, DG_ERR_IO, "cannot run ffmpeg: %s", strerror(problem));
}

enum dg_status dg_film_add(struct dg_film *film, const uint8_t *pixels, struct dg_error *err)
{
    for (size_t done = 0; done < film->bytes;) {
        ssize_t sent = send(film->input, pixels + done, film->bytes - done, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent < 0) return dg_fail(err, DG_ERR_IO, "%s: ffmpeg has ended: %s", film->path, strerror(errno));
        done += (size_t)sent;
    }
    return DG_OK;
}

static int wait_for(struct dg_film *film)
{
    int status = 0;
    if (film->input >= 0) close(film->input);
    film->input = -1;
    if (!film->ffmpeg) return -1;
    while (waitpid(film->ffmpeg, &status, 0) < 0 && errno == EINTR) continue;
    film->ffmpeg = 0;
    return status;
}

enum dg_status dg_film_end(struct dg_film *film, struct dg_error *err)
{
    int status = wait_for(film);
    if (status) return dg_fail(err, DG_ERR_IO, "%s: ffmpeg has failed", film->path);
    if (rename(film->partial, film->path)) return dg_fail(err, DG_ERR_IO, "%s: %s", film->path, strerror(errno));
    return DG_OK;
}

void dg_film_close(struct dg_film *film)
{
    if (!film) return;
    if (film->ffmpeg) kill(film->ffmpeg, SIGTERM);
    wait_for(film);
    if (film->partial) unlink(film->partial);
    free(film->path);
    free(film->partial);
    free(film);
}
