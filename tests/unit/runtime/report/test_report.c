/* Reading a run's folder, judging it, and the page: logs as they may be, what is said of each, a page that is well-formed whatever stands in the
 * files. */
#include "runtime/report/chart.h"
#include "runtime/report/page.h"
#include "runtime/report/verdict.h"

#include "tests/support/check.h"
#include "tests/support/files.h"
#include "tests/support/tiny.h"

#include <ctype.h>
#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static void put(const char *name, const char *text) { write_file(in(name), text, strlen(text)); }

/* ---- logs ---- */

static struct dg_series lines(const char *text)
{
    struct dg_series series;
    put("lines.jsonl", text);
    assert_ok(dg_series_read_lines(in("lines.jsonl"), &series, try_err));
    return series;
}

static void test_lines(void **state)
{
    (void)state;
    struct dg_series s =
        lines("{\"step\": 0, \"loss\": 2.5, \"lr\": 1e-3}\n"
              "{\"step\": 1, \"loss\": 2, \"note\": \"a \\\"}\", \"more\": {\"x\": [1, \"]\"]}, \"kl\": 0.5}\n");
    assert_int_equal(s.rows, 2);
    assert_int_equal(s.columns, 3);
    assert_true(dg_series_last(&s, "loss") == 2 && dg_series_last(&s, "lr") == 1e-3);
    assert_true(isnan(dg_series_find(&s, "kl")->value[0]) && dg_series_last(&s, "kl") == 0.5);
    assert_true(dg_series_mean(&s, "loss", 0, 2) == 2.25 && isnan(dg_series_last(&s, "none")));
    assert_true(!s.unread && !s.cut && s.not_finite == -1);
    dg_series_free(&s);
}

static void test_damaged_lines(void **state)
{
    (void)state;
    struct dg_series s = lines("");
    assert_int_equal(s.rows, 0);
    dg_series_free(&s);
    s = lines("{\"step\": 0, \"loss\": 1}");
    assert_true(s.rows == 1 && !s.cut); /* complete but for the line end */
    dg_series_free(&s);
    s = lines("{\"step\": 0, \"loss\": 1}\n{\"step\": 1, \"lo");
    assert_true(s.rows == 1 && s.cut && !s.unread);
    dg_series_free(&s);
    s = lines("hello\n{\"step\": 3, \"loss\": 1}\n{\"loss\": 1}\n{\"step\": -1}\n[1]\n\n{\"step\": 4, \"loss\": }\n");
    assert_true(s.rows == 1 && s.step[0] == 3 && s.unread == 5);
    dg_series_free(&s);
    s = lines(
        "{\"step\": 0, \"loss\": 1}\n{\"step\": 1, \"loss\": NaN, \"kl\": -Infinity}\n{\"step\": 2, \"loss\": nan}\n");
    assert_true(s.rows == 3 && s.not_finite == 1);
    assert_string_equal(s.not_finite_name, "loss");
    assert_true(dg_series_last(&s, "loss") == 1 && isnan(dg_series_last(&s, "kl")));
    dg_series_free(&s);
}

/* A run that went on from an earlier checkpoint: the later lines count. */
static void test_steps_again(void **state)
{
    (void)state;
    struct dg_series s = lines("{\"step\": 0, \"loss\": 1}\n{\"step\": 1, \"loss\": 2}\n{\"step\": 2, \"loss\": NaN}\n"
                               "{\"step\": 1, \"loss\": 5}\n{\"step\": 2, \"kl\": 6}\n");
    assert_int_equal(s.rows, 3);
    const double *loss = dg_series_find(&s, "loss")->value;
    assert_true(loss[0] == 1 && loss[1] == 5 && isnan(loss[2]) && s.not_finite == -1);
    dg_series_free(&s);
}

/* What is measured at a step has a line of its own. */
static void test_lines_of_one_step(void **state)
{
    (void)state;
    struct dg_series s = lines("{\"step\": 5, \"loss\": 1}\n{\"step\": 5, \"top1\": 30}\n{\"step\": 6, \"loss\": NaN}\n"
                               "{\"step\": 6, \"top1\": 40}\n");
    assert_true(s.rows == 2 && s.not_finite == 6);
    assert_true(dg_series_find(&s, "loss")->value[0] == 1 && dg_series_find(&s, "top1")->value[0] == 30);
    assert_true(dg_series_last(&s, "top1") == 40 && dg_series_last(&s, "loss") == 1);
    dg_series_free(&s);
}

