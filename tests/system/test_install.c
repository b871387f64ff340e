/* What `cmake --install` leaves: programs that run, descriptions that compile, and a library that a program which knows nothing
 * but pkg-config, or CMake, finds, compiles with and runs. */
#include "tests/support/process.h"
#include "tests/support/tiny.h"

static char prefix[128];

static const char program[] =
    "#include <dinograph.h>\n"
    "#include <stdio.h>\n"
    "\n"
    "int main(int argc, char **argv)\n"
    "{\n"
    "    dinograph_plan *plan;\n"
    "    dinograph_session *session;\n"
    "    if (argc < 4 || dinograph_plan_open(argv[1], &plan) != DINOGRAPH_OK ||\n"
    "        dinograph_session_open(plan, \"features\", NULL, &session) != DINOGRAPH_OK ||\n"
    "        dinograph_load_weights(session, argv[2], NULL) != DINOGRAPH_OK ||\n"
    "        dinograph_set_image_file(session, 0, argv[3]) != DINOGRAPH_OK ||\n"
    "        dinograph_run(session) != DINOGRAPH_OK) {\n"
    "        fprintf(stderr, \"%s\\n\", dinograph_error());\n"
    "        return 1;\n"
    "    }\n"
    "    const float *features = (const float *)dinograph_output_data(session, \"features\");\n"
    "    printf(\"%s %g\\n\", dinograph_version(), features[0]);\n"
    "    dinograph_session_close(session);\n"
    "    dinograph_plan_close(plan);\n"
    "}\n";

/* Runs a line of shell with PREFIX (the installed tree) and D (the folder) set; it succeeds. */
static const struct process *shell(const char *line)
{
    char all[2048];
    snprintf(all, sizeof all, "set -eu; PREFIX=%s; D=%s; PATH=$PREFIX/bin:$PATH; CC='%s %s'\n%s", prefix, test_folder,
             DG_CC, DG_CC_FLAGS, line);
    const struct process *process = RUN("/bin/sh", "-c", all);
    process_assert_status(process, 0);
    return process;
}

static int setup(void **state)
{
    char pictures[80];
    make_test_folder(state);
    snprintf(prefix, sizeof prefix, "%s/moved", test_folder);
    snprintf(pictures, sizeof pictures, "%s/pictures", test_folder);
    dg_tiny_pictures(pictures, 4);
    write_file(in("program.c"), program, sizeof program - 1);
    process_assert_status(RUN(DG_CMAKE, "--install", DG_BUILD_DIR, "--prefix", in("first")), 0);
    assert_int_equal(rename(in("first"), prefix), 0); /* nothing in the tree knows where it was put */
    return 0;
}

static void test_programs(void **state)
{
    (void)state;
    /* The tree's own pkg-config file, wherever the system's library folder is. */
    shell("export PKG_CONFIG_PATH=$(dirname \"$(find $PREFIX -name dinograph.pc)\")\n"
          "graphs=$(pkg-config --variable=graphsdir dinograph)\n"
          "dinoc $graphs/demo.yaml --batch 4 -o $D/demo.plan\n"
          "dinorun train $D/demo.plan --data $D/pictures --out $D/run --steps 0 --ignore-memory\n"
          "sed \"s|^import.*|import: [$graphs/vit.yaml, $graphs/dino_head.yaml]|\" $graphs/demo.yaml > $D/mine.yaml\n"
          "dinoc $D/mine.yaml --batch 2 -o $D/mine.plan\n"
          "cd $D && dinoc --init demo && dinoc demo.yaml --batch 2 -o $D/mine.plan\n"
          "dinoc --list | grep -q dino_vits16_100ep && dinoc dino_vits16_100ep --batch 2 -o $D/bare.plan\n");
}

/* Manual pages and completion, where shells and man look for them. */
static void test_pages(void **state)
{
    (void)state;
    shell("grep -q 'TH DINORUN' $PREFIX/share/man/man1/dinorun-train.1\n"
          "grep -q 'TH DINOC' $PREFIX/share/man/man1/dinoc.1\n"
          "grep -q dinorun $PREFIX/share/bash-completion/completions/dinorun\n"
          "grep -q '#compdef dinoc' $PREFIX/share/zsh/site-functions/_dinoc\n"
          "grep -q dinorun $PREFIX/share/fish/vendor_completions.d/dinorun.fish\n");
}

