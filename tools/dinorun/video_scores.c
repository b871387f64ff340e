/* J and F of videos: printed, as JSON, and to results.csv. */
#include "tools/dinorun/video_scores.h"

#include <math.h>
#include <stdio.h>

void print_video_scores(const struct dg_video_scores *s)
{
    const struct dg_video_score mean = dg_video_score_mean(s->object, s->count);
    fprintf(results(), "%-24s %7s %7s %7s %7s %7s %7s\n", "object, in percent", "J mean", "recall", "decay", "F mean",
            "recall", "decay");
    for (int i = 0; i <= s->count; i++) {
        const struct dg_video_score *of = i < s->count ? &s->object[i] : &mean;
        fprintf(results(), "%-24s %7.2f %7.2f %7.2f %7.2f %7.2f %7.2f\n", i < s->count ? s->name[i] : "mean of objects",
                100 * of->j.mean, 100 * of->j.recall, 100 * of->j.decay, 100 * of->f.mean, 100 * of->f.recall,
                100 * of->f.decay);
    }
    fprintf(results(), "J&F %.2f %%\n", 50 * (mean.j.mean + mean.f.mean));
}

static json_t *json_measure(const struct dg_video_measure *m)
{
    return json_pack("{s:f, s:f, s:f}", "mean", 100 * m->mean, "recall", 100 * m->recall, "decay", 100 * m->decay);
}

json_t *json_video_scores(const struct dg_video_scores *s)
{
    if (!s->count) return json_null();
    const struct dg_video_score mean = dg_video_score_mean(s->object, s->count);
    json_t *objects = json_array();
    for (int i = 0; i < s->count; i++)
        json_array_append_new(objects, json_pack("{s:o, s:o, s:o}", "object", dg_json_text(s->name[i]), "j",
                                                 json_measure(&s->object[i].j), "f", json_measure(&s->object[i].f)));
    return json_pack("{s:f, s:o, s:o, s:o}", "jf", 50 * (mean.j.mean + mean.f.mean), "j", json_measure(&mean.j), "f",
                     json_measure(&mean.f), "objects", objects);
}

int set_video_results(struct dg_result result[VIDEO_RESULTS], const struct dg_video_scores *s)
{
    const struct dg_video_score mean = dg_video_score_mean(s->object, s->count);
    result[0] = (struct dg_result){"davis.jf", 50 * (mean.j.mean + mean.f.mean), NAN};
    result[1] = (struct dg_result){"davis.j", 100 * mean.j.mean, NAN};
    result[2] = (struct dg_result){"davis.f", 100 * mean.f.mean, NAN};
    return VIDEO_RESULTS;
}