static void test_many_rows(void **state)
{
    (void)state;
    FILE *file = fopen(in("lines.jsonl"), "w");
    for (int i = 0; i < 5000; i++) fprintf(file, "{\"step\": %d, \"a\": %d%s}\n", i, i, i == 4000 ? ", \"b\": 1" : "");
    fclose(file);
    struct dg_series s;
    assert_ok(dg_series_read_lines(in("lines.jsonl"), &s, try_err));
    assert_int_equal(s.rows, 5000);
    assert_true(dg_series_find(&s, "a")->value[4999] == 4999 && dg_series_find(&s, "b")->value[4000] == 1);
    assert_true(isnan(dg_series_find(&s, "b")->value[4999]));
    dg_series_free(&s);
}

static void test_results(void **state)
{
    (void)state;
    struct dg_series s;
    put("results.csv", "time,step,by,measure,value,most_frequent,network,weights,train,val,images\n"
                       "t,20,knn,knn20.top1,31.5,12.5,teacher,\"a,\"\"b\"\".safetensors\",x,y,100\n"
                       "t,10,train,knn20.top1,25,12.5,teacher,w,x,y,100\n"
                       "t,20,knn,knn20.top1,30,12.5,student,w,x,y,100\n"
                       "t,,knn,knn20.top1,30,12.5,teacher,w,x,y,100\n"
                       "t,30,train,knn20.top1,nan,,teacher,w\n"
                       "t,40,train,knn20.top1,none,,teacher,w\n");
    assert_ok(dg_series_read_results(in("results.csv"), &s, try_err));
    assert_int_equal(s.rows, 2);
    assert_true(s.step[0] == 10 && s.step[1] == 20);
    const double *top1 = dg_series_find(&s, "knn20.top1")->value;
    assert_true(top1[0] == 25 && top1[1] == 31.5 && dg_series_last(&s, "knn20.top1, student") == 30);
    assert_true(dg_series_last(&s, "most_frequent") == 12.5 && s.unread == 2);
    dg_series_free(&s);
}

/* ---- judgement ---- */

/* A folder with a log of `steps` steps, of which entropy is that share of ln(1024), and more files. */
static void make_run(int steps, double share, const char *tail)
{
    FILE *file;
    mkdir(in("run"), 0777);
    put("run/settings.txt", "epochs=2\nhead.with.out_dim=1024\n");
    put("run/run.json", "{\"steps_per_epoch\": 200, \"epochs\": 2, \"out_dim\": 1024, \"batch\": 8, \"images\": 1600}");
    file = fopen(in("run/log.jsonl"), "w");
    for (int i = 0; i < steps; i++) {
        double entropy = share * log(1024), kl = 0.4 - 0.0005 * i;
        fprintf(
            file,
            "{\"step\": %d, \"epoch\": %d, \"loss\": %.9g, \"teacher_entropy\": %.9g, \"kl\": %.9g, \"grad_norm\": 1, "
            "\"images_per_s\": 16}\n",
            i, i / 200, entropy + kl, entropy, kl);
    }
    fputs(tail, file);
    fclose(file);
}

static void judge(enum dg_mood mood, const char *head, const char *text, const char *where)
{
    struct dg_report_run run;
    assert_ok(dg_report_run_open(in("run"), &run, try_err));
    struct dg_verdict v = dg_verdict_make(&run);
    if (v.mood != mood || !strstr(v.head, head) || !strstr(v.text, text) || !strstr(v.state, where))
        fail_msg("mood %d: %s %s %s", v.mood, v.head, v.text, v.state);
    dg_report_run_close(&run);
}

