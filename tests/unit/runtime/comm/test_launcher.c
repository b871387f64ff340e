/* Launchers are known by the variables that they set for their processes. */
#include "runtime/comm/launcher.h"
#include "tests/support/check.h"

static const char *const variables[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE",     "PMIX_RANK",
                                        "SLURM_NTASKS",         "SLURM_PROCID", "SLURM_STEP_ID"};
enum { VARIABLES = sizeof variables / sizeof *variables };

static const struct {
    const char *value[VARIABLES]; /* in their order; NULL: not set */
    int ranks;
    const char *plugin, *error;
} cases[] = {
    {{NULL}, 1, "mpich", NULL},
    {{"8"}, 8, "openmpi", NULL},
    {{NULL, "4"}, 4, "mpich", NULL},
    {{"8", NULL, "0", "8", "0", "0"}, 8, "openmpi", NULL},  /* mpirun within a job of Slurm */
    {{NULL, NULL, "0", "8", "0", "0"}, 8, "openmpi", NULL}, /* srun --mpi=pmix */
    {{NULL, "8", NULL, "8", "0", "0"}, 8, "mpich", NULL},   /* srun --mpi=pmi2 */
    {{NULL, NULL, NULL, "8", "0", "0"}, 8, "mpich", "--mpi=pmix"},
    {{NULL, NULL, NULL, "8", NULL, NULL}, 1, "mpich", NULL}, /* the script of a job */
};

static void test_launchers(void **state)
{
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct dg_launcher found;
        struct dg_error err = {0};
        for (int v = 0; v < VARIABLES; v++) {
            unsetenv(variables[v]);
            if (cases[c].value[v]) setenv(variables[v], cases[c].value[v], 1);
        }
        enum dg_status status = dg_launcher_find(&found, &err);
        assert_int_equal(found.ranks, cases[c].ranks);
        assert_string_equal(found.plugin, cases[c].plugin);
        assert_int_equal(status, cases[c].error ? DG_ERR_UNSUPPORTED : DG_OK);
        if (cases[c].error) assert_non_null(strstr(err.text, cases[c].error));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_launchers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
