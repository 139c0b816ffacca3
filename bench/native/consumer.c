/* One round of librdkafka's C API, as `consuming round` does it for the other clients: the same words in, the same words
 * out, the same look at what arrived. Partitions without a group, all in one queue, which is read a batch at a time. */

#include "round.h"

enum { BATCH = 1000 };

typedef struct {
        const char *bootstrap, *topic;
        int partitions, stamped;
        size_t size;
        uint64_t cycle, total; /* 0 is never, and as many as the time allows */
        int64_t warm_up, time; /* ms */
} load_t;

typedef struct {
        int64_t next;
        uint64_t number;
} partition_t;

static int64_t real_time_ns(void) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static uint64_t big_endian(const unsigned char *bytes, int count) {
        uint64_t number = 0;
        for (int at = 0; at < count; at++)
                number = number << 8 | bytes[at];
        return number;
}

/* Every record once and in order, each with the value that it was written with. */
static void take(partition_t *partitions, const load_t *load, const rd_kafka_message_t *message) {
        const unsigned char *value = message->payload;
        if (message->err)
                die(rd_kafka_message_errstr(message));
        if (message->partition < 0 || message->partition >= load->partitions)
                die("a partition that there is not");
        partition_t *partition = &partitions[message->partition];
        if (message->offset != partition->next || message->len != load->size ||
            big_endian(value, 4) != (uint64_t)message->partition || big_endian(value + 4, 8) != partition->number)
                die("a record that is another one");
        partition->next++;
        if (++partition->number == load->cycle)
                partition->number = 0;
        if (load->stamped && latency_count < latency_room)
                latencies[latency_count++] = real_time_ns() - (int64_t)big_endian(value + MARK, 8);
}

static uint64_t consume(rd_kafka_queue_t *queue, partition_t *partitions, const load_t *load, uint64_t count, int64_t ms,
                        int quarters) {
        static rd_kafka_message_t *messages[BATCH];
        int64_t end = now_ns() + ms * 1000000;
        latency_count = 0;
        while (load->total ? count < load->total * quarters / 4 : now_ns() < end) {
                /* It waits for a full batch. */
                ssize_t got = rd_kafka_consume_batch_queue(queue, 500, messages, load->stamped ? 1 : BATCH);
                if (got < 0)
                        die(rd_kafka_err2str(rd_kafka_last_error()));
                for (ssize_t at = 0; at < got; at++) {
                        take(partitions, load, messages[at]);
                        rd_kafka_message_destroy(messages[at]);
                }
                count += got;
        }
        return count;
}

static load_t parse(int argc, char **argv) {
        load_t load = {.partitions = 1};
        for (int at = 1; at < argc; at++) {
                char *value = strchr(argv[at], '=');
                if (!value)
                        continue;
                *value++ = 0;
                const char *key = argv[at];
                if (!strcmp(key, "bootstrap")) load.bootstrap = value;
                if (!strcmp(key, "topic")) load.topic = value;
                if (!strcmp(key, "partitions")) load.partitions = atoi(value);
                if (!strcmp(key, "size")) load.size = strtoull(value, NULL, 10);
                if (!strcmp(key, "cycle")) load.cycle = strtoull(value, NULL, 10);
                if (!strcmp(key, "total")) load.total = strtoull(value, NULL, 10);
                if (!strcmp(key, "stamped")) load.stamped = !strcmp(value, "true");
                if (!strcmp(key, "warm_up")) load.warm_up = atoll(value);
                if (!strcmp(key, "time")) load.time = atoll(value);
        }
        if (!load.bootstrap || !load.topic || load.partitions < 1 || load.size < (load.stamped ? MARK + 8 : MARK))
                die("no bootstrap, no topic, no partitions or no room for a mark");
        return load;
}

int main(int argc, char **argv) {
        load_t load = parse(argc, argv);
        partition_t *partitions = calloc(load.partitions, sizeof(partition_t));
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        set(conf, "bootstrap.servers", load.bootstrap);
        set(conf, "check.crcs", "true");
        set(conf, "fetch.min.bytes", "1");
        set(conf, "fetch.wait.max.ms", "500");
        set(conf, "fetch.max.bytes", "52428800");
        set(conf, "max.partition.fetch.bytes", "1048576");
        set(conf, "queued.min.messages", "1000000");
        set(conf, "queued.max.messages.kbytes", "65536");
        set(conf, "fetch.queue.backoff.ms", "1");
        char error[512];
        rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof(error));
        if (!rk)
                die(error);
        rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, load.topic, NULL);
        rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
        for (int at = 0; at < load.partitions; at++)
                if (rd_kafka_consume_start_queue(topic, at, RD_KAFKA_OFFSET_BEGINNING, queue))
                        die(rd_kafka_err2str(rd_kafka_last_error()));
        latency_room = load.stamped ? 1000000 : 0;
        latencies = calloc(latency_room + 1, sizeof(int64_t));

        struct rusage before, after;
        uint64_t first = consume(queue, partitions, &load, 0, load.warm_up, 1);
        getrusage(RUSAGE_SELF, &before);
        int64_t start = now_ns();
        uint64_t count = consume(queue, partitions, &load, first, load.time, 4);
        int64_t elapsed = now_ns() - start;
        getrusage(RUSAGE_SELF, &after);

        print_round(count - first, elapsed, &before, &after);
        for (int at = 0; at < load.partitions; at++)
                printf("%s%" PRId64, at ? "," : "", partitions[at].next);
        printf("\n");
        fflush(stdout);
        for (int at = 0; at < load.partitions; at++)
                rd_kafka_consume_stop(topic, at);
        rd_kafka_queue_destroy(queue);
        rd_kafka_topic_destroy(topic);
        rd_kafka_destroy(rk);
        return 0;
}