static void test_verdicts(void **state)
{
    (void)state;
    static const struct {
        int steps;
        double share;
        const char *tail;
        enum dg_mood mood;
        const char *head, *text, *where;
    } runs[] = {
        {0, 0, "", DG_MOOD_OPEN, "No step", "--resume", "step 0 of 400"},
        {20, 0.7, "", DG_MOOD_OPEN, "too early", "20 steps", "Stopped at step 20 of 400"},
        {300, 0.7, "", DG_MOOD_GOOD, "healthy", "70 %", "Stopped at step 300 of 400"},
        {400, 0.7, "", DG_MOOD_GOOD, "healthy", "dinorun knn", "Ended at step 400 of 400"},
        {300, 1, "", DG_MOOD_BAD, "uniform", "loss.teacher_temp", "step 300"},
        {300, 0.98, "", DG_MOOD_WATCH, "nearly uniform", "since step 0", "step 300"},
        {300, 0, "", DG_MOOD_BAD, "one prototype", "loss.center_momentum", "step 300"},
        {300, 0.01, "", DG_MOOD_WATCH, "one prototype", "1.0 %", "step 300"},
        {300, 0.7, "{\"step\": 300, \"loss\": NaN}\n", DG_MOOD_BAD, "diverged", "At step 300 loss", "step 301"},
    };
    for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
        make_run(runs[r].steps, runs[r].share, runs[r].tail);
        judge(runs[r].mood, runs[r].head, runs[r].text, runs[r].where);
    }
}

static void test_more_verdicts(void **state)
{
    (void)state;
    FILE *file;
    make_run(400, 0.7, "");
    file = fopen(in("run/log.jsonl"), "a");
    for (int i = 400; i < 500; i++) fprintf(file, "{\"step\": %d, \"grad_norm\": 50, \"kl\": 1}\n", i);
    fclose(file);
    judge(DG_MOOD_WATCH, "gradient", "50 times", "Ended");
    make_run(300, 0, ""); /* hard targets and losses without a softmax have no entropy: that is no collapse */
    file = fopen(in("run/log.jsonl"), "a");
    for (int i = 300; i < 400; i++)
        fprintf(file, "{\"step\": %d, \"teacher_entropy\": 0, \"teacher_temp\": 0, \"kl\": 0.1, \"loss\": 0.1}\n", i);
    fclose(file);
    judge(DG_MOOD_GOOD, "healthy", "KL", "Ended");
    make_run(400, 0.7, "");
    put("run/results.csv", "step,measure,value,network\n100,knn20.top1,40,teacher\n200,knn20.top1,30,teacher\n");
    judge(DG_MOOD_WATCH, "worse", "20-NN, top-1 was 40.0 % around step 100", "Ended");
    put("run/results.csv",
        "step,measure,value,network\n10,knn20.top1,30,teacher\n20,knn20.top1,31,teacher\n30,knn20.top1,38,teacher\n"
        "40,knn20.top1,31,teacher\n50,knn20.top1,32,teacher\n60,knn20.top1,31,teacher\n");
    judge(DG_MOOD_GOOD, "healthy", "", "Ended"); /* one that is better by chance is no peak */
    unlink(in("run/results.csv"));
    put("run/run.json", "{\"steps_per_epoch\": 200, \"epochs\": 2, \"out_dim\": 1024, \"sessions\": [{\"state\": "
                        "\"killed\"}, {\"state\": "
                        "\"failed\", \"error\": \"the disk is full\"}]}");
    judge(DG_MOOD_BAD, "failed", "the disk is full.", "Ended");
    put("run/run.json", "{\"steps_per_epoch\": 200, \"epochs\": 2, \"out_dim\": 1024, \"sessions\": [{\"state\": "
                        "\"failed\", \"error\": \"\"}]}");
    judge(DG_MOOD_BAD, "failed", "", "Ended");
}

/* ---- foreign folders ---- */

static void refused(const char *folder, const char *text)
{
    struct dg_report_run run;
    struct dg_error err = {0};
    assert_int_equal(dg_report_run_open(folder, &run, &err), DG_ERR_USAGE);
    if (!strstr(err.text, text)) fail_msg("%s", err.text);
    dg_report_run_close(&run);
}

static void test_foreign(void **state)
{
    (void)state;
    mkdir(in("foreign"), 0777);
    put("foreign/notes.txt", "x");
    refused(in("foreign"), "is not a run: it has neither log.jsonl");
    refused(in("foreign/notes.txt"), "is not a folder");
    refused(in("nowhere"), "No such file");
}

/* ---- charts ---- */

static void test_means(void **state)
{
    (void)state;
    const double value[6] = {1, 3, NAN, 5, 7, 100};
    double mean[6];
    dg_running_mean(value, 6, 1, mean);
    const double expected[6] = {2, 2, 4, 6, 112.0 / 3, 53.5};
    for (int i = 0; i < 6; i++) assert_true(fabs(mean[i] - expected[i]) < 1e-12);
}

/* ---- the page ---- */

