#include "runtime/export/full_checkpoint.h"

#include "runtime/base/name.h"
#include "runtime/export/published.h"
#include "runtime/formats/torch_write.h"
#include "runtime/layouts/published_options.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME = 512, KINDS = 3 };

/* An optimiser: the states of a parameter, here and there. */
struct optimizer {
    const char *kind;
    struct {
        const char *ours, *theirs;
    } state[2];
};
static const struct optimizer optimizers[KINDS] = {{"adamw", {{"exp_avg", "exp_avg"}, {"exp_avg_sq", "exp_avg_sq"}}},
                                                   {"sgd", {{"momentum", "momentum_buffer"}}},
                                                   {"lars", {{"momentum", "mu"}}}};

struct full {
    const struct dg_safetensors *file;
    const char *path;
    const struct optimizer *optimizer;
    const struct dg_safetensors_tensor **parameter; /* the optimiser's, in the order of its numbers */
    int group[2];                                   /* how many: with weight decay, and behind them without */
    int64_t epoch;
};

/* ---- facts ---- */

static const char *fact(const struct full *f, const char *key) { return dg_safetensors_metadata(f->file, key); }

static double number(const struct full *f, const char *key, double otherwise)
{
    const char *text = fact(f, key);
    return text ? strtod(text, NULL) : otherwise;
}

/* A knob is a number, or a curve that begins with one. */
static double first_of(const struct full *f, const char *plain, const char *curve)
{
    return number(f, plain, number(f, curve, 0));
}

static enum dg_status find_epoch(struct full *f, struct dg_error *err)
{
    const char *step = fact(f, "step"), *length = fact(f, "steps_per_epoch");
    int64_t done = step ? strtoll(step, NULL, 10) : 0, steps = length ? strtoll(length, NULL, 10) : 0;
    if (!step || steps < 1)
        return dg_fail(err, DG_ERR_INPUT, "%s does not say where a run stands; --full is for the checkpoint of a run",
                       f->path);
    f->epoch = done / steps;
    if (done % steps == 0) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT,
                   "%s is of step %" PRId64 ", within epoch %" PRId64 " of %" PRId64
                   " steps, and the published code goes on with whole epochs: take a checkpoint of an epoch's "
                   "end (checkpoint.keep, or train --steps %" PRId64 ")",
                   f->path, done, f->epoch + 1, steps, (f->epoch + 1) * steps);
}

static enum dg_status find_optimizer(struct full *f, struct dg_error *err)
{
    const char *kind = fact(f, "recipe.optim.kind");
    for (int k = 0; k < KINDS; k++)
        if (kind && !strcmp(kind, optimizers[k].kind)) f->optimizer = &optimizers[k];
    if (!f->optimizer) return dg_fail(err, DG_ERR_INPUT, "%s does not say which optimiser it is of", f->path);
    if (fact(f, "recipe.optim.no_decay.0") && fact(f, "recipe.optim.no_decay.1")) return DG_OK;
    return dg_fail(err, DG_ERR_UNSUPPORTED,
                   "%s: the published code has no weight decay for `[bias, 1d]`, which optim.no_decay of this run is "
                   "not: its optimiser has other groups",
                   f->path);
}

/* ---- the optimiser's parameters ---- */

static const struct dg_safetensors_tensor *state_of(const struct full *f, const char *kind, const char *parameter)
{
    char name[NAME];
    snprintf(name, sizeof name, "optim.%s.%s", kind, parameter);
    return dg_safetensors_find(f->file, name);
}

static bool decays(const struct dg_safetensors_tensor *parameter)
{
    size_t length = strlen(parameter->name), suffix = strlen(".bias");
    return parameter->ndim != 1 && (length < suffix || strcmp(parameter->name + length - suffix, ".bias"));
}

static bool has_place(const char *name)
{
    static const char *const published[] = {"student.backbone.", "student.head.", "teacher.backbone.", "teacher.head.",
                                            "optim."};
    for (size_t p = 0; p < sizeof published / sizeof *published; p++)
        if (dg_name_after(name, published[p])) return true;
    return !strcmp(name, "center");
}

static enum dg_status find_parameters(struct full *f, struct dg_error *err)
{
    int all = dg_safetensors_count(f->file), count = 0;
    f->parameter = calloc((size_t)all + 1, sizeof *f->parameter);
    if (!f->parameter) return dg_fail(err, DG_ERR_MEMORY, "out of memory");
    for (int g = 0; g < 2; g++)
        for (int i = 0; i < all; i++) {
            const struct dg_safetensors_tensor *tensor = dg_safetensors_at(f->file, i);
            if (!has_place(tensor->name))
                return dg_fail(err, DG_ERR_UNSUPPORTED, "%s: the published code has no place for %.200s", f->path,
                               tensor->name);
            if (!dg_name_after(tensor->name, "student.") || decays(tensor) != (g == 0)) continue;
            if (!state_of(f, f->optimizer->state[0].ours, tensor->name)) continue; /* frozen for good, or a buffer */
            f->parameter[count++] = tensor;
            f->group[g]++;
        }
    if (count) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "%s has no state of the optimiser", f->path);
}

