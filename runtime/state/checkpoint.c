#include "runtime/state/checkpoint.h"

#include "runtime/exec/fault.h"
#include "runtime/formats/checksum.h"
#include "runtime/state/weights.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORMAT "dinograph checkpoint 1"

enum { VALUE = 64, KEY = 3 * VALUE, DIGITS = 17 };

/* The position, what the run depends on, and the knobs' values. */
static void add_position(struct dg_facts *m, const struct dg_knobs *knobs, const struct dg_progress *p)
{
    const struct dg_plan *plan = knobs->plan;
    dg_facts_add(m, "format", "%s", FORMAT);
    dg_facts_add(m, "model_hash", "%016" PRIx64, plan->header->model_hash);
    dg_facts_add(m, "plan_checksum", "%016" PRIx64, plan->header->checksum);
    dg_facts_add(m, "step", "%" PRId64, p->step);
    dg_facts_add(m, "skipped", "%" PRId64, p->skipped);
    dg_facts_add(m, "steps_per_epoch", "%" PRId64, p->steps_per_epoch);
    dg_facts_add(m, "epochs", "%" PRId64, p->epochs);
    dg_facts_add(m, "seed", "%" PRIu64, p->seed);
    dg_facts_add(m, "data_hash", "%016" PRIx64, p->data_hash);
    dg_facts_add(m, "threads", "%d", p->threads);
}

static void add_facts(struct dg_facts *m, const struct dg_knobs *knobs, const struct dg_progress *p)
{
    dg_facts_add_plan(m, knobs);
    for (int i = 0; p->facts && i < p->facts->count; i++)
        dg_facts_add(m, p->facts->fact[i].key, "%s", p->facts->fact[i].value);
}

static void add_checksums(struct dg_facts *m, const struct dg_safetensors_item *item, const uint64_t *bytes, int count)
{
    uint32_t *sum = calloc((size_t)count + 1, sizeof *sum);
    if (!sum) return; /* a checkpoint without them is still one */
#pragma omp parallel for schedule(dynamic)
    for (int i = 0; i < count; i++) sum[i] = dg_checksum(item[i].data, bytes[i]);
    for (int i = 0; i < count; i++) {
        char key[KEY];
        snprintf(key, sizeof key, DG_CHECKSUM ".%s", item[i].name);
        dg_facts_add(m, key, "%08" PRIx32, sum[i]);
    }
    free(sum);
    dg_facts_add(m, DG_CHECKSUM, "%08" PRIx32, dg_checksum_meta(m->fact, m->count));
}

static bool is_saved(const struct dg_plan_tensor *tensor)
{
    return tensor->region == DG_REGION_PARAM || tensor->region == DG_REGION_STATE;
}

int64_t dg_checkpoint_bytes(const struct dg_plan *plan, const struct dg_plan_entry *entry)
{
    enum {
        TENSOR = 4 * KEY,
        STRING = 4 * VALUE,
        FIXED = 16
    }; /* bytes of the header: name, shape, place, checksum; key and value */
    int64_t bytes = STRING * (FIXED + 2 * (int64_t)plan->num_knobs) +
                    STRING / 8 * (int64_t)strlen(dg_plan_string(plan, plan->header->facts));
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++)
        if (is_saved(&plan->tensor[t])) bytes += (int64_t)plan->tensor[t].bytes + TENSOR;
    return bytes;
}

