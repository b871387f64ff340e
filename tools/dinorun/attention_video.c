#include "tools/dinorun/attention_video.h"

#include "runtime/base/atomic_file.h"
#include "runtime/draw/draw.h"
#include "runtime/eval/attention_maps.h"
#include "runtime/formats/npy.h"
#include "runtime/image/write.h"
#include "runtime/video/film.h"
#include "runtime/video/frames.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The maps of the frames so far: pixels are drawn when all are known, in colours that they have in common. */
struct maps {
    struct dg_patches patches;
    float *map; /* [frames, patches]: means of the heads */
    char **name;
    int frames;
    float least, most;
    float *heads; /* [heads, patches] of a frame */
    struct dg_image image, fitted;
    struct dg_scratch work;
};

static enum dg_status no_memory(struct dg_error *err) { return dg_fail(err, DG_ERR_MEMORY, "no memory for maps"); }

static void free_maps(struct maps *m)
{
    for (int f = 0; f < m->frames; f++) free(m->name[f]);
    free(m->name);
    free(m->map);
    free(m->heads);
    dg_image_free(&m->image);
    dg_image_free(&m->fitted);
    dg_scratch_free(&m->work);
}

/* Of the first frame: what the work takes. */
static void say_start(const struct attention_video *v, const struct maps *m)
{
    char session[32], map[32];
    printf("frames are seen at %dx%d, %dx%d patches; the session takes %s, and each frame %s more\n", m->patches.height,
           m->patches.width, m->patches.rows, m->patches.cols,
           dg_format_bytes(session, sizeof session, (double)dg_sizes_use(v->evaluation->sizes).most),
           dg_format_bytes(map, sizeof map, (double)(dg_patches_count(&m->patches) * (int64_t)sizeof(float))));
}

static enum dg_status add_map(const struct attention_video *v, struct maps *m, const struct dg_sized_output *output,
                              const char *name, struct dg_error *err)
{
    struct dg_patches patches;
    DG_TRY(dg_patches_init(output->plan, DG_ENTRY_ATTENTION, &patches, err));
    if (m->frames && (patches.height != m->patches.height || patches.width != m->patches.width))
        return dg_fail(err, DG_ERR_INPUT, "frame %s is seen at %dx%d (height x width), and those before it at %dx%d",
                       name, patches.height, patches.width, m->patches.height, m->patches.width);
    int64_t count = dg_patches_count(&patches), tokens = dg_patches_tokens(&patches),
            heads = output->dim / (tokens * tokens);
    float *map = realloc(m->map, (size_t)((m->frames + 1) * count) * sizeof *map);
    if (map) m->map = map;
    char **names = realloc(m->name, (size_t)(m->frames + 1) * sizeof *names);
    if (names) m->name = names;
    if (!m->heads) m->heads = malloc((size_t)(heads * count) * sizeof *m->heads);
    if (!map || !names || !m->heads) return no_memory(err);
    map += m->frames * count;
    DG_TRY(dg_attention_maps(output->output, heads, tokens, patches.first, m->heads, err));
    dg_attention_mean(m->heads, heads, count, map);
    for (int64_t i = 0; i < count; i++) {
        if (!m->frames && !i) m->least = m->most = map[0];
        m->least = map[i] < m->least ? map[i] : m->least;
        m->most = map[i] > m->most ? map[i] : m->most;
    }
    m->patches = patches;
    m->name[m->frames] = strdup(name);
    if (!m->name[m->frames]) return no_memory(err);
    if (!m->frames++) say_start(v, m);
    return DG_OK;
}

static enum dg_status look_at(const struct attention_video *v, struct dg_frames *frames, struct maps *m,
                              struct dg_error *err)
{
    const struct dg_fit fit = v->fit.kind == DG_FIT_NONE ? (struct dg_fit){.kind = DG_FIT_EXACT} : v->fit;
    const struct dg_resampling how = {DG_FILTER_BILINEAR, image_rules(&v->evaluation->images).pillow};
    struct dg_sized_output output = {0};
    for (const char *name;;) {
        DG_TRY(dg_frames_next(frames, &m->image, &name, err));
        if (!name) break;
        DG_TRY(dg_fit_image(&m->image, fit, how, &m->fitted, &m->work, err));
        DG_TRY(dg_sizes_run(v->evaluation->sizes, m->fitted.pixels, m->fitted.height, m->fitted.width, name, &output,
                            err));
        clear_images();
        DG_TRY(add_map(v, m, &output, name, err));
        show_images(m->frames, dg_frames_count(frames) ? dg_frames_count(frames) : m->frames);
    }
    clear_images();
    return m->frames ? DG_OK : dg_fail(err, DG_ERR_INPUT, "there are no frames on standard input");
}