static bool is_void(const char *name)
{
    static const char *const names[] = {"meta", "link", "br", "img"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i])) return true;
    return false;
}

/* Each element is closed by its own end, attributes are quoted, and no < or & stands alone. */
static void assert_well_formed(const char *page)
{
    char stack[64][32];
    int depth = 0;
    const char *s = strchr(page, '\n'); /* behind the doctype */
    while (*s) {
        if (*s == '&' && !strchr("abcdefghijklmnopqrstuvwxyz#", s[1])) fail_msg("a bare &: %.40s", s);
        if (*s++ != '<') continue;
        bool ends = *s == '/';
        char name[32];
        int length = 0;
        for (s += ends; isalnum((unsigned char)*s) && length < 31; s++) name[length++] = *s;
        name[length] = 0;
        if (!length) fail_msg("a bare <: %.40s", s - 1);
        while (*s && *s != '>' && *s != '/') {
            s += strcspn(s, "=/>");
            if (*s != '=') break;
            if (s[1] != '"') fail_msg("an attribute without quotes: %.40s", s);
            s = strchr(s + 2, '"') + 1;
        }
        bool empty = *s == '/' || is_void(name);
        s = strchr(s, '>') + 1;
        if (ends) {
            if (!depth || strcmp(stack[depth - 1], name))
                fail_msg("</%s> closes %s", name, depth ? stack[depth - 1] : "nothing");
            depth--;
        } else if (!empty) {
            assert_in_range(depth, 0, 63);
            strcpy(stack[depth++], name);
        }
        if (!ends && !strcmp(name, "style")) s = strstr(s, "</style>");
    }
    assert_int_equal(depth, 0);
}

static char *page_of(struct dg_report_run *run, int runs)
{
    const struct dg_page page = {.run = run, .runs = runs};
    size_t size;
    assert_ok(dg_page_write(&page, in("report.html"), try_err));
    return read_file(in("report.html"), &size);
}

static int count_of(const char *page, const char *text)
{
    int count = 0;
    for (const char *s = page; (s = strstr(s, text)); s += strlen(text)) count++;
    return count;
}

static void test_page(void **state)
{
    (void)state;
    struct dg_report_run run[2];
    make_run(300, 0.7, "");
    assert_ok(dg_report_run_open(in("run"), &run[0], try_err));
    char *page = page_of(run, 1);
    assert_well_formed(page);
    assert_non_null(strstr(page, "The run is healthy."));
    assert_int_equal(count_of(page, "<figure class=\"chart\">"), 5);
    assert_int_equal(count_of(page, "ln(out_dim)</text>"), 2);
    assert_null(strstr(page, "http://www.w3.org/1999")); /* nothing of elsewhere */
    assert_null(strstr(page, "<script"));
    free(page);
    assert_ok(dg_report_run_open(in("run"), &run[1], try_err));
    page = page_of(run, 2);
    assert_well_formed(page);
    assert_int_equal(count_of(page, "class=\"thick c1\""), 5);
    free(page);
    dg_report_run_close(&run[0]);
    dg_report_run_close(&run[1]);
}

/* Of what is measured while training, the curves that stand for all are drawn first, each with what it is compared with. */
static void test_page_of_objects(void **state)
{
    (void)state;
    struct dg_report_run run;
    make_run(300, 0.7, "");
    put("run/results.csv", "step,measure,value,most_frequent,network\n0,knn20.top1,30,12.5,teacher\n"
                           "0,jaccard.best,22,,teacher\n0,jaccard.mean,9,,teacher\n0,jaccard.everything,24,,teacher\n"
                           "300,knn20.top1,52,12.5,teacher\n300,jaccard.best,48.25,,teacher\n"
                           "300,jaccard.mean,30,,teacher\n300,jaccard.everything,24,,teacher\n");
    assert_ok(dg_report_run_open(in("run"), &run, try_err));
    char *page = page_of(&run, 1), *others = strstr(page, "<summary>Other results");
    assert_well_formed(page);
    assert_non_null(others);
    assert_int_equal(count_of(page, "<figure class=\"chart\">") - count_of(others, "<figure class=\"chart\">"), 5 + 3);
    assert_non_null(strstr(others, "Jaccard index of everything"));
    assert_non_null(strstr(page, ">everything</text>"));
    assert_non_null(strstr(page, ">most frequent class</text>"));
    assert_non_null(strstr(page, "<b>48.2 %</b>"));
    free(page);
    dg_report_run_close(&run);
    unlink(in("run/results.csv"));
}