/* ---- the object ---- */

/* A key, or a value. */
static void put_text(struct dg_torch_out *out, const char *text) { dg_torch_put_text(out, "", text); }

static void put_number(struct dg_torch_out *out, const char *key, double value)
{
    put_text(out, key);
    dg_torch_put_real(out, value);
}

static void put_tensor(struct dg_torch_out *out, const struct dg_safetensors_tensor *tensor)
{
    struct dg_safetensors_item item = {
        .name = tensor->name, .dtype = tensor->dtype, .ndim = tensor->ndim, .data = tensor->data};
    memcpy(item.dim, tensor->dim, sizeof item.dim);
    dg_torch_put_tensor(out, &item);
}

/* The tensors whose names begin with `prefix`, under `other` in its place. */
static void put_network(struct dg_torch_out *out, const struct full *f, const char *prefix, const char *other)
{
    dg_torch_begin_state_dict(out);
    for (int i = 0; i < dg_safetensors_count(f->file); i++) {
        const struct dg_safetensors_tensor *tensor = dg_safetensors_at(f->file, i);
        if (!dg_name_after(tensor->name, prefix)) continue;
        dg_torch_put_text(out, other, tensor->name + strlen(prefix));
        put_tensor(out, tensor);
    }
    dg_torch_end_dict(out);
}

/* A parameter that had no gradient so far, as of a frozen layer, has no state. */
static bool has_begun(const struct dg_safetensors_tensor *step) { return !step || *(const int64_t *)step->data > 0; }

static void put_state(struct dg_torch_out *out, const struct full *f)
{
    dg_torch_begin_dict(out);
    for (int p = 0; p < f->group[0] + f->group[1]; p++) {
        const char *name = f->parameter[p]->name;
        const struct dg_safetensors_tensor *step = state_of(f, "step", name);
        if (!has_begun(step)) continue;
        dg_torch_put_int(out, p);
        dg_torch_begin_dict(out);
        if (step) {
            put_text(out, "step");
            dg_torch_put_int(out, *(const int64_t *)step->data);
        }
        for (int s = 0; s < 2 && f->optimizer->state[s].ours; s++) {
            put_text(out, f->optimizer->state[s].theirs);
            put_tensor(out, state_of(f, f->optimizer->state[s].ours, name));
        }
        dg_torch_end_dict(out);
    }
    dg_torch_end_dict(out);
}

/* What the classes of PyTorch, and the published LARS, have in a group. The published code sets rate and decay before each step. */
static void put_group(struct dg_torch_out *out, const struct full *f, int group)
{
    dg_torch_begin_dict(out);
    put_number(out, "lr", first_of(f, "set.lr", "set.lr.peak"));
    put_number(out, "weight_decay", group ? 0 : first_of(f, "set.weight_decay", "set.weight_decay.from"));
    if (!strcmp(f->optimizer->kind, "adamw")) {
        put_text(out, "betas");
        dg_torch_begin_tuple(out);
        dg_torch_put_real(out, number(f, "set.optim.betas.0", 0.9));
        dg_torch_put_real(out, number(f, "set.optim.betas.1", 0.999));
        dg_torch_end_tuple(out);
        put_number(out, "eps", number(f, "set.optim.eps", 1e-8));
        put_text(out, "amsgrad");
        dg_torch_put_bool(out, false);
    } else {
        put_number(out, "momentum", number(f, "set.optim.momentum", 0.9));
    }
    if (!strcmp(f->optimizer->kind, "sgd")) {
        put_number(out, "dampening", 0);
        put_text(out, "nesterov");
        dg_torch_put_bool(out, false);
    }
    if (!strcmp(f->optimizer->kind, "lars")) {
        put_number(out, "eta", number(f, "set.optim.eta", 0.001));
        put_text(out, "weight_decay_filter");
        dg_torch_put_none(out);
        put_text(out, "lars_adaptation_filter");
        dg_torch_put_none(out);
    }
    put_text(out, "params");
    dg_torch_begin_list(out);
    int first = group ? f->group[0] : 0;
    for (int p = first; p < first + f->group[group]; p++) dg_torch_put_int(out, p);
    dg_torch_end_list(out);
    dg_torch_end_dict(out);
}

/* The rate of 256 images of which the published code makes the `rate` of the batch, to the bit if there is one. */
static double rate_of_256(double rate, double batch)
{
    double nearest = rate * 256 / batch, beside[3] = {nearest, nextafter(nearest, 0), nextafter(nearest, INFINITY)};
    for (int b = 0; b < 3; b++) {
        double made = beside[b] * batch / 256;
        if (!(made < rate || made > rate)) return beside[b];
    }
    return nearest;
}

