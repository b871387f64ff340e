/* J and F of videos: printed, as JSON, and to results.csv. */
#ifndef DINORUN_VIDEO_SCORES_H
#define DINORUN_VIDEO_SCORES_H

#include "runtime/video/compare.h"
#include "tools/dinorun/command.h"
#include "tools/dinorun/json.h"

/* Names of video-segment and video-score have these in common. */
#define FLAG_DAVIS                                                                                                     \
    "data", "DIR",                                                                                                     \
        "videos in the layout of DAVIS 2017: ImageSets/2017/SET.txt with their names, JPEGImages/480p/VIDEO/*.jpg, "   \
        "Annotations/480p/VIDEO/*.png"
#define FLAG_SET_OF_VIDEOS "set", "NAME", "the list of videos: ImageSets/2017/NAME.txt"

/* The table of objects, and J&F. */
void print_video_scores(const struct dg_video_scores *scores);
/* null if there are none. */
json_t *json_video_scores(const struct dg_video_scores *scores);

enum { VIDEO_RESULTS = 3 };
int set_video_results(struct dg_result result[VIDEO_RESULTS], const struct dg_video_scores *scores);

#endif
