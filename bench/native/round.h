/* What the rounds of librdkafka have in common: the clock, what was spent, and the words that say so. */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "rdkafka.h"

/* Bytes of partition and number, which marked values begin with. */
enum { MARK = 12 };

static int64_t *latencies;
static size_t latency_count, latency_room;

static void die(const char *what) {
        fprintf(stderr, "librdkafka: %s\n", what);
        exit(1);
}

static int64_t now_ns(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
        char error[512];
        if (rd_kafka_conf_set(conf, name, value, error, sizeof(error)) != RD_KAFKA_CONF_OK)
                die(error);
}

static int by_value(const void *a, const void *b) {
        int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
        return (left > right) - (left < right);
}

static int64_t percentile(double share) {
        size_t at = (size_t)((double)latency_count * share + 0.999999);
        return latency_count ? latencies[at ? at - 1 : 0] : 0;
}

static long peak_kib(void) {
        char line[256];
        long peak = 0;
        FILE *status = fopen("/proc/self/status", "r");
        while (status && fgets(line, sizeof(line), status))
                sscanf(line, "VmHWM: %ld", &peak);
        if (status)
                fclose(status);
        return peak;
}

static int64_t ns(struct timeval time) {
        return time.tv_sec * 1000000000LL + time.tv_usec * 1000LL;
}

/* All words but the ends, which the caller prints behind. */
static void print_round(uint64_t records, int64_t elapsed, struct rusage *before, struct rusage *after) {
        qsort(latencies, latency_count, sizeof(int64_t), by_value);
        printf("records=%" PRIu64 " elapsed=%" PRId64 " user=%" PRId64 " system=%" PRId64 " peak=%ld", records, elapsed,
               ns(after->ru_utime) - ns(before->ru_utime), ns(after->ru_stime) - ns(before->ru_stime), peak_kib());
        printf(" p50=%" PRId64 " p99=%" PRId64 " p999=%" PRId64 " ends=", percentile(0.5), percentile(0.99),
               percentile(0.999));
}