/* The published options of the same meaning; the whole batch is that of one process. */
static void put_args(struct dg_torch_out *out, const struct full *f)
{
    const char *arch = fact(f, "recipe.student.backbone"), *seed = fact(f, "seed");
    double batch = number(f, "recipe.batch", 256);
    dg_torch_begin_dict(out);
    if (arch) {
        put_text(out, "arch");
        put_text(out, arch);
    }
    for (const struct dg_published_option *o = dg_published_options; o->option; o++) {
        char key[64];
        snprintf(key, sizeof key, "%s.%s", o->knob ? "set" : "recipe", o->key);
        const char *text = fact(f, key);
        if (!text) continue;
        put_text(out, o->option);
        if (o->type == DG_PUBLISHED_TEXT) put_text(out, text);
        if (o->type == DG_PUBLISHED_TRUTH) dg_torch_put_bool(out, !strcmp(text, "true"));
        if (o->type == DG_PUBLISHED_WHOLE || o->type == DG_PUBLISHED_EPOCHS)
            dg_torch_put_int(out, strtoll(text, NULL, 10));
        if (o->type == DG_PUBLISHED_REAL) dg_torch_put_real(out, strtod(text, NULL));
        if (o->type == DG_PUBLISHED_RATE) dg_torch_put_real(out, rate_of_256(strtod(text, NULL), batch));
    }
    put_text(out, "batch_size_per_gpu");
    dg_torch_put_int(out, (int64_t)batch);
    put_text(out, "world_size");
    dg_torch_put_int(out, 1);
    put_text(out, "seed");
    dg_torch_put_int(out, seed ? strtoll(seed, NULL, 10) : 0);
    dg_torch_end_dict(out);
}

static void put_run(struct dg_torch_out *out, void *context)
{
    const struct full *f = context;
    dg_torch_begin_dict(out);
    put_text(out, "student");
    put_network(out, f, "student.", dg_published_prefix(f->file, false));
    put_text(out, "teacher");
    put_network(out, f, "teacher.", dg_published_prefix(f->file, true));
    put_text(out, "optimizer");
    dg_torch_begin_dict(out);
    put_text(out, "state");
    put_state(out, f);
    put_text(out, "param_groups");
    dg_torch_begin_list(out);
    for (int g = 0; g < 2; g++) put_group(out, f, g);
    dg_torch_end_list(out);
    dg_torch_end_dict(out);
    put_text(out, "epoch");
    dg_torch_put_int(out, f->epoch);
    put_text(out, "args");
    put_args(out, f);
    put_text(out, "dino_loss");
    put_network(out, f, "center", "center");
    dg_torch_end_dict(out);
}

/* Every parameter of the optimiser has all of its states, of its shape. */
static enum dg_status check_states(const struct full *f, struct dg_error *err)
{
    for (int p = 0; p < f->group[0] + f->group[1]; p++) {
        const struct dg_safetensors_tensor *parameter = f->parameter[p], *step = state_of(f, "step", parameter->name);
        bool ok = !step || (step->dtype == DG_SAFETENSORS_I64 && step->bytes == sizeof(int64_t));
        for (int s = 0; s < 2 && f->optimizer->state[s].ours; s++) {
            const struct dg_safetensors_tensor *state = state_of(f, f->optimizer->state[s].ours, parameter->name);
            ok &= state && state->dtype == DG_SAFETENSORS_F32 && state->bytes == parameter->bytes;
        }
        if (!ok)
            return dg_fail(err, DG_ERR_INPUT, "%s: the optimiser's state of %.200s is not whole", f->path,
                           parameter->name);
    }
    return DG_OK;
}

enum dg_status dg_export_full_checkpoint(const struct dg_safetensors *file, const char *in, const char *out,
                                         const struct dg_log *log, struct dg_error *err)
{
    struct full f = {.file = file, .path = in};
    DG_TRY(find_epoch(&f, err));
    DG_TRY(dg_published_check(file, in, err));
    DG_TRY(find_optimizer(&f, err));
    enum dg_status status = find_parameters(&f, err);
    if (status == DG_OK) status = check_states(&f, err);
    if (status == DG_OK) status = dg_torch_write_object(out, put_run, &f, err);
    if (status == DG_OK)
        dg_log(log, DG_LOG_INFO, DG_LOG_LOAD,
               "%s: student, teacher, centre, and the state of %d parameters by %s; %" PRId64 " epoch%s done", out,
               f.group[0] + f.group[1], f.optimizer->kind, f.epoch, f.epoch == 1 ? "" : "s");
    free(f.parameter);
    return status;
}