enum dg_status dg_checkpoint_save(const struct dg_session *session, const struct dg_knobs *knobs,
                                  const struct dg_progress *position, const char *path, struct dg_error *err)
{
    const struct dg_plan *plan = knobs->plan;
    const struct dg_plan_entry *entry = dg_session_entry(session);
    struct dg_facts m = {0};
    char bad[512];
    if (dg_fault_in_stored(session, plan, bad, sizeof bad))
        return dg_fail(err, DG_ERR_NUMERIC, "%s was not written: %s", path, bad);
    struct dg_safetensors_item *item = calloc(entry->num_tensors + 1, sizeof *item);
    uint64_t *bytes = calloc(entry->num_tensors + 1, sizeof *bytes);
    int count = 0;
    enum dg_status status = DG_ERR_MEMORY;
    if (item && bytes) {
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
        add_position(&m, knobs, position);
        add_facts(&m, knobs, position);
        add_checksums(&m, item, bytes, count);
        if (!m.lost) status = dg_safetensors_write(path, item, count, m.fact, m.count, err);
        if (status == DG_OK)
            dg_log(dg_session_log(session), DG_LOG_TRACE, DG_LOG_RUN, "saved %s: step %" PRId64 ", %d tensors", path,
                   position->step, count);
    }
    if (!item || !bytes || m.lost) dg_fail(err, status, "out of memory for the checkpoint's header");
    free(item);
    free(bytes);
    dg_facts_free(&m);
    return status;
}

/* `imported`: state of the optimiser that is missing begins as it is, as for a layer that was frozen so far. */
static enum dg_status restore(struct dg_session *session, const struct dg_plan *plan, const struct dg_safetensors *file,
                              const char *path, bool imported, struct dg_error *err)
{
    const struct dg_plan_entry *entry = dg_session_entry(session);
    for (uint32_t t = entry->first_tensor; t < entry->first_tensor + entry->num_tensors; t++) {
        if (!is_saved(&plan->tensor[t])) continue;
        const char *name = dg_plan_string(plan, plan->tensor[t].name);
        const struct dg_safetensors_tensor *source = dg_safetensors_find(file, name);
        if (!source && imported && plan->tensor[t].region == DG_REGION_STATE) continue;
        if (!source) return dg_fail(err, DG_ERR_INPUT, "%s: the checkpoint has no %s", path, name);
        DG_TRY(dg_checksum_check_tensor(file, source, path, err));
        DG_TRY(dg_weights_copy(session, plan, t, source, path, err));
    }
    char bad[512];
    if (!dg_fault_in_stored(session, plan, bad, sizeof bad)) return DG_OK;
    return dg_fail(err, DG_ERR_INPUT, "%s: %s: no run goes on from that", path, bad);
}

/* Logs what may differ between the run so far and this one. */
static void log_differences(const struct dg_safetensors *file, const struct dg_knobs *knobs,
                            const struct dg_progress *p, bool accepted, const struct dg_log *log)
{
    const struct dg_plan *plan = knobs->plan;
    char now[VALUE];
    const char *was = dg_safetensors_metadata(file, "plan_checksum");
    snprintf(now, sizeof now, "%016" PRIx64, plan->header->checksum);
    /* What was accepted, or could not be compared, may change more than that, and has been said. */
    bool same = !accepted && dg_safetensors_metadata(file, "dinoc");
    if (was && strcmp(was, now) && same)
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
        char name[KEY];
        snprintf(name, sizeof name, "set.%s", key);
        was = dg_safetensors_metadata(file, name);
        dg_knob_text(now, sizeof now, &knobs->knob[k], DIGITS, false);
        if (!was || dg_same_value(was, now)) continue;
        dg_log(log, DG_LOG_WARNING, DG_LOG_RUN, "%s was %s so far and is %s now", key, was, now);
    }
}

/* Fails where the file holds no run, or one of another model by the hash that older files have instead of facts. */
static enum dg_status check_kind(const struct dg_safetensors *file, const struct dg_plan *plan, const char *path,
                                 struct dg_error *err)
{
    char hash[VALUE];
    snprintf(hash, sizeof hash, "%016" PRIx64, plan->header->model_hash);
    const char *format = dg_safetensors_metadata(file, "format"), *model = dg_safetensors_metadata(file, "model_hash");
    if (!format || strcmp(format, FORMAT) || !model || !dg_safetensors_metadata(file, "step") ||
        !dg_safetensors_metadata(file, "seed"))
        return dg_fail(err, DG_ERR_INPUT, "%s does not say where a run stands; to start from its weights use --init",
                       path);
    bool says = dg_safetensors_metadata(file, "dinoc") && *dg_plan_string(plan, plan->header->facts);
    if (says || !strcmp(model, hash)) return DG_OK;
    return dg_fail(err, DG_ERR_USAGE,
                   "%s is of another model, recipe or batch than the plan; compile the same description with the "
                   "same --batch and --set, or start from its weights with --init",
                   path);
}

