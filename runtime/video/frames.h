/* The frames of a video, one after the other: files of a folder, or a pipe's. */
#ifndef DG_RUNTIME_VIDEO_FRAMES_H
#define DG_RUNTIME_VIDEO_FRAMES_H

#include "runtime/image/decode.h"

#include <stdio.h>

/* Sets names [*count] to the files of the folder that are frames, in the order of their names: those that end in .jpg,
 * .jpeg or .png. Each name and the array are to be freed. DG_ERR_IO, DG_ERR_INPUT (there are none), DG_ERR_MEMORY. */
enum dg_status dg_list_frames(const char *folder, char ***names, int *count, struct dg_error *err);

struct dg_frames;

/* `path` is a folder; or "-", and then frames are read from `pipe` until it ends: PPM (P6) or PNG, one behind the
 * other, as ffmpeg's image2pipe writes them. *frames is NULL on failure. Errors as above. */
enum dg_status dg_frames_open(const char *path, FILE *pipe, struct dg_frames **frames, struct dg_error *err);
void dg_frames_close(struct dg_frames *frames); /* NULL is fine */

/* How many there are; 0: not known. */
int dg_frames_count(const struct dg_frames *frames);

/* Decodes the next frame into `image`; *name is "00000" for a pipe's first, or the file's name without its ending,
 * valid until the next call, and NULL where there is no frame left. DG_ERR_IO, DG_ERR_INPUT (damaged, cut short,
 * neither of the kinds), DG_ERR_MEMORY. */
enum dg_status dg_frames_next(struct dg_frames *frames, struct dg_image *image, const char **name,
                              struct dg_error *err);

#endif
