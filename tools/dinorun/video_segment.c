/* dinorun video-segment: follows the objects of videos from their first frames, and scores the masks. */
#include "tools/dinorun/video_scores.h"

#include "runtime/base/atomic_file.h"
#include "runtime/image/write.h"
#include "runtime/video/segment.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
    struct evaluation evaluation;
    const char *data, *set, *out;
    struct dg_video_options video;
    struct json_output json;
} given = {.evaluation.options = {.role = DG_ENTRY_TOKENS, .choice = {.from = "teacher"}},
           .set = "val",
           .video = {.last_frames = 7, .radius = 12, .top = 5, .temperature = 0.1, .short_side = 480}};

/* What has come of the videos. */
struct work {
    struct dg_davis davis;
    struct dg_video_scores scores;
    int64_t frames;
    int unscored; /* videos without annotations but for the first */
    double seconds;
};

/* Bytes that a video takes are said before its frames are seen. */
static void on_start(void *context, const struct dg_video_start *s)
{
    char session[32], beside[32];
    (void)context;
    clear_images();
    printf("%s: %d frames, seen at %dx%d, %dx%d patches; %d object%s; the session takes %s, propagation %s\n",
           s->video->name, s->video->frames, s->height, s->width, s->rows, s->cols, s->objects,
           s->objects == 1 ? "" : "s",
           dg_format_bytes(session, sizeof session, (double)dg_sizes_use(given.evaluation.sizes).most),
           dg_format_bytes(beside, sizeof beside, (double)s->propagation));
}

static void on_progress(void *context, int done, int frames)
{
    (void)context;
    show_images(done, frames);
}

static enum dg_status write_masks(const struct dg_video *video, const struct dg_video_result *result,
                                  struct dg_error *err)
{
    char folder[DG_MAX_PATH];
    if (!given.out) return DG_OK;
    DG_TRY(dg_path_join(folder, given.out, video->name, err));
    DG_TRY(dg_make_folder(folder, err));
    for (int f = 0; f < result->frames; f++) {
        char *path = dg_video_mask(given.out, video, f);
        enum dg_status status = path ? dg_image_write_labels(path, result->mask[f], result->width, result->height,
                                                             (const uint8_t(*)[3])result->palette, err)
                                     : dg_fail(err, DG_ERR_MEMORY, "out of memory");
        free(path);
        DG_TRY(status);
    }
    return DG_OK;
}

static enum dg_status segment_video(struct work *w, const struct dg_video *video, struct dg_error *err)
{
    struct dg_video_result result = {0};
    double begin = dg_seconds_now();
    enum dg_status status = dg_video_segment(&w->davis, video, &given.video, &result, err);
    double seconds = dg_seconds_now() - begin;
    clear_images();
    if (status == DG_OK) status = write_masks(video, &result, err);
    if (status == DG_OK && dg_video_has_truth(&w->davis, video))
        status = dg_video_compare(&w->davis, video, result.mask, result.height, result.width, given.video.threads,
                                  &w->scores, err);
    else
        w->unscored++;
    if (status == DG_OK) printf("  %.1f s, %.2f frames a second\n", seconds, video->frames / seconds);
    w->seconds += seconds;
    w->frames += video->frames;
    dg_video_result_free(&result);
    return status;
}

static enum dg_status segment_videos(struct work *w, struct dg_error *err)
{
    for (int v = 0; v < w->davis.videos; v++) {
        struct dg_video video = {0};
        enum dg_status status = dg_video_open(&video, &w->davis, v, err);
        if (status == DG_OK) status = segment_video(w, &video, err);
        dg_video_free(&video);
        DG_TRY(status);
    }
    return DG_OK;
}

/* Of a run's folder, to its results.csv. */
static enum dg_status write_results(const struct work *w, struct dg_error *err)
{
    struct dg_result result[VIDEO_RESULTS];
    struct dg_results results = {.by = "video-segment",
                                 .val = &DG_FOLDER(given.data),
                                 .images = w->frames,
                                 .result = result,
                                 .count = set_video_results(result, &w->scores)};
    return add_results(&given.evaluation.of, &given.evaluation.options, &results, err);
}

