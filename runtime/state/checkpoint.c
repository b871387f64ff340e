#include "runtime/state/checkpoint.h"

#include "runtime/state/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define FORMAT "dinograph checkpoint 1"

enum { VALUE = 64, FIXED = 10, DIGITS = 17 };

/* The metadata of the file: the position, one entry a knob, one checksum a tensor. */
struct metadata {
    struct dg_safetensors_meta *meta;
    char (*value)[VALUE];
    char (*key)[VALUE * 3];
    int count;
};

static void put(struct metadata *m, const char *key, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void put(struct metadata *m, const char *key, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(m->value[m->count], VALUE, format, args);
    va_end(args);
    snprintf(m->key[m->count], sizeof m->key[0], "%s", key);
    m->meta[m->count] = (struct dg_safetensors_meta){m->key[m->count], m->value[m->count]};
    m->count++;
}

static void put_all(struct metadata *m, const struct dg_knobs *knobs, const struct dg_progress *p)
{
    const struct dg_plan *plan = knobs->plan;
    put(m, "format", "%s", FORMAT);
    put(m, "model_hash", "%016" PRIx64, plan->header->model_hash);
    put(m, "plan_checksum", "%016" PRIx64, plan->header->checksum);
    put(m, "step", "%" PRId64, p->step);
    put(m, "skipped", "%" PRId64, p->skipped);
    put(m, "steps_per_epoch", "%" PRId64, p->steps_per_epoch);
    put(m, "epochs", "%" PRId64, p->epochs);
    put(m, "seed", "%" PRIu64, p->seed);
    put(m, "data_hash", "%016" PRIx64, p->data_hash);
    put(m, "threads", "%d", p->threads);
    for (uint32_t k = 0; k < plan->num_knobs; k++) {
        char key[VALUE * 3], value[VALUE];
        snprintf(key, sizeof key, "set.%s", dg_plan_string(plan, knobs->knob[k].key));
        put(m, key, "%s", dg_knob_text(value, sizeof value, &knobs->knob[k], DIGITS, false));
    }
}

/* CRC-32 of a tensor's bytes, in the metadata under "crc32.<name>": detects damage on the disk. */
static uint32_t checksum(const void *data, uint64_t bytes) { return (uint32_t)crc32_z(0, data, bytes); }

static void put_checksums(struct metadata *m, const struct dg_safetensors_item *item, const uint64_t *bytes, int count)
{
    uint32_t *sum = calloc((size_t)count + 1, sizeof *sum);
    if (!sum) return; /* a checkpoint without them is still one */
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < count; i++) sum[i] = checksum(item[i].data, bytes[i]);
    for (int i = 0; i < count; i++) {
        char key[VALUE * 3];
        snprintf(key, sizeof key, "crc32.%s", item[i].name);
        put(m, key, "%08" PRIx32, sum[i]);
    }
    free(sum);
}

static bool is_saved(const struct dg_plan_tensor *tensor)
{
    return tensor->region == DG_REGION_PARAM || tensor->region == DG_REGION_STATE;
}

int64_t dg_checkpoint_bytes(const struct dg_plan *plan, const struct dg_plan_entry *entry)
{
    enum {
        TENSOR = 4 * VALUE * 3,
        STRING = 4 * VALUE
    }; /* bytes of the header: name, shape, place, checksum; key and value */
    int64_t bytes = STRING * (FIXED + (int64_t)plan->num_knobs);
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++)
        if (is_saved(&plan->tensor[t])) bytes += (int64_t)plan->tensor[t].bytes + TENSOR;
    return bytes;
}

enum dg_status dg_checkpoint_save(const struct dg_session *session, const struct dg_knobs *knobs,
                                  const struct dg_progress *position, const char *path, struct dg_error *err)
{
    const struct dg_plan *plan = knobs->plan;
    const struct dg_plan_entry *entry = dg_session_entry(session);
    size_t strings = FIXED + plan->num_knobs + entry->num_tensors;
    struct dg_safetensors_item *item = calloc(entry->num_tensors + 1, sizeof *item);
    struct metadata m = {.meta = calloc(strings, sizeof *m.meta),
                         .value = calloc(strings, sizeof *m.value),
                         .key = calloc(strings, sizeof *m.key)};
    uint64_t *bytes = calloc(entry->num_tensors + 1, sizeof *bytes);
    int count = 0;
    enum dg_status status = DG_ERR_MEMORY;
    if (item && bytes && m.meta && m.value && m.key) {
        for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
            const struct dg_plan_tensor *tensor = &plan->tensor[t];
            if (!is_saved(tensor)) continue;
            item[count] =
                (struct dg_safetensors_item){.name = dg_plan_string(plan, tensor->name),
                                             .dtype = tensor->dtype == DG_I64 ? DG_SAFETENSORS_I64 : DG_SAFETENSORS_F32,
                                             .ndim = tensor->ndim,
                                             .data = dg_session_data(session, t)};
            memcpy(item[count].dim, tensor->dim, sizeof(int64_t) * tensor->ndim);
            bytes[count] = tensor->bytes;
            count++;
        }
        put_all(&m, knobs, position);
        put_checksums(&m, item, bytes, count);
        status = dg_safetensors_write(path, item, count, m.meta, m.count, err);
        if (status == DG_OK)
            dg_log(dg_session_log(session), DG_LOG_TRACE, DG_LOG_RUN, "saved %s: step %" PRId64 ", %d tensors", path,
                   position->step, count);
    } else {
        dg_fail(err, status, "out of memory for the checkpoint's header");
    }
    free(item);
    free(bytes);
    free(m.meta);
    free(m.value);
    free(m.key);
    return status;
}

