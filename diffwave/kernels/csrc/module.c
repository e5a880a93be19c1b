/* Entry points of the native kernel; called through ctypes, which holds no lock meanwhile. */
#if defined(__x86_64__) && defined(__GNUC__) && defined(__linux__)
#pragma GCC target("avx2,fma,avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")
#define DIFFWAVE_NATIVE 1
#endif

#include <stdint.h>

#ifdef DIFFWAVE_NATIVE
#include "backward.h"
#include "conditions.h"
#include "consistency.h"

/* Raised with every change of a structure or a meaning: a library that was built from other sources is not used. */
int64_t diffwave_version(void) { return 6; }

/* GOMP_parallel, omp_get_thread_num and omp_get_num_threads of the library that PyTorch uses; or three times NULL. */
void diffwave_use_openmp(void *parallel, void *thread, void *threads) {
    openmp.parallel = (void (*)(void (*)(void *), void *, unsigned, unsigned))parallel;
    openmp.thread = (int (*)(void))thread;
    openmp.threads = (int (*)(void))threads;
}

/* Floats that one layer's sums take in `Backward.sums`. */
int64_t diffwave_sums(const Shape *shape) { return sums_of(shape).size; }

/* Positions of a block of backward: rows of `Backward.mel_gradient` are rounded up to it. */
int64_t diffwave_stretch(void) { return STRETCH; }

typedef struct {
    const Shape *shape;
    const Parameters *parameters;
    const Packed *packed;
} Packing;

static void run_packing(void *task, Team *team, int64_t member) {
    const Packing *p = task;
    for (int64_t layer = member; layer < p->shape->layers; layer += team->size) {
        pack_forward(p->shape, p->parameters + layer, p->packed, layer);
        if (p->packed->dilated_back) pack_backward(p->shape, p->parameters + layer, p->packed, layer);
    }
}

void diffwave_pack(const Shape *shape, const Parameters *parameters, const Packed *packed) {
    Packing task = {shape, parameters, packed};
    run_team(shape->threads, run_packing, &task);
}

void diffwave_conditions(Conditions *task) { run_team(task->shape.threads, run_conditions, task); }

static int64_t within(int64_t threads) { return threads < MOST_THREADS ? threads : MOST_THREADS; }

/* These return 0, or -1 if there is no memory for the threads' intermediate values. */
int64_t diffwave_forward(Forward *task) {
    task->scratch = aligned_alloc(64, (size_t)(within(task->shape.threads) * forward_bytes(&task->shape)));
    if (!task->scratch) return -1;
    run_team(task->shape.threads, run_forward, task);
    free(task->scratch);
    return 0;
}

int64_t diffwave_backward(Backward *task) {
    task->scratch = aligned_alloc(64, (size_t)(within(task->shape.threads) * backward_bytes(&task->shape)));
    if (!task->scratch) return -1;
    run_team(task->shape.threads, run_backward, task);
    free(task->scratch);
    return 0;
}

int64_t diffwave_consistency(Consistency *task) {
    task->scratch = aligned_alloc(64, (size_t)(within(task->threads) * consistency_bytes(task)));
    task->next = calloc((size_t)(2 * task->iterations), sizeof(*task->next));
    const int64_t failed = !task->scratch || !task->next;
    if (!failed) run_team(task->threads, run_consistency, task);
    free(task->next);
    free(task->scratch);
    return -failed;
}
#endif
