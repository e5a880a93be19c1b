/* A few threads that walk through the layers together.
 *
 * They are PyTorch's own, where it uses GNU OpenMP: its threads spin for milliseconds after their work, and others would
 * have to share the cores with them. Elsewhere threads are started for a call, which costs some ten microseconds.
 */
#ifndef DIFFWAVE_TEAM_H
#define DIFFWAVE_TEAM_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>

#define MOST_THREADS 256

typedef struct {
    int64_t size;
    atomic_long begun, arrived, round;
} Team;

/* Of the GNU OpenMP that PyTorch has loaded; NULL where there is none. */
typedef struct {
    void (*parallel)(void (*work)(void *), void *task, unsigned threads, unsigned flags);
    int (*thread)(void);
    int (*threads)(void);
} OpenMP;

static OpenMP openmp;

typedef void (*Work)(void *task, Team *team, int64_t member);

typedef struct {
    Work work;
    void *task;
    Team *team;
    int64_t number;
} Member;

/* Spins shortly, then gives way: the cores may be shared. */
static void wait_until_changed(atomic_long *value, long before) {
    for (long spins = 0; atomic_load_explicit(value, memory_order_acquire) == before; spins++) {
        if (spins < 4000) __builtin_ia32_pause();
        else sched_yield();
    }
}

/* Wait until every thread of the team is here. */
static void meet(Team *team) {
    if (team->size == 1) return;
    long round = atomic_load_explicit(&team->round, memory_order_acquire);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) == team->size - 1) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&team->round, round + 1, memory_order_release);
        return;
    }
    wait_until_changed(&team->round, round);
}

static void *run_member(void *argument) {
    Member *member = argument;
    wait_until_changed(&member->team->begun, 0);
    member->work(member->task, member->team, member->number);
    return 0;
}

/* Memory of one thread, handed out piece by piece; with no memory to hand out, it counts what would be needed. */
typedef struct {
    char *begin;
    int64_t used;
} Arena;

static void *take(Arena *arena, int64_t bytes) {
    void *piece = arena->begin ? arena->begin + arena->used : 0;
    arena->used += (bytes + 63) / 64 * 64;
    return piece;
}

typedef struct {
    Work work;
    void *task;
    Team teams[MOST_THREADS]; /* of this many threads: how many there are is only known when they run */
} Region;

static void run_in_region(void *argument) {
    Region *region = argument;
    int threads = openmp.threads();
    Team *team = &region->teams[threads - 1];
    region->work(region->task, team, openmp.thread());
}

static void run_own_threads(int64_t threads, Work work, void *task) {
    Team team = {.size = 1};
    Member members[MOST_THREADS];
    pthread_t handles[MOST_THREADS];
    for (; team.size < threads; team.size++) {
        members[team.size] = (Member){work, task, &team, team.size};
        /* The system may refuse a thread: then those that are there do the work. */
        if (pthread_create(&handles[team.size], 0, run_member, &members[team.size]) != 0) break;
    }
    atomic_store_explicit(&team.begun, 1, memory_order_release);
    work(task, &team, 0);
    for (int64_t i = 1; i < team.size; i++) pthread_join(handles[i], 0);
}

/* Run `work` in up to `threads` threads, this one among them, and wait for all. */
static void run_team(int64_t threads, Work work, void *task) {
    if (threads > MOST_THREADS) threads = MOST_THREADS;
    if (!openmp.parallel || threads == 1) {
        run_own_threads(threads, work, task);
        return;
    }
    Region region = {.work = work, .task = task};
    for (int64_t i = 0; i < threads; i++) region.teams[i].size = i + 1;
    openmp.parallel(run_in_region, &region, (unsigned)threads, 0);
}

#endif
