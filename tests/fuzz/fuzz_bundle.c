/* libFuzzer's entry to bundles: what they say, their plans, their classifier. The readers of safetensors and of plans
 * behind them have fuzzers of their own. */
#include "runtime/model/bundle.h"
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

static void use_classifier(const struct dg_bundle *bundle)
{
    struct dg_classifier classifier;
    struct dg_error err = {0};
    enum dg_status status = dg_bundle_read_classifier(bundle, &classifier, &err);
    check_said(status, &err);
    if (status == DG_OK && classifier.classes) {
        float *features = calloc((size_t)classifier.dim, sizeof *features);
        float *out = calloc(2 * (size_t)classifier.classes, sizeof *out);
        if (!features || !out) abort();
        dg_classifier_run(&classifier, features, 1, 1, out, out + classifier.classes);
        for (int64_t c = 0; classifier.name && c < classifier.classes; c++)
            if (strchr(classifier.name[c], 0) < classifier.name[c]) abort();
        free(features);
        free(out);
    }
    dg_classifier_free(&classifier);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *path = memory_file(data, size);
    struct dg_error err = {0};
    struct dg_bundle *bundle;
    dg_is_bundle(path);
    enum dg_status status = dg_bundle_open(path, &bundle, &err);
    check_said(status, &err);
    if (status != DG_OK) return 0;
    for (int which = DG_BUNDLE_NETWORK; which <= DG_BUNDLE_HEAD; which++) {
        struct dg_plan plan;
        struct dg_error why = {0};
        check_said(dg_bundle_open_plan(bundle, (enum dg_bundle_plan)which, &plan, &why), &why);
        dg_plan_close(&plan);
    }
    dg_bundle_fact(bundle, "images.exif");
    use_classifier(bundle);
    dg_bundle_close(bundle);
    return 0;
}
