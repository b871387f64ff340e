/* For race_check: threads open sessions of one model and of their own, and use them at once.
 *
 *     session_races BUNDLE IMAGE */
#include "runtime/dinograph.h"

#include <pthread.h>
#include <stdio.h>

enum { THREADS = 4, ROUNDS = 3 };

static dinograph_model *model;
static const char *bundle, *image;

static int use(dinograph_session *session)
{
    if (dinograph_set_image_file(session, 1, "none") != DINOGRAPH_ERR_IO) return 1; /* each thread has its own text */
    return dinograph_set_image_file(session, 0, image) || dinograph_run(session) || dinograph_set_rows(session, 2) ||
           dinograph_run(session);
}

static int take_turn(int turn)
{
    static const char *const entry[] = {"features", "attention", "tokens"};
    const dinograph_options one = {.threads = 1};
    dinograph_session *session, *own = NULL;
    if (dinograph_model_session(model, entry[turn % 3], &one, &session)) return 1;
    int wrong = use(session) || dinograph_open(bundle, "features", &one, &own) || use(own);
    dinograph_session_close(own);
    dinograph_session_close(session);
    return wrong;
}

static void *work(void *context)
{
    int *turn = context, wrong = 0;
    for (int r = 0; r < ROUNDS && !wrong; r++) wrong = take_turn(*turn + r);
    if (wrong) fprintf(stderr, "%s\n", dinograph_error());
    *turn = wrong;
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread[THREADS];
    int turn[THREADS], wrong = 0;
    if (argc != 3) return 2;
    bundle = argv[1];
    image = argv[2];
    if (dinograph_model_open(bundle, NULL, &model)) {
        fprintf(stderr, "%s\n", dinograph_error());
        return 1;
    }
    for (int t = 0; t < THREADS; t++) {
        turn[t] = t;
        if (pthread_create(&thread[t], NULL, work, &turn[t])) return 1;
    }
    for (int t = 0; t < THREADS; t++) {
        pthread_join(thread[t], NULL);
        wrong |= turn[t];
    }
    dinograph_model_close(model);
    return wrong;
}