static enum dg_status draw_frames(const struct attention_video *v, const struct maps *m, struct dg_film *film,
                                  struct dg_error *err)
{
    int width = dg_patches_width(&m->patches), height = dg_patches_height(&m->patches);
    uint8_t *pixels = malloc(3 * (size_t)width * (size_t)height);
    enum dg_status status = pixels ? DG_OK : no_memory(err);
    for (int f = 0; f < m->frames && status == DG_OK; f++) {
        char name[600], path[DG_MAX_PATH];
        snprintf(name, sizeof name, "attn-%s.png", m->name[f]);
        dg_draw_heat_between(m->map + f * dg_patches_count(&m->patches), m->least, m->most, &m->patches, pixels);
        status = dg_path_join(path, v->out, name, err);
        if (status == DG_OK) status = dg_image_write_drawing(path, pixels, width, height, err);
        if (status == DG_OK && film) status = dg_film_add(film, pixels, err);
    }
    free(pixels);
    return status;
}

static enum dg_status write_film(const struct attention_video *v, const struct maps *m, bool can, struct dg_error *err)
{
    struct dg_film *film = NULL;
    char path[DG_MAX_PATH];
    if (!can) return draw_frames(v, m, NULL, err);
    DG_TRY(dg_path_join(path, v->out, "attention.mp4", err));
    DG_TRY(dg_film_open(path, dg_patches_width(&m->patches), dg_patches_height(&m->patches), v->rate, &film, err));
    enum dg_status status = draw_frames(v, m, film, err);
    if (status == DG_OK) status = dg_film_end(film, err);
    dg_film_close(film);
    return status;
}

static enum dg_status write_numbers(const struct attention_video *v, const struct maps *m, struct dg_error *err)
{
    char path[DG_MAX_PATH];
    DG_TRY(dg_path_join(path, v->out, "attention.npy", err));
    return dg_npy_write(path, 3, (int64_t[]){m->frames, m->patches.rows, m->patches.cols}, m->map, err);
}

static enum dg_status draw_all(const struct attention_video *v, struct dg_frames *frames, struct maps *m,
                               struct dg_error *err)
{
    bool film = dg_film_can_be_made();
    DG_TRY(dg_make_folder(v->out, err));
    DG_TRY(open_weights_plan(v->evaluation, err));
    DG_TRY(open_sizes(v->evaluation, NULL, err));
    DG_TRY(look_at(v, frames, m, err));
    DG_TRY(write_numbers(v, m, err));
    DG_TRY(write_film(v, m, film, err));
    print_sizes(v->evaluation);
    printf("%s: attention.npy [%d, %d, %d] f32, the mean of the heads; attn-%s.png ... from %.3g (dark blue) to %.3g "
           "(yellow)%s\n",
           v->out, m->frames, m->patches.rows, m->patches.cols, m->name[0], (double)m->least, (double)m->most,
           film ? "; attention.mp4 is the film" : "");
    if (!film)
        printf("no film: ffmpeg is not installed. Where it is: ffmpeg -framerate %g -pattern_type glob -i "
               "'%s/attn-*.png' -pix_fmt yuv420p attention.mp4\n",
               v->rate, v->out);
    return DG_OK;
}

enum dg_status draw_attention_video(const struct attention_video *v, struct dg_error *err)
{
    struct dg_frames *frames = NULL;
    struct maps maps = {0};
    DG_TRY(dg_frames_open(v->frames, stdin, &frames, err));
    enum dg_status status = draw_all(v, frames, &maps, err);
    dg_frames_close(frames);
    free_maps(&maps);
    return status;
}