static enum dg_status restore(struct dg_session *session, const struct dg_plan *plan, const struct dg_safetensors *file,
                              const char *path, struct dg_error *err)
{
    const struct dg_plan_entry *entry = dg_session_entry(session);
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        if (!is_saved(&plan->tensor[t])) continue;
        const char *name = dg_plan_string(plan, plan->tensor[t].name);
        const struct dg_safetensors_tensor *source = dg_safetensors_find(file, name);
        if (!source) return dg_fail(err, DG_ERR_INPUT, "%s: the checkpoint has no %s", path, name);
        char key[VALUE * 3], sum[VALUE];
        snprintf(key, sizeof key, "crc32.%s", name);
        snprintf(sum, sizeof sum, "%08" PRIx32, checksum(source->data, source->bytes));
        const char *want = dg_safetensors_metadata(file, key);
        if (want && strcmp(want, sum))
            return dg_fail(err, DG_ERR_INPUT, "%s: %s is damaged (its checksum is %s, not %s)", path, name, sum, want);
        DG_TRY(dg_weights_copy(session, plan, t, source, path, err));
    }
    return DG_OK;
}

/* Logs what may differ between the run so far and this one. */
static void log_differences(const struct dg_safetensors *file, const struct dg_knobs *knobs,
                            const struct dg_progress *p, const struct dg_log *log)
{
    const struct dg_plan *plan = knobs->plan;
    char now[VALUE];
    const char *was = dg_safetensors_metadata(file, "plan_checksum");
    snprintf(now, sizeof now, "%016" PRIx64, plan->header->checksum);
    if (was && strcmp(was, now))
        dg_log(log, DG_LOG_WARNING, DG_LOG_RUN,
               "the plan is not the one the run began with (another memory plan or dinoc): from here on the "
               "numbers may differ in their last bits");
    const struct {
        const char *key, *what;
        int64_t value;
    } numbers[] = {{"threads", "threads", p->threads}, {"steps_per_epoch", "steps an epoch", p->steps_per_epoch}};
    for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++) {
        was = dg_safetensors_metadata(file, numbers[n].key);
        if (!was || strtoll(was, NULL, 10) == numbers[n].value) continue;
        dg_log(log, DG_LOG_WARNING, DG_LOG_RUN, "the run so far had %s %s, now it is %" PRId64 "%s", was,
               numbers[n].what, numbers[n].value, n ? "" : ": the numbers may differ in their last bits");
    }
    for (uint32_t k = 0; k < plan->num_knobs; k++) {
        const char *key = dg_plan_string(plan, knobs->knob[k].key);
        char name[VALUE * 3];
        snprintf(name, sizeof name, "set.%s", key);
        was = dg_safetensors_metadata(file, name);
        dg_knob_text(now, sizeof now, &knobs->knob[k], DIGITS, false);
        if (!was || !strcmp(was, now)) continue;
        dg_log(log, DG_LOG_WARNING, DG_LOG_RUN, "%s was %s so far and is %s now", key, was, now);
    }
}

enum dg_status dg_checkpoint_load(struct dg_session *session, const struct dg_knobs *knobs,
                                  struct dg_progress *position, struct dg_resume_rules rules, const char *path,
                                  const struct dg_log *log, struct dg_error *err)
{
    const struct dg_plan *plan = knobs->plan;
    struct dg_safetensors *file;
    DG_TRY(dg_safetensors_open(path, &file, err));
    enum dg_status status = DG_OK;
    char hash[VALUE];
    snprintf(hash, sizeof hash, "%016" PRIx64, plan->header->model_hash);
    const char *format = dg_safetensors_metadata(file, "format"), *model = dg_safetensors_metadata(file, "model_hash"),
               *step = dg_safetensors_metadata(file, "step"), *seed = dg_safetensors_metadata(file, "seed");
    if (!format || strcmp(format, FORMAT) || !model || !step || !seed)
        status = dg_fail(err, DG_ERR_INPUT, "%s does not say where a run stands; to start from its weights use --init",
                         path);
    else if (strcmp(model, hash))
        status = dg_fail(err, DG_ERR_USAGE,
                         "%s is of another model, recipe or batch than the plan; compile the same description with the "
                         "same --batch and --set, or start from its weights with --init",
                         path);
    uint64_t file_seed = seed ? strtoull(seed, NULL, 10) : 0;
    if (status == DG_OK && rules.seed_given && file_seed != position->seed)
        status =
            dg_fail(err, DG_ERR_USAGE,
                    "--seed %" PRIu64 ": the run in %s has seed %" PRIu64 "; leave --seed out, or choose another --out",
                    position->seed, path, file_seed);
    const char *data = dg_safetensors_metadata(file, "data_hash");
    snprintf(hash, sizeof hash, "%016" PRIx64, position->data_hash);
    if (status == DG_OK && data && strcmp(data, hash)) {
        if (rules.new_data)
            dg_log(log, DG_LOG_WARNING, DG_LOG_RUN, "the data are not the ones the run began with");
        else
            status = dg_fail(err, DG_ERR_USAGE,
                             "the data are not the ones the run in %s began with (files added, removed or renamed, or "
                             "another recording): put them back, or go on with --new-data",
                             path);
    }
    if (status == DG_OK) status = restore(session, plan, file, path, err);
    if (status == DG_OK) {
        position->seed = file_seed;
        position->step = strtoll(step, NULL, 10);
        const char *skipped = dg_safetensors_metadata(file, "skipped"); /* older files have none */
        position->skipped = skipped ? strtoll(skipped, NULL, 10) : 0;
        if (position->step < 0 || position->skipped < 0)
            status = dg_fail(err, DG_ERR_INPUT, "%s: step %s, of which %s were left out", path, step,
                             skipped ? skipped : "0");
        log_differences(file, knobs, position, log);
    }
    dg_safetensors_close(file);
    return status;
}
