/* The power is cut during a run. The linker sends the calls by which our objects change files through here (see
 * CMakeLists.txt), which keep a model of the disk: what is surely on it, and what only the system's memory holds. What was
 * written since the last fsync of a file may be there in part or not at all; names made since the last fsync of their folder
 * may be there up to any of them. After every such call each disk that a cut could leave is noted; then each is laid out and
 * the run resumed from it, and once more with the newest checkpoint damaged: the one before it must be there. */
#include "runtime/train/train.h"
#include "tests/support/tiny.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STEPS = 5, EVERY = 2, MAX_FILES = 64, MAX_NAMES = 64, MAX_STATES = 512 };

struct bytes {
    uint8_t *data;
    size_t size;
};

/* A file, under whatever names. */
struct file {
    int fd;            /* ours, to read what the system holds */
    struct bytes safe; /* what an fsync has put on the disk */
};

struct name {
    char text[64]; /* in the run's folder */
    int file;      /* -1: none */
};

/* A name that stands for a file from now on, and one that is gone; an empty one is none. */
struct change {
    struct name to;
    char gone[64];
};

struct state {
    struct name name[MAX_NAMES];
    struct bytes content[MAX_NAMES];
    int names;
    int64_t promised; /* steps of the newest checkpoint whose saving had been completed */
    uint64_t hash;
};

static char watched[128]; /* the run's folder; empty: nothing is */
static struct file file[MAX_FILES];
static int files;
static struct name safe[MAX_NAMES]; /* names on the disk */
static int safe_names;
static struct change change[MAX_NAMES]; /* since the folder's last fsync */
static int changes;
static struct state state[MAX_STATES];
static int states;
static int64_t promised;
static bool no_links; /* as on a FAT file system */

FILE *__real_fopen(const char *path, const char *mode);
int __real_fsync(int fd);
int __real_rename(const char *from, const char *to);
int __real_link(const char *from, const char *to);
int __real_unlink(const char *path);
FILE *__wrap_fopen(const char *path, const char *mode);
int __wrap_fsync(int fd);
int __wrap_rename(const char *from, const char *to);
int __wrap_link(const char *from, const char *to);
int __wrap_unlink(const char *path);

/* The name in the watched folder, or NULL. */
static const char *inside(const char *path)
{
    size_t size = strlen(watched);
    return size && !strncmp(path, watched, size) && path[size] == '/' ? path + size + 1 : NULL;
}

static struct bytes read_all(int fd)
{
    struct stat about;
    assert_int_equal(fstat(fd, &about), 0);
    struct bytes bytes = {malloc((size_t)about.st_size + 1), (size_t)about.st_size};
    assert_non_null(bytes.data);
    assert_int_equal(pread(fd, bytes.data, bytes.size, 0), about.st_size);
    return bytes;
}

static int find(const struct name *names, int count, const char *text)
{
    for (int n = 0; n < count; n++)
        if (!strcmp(names[n].text, text)) return n;
    return -1;
}

static void set_name(struct name *names, int *count, struct name name)
{
    int at = find(names, *count, name.text);
    if (at < 0) {
        assert_true(*count < MAX_NAMES);
        at = (*count)++;
    }
    names[at] = name;
}

static void apply(struct name *names, int *count, const struct change *c)
{
    int gone = c->gone[0] ? find(names, *count, c->gone) : -1;
    if (gone >= 0) names[gone].file = -1;
    if (c->to.text[0]) set_name(names, count, c->to);
}

/* The file that `text` stands for now, whether the disk knows or not. */
static int file_of(const char *text)
{
    struct name now[MAX_NAMES];
    int count = safe_names;
    memcpy(now, safe, sizeof now);
    for (int c = 0; c < changes; c++) apply(now, &count, &change[c]);
    int at = find(now, count, text);
    return at < 0 ? -1 : now[at].file;
}

/* What is there of a file after a cut: `share` of three parts of what was not synced. */
static struct bytes after_cut(const struct file *f, int share)
{
    struct bytes now = read_all(f->fd);
    size_t common = f->safe.size < now.size ? f->safe.size : now.size, same = 0;
    while (same < common && f->safe.data[same] == now.data[same]) same++;
    if (same == f->safe.size) { /* it has grown */
        now.size = same + (now.size - same) * (size_t)share / 2;
        return now;
    }
    if (share == 2) return now;
    free(now.data); /* it was written anew, or cut; none of that is there */
    now = (struct bytes){malloc(f->safe.size + 1), f->safe.size};
    assert_non_null(now.data);
    memcpy(now.data, f->safe.data, f->safe.size);
    return now;
}