/* Masks of another share of the attention have curves and a tile of their own, beside what everything scores with them. */
static void test_page_of_another_share(void **state)
{
    (void)state;
    struct dg_report_run run;
    make_run(300, 0.7, "");
    put("run/results.csv", "step,measure,value,most_frequent,network\n0,jaccard80.best,22,,teacher\n"
                           "0,jaccard80.mean,9,,teacher\n0,jaccard80.everything,24,,teacher\n"
                           "300,jaccard80.best,53.5,,teacher\n300,jaccard80.mean,30,,teacher\n"
                           "300,jaccard80.everything,24,,teacher\n");
    assert_ok(dg_report_run_open(in("run"), &run, try_err));
    char *page = page_of(&run, 1), *others = strstr(page, "<summary>Other results");
    assert_well_formed(page);
    assert_non_null(others);
    assert_int_equal(count_of(page, "<figure class=\"chart\">") - count_of(others, "<figure class=\"chart\">"), 5 + 2);
    assert_non_null(strstr(page, "Jaccard index, best head of each object; masks of 80 %"));
    assert_non_null(strstr(page, ">everything</text>"));
    assert_non_null(strstr(page, "<b>53.5 %</b>"));
    free(page);
    dg_report_run_close(&run);
    unlink(in("run/results.csv"));
}

/* Every string that comes from a file is markup. */
static void test_hostile_page(void **state)
{
    (void)state;
    static const unsigned char picture[] = "\x89PNG\r\n\x1a\n<script>";
    const char *folder = in("<b onclick='x'>&amp;\"");
    struct dg_report_run run;
    char name[256];
    snprintf(name, sizeof name, "%s", folder + strlen(test_folder) + 1);
    mkdir(folder, 0777);
    char path[512];
    static const char *const files[][2] = {
        {"log.jsonl",
         "{\"step\": 0, \"<script>x</script>\": 1, \"loss\": 1}\n{\"step\": 1, \"<script>x</script>\": 2}\n"},
        {"settings.txt", "<i>=<script>\n\"&=\xff\n"},
        {"run.json", "{\"<u>\": \"</table><script>\", \"recipe\": \"<script>\"}"},
        {"results.csv", "step,measure,value\n1,<script>top1,5\n2,top1,much\n"},
    };
    for (size_t f = 0; f < sizeof files / sizeof *files; f++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[f][0]);
        write_file(path, files[f][1], strlen(files[f][1]));
    }
    snprintf(path, sizeof path, "%s/<script>.png", folder);
    write_file(path, picture, sizeof picture - 1);
    assert_ok(dg_report_run_open(folder, &run, try_err));
    char *page = page_of(&run, 1);
    assert_well_formed(page);
    assert_null(strstr(page, "<script"));
    assert_non_null(strstr(page, "1 line of results.csv cannot be read and is left out."));
    assert_int_equal(count_of(page, "<img "), 1);
    free(page);
    dg_report_run_close(&run);
}

static void test_pages_of_little(void **state)
{
    (void)state;
    static const char *const logs[] = {
        "",
        "{\"step\": 0, \"loss\": 1}\n",
        "{\"step\": 7, \"loss\": NaN}\n",
        "{\"step\": 1, \"l",
        "{\"step\": 0, \"loss\": 0, \"kl\": -1}\n{\"step\": 1, \"loss\": 0, \"kl\": 0}\n",
        "{\"step\": 0, \"loss\": 1e308}\n{\"step\": 1, \"loss\": -1e308}\n"};
    mkdir(in("little"), 0777);
    put("little/results.csv",
        "step,measure,value,most_frequent\n1,knn20.top1,5,1e200\n"); /* a level beyond all bounds */
    for (size_t l = 0; l < sizeof logs / sizeof *logs; l++) {
        struct dg_report_run run;
        put("little/log.jsonl", logs[l]);
        assert_ok(dg_report_run_open(in("little"), &run, try_err));
        char *page = page_of(&run, 1);
        assert_well_formed(page);
        assert_null(strstr(page, "nan"));
        assert_null(strstr(page, "inf "));
        free(page);
        dg_report_run_close(&run);
    }
}

