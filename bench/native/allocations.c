/* Counts allocations of a whole process, Rust's and C's alike: preloaded, it stands before the C library's functions,
 * and prints how many calls there were when the process ends. */

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t),
    *__libc_memalign(size_t, size_t);

static atomic_ulong calls;

static void count(void) {
        atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
}

void *malloc(size_t size) {
        count();
        return __libc_malloc(size);
}

void *calloc(size_t items, size_t size) {
        count();
        return __libc_calloc(items, size);
}

void *realloc(void *old, size_t size) {
        count();
        return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
        count();
        return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
        count();
        *memory = __libc_memalign(alignment, size);
        return *memory ? 0 : ENOMEM;
}

__attribute__((destructor)) static void tell(void) {
        fprintf(stderr, "allocations=%lu\n", atomic_load(&calls));
}