static void forget(struct state *s)
{
    for (int n = 0; n < s->names; n++) free(s->content[n].data);
    s->names = 0;
}

/* Notes the disk after the first `known` changes of names. */
static void note(int known, int share)
{
    struct name names[MAX_NAMES];
    int count = safe_names;
    memcpy(names, safe, sizeof names);
    for (int c = 0; c < known; c++) apply(names, &count, &change[c]);
    assert_true(states < MAX_STATES);
    struct state *s = &state[states];
    *s = (struct state){.promised = promised, .hash = DG_FNV_BASIS};
    for (int n = 0; n < count; n++) {
        if (names[n].file < 0) continue;
        s->name[s->names] = names[n];
        struct bytes content = s->content[s->names++] = after_cut(&file[names[n].file], share);
        s->hash ^=
            dg_fnv1a(dg_fnv1a(DG_FNV_BASIS, names[n].text, strlen(names[n].text) + 1), content.data, content.size);
    }
    for (int other = 0; other < states; other++)
        if (state[other].hash == s->hash) { /* seen; what was promised then must hold now too */
            state[other].promised = dg_max_i64(state[other].promised, s->promised);
            forget(s);
            return;
        }
    states++;
}

static void note_all(void)
{
    for (int known = 0; known <= changes; known++)
        for (int share = 0; share <= 2; share++) note(known, share);
}

static void add_change(const char *to, int to_file, const char *gone)
{
    assert_true(changes < MAX_NAMES);
    struct change *c = &change[changes++];
    *c = (struct change){.to.file = to_file};
    if (to) snprintf(c->to.text, sizeof c->to.text, "%s", to);
    if (gone) snprintf(c->gone, sizeof c->gone, "%s", gone);
    note_all();
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
    const char *name = inside(path);
    FILE *stream = __real_fopen(path, mode);
    if (!name || !stream || mode[0] == 'r') return stream;
    int old = file_of(name);
    if (old >= 0) {
        note_all(); /* maybe emptied just now */
        return stream;
    }
    assert_true(files < MAX_FILES);
    file[files] = (struct file){.fd = open(path, O_RDONLY | O_CLOEXEC), .safe.data = calloc(1, 1)};
    assert_true(file[files].fd >= 0 && file[files].safe.data);
    add_change(name, files++, NULL);
    return stream;
}

int __wrap_fsync(int fd)
{
    struct stat about, other;
    if (!watched[0]) return __real_fsync(fd);
    note_all(); /* just before: all that was written since */
    assert_int_equal(fstat(fd, &about), 0);
    if (!stat(watched, &other) && other.st_ino == about.st_ino && other.st_dev == about.st_dev) {
        for (int c = 0; c < changes; c++) apply(safe, &safe_names, &change[c]);
        changes = 0;
    }
    for (int f = 0; f < files; f++) {
        assert_int_equal(fstat(file[f].fd, &other), 0);
        if (other.st_ino != about.st_ino || other.st_dev != about.st_dev) continue;
        free(file[f].safe.data);
        file[f].safe = read_all(file[f].fd);
    }
    note_all();
    return 0; /* there is no power to cut, so no need to wait for the disk */
}

int __wrap_rename(const char *from, const char *to)
{
    int result = __real_rename(from, to);
    if (!result && inside(to)) {
        int moved = file_of(inside(from));
        add_change(inside(to), moved, inside(from));
    }
    return result;
}

int __wrap_link(const char *from, const char *to)
{
    if (no_links && inside(to)) {
        errno = EPERM;
        return -1;
    }
    int result = __real_link(from, to);
    if (!result && inside(to)) add_change(inside(to), file_of(inside(from)), NULL);
    return result;
}

int __wrap_unlink(const char *path)
{
    int result = __real_unlink(path);
    if (!result && inside(path)) add_change(NULL, -1, inside(path));
    return result;
}

/* ---- runs ---- */

static int64_t first_step;

static void on_start(void *context, const struct dg_train_start *start)
{
    (void)context;
    first_step = start->first_step;
}

/* Once a step is done, the checkpoint that was due before it is saved: it must last from then on. */
static void on_step(void *context, const struct dg_step_report *report, double seconds, double waited)
{
    (void)context;
    (void)seconds;
    (void)waited;
    if (!watched[0]) return;
    promised = report->step - report->step % EVERY;
    note_all();
}

