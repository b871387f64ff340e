#include "runtime/report/published.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *key, *value;
} published[] = {
    {"batch", "512"},
    {"checkpoint.every", "1 epochs"},
    {"checkpoint.keep", "20 epochs"},
    {"checkpoint.last", "1"},
    {"checkpoint.minutes", "15"},
    {"crops.global.blur", "0"},
    {"crops.global.blur_sigma", "[0.1, 2]"},
    {"crops.global.brightness", "0.4"},
    {"crops.global.contrast", "0.4"},
    {"crops.global.flip", "0.5"},
    {"crops.global.gray", "0.2"},
    {"crops.global.hue", "0.1"},
    {"crops.global.jitter", "0.8"},
    {"crops.global.ratio", "[0.75, 1.33333]"},
    {"crops.global.saturation", "0.2"},
    {"crops.global.scale", "[0.4, 1]"},
    {"crops.global.size", "224"},
    {"crops.global.solarize", "0"},
    {"crops.global.solarize_threshold", "128"},
    {"crops.global.views.0.blur", "1"},
    {"crops.global.views.1.blur", "0.1"},
    {"crops.global.views.1.solarize", "0.2"},
    {"crops.local.blur", "0.5"},
    {"crops.local.blur_sigma", "[0.1, 2]"},
    {"crops.local.brightness", "0.4"},
    {"crops.local.contrast", "0.4"},
    {"crops.local.count", "8"},
    {"crops.local.flip", "0.5"},
    {"crops.local.gray", "0.2"},
    {"crops.local.hue", "0.1"},
    {"crops.local.jitter", "0.8"},
    {"crops.local.ratio", "[0.75, 1.33333]"},
    {"crops.local.saturation", "0.2"},
    {"crops.local.scale", "[0.05, 0.4]"},
    {"crops.local.size", "96"},
    {"crops.local.solarize", "0"},
    {"crops.local.solarize_threshold", "128"},
    {"crops.mean.0", "0.485"},
    {"crops.mean.1", "0.456"},
    {"crops.mean.2", "0.406"},
    {"crops.std.0", "0.229"},
    {"crops.std.1", "0.224"},
    {"crops.std.2", "0.225"},
    {"dtype", "f32"},
    {"entries.features.batch", "32"},
    {"entries.features.resize", "256"},
    {"entries.features.size", "224"},
    {"epochs", "100"},
    {"head.module", "dino_head"},
    {"head.with.bn", "false"},
    {"head.with.bottleneck", "256"},
    {"head.with.hidden", "2048"},
    {"head.with.norm_last_layer", "true"},
    {"head.with.out_dim", "65536"},
    {"loss.center_momentum", "0.9"},
    {"loss.student_temp", "0.1"},
    {"loss.teacher_temp", "0.04"},
    {"lr.curve", "cosine"},
    {"lr.peak", "0.001"},
    {"lr.per", "step"},
    {"lr.to", "1e-6"},
    {"lr.warmup", "10 epochs"},
    {"optim.betas.0", "0.9"},
    {"optim.betas.1", "0.999"},
    {"optim.clip", "3"},
    {"optim.eps", "1e-8"},
    {"optim.freeze.for", "1 epochs"},
    {"optim.freeze.params", "last_layer"},
    {"optim.kind", "adamw"},
    {"optim.no_decay.0", "bias"},
    {"optim.no_decay.1", "1d"},
    {"skip_bad_steps", "0"},
    {"student.backbone", "vit_small"},
    {"student.with.depth", "12"},
    {"student.with.dim", "384"},
    {"student.with.drop_path", "0.1"},
    {"student.with.eps", "1e-6"},
    {"student.with.heads", "6"},
    {"student.with.image", "224"},
    {"student.with.mlp_ratio", "4"},
    {"student.with.patch", "16"},
    {"teacher.buffers", "own"},
    {"teacher.momentum.curve", "cosine"},
    {"teacher.momentum.from", "0.996"},
    {"teacher.momentum.per", "step"},
    {"teacher.momentum.to", "1"},
    {"weight_decay.curve", "cosine"},
    {"weight_decay.from", "0.04"},
    {"weight_decay.per", "step"},
    {"weight_decay.to", "0.4"},
};
enum { COUNT = sizeof published / sizeof *published };

/* The recipe says lr.peak: 5e-4 * batch / 256. */
static const double PEAK_OF_BATCH = 5e-4 / 256;

int dg_published_count(void) { return COUNT; }

const char *dg_published_key(int index) { return published[index].key; }

const char *dg_published_value(const char *key, int64_t batch)
{
    static _Thread_local char peak[32];
    if (batch && !strcmp(key, "lr.peak")) {
        snprintf(peak, sizeof peak, "%.6g", PEAK_OF_BATCH * (double)batch);
        return peak;
    }
    for (int i = 0; i < COUNT; i++)
        if (!strcmp(published[i].key, key)) return published[i].value;
    return NULL;
}

static bool begins_number(const char *value, const char *at)
{
    bool first = at == value || at[-1] == ' ' || at[-1] == '[' || at[-1] == ',';
    return first && (*at == '-' || *at == '.' || (*at >= '0' && *at <= '9'));
}

const char *dg_setting_text(char *text, size_t size, const char *value)
{
    size_t used = 0;
    text[0] = 0;
    for (const char *at = value; *at && used + 32 < size;) {
        char *end = NULL;
        double number = begins_number(value, at) ? strtod(at, &end) : 0;
        if (end && end != at && (!*end || strchr(" ,]", *end))) {
            bool whole = number == floor(number) && fabs(number) < 1e15;
            used += (size_t)snprintf(text + used, size - used, whole ? "%.0f" : "%.6g", number);
            at = end;
        } else {
            text[used++] = *at++;
            text[used] = 0;
        }
    }
    if (!strcmp(text, "1 epochs") || !strcmp(text, "1 steps")) text[used - 1] = 0;
    return text;
}
