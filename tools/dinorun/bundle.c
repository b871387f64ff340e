/* dinorun bundle: writes a plan and the weights that it computes with as one file. */
#include "tools/dinorun/command.h"

#include "runtime/model/bundle.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

/* Nothing is computed. */
#define OPTIONS                                                                                                        \
    {                                                                                                                  \
        .role = DG_ENTRY_FEATURES, .choice = {.from = "teacher"}, .ignore_memory = true                                \
    }

static struct {
    struct evaluation evaluation;
    const char *out, *head;
} given = {.evaluation.options = OPTIONS};

/* Opens the features that the head was trained on: those of the plan beside its file, or else the network's. */
static enum dg_status open_head(const struct dg_classifier *classifier, struct evaluation *head, struct dg_error *err)
{
    const struct evaluation *network = &given.evaluation;
    char path[DG_MAX_PATH];
    if (network->of.plan.header->kind == DG_PLAN_PROBE || !dg_classifier_find_plan(given.head, path)) return DG_OK;
    head->options = network->options;
    DG_TRY(open_plan_file(&head->of, path, err));
    dg_classifier_take_resize(classifier, &head->of.knobs);
    return open_evaluator(head, err);
}

static enum dg_status check_head(const struct dg_classifier *classifier, const struct evaluation *head,
                                 struct dg_error *err)
{
    DG_TRY(dg_classifier_check_dim(classifier, &head->of.plan, err));
    return dg_classifier_check(given.head, dg_evaluator_session(head->evaluator), &head->of.knobs,
                               image_rules(&given.evaluation.images), &console, err);
}

static enum dg_status say(const struct dg_classifier *classifier, struct dg_error *err)
{
    struct stat info;
    char size[32];
    if (stat(given.out, &info)) return dg_fail(err, DG_ERR_IO, "%s is not there", given.out);
    printf("%s: %s: plan, backbone", given.out, dg_format_bytes(size, sizeof size, (double)info.st_size));
    if (classifier->classes) printf(", classifier of %" PRId64 " classes", classifier->classes);
    if (classifier->classes && !classifier->names) printf(", whose names are not known");
    putchar('\n');
    return DG_OK;
}

static enum dg_status write_bundle(struct dg_classifier *classifier, struct evaluation *head, struct dg_error *err)
{
    struct evaluation *e = &given.evaluation;
    if (given.head) DG_TRY(dg_classifier_read(given.head, classifier, err));
    DG_TRY(open_weights_plan(e, err));
    DG_TRY(open_evaluator(e, err));
    if (given.head) {
        DG_TRY(open_head(classifier, head, err));
        DG_TRY(check_head(classifier, head->evaluator ? head : e, err));
    }
    const struct dg_session *session = dg_evaluator_session(e->evaluator);
    const struct dg_bundle_parts parts = {.session = session,
                                          .knobs = &e->of.knobs,
                                          .rules = image_rules(&e->images),
                                          .classifier = given.head ? classifier : NULL,
                                          .head = head->evaluator ? dg_evaluator_session(head->evaluator) : session};
    DG_TRY(dg_bundle_write(given.out, &parts, err));
    return say(classifier, err);
}

static int bundle(void)
{
    struct dg_error err = {0};
    struct dg_classifier classifier = {0};
    struct evaluation head = {.options = OPTIONS};
    write_bundle(&classifier, &head, &err);
    close_evaluation(&head);
    close_evaluation(&given.evaluation);
    dg_classifier_free(&classifier);
    return exit_status(&err);
}

static const struct dg_flag flags[] = {
    {FLAG_WEIGHTS, .text = &given.evaluation.options.weights},
    ROWS_CHOOSE_WEIGHTS(given.evaluation.options),
    {"out", "FILE", "the bundle to write", .letter = 'o', .text = &given.out, .required = true},
    {"head", "HEAD",
     "a classifier to put in: one of dinorun linear (RUN/linear/best.safetensors), or a published one that dinorun "
     "import has read",
     .text = &given.head, .unset = "none"},
    {FLAG_SET, .texts = &given.evaluation.of.set},
    ROWS_IMAGE_RULES(given.evaluation.images),
    {FLAG_QUIET},
    {0}};

const struct dg_command command_bundle = {
    .program = "dinorun",
    .name = "bundle",
    .summary = "writes plan and weights as one file, for other programs and machines",
    .more = "A bundle stands in the place of a plan and of --weights in features, knn, attention, pca, segment-score, "
            "retrieve,\ncopy-detect, video-segment, info, bench and export, and libdinograph and its Python package "
            "open it. It has no state of training.\n",
    .file = {.name = "PLAN|RUN", .value = &given.evaluation.of.path},
    .flags = flags,
    .run = bundle};