static enum dg_status run(const char *out, struct dg_error *err)
{
    struct dg_plan plan;
    struct dg_knobs knobs;
    assert_ok(dg_plan_open(in("tiny.plan"), &plan, try_err));
    assert_ok(dg_knobs_open(&plan, &knobs, try_err));
    assert_ok(dg_knobs_set(&knobs, "checkpoint.every=0.4", try_err)); /* epochs of five steps: EVERY */
    assert_ok(dg_knobs_set(&knobs, "checkpoint.keep=0.8", try_err));
    struct dg_train_options o = {.replay = in("crops"),
                                 .out = out,
                                 .resume = true,
                                 .steps = STEPS,
                                 .threads = 1,
                                 .ignore_memory = true,
                                 .events = {.start = on_start, .step = on_step}};
    enum dg_status status = dg_train(&plan, &knobs, &o, err);
    dg_knobs_close(&knobs);
    dg_plan_close(&plan);
    return status;
}

static int newest(const struct state *s) { return find(s->name, s->names, "checkpoint.safetensors"); }

/* `damage`: a bit flips in checkpoint.safetensors, under all names of that file. */
static void lay_out(const struct state *s, const char *out, bool damage)
{
    assert_int_equal(mkdir(out, 0777), 0);
    for (int n = 0; n < s->names; n++) {
        bool flip = damage && s->name[n].file == s->name[newest(s)].file;
        uint8_t *byte = s->content[n].data + s->content[n].size - 100;
        if (flip) *byte ^= 4;
        write_file(path_in(out, s->name[n].text), s->content[n].data, s->content[n].size);
        if (flip) *byte ^= 4;
    }
}

static void every_cut(void)
{
    char whole[128], out[128], plan[128], crops_path[128];
    make_folder(test_folder);
    snprintf(plan, sizeof plan, "%s/tiny.plan", test_folder);
    snprintf(crops_path, sizeof crops_path, "%s/crops", test_folder);
    snprintf(whole, sizeof whole, "%s/whole", test_folder);
    snprintf(out, sizeof out, "%s/cut", test_folder);
    dg_tiny_compile(plan, NULL);
    struct dg_tiny_crops crops = dg_tiny_crops(STEPS);
    assert_ok(dg_safetensors_write(crops_path, crops.item, crops.count, NULL, 0, try_err));
    dg_tiny_crops_free(&crops);

    snprintf(watched, sizeof watched, "%s", whole);
    struct dg_error err = {0};
    enum dg_status status = run(whole, &err);
    if (status != DG_OK) fail_msg("%s", err.text);
    promised = STEPS;
    note_all();
    watched[0] = 0;
    int damaged = 0, flipped = 0;
    int64_t furthest = 0;
    for (int turn = 0; turn < 2 * states; turn++) {
        int s = turn / 2;
        int64_t was = state[s].promised;
        if (turn % 2) { /* the one before: saved at 2, 4, 5 */
            was = was == STEPS ? STEPS - STEPS % EVERY : was - EVERY;
            if (was <= 0 || newest(&state[s]) < 0) continue;
            flipped++;
        }
        lay_out(&state[s], out, turn % 2);
        err = (struct dg_error){0};
        if (run(out, &err) != DG_OK) fail_msg("cut %d of %d: %s", s, states, err.text);
        if (first_step < was)
            fail_msg("cut %d%s: %d steps were saved, and the run goes on at %d", s, turn % 2 ? ", newest damaged" : "",
                     (int)was, (int)first_step);
        char a[160], b[160];
        snprintf(a, sizeof a, "%s/checkpoint.safetensors", whole);
        snprintf(b, sizeof b, "%s/checkpoint.safetensors", out);
        assert_same_file(a, b);
        snprintf(b, sizeof b, "%s/log.jsonl", out);
        if (count_lines(b) != STEPS) fail_msg("cut %d: %d lines in the log", s, count_lines(b));
        damaged += first_step == 0;
        furthest = dg_max_i64(furthest, first_step);
        remove_folder(out);
    }
    print_message("%d disks, %d of them without a whole checkpoint; %d again with the newest damaged\n", states,
                  damaged, flipped);
    assert_true(states > 20 && damaged > 0 && furthest == STEPS && flipped >= 5); /* the model has something to tell */
    for (int s = 0; s < states; s++) forget(&state[s]);
    for (int f = 0; f < files; f++) {
        close(file[f].fd);
        free(file[f].safe.data);
    }
    files = safe_names = changes = states = 0;
    promised = 0;
    remove_folder(test_folder);
}

static void test_every_cut(void **unused)
{
    (void)unused;
    every_cut();
}

static void test_every_cut_without_links(void **unused)
{
    (void)unused;
    no_links = true;
    every_cut();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_cut),
                                       cmocka_unit_test(test_every_cut_without_links)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