static enum dg_status report(const struct work *w, struct dg_error *err)
{
    print_sizes(&given.evaluation);
    if (w->scores.count) print_video_scores(&w->scores);
    if (w->unscored)
        printf("%d of %d videos without a score: only their first frame is annotated\n", w->unscored, w->davis.videos);
    if (given.out) printf("%s: the masks, VIDEO/FRAME.png\n", given.out);
    DG_TRY(json_write(&given.json,
                      json_pack("{s:o, s:s, s:i, s:I, s:f, s:i, s:o}", "machine", json_machine(), "set", given.set,
                                "videos", w->davis.videos, "frames", (json_int_t)w->frames, "seconds", w->seconds,
                                "without_score", w->unscored, "score", json_video_scores(&w->scores)),
                      err));
    return w->scores.count ? write_results(w, err) : DG_OK;
}

static enum dg_status segment(struct work *w, struct dg_error *err)
{
    struct evaluation *e = &given.evaluation;
    DG_TRY(dg_davis_open(&w->davis, given.data, given.set, err));
    if (given.out) DG_TRY(dg_make_folder(given.out, err));
    DG_TRY(open_weights_plan(e, err));
    DG_TRY(open_sizes(e, dg_video_std, err));
    given.video.sizes = e->sizes;
    given.video.threads = e->options.threads ? e->options.threads : dg_default_threads();
    given.video.start = on_start;
    given.video.progress = on_progress;
    DG_TRY(segment_videos(w, err));
    return report(w, err);
}

static int video_segment(void)
{
    struct dg_error err = {0};
    struct work work = {0};
    if (json_open(&given.json, &err) == DG_OK) segment(&work, &err);
    dg_video_scores_free(&work.scores);
    dg_davis_free(&work.davis);
    close_evaluation(&given.evaluation);
    json_close(&given.json);
    return exit_status(&err);
}

static const struct dg_flag flags[] = {
    {FLAG_WEIGHTS, .text = &given.evaluation.options.weights},
    ROWS_CHOOSE_WEIGHTS(given.evaluation.options),
    {FLAG_DAVIS, .text = &given.data, .required = true},
    {FLAG_SET_OF_VIDEOS, .text = &given.set},
    {"out", "DIR", "the folder to write masks to, VIDEO/FRAME.png, with the palette of the annotation",
     .text = &given.out, .unset = "none are written"},
    {"last-frames", "N", "frames before each one that its labels come from, beside the video's first",
     .count = &given.video.last_frames, .max = 1000},
    {"neighborhood", "N", "rows and columns of patches that a label may move between two frames; 0: any",
     .count = &given.video.radius, .max = 10000},
    {"top-k", "N", "patches that a patch takes its labels from", .count = &given.video.top, .min = 1, .max = 256},
    {"temperature", "T", "of affinities, exp(cosine / T)", .number = &given.video.temperature},
    {"short-side", "N", "pixels of a frame's short side when it is seen; the other is rounded down to a multiple of 64",
     .count = &given.video.short_side, .min = 64, .max = 16384},
    {FLAG_MEMORY, .parsed = &given.evaluation.options.memory},
    {FLAG_THREADS, .count = &given.evaluation.options.threads},
    {FLAG_JSON, .given = &given.json.asked},
    {FLAG_QUIET},
    {0}};

const struct dg_command command_video_segment = {
    .program = "dinorun",
    .name = "video-segment",
    .summary = "follows the objects of a video's first frame through the others, and scores the masks by J and F",
    .more =
        "The published protocol of DAVIS 2017, without training: labels propagate from the first frame and the last "
        "seven.\nA video whose first frame alone is annotated gets masks and no score.\n",
    .file = {.name = NETWORK, .value = &given.evaluation.of.path},
    .flags = flags,
    .run = video_segment};