static enum dg_status check_seed(const struct dg_safetensors *file, const struct dg_progress *p,
                                 struct dg_resume_rules rules, const char *path, struct dg_error *err)
{
    uint64_t seed = strtoull(dg_safetensors_metadata(file, "seed"), NULL, 10);
    if (!rules.seed_given || seed == p->seed) return DG_OK;
    return dg_fail(err, DG_ERR_USAGE,
                   "--seed %" PRIu64 ": the run in %s has seed %" PRIu64 "; leave --seed out, or choose another --out",
                   p->seed, path, seed);
}

static enum dg_status check_data(const struct dg_safetensors *file, const struct dg_progress *p,
                                 struct dg_resume_rules rules, const char *path, const struct dg_log *log,
                                 struct dg_error *err)
{
    char hash[VALUE], counts[2 * VALUE] = "";
    const char *data = dg_safetensors_metadata(file, "data_hash"), *images = dg_safetensors_metadata(file, "images"),
               *now = p->facts ? dg_facts_find(p->facts, "images") : NULL;
    snprintf(hash, sizeof hash, "%016" PRIx64, p->data_hash);
    if (!data || !strcmp(data, hash)) return DG_OK;
    if (images && now) snprintf(counts, sizeof counts, ": %s images then, %s now", images, now);
    if (rules.new_data) {
        dg_log(log, DG_LOG_WARNING, DG_LOG_RUN, "these are not the images that the run began with%s", counts);
        return DG_OK;
    }
    return dg_fail(err, DG_ERR_USAGE,
                   "these are not the images that the run in %s began with (files added, removed or renamed, "
                   "another archive, or another recording)%s: put them back, or go on with --new-data",
                   path, counts);
}

static enum dg_status compare_facts(const struct dg_safetensors *file, const struct dg_knobs *knobs,
                                    const struct dg_progress *p, struct dg_resume_rules rules, const char *path,
                                    const struct dg_log *log, struct dg_error *err)
{
    struct dg_facts now = {0};
    add_facts(&now, knobs, p);
    const struct dg_facts_question question = {DG_FACTS_RUN, path, &now, knobs, rules.accept_changes, log};
    enum dg_status status = dg_facts_compare(&question, file, err);
    dg_facts_free(&now);
    return status;
}

static int64_t number_of(const struct dg_safetensors *file, const char *key, int64_t otherwise)
{
    const char *text = dg_safetensors_metadata(file, key);
    return text ? strtoll(text, NULL, 10) : otherwise;
}

/* Steps of another batch are counted anew: the run goes on by epochs, and within an epoch by images. */
static void renumber(const struct dg_safetensors *file, const struct dg_plan *plan, struct dg_progress *p,
                     const struct dg_log *log)
{
    int64_t was = number_of(file, "recipe.batch", 0), epoch = number_of(file, "steps_per_epoch", 0), step = p->step;
    int64_t now = plan->entry[plan->header->entry[DG_ENTRY_TRAIN]].batch;
    if (was < 1 || epoch < 1 || was == now) return;
    int64_t images, done; /* of the epoch; of the epochs before it, steps */
    if (!dg_mul_i64(step % epoch, was, &images) || !dg_mul_i64(step / epoch, p->steps_per_epoch, &done)) return;
    p->step = done + dg_min_i64(images / now, p->steps_per_epoch - 1);
    p->step_before = step;
    dg_log(log, DG_LOG_WARNING, DG_LOG_RUN,
           "the batch was %" PRId64 " and is %" PRId64 ": step %" PRId64 " of the run so far is step %" PRId64
           " from here on, at the same place of the same epoch",
           was, now, step, p->step);
}

