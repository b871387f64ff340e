/* Videos in the layout of DAVIS 2017: ROOT/ImageSets/2017/SET.txt names them, a line each; JPEGImages/480p/VIDEO/ has
 * the frames, in the order of their names, and Annotations/480p/VIDEO/ the label images, under the same names with
 * .png. */
#ifndef DG_RUNTIME_VIDEO_DAVIS_H
#define DG_RUNTIME_VIDEO_DAVIS_H

#include "runtime/image/label_image.h"

/* Zero-initialise; free with dg_davis_free. */
struct dg_davis {
    char *root;
    char **video; /* [videos] */
    int videos;
};

/* Reads the list. DG_ERR_IO, DG_ERR_INPUT (it names no video, or one twice, or one outside of the folder). */
enum dg_status dg_davis_open(struct dg_davis *davis, const char *root, const char *set, struct dg_error *err);
void dg_davis_free(struct dg_davis *davis);

/* The frames of a video. Zero-initialise; free with dg_video_free. */
struct dg_video {
    const char *name; /* the davis' */
    char **frame;     /* [frames] names of files, "00000.jpg" */
    int frames;
};

/* Lists the frames: errors are those of dg_list_frames. */
enum dg_status dg_video_open(struct dg_video *video, const struct dg_davis *davis, int index, struct dg_error *err);
void dg_video_free(struct dg_video *video);

/* Paths, to be freed: of the frame; of its annotation; of its mask below another folder, FOLDER/VIDEO/00000.png. NULL:
 * out of memory. */
char *dg_video_frame(const struct dg_davis *davis, const struct dg_video *video, int frame);
char *dg_video_annotation(const struct dg_davis *davis, const struct dg_video *video, int frame);
char *dg_video_mask(const char *folder, const struct dg_video *video, int frame);

/* Whether the frame is annotated. */
bool dg_video_is_annotated(const struct dg_davis *davis, const struct dg_video *video, int frame);

/* Reads the annotation. Void (255) becomes ground (0), as in the evaluation's toolkit. */
enum dg_status dg_video_read_annotation(const struct dg_davis *davis, const struct dg_video *video, int frame,
                                        struct dg_label_image *labels, struct dg_error *err);

#endif