/* Of a picture at many steps, the first, the last and some between. */
static void test_pictures_over_training(void **state)
{
    (void)state;
    static const unsigned char picture[] = "\x89PNG\r\n\x1a\n....";
    struct dg_report_run run;
    char name[64];
    make_run(10, 0.7, "");
    mkdir(in("run/watch"), 0777);
    for (int i = 0; i < 30; i++) {
        snprintf(name, sizeof name, "run/watch/attention-01-hen-%08d.png", 10 * i);
        write_file(in(name), picture, sizeof picture - 1);
    }
    dg_tiny_compile(in("run/run.plan"), NULL); /* of two heads */
    write_file(in("run/watch/pca-00000010.png"), picture, sizeof picture - 1);
    write_file(in("run/crops.png"), picture, sizeof picture - 1);
    assert_ok(dg_report_run_open(in("run"), &run, try_err));
    char *page = page_of(&run, 1);
    assert_well_formed(page);
    assert_int_equal(count_of(page, "<img "), 8 + 1 + 1);
    assert_int_equal(count_of(page, "<h3>hen</h3>"), 1);
    assert_non_null(strstr(page, ">step 0<"));
    assert_non_null(strstr(page, ">step 290<"));
    assert_int_equal(count_of(page, ">head 1</span>"), 8);
    assert_int_equal(count_of(page, ">mean</span>"), 8);
    assert_null(strstr(page, ">head 2</span>"));
    assert_non_null(strstr(page, ">crops.png<"));
    free(page);
    dg_report_run_close(&run);
    remove_folder(in("run/watch"));
    unlink(in("run/crops.png"));
    unlink(in("run/run.plan"));
}

static void test_pictures(void **state)
{
    (void)state;
    struct dg_report_run run;
    struct dg_error err = {0};
    make_run(10, 0.7, "");
    put("none.png", "text");
    assert_ok(dg_report_run_open(in("run"), &run, try_err));
    const char *const picture[] = {in("none.png")};
    const struct dg_page page = {.run = &run, .runs = 1, .picture = picture, .pictures = 1};
    unlink(in("report.html"));
    assert_int_equal(dg_page_write(&page, in("report.html"), &err), DG_ERR_INPUT);
    assert_int_equal(access(in("report.html"), F_OK), -1);
    dg_report_run_close(&run);
}

/* A caption is a name and not a path, but for two files of one name. */
static void test_captions(void **state)
{
    (void)state;
    static const unsigned char picture[] = "\x89PNG\r\n\x1a\n....";
    struct dg_report_run run;
    make_run(10, 0.7, "");
    mkdir(in("a"), 0777);
    mkdir(in("b"), 0777);
    static const char *const names[] = {"a/hen.png", "b/hen.png", "a/cock.png", "b/sheet.png"};
    const char *paths[4];
    for (int p = 0; p < 4; p++) {
        paths[p] = strdup(in(names[p]));
        write_file(paths[p], picture, sizeof picture - 1);
    }
    assert_ok(dg_report_run_open(in("run"), &run, try_err));
    const struct dg_page page = {.run = &run, .runs = 1, .picture = paths, .pictures = 4};
    assert_ok(dg_page_write(&page, in("report.html"), try_err));
    size_t size;
    char *text = read_file(in("report.html"), &size);
    assert_non_null(strstr(text, "<figcaption>a/hen.png<"));
    assert_non_null(strstr(text, "<figcaption>b/hen.png<"));
    assert_non_null(strstr(text, "<figcaption>cock.png<"));
    assert_non_null(strstr(text, "<figcaption>b/sheet.png<"));
    free(text);
    for (int p = 0; p < 4; p++) free((char *)(uintptr_t)paths[p]);
    dg_report_run_close(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_damaged_lines),
        cmocka_unit_test(test_steps_again),
        cmocka_unit_test(test_lines_of_one_step),
        cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_means),
        cmocka_unit_test(test_page),
        cmocka_unit_test(test_page_of_objects),
        cmocka_unit_test(test_page_of_another_share),
        cmocka_unit_test(test_hostile_page),
        cmocka_unit_test(test_pages_of_little),
        cmocka_unit_test(test_pictures),
        cmocka_unit_test(test_captions),
        cmocka_unit_test(test_pictures_over_training),
        cmocka_unit_test(test_more_verdicts),
    };
    return cmocka_run_group_tests(tests, make_test_folder, remove_test_folder);
}
