/* dinorun attention --video. */
#ifndef DINORUN_ATTENTION_VIDEO_H
#define DINORUN_ATTENTION_VIDEO_H

#include "tools/dinorun/command.h"

struct attention_video {
    struct evaluation *evaluation;
    const char *frames; /* a folder, or "-" */
    const char *out;
    struct dg_fit fit; /* DG_FIT_NONE: exact */
    double rate;       /* of the film, frames a second */
};

/* Draws the mean attention of the heads in each frame, OUT/attn-FRAME.png, and writes OUT/attention.npy [frames, rows,
 * cols], and where ffmpeg is installed OUT/attention.mp4. */
enum dg_status draw_attention_video(const struct attention_video *video, struct dg_error *err);

#endif