static void test_library(void **state)
{
    (void)state;
    const struct process *ran =
        shell("export PKG_CONFIG_PATH=$(dirname \"$(find $PREFIX -name dinograph.pc)\")\n"
              "$CC -Wall -Werror $D/program.c -o $D/program $(pkg-config --cflags --libs dinograph) "
              "-Wl,-rpath,$(pkg-config --variable=libdir dinograph)\n"
              "$D/program $D/demo.plan $D/run/checkpoint.safetensors $D/pictures/00.png\n");
    process_assert_says(ran, ran->out, "0.");
    assert_string_equal(ran->err, "");
}

/* CMake finds the library, in the version that is asked for and in no later one. */
static void test_cmake_package(void **state)
{
    (void)state;
    const struct process *ran =
        shell("mkdir $D/consumer && cd $D/consumer && cp $D/program.c . && cat > CMakeLists.txt <<'END'\n"
              "cmake_minimum_required(VERSION 3.25)\n"
              "project(consumer C)\n"
              "find_package(dinograph ${VERSION} REQUIRED)\n"
              "add_executable(consumer program.c)\n"
              "target_link_libraries(consumer dinograph::dinograph)\n"
              "END\n"
              "configure() { " DG_CMAKE " -S . -B build -DCMAKE_PREFIX_PATH=$PREFIX -DCMAKE_C_FLAGS='" DG_CC_FLAGS
              "' -DVERSION=$1; }\n"
              "if configure 0.99 > refused 2>&1; then exit 1; fi\n"
              "grep -q 'compatible with requested version' refused\n"
              "configure 0.2 > configured\n" DG_CMAKE " --build build > built\n"
              "build/consumer $D/demo.plan $D/run/checkpoint.safetensors $D/pictures/00.png\n");
    process_assert_says(ran, ran->out, "0.");
}

/* Visible is what the list of the library's package has, which is what the header declares: a function that goes, or changes its
 * name, is a change of the ABI. */
static void test_symbols(void **state)
{
    (void)state;
    shell("nm -D --defined-only $(find $PREFIX -name libdinograph.so) | sed 's/.* //' | sort > $D/shown\n"
          "sed -n 's/^ \\(.*\\)@Base .*/\\1/p' " DG_SOURCE_DIR
          "/tools/debian/libdinograph0.symbols | sort > $D/listed\n"
          "grep -o '\\bdinograph_[a-z_]*(' $PREFIX/include/dinograph.h | tr -d '(' | sort -u > $D/declared\n"
          "test -s $D/listed; diff $D/listed $D/shown >&2 && diff $D/listed $D/declared >&2 || {\n"
          "echo 'a new function has a line in libdinograph0.symbols; one that goes or changes needs a new SONAME' >&2; "
          "exit 1; }\n");
    const struct process *elf = shell("readelf -d $(find $PREFIX -name libdinograph.so)");
    process_assert_says(elf, elf->out, "soname: [libdinograph.so.0]");
}

static void test_cplusplus(void **state)
{
    (void)state;
    if (RUN("/bin/sh", "-c", "command -v c++ || exit 1")->status) skip();
    shell("cp $D/program.c $D/program.cc\n"
          "c++ -std=c++11 -Wall -Wextra -pedantic -Werror -fsyntax-only -I$PREFIX/include $D/program.cc");
}

static void test_readme(void **state)
{
    (void)state;
    shell("sed -n '/^```c$/,/^```$/p' " DG_SOURCE_DIR "/runtime/README.md | grep -v '^```' > $D/readme.c\n"
          "grep -q dinograph_run $D/readme.c\n"
          "$CC -Wall -Wextra -Werror -fsyntax-only -I$PREFIX/include $D/readme.c");
}

/* The header needs nothing but C. */
static void test_strict_c(void **state)
{
    (void)state;
    shell("$CC -std=c99 -Wall -Wextra -pedantic -Werror -fsyntax-only -I$PREFIX/include $D/program.c");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_programs),      cmocka_unit_test(test_library),
                                       cmocka_unit_test(test_cmake_package), cmocka_unit_test(test_symbols),
                                       cmocka_unit_test(test_cplusplus),     cmocka_unit_test(test_strict_c),
                                       cmocka_unit_test(test_readme),        cmocka_unit_test(test_pages)};
    return cmocka_run_group_tests(tests, setup, remove_test_folder);
}
