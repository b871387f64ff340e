/* A film of pictures, encoded by ffmpeg, where that is installed. */
#ifndef DG_RUNTIME_VIDEO_FILM_H
#define DG_RUNTIME_VIDEO_FILM_H

#include "ops/base/base.h"

struct dg_film;

/* Whether there is an ffmpeg in PATH. */
bool dg_film_can_be_made(void);

/* Starts ffmpeg, which encodes pictures of width x height to the file at `path`, whose ending says the format. The file
 * is there when dg_film_end has succeeded. DG_ERR_IO, DG_ERR_MEMORY. *film is NULL on failure. */
enum dg_status dg_film_open(const char *path, int width, int height, double frames_per_second, struct dg_film **film,
                            struct dg_error *err);
/* RGB [height, width, 3]. DG_ERR_IO: ffmpeg has ended. */
enum dg_status dg_film_add(struct dg_film *film, const uint8_t *pixels, struct dg_error *err);
/* Waits for ffmpeg. DG_ERR_IO: it has failed; what is wrong it has said on standard error. */
enum dg_status dg_film_end(struct dg_film *film, struct dg_error *err);
/* Ends ffmpeg, and takes away what is not complete. NULL is fine. */
void dg_film_close(struct dg_film *film);

#endif
