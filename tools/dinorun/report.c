/* dinorun report: one HTML page on one or several runs. */
#include "runtime/report/page.h"

#include "tools/dinorun/command.h"

static struct {
    struct dg_flag_values run, picture;
    const char *output;
} given;

static enum dg_status write_report(struct dg_report_run run[], struct dg_error *err)
{
    int count = given.run.count;
    if (count > DG_MAX_REPORT_RUNS)
        return dg_fail(err, DG_ERR_USAGE, "a report shows up to %d runs, and %d are given", DG_MAX_REPORT_RUNS, count);
    for (int r = 0; r < count; r++) DG_TRY(dg_report_run_open(given.run.value[r], &run[r], err));
    const struct dg_page page = {
        .run = run, .runs = count, .picture = given.picture.value, .pictures = given.picture.count, .log = &console};
    return dg_page_write(&page, given.output, err);
}

static int report(void)
{
    struct dg_error err = {0};
    struct dg_report_run run[DG_MAX_REPORT_RUNS] = {{0}};
    if (write_report(run, &err) == DG_OK) printf("%s: open it in a browser\n", given.output);
    for (int r = 0; r < DG_MAX_REPORT_RUNS; r++) dg_report_run_close(&run[r]);
    return exit_status(&err);
}

static const struct dg_flag flags[] = {
    {"output", "F.html", "the file to write", .letter = 'o', .text = &given.output, .required = true},
    {"picture", "FILE", "a picture to show besides those in the runs' folders: PNG or JPEG", .texts = &given.picture},
    {FLAG_QUIET},
    {0}};

const struct dg_command command_report = {
    .program = "dinorun",
    .name = "report",
    .summary = "writes one HTML page on runs: how they go and what to do next, curves, pictures, memory, speed, recipe",
    .more =
        "The page holds all that it shows and loads nothing. It shows crops, attention and principal components that "
        "lie\n"
        "in a run's folder as PNG or JPEG: dinorun crops PLAN --data DIR --out RUN/crops.png. Several runs are drawn\n"
        "over each other. A run may be going on.\n",
    .file = {.name = "RUN", .what = "the folder of dinorun train --out", .values = &given.run},
    .flags = flags,
    .run = report};