/* True for a full checkpoint of the published code that dinorun import has read: it has the optimiser's state, and
 * says how many epochs are done. */
static bool is_imported(const struct dg_safetensors *file)
{
    bool optimizer = false;
    for (int i = 0; i < dg_safetensors_count(file) && !optimizer; i++)
        optimizer = !strncmp(dg_safetensors_at(file, i)->name, "optim.", 6);
    return optimizer && dg_safetensors_metadata(file, "imported_from") && dg_safetensors_metadata(file, "epoch");
}

/* The run goes on behind the epochs that are done. Of its recipe the file has what the published code's options say. */
static enum dg_status load_imported(struct dg_session *session, const struct dg_knobs *knobs,
                                    struct dg_progress *position, struct dg_resume_rules rules,
                                    const struct dg_safetensors *file, const char *path, const struct dg_log *log,
                                    struct dg_error *err)
{
    int64_t epochs = number_of(file, "epoch", 0);
    if (epochs < 0 || epochs > position->epochs)
        return dg_fail(err, DG_ERR_INPUT, "%s: %" PRId64 " epochs are done, and the run has %" PRId64, path, epochs,
                       position->epochs);
    DG_TRY(compare_facts(file, knobs, position, rules, path, log, err));
    DG_TRY(dg_session_initialize(session, position->seed, err));
    DG_TRY(restore(session, knobs->plan, file, path, true, err));
    position->step = epochs * position->steps_per_epoch;
    position->skipped = 0;
    position->step_before = -1;
    dg_log(log, DG_LOG_WARNING, DG_LOG_RUN,
           "%s was imported from %s, after epoch %" PRId64 ": the run goes on at step %" PRId64
           " with its optimiser's state. What its training was started with has been compared as far as the file says; "
           "that the images are those of before is for you to see to",
           path, dg_safetensors_metadata(file, "imported_from"), epochs, position->step);
    return DG_OK;
}

static enum dg_status load(struct dg_session *session, const struct dg_knobs *knobs, struct dg_progress *position,
                           struct dg_resume_rules rules, const struct dg_safetensors *file, const char *path,
                           const struct dg_log *log, struct dg_error *err)
{
    const struct dg_plan *plan = knobs->plan;
    DG_TRY(dg_checksum_check_meta(file, path, err));
    if (is_imported(file)) return load_imported(session, knobs, position, rules, file, path, log, err);
    DG_TRY(check_kind(file, plan, path, err));
    DG_TRY(check_seed(file, position, rules, path, err));
    DG_TRY(compare_facts(file, knobs, position, rules, path, log, err));
    DG_TRY(check_data(file, position, rules, path, log, err));
    DG_TRY(restore(session, plan, file, path, false, err));
    position->seed = strtoull(dg_safetensors_metadata(file, "seed"), NULL, 10);
    position->step = number_of(file, "step", 0);
    position->skipped = number_of(file, "skipped", 0); /* older files have none */
    position->step_before = -1;
    if (position->step < 0 || position->skipped < 0)
        return dg_fail(err, DG_ERR_INPUT, "%s: step %" PRId64 ", of which %" PRId64 " were left out", path,
                       position->step, position->skipped);
    log_differences(file, knobs, position, rules.accept_changes, log);
    renumber(file, plan, position, log);
    return DG_OK;
}

enum dg_status dg_checkpoint_load(struct dg_session *session, const struct dg_knobs *knobs,
                                  struct dg_progress *position, struct dg_resume_rules rules, const char *path,
                                  const struct dg_log *log, struct dg_error *err)
{
    struct dg_safetensors *file;
    DG_TRY(dg_safetensors_open(path, &file, err));
    enum dg_status status = load(session, knobs, position, rules, file, path, log, err);
    dg_safetensors_close(file);
    return status;
}
