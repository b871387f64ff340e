/* dinorun video-score: J and F of masks that lie in a folder. */
#include "tools/dinorun/video_scores.h"

#include <stdlib.h>

static struct {
    const char *data, *set, *masks;
    int threads;
    struct json_output json;
} given = {.set = "val"};

static enum dg_status score_video(const struct dg_davis *davis, const struct dg_video *video,
                                  struct dg_video_scores *scores, struct dg_error *err)
{
    uint8_t **mask = calloc((size_t)video->frames, sizeof *mask);
    int height = 0, width = 0, threads = given.threads ? given.threads : dg_default_threads();
    if (!mask) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    enum dg_status status = dg_video_read_masks(given.masks, video, mask, &height, &width, err);
    if (status == DG_OK) status = dg_video_compare(davis, video, mask, height, width, threads, scores, err);
    for (int f = 0; f < video->frames; f++) free(mask[f]);
    free(mask);
    return status;
}

static enum dg_status score(struct dg_davis *davis, struct dg_video_scores *scores, struct dg_error *err)
{
    DG_TRY(dg_davis_open(davis, given.data, given.set, err));
    for (int v = 0; v < davis->videos; v++) {
        struct dg_video video = {0};
        enum dg_status status = dg_video_open(&video, davis, v, err);
        if (status == DG_OK) status = score_video(davis, &video, scores, err);
        dg_video_free(&video);
        DG_TRY(status);
    }
    print_video_scores(scores);
    return json_write(&given.json,
                      json_pack("{s:o, s:o, s:s, s:i, s:o}", "machine", json_machine(), "masks",
                                dg_json_text(given.masks), "set", given.set, "videos", davis->videos, "score",
                                json_video_scores(scores)),
                      err);
}

static int video_score(void)
{
    struct dg_error err = {0};
    struct dg_davis davis = {0};
    struct dg_video_scores scores = {0};
    if (json_open(&given.json, &err) == DG_OK) score(&davis, &scores, &err);
    dg_video_scores_free(&scores);
    dg_davis_free(&davis);
    json_close(&given.json);
    return exit_status(&err);
}

static const struct dg_flag flags[] = {{FLAG_DAVIS, .text = &given.data, .required = true},
                                       {FLAG_SET_OF_VIDEOS, .text = &given.set},
                                       {"masks", "DIR",
                                        "the masks to score, VIDEO/00001.png and so on, as label images",
                                        .text = &given.masks, .required = true},
                                       {FLAG_THREADS, .count = &given.threads},
                                       {FLAG_JSON, .given = &given.json.asked},
                                       {0}};

const struct dg_command command_video_score = {
    .program = "dinorun",
    .name = "video-score",
    .summary = "scores masks of videos by J and F, as the toolkit of DAVIS 2017 does",
    .flags = flags,
    .run = video_score};
