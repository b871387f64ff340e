/* Follows the objects of a video's first frame through the others (eval_video_segmentation.py of the official code):
 * each frame's labels come by label propagation from the first frame and the last few before it, on the features of its
 * patches. Nothing is trained. */
#ifndef DG_RUNTIME_VIDEO_SEGMENT_H
#define DG_RUNTIME_VIDEO_SEGMENT_H

#include "runtime/eval/sizes.h"
#include "runtime/video/davis.h"

/* The deviation that the official code divides frames by: its first number is not that of the training. */
extern const double dg_video_std[3];

/* What is known of a video before its second frame. */
struct dg_video_start {
    const struct dg_video *video;
    int height, width, rows, cols; /* of what the network sees; of its patches */
    int objects;
    int64_t propagation; /* bytes beside the session: features, labels, affinities, masks */
};

struct dg_video_options {
    struct dg_sizes *sizes; /* of DG_ENTRY_TOKENS, with dg_video_std */
    int last_frames;        /* that labels come from beside the first one */
    int radius, top;        /* dg_propagate's */
    double temperature;
    int short_side; /* pixels; the long side is rounded down to a multiple of 64 */
    int threads;
    void (*start)(void *context, const struct dg_video_start *start); /* may be NULL, like progress */
    void (*progress)(void *context, int done, int frames);
    void *context;
};

/* Zero-initialise; free with dg_video_result_free. */
struct dg_video_result {
    int height, width, frames, objects;
    uint8_t **mask; /* [frames], each [height, width] of the frames as they are stored; the first is the annotation */
    uint8_t palette[256][3]; /* the annotation's */
};

/* The size that a frame is resized to. A side may come out as 0. */
struct dg_fit_size dg_video_frame_size(int height, int width, int short_side);

/* Segments the video from the annotation of its first frame. DG_ERR_INPUT: frames or annotation of another size than
 * the first frame, or smaller than 64 pixels when resized; else errors of reading, of dg_sizes_run and of
 * dg_propagate. */
enum dg_status dg_video_segment(const struct dg_davis *davis, const struct dg_video *video,
                                const struct dg_video_options *options, struct dg_video_result *result,
                                struct dg_error *err);
void dg_video_result_free(struct dg_video_result *result);

/* Makes a mask of soft labels [channels, rows, cols]: resized by `patch`, bilinear, each channel stretched from its
 * least number to its largest, and of each pixel the channel with the largest number; then resized to out
 * [height, width] as dg_label_image_resize does. DG_ERR_MEMORY. */
enum dg_status dg_video_mask_of(const float *labels, int channels, int rows, int cols, int patch, int height, int width,
                                uint8_t *out, struct dg_error *err);

#endif
