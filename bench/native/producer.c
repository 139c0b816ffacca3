/* One round of librdkafka's C API, as `producing round` does it for the other clients: the same words in, the same
 * words out, the same records. A program of its own, so that our Rust calls no C. */

#include <pthread.h>

#include "round.h"

enum { KEYS = 1000, PLAIN = 100, COMPRESSED = 16001, LOOK_EVERY = 64, POLL_EVERY = 1024, BURST_NS = 1000000 };

typedef struct {
        const char *bootstrap, *topic, *codec;
        int partitions, size, shared, keyed, marked;
        int64_t rate, warm_up, time; /* records a second, ms, ms */
} load_t;

typedef struct {
        char **values;
        int count;
        unsigned char keys[KEYS][8];
        int32_t partition_of[KEYS];
        uint64_t *ends, handed_over;
} source_t;

static uint64_t numbers = 1;
static uint64_t failures;
static volatile int counting, stopping;

static uint64_t next_number(void) {
        numbers ^= numbers << 13;
        numbers ^= numbers >> 7;
        numbers ^= numbers << 17;
        return numbers;
}

/* Java's murmur2, as its partitioner has it. */
static int32_t partition_of(const unsigned char *key, int len, int partitions) {
        const uint32_t m = 0x5bd1e995;
        uint32_t h = 0x9747b28c ^ (uint32_t)len;
        for (; len >= 4; key += 4, len -= 4) {
                uint32_t k = key[0] | key[1] << 8 | key[2] << 16 | (uint32_t)key[3] << 24;
                k *= m;
                k ^= k >> 24;
                h = h * m ^ k * m;
        }
        h ^= h >> 13;
        h *= m;
        h ^= h >> 15;
        return (int32_t)((h & 0x7fffffff) % (uint32_t)partitions);
}

static void make_source(source_t *source, const load_t *load) {
        static const char *words[] = {"level", "request", "customer", "order", "status", "duration", "address",
                                      "attempt", "session", "region", "trace", "warehouse"};
        int plain = !strcmp(load->codec, "none");
        source->count = plain ? PLAIN : COMPRESSED;
        source->values = calloc(source->count, sizeof(char *));
        for (int at = 0; at < source->count; at++) {
                char *value = malloc(load->size + 64);
                int len = 0;
                while (len < load->size) {
                        if (plain) {
                                uint64_t number = next_number();
                                memcpy(value + len, &number, 8);
                                len += 8;
                        } else {
                                const char *word = words[next_number() % 12];
                                len += sprintf(value + len, "%s=%04x ", word, (unsigned)(next_number() & 0xffff));
                        }
                }
                source->values[at] = value;
        }
        for (int at = 0; at < KEYS; at++) {
                memset(source->keys[at], 0, 8);
                source->keys[at][6] = at >> 8;
                source->keys[at][7] = at & 0xff;
                source->partition_of[at] = partition_of(source->keys[at], 8, load->partitions);
        }
        source->ends = calloc(load->partitions, sizeof(uint64_t));
}

/* Partition and number, big-endian. */
static void write_mark(char *value, int32_t partition, uint64_t number) {
        for (int at = 0; at < 4; at++)
                value[at] = (char)(partition >> (24 - 8 * at));
        for (int at = 0; at < 8; at++)
                value[4 + at] = (char)(number >> (56 - 8 * at));
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque) {
        (void)rk, (void)opaque;
        if (message->err)
                failures++;
        if (message->_private && counting && latency_count < latency_room)
                latencies[latency_count++] = now_ns() - (int64_t)(intptr_t)message->_private;
}

/* So many at once, and what there was no room for again. */
static void hand_over(rd_kafka_t *rk, rd_kafka_topic_t *topic, source_t *source, const load_t *load, int count,
                      int64_t due) {
        rd_kafka_message_t messages[LOOK_EVERY];
        memset(messages, 0, sizeof messages);
        for (int next = 0; next < count; next++) {
                uint64_t at = source->handed_over++;
                int32_t partition = load->keyed ? source->partition_of[at % KEYS] : 0;
                rd_kafka_message_t *message = &messages[next];
                message->payload = source->values[at % source->count];
                message->len = load->size;
                message->key = load->keyed ? source->keys[at % KEYS] : NULL;
                message->key_len = load->keyed ? 8 : 0;
                message->_private = (void *)(intptr_t)due;
                if (load->marked)
                        write_mark(message->payload, partition, source->ends[partition]);
                source->ends[partition]++;
        }
        /* What is shared stays where it is until it was delivered; what is borrowed is copied. */
        int flags = load->shared && !load->marked ? 0 : RD_KAFKA_MSG_F_COPY;
        while (rd_kafka_produce_batch(topic, RD_KAFKA_PARTITION_UA, flags, messages, count) < count) {
                int left = 0;
                for (int next = 0; next < count; next++) {
                        if (messages[next].err && messages[next].err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
                                die(rd_kafka_err2str(messages[next].err));
                        if (messages[next].err)
                                messages[left++] = messages[next];
                }
                count = left;
                rd_kafka_poll(rk, 1);
        }
}

static void flat_out(rd_kafka_t *rk, rd_kafka_topic_t *topic, source_t *source, const load_t *load, int64_t ms) {
        int64_t end = now_ns() + ms * 1000000;
        while (source->handed_over % LOOK_EVERY || now_ns() < end) {
                hand_over(rk, topic, source, load, LOOK_EVERY, 0);
                if (source->handed_over % POLL_EVERY == 0)
                        rd_kafka_poll(rk, 0);
        }
        rd_kafka_flush(rk, 60000);
}

static void *poll_until_told(void *rk) {
        while (!stopping)
                rd_kafka_poll(rk, 100);
        return NULL;
}

static void paced(rd_kafka_t *rk, rd_kafka_topic_t *topic, source_t *source, const load_t *load, int64_t ms) {
        int64_t start = now_ns(), tick = start;
        uint64_t sent = 0;
        while (now_ns() < start + ms * 1000000) {
                uint64_t due = (uint64_t)((double)(tick - start) * (double)load->rate / 1e9);
                for (; sent < due; sent++)
                        hand_over(rk, topic, source, load, 1, tick);
                tick += BURST_NS;
                struct timespec at = {tick / 1000000000, tick % 1000000000};
                clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
        }
        rd_kafka_flush(rk, 60000);
}

static load_t parse(int argc, char **argv) {
        load_t load = {.codec = "none", .partitions = 1, .size = 100};
        for (int at = 1; at < argc; at++) {
                char *value = strchr(argv[at], '=');
                if (!value)
                        continue;
                *value++ = 0;
                const char *key = argv[at];
                if (!strcmp(key, "bootstrap")) load.bootstrap = value;
                if (!strcmp(key, "topic")) load.topic = value;
                if (!strcmp(key, "codec")) load.codec = value;
                if (!strcmp(key, "partitions")) load.partitions = atoi(value);
                if (!strcmp(key, "size")) load.size = atoi(value);
                if (!strcmp(key, "payloads")) load.shared = !strcmp(value, "shared");
                if (!strcmp(key, "keyed")) load.keyed = !strcmp(value, "true");
                if (!strcmp(key, "marked")) load.marked = !strcmp(value, "true");
                if (!strcmp(key, "rate")) load.rate = atoll(value);
                if (!strcmp(key, "warm_up")) load.warm_up = atoll(value);
                if (!strcmp(key, "time")) load.time = atoll(value);
        }
        if (!load.bootstrap || !load.topic || load.partitions < 1 || load.size < (load.marked ? MARK : 1))
                die("no bootstrap, no topic, no partitions or no room for a mark");
        return load;
}

int main(int argc, char **argv) {
        load_t load = parse(argc, argv);
        source_t source = {0};
        make_source(&source, &load);
        rd_kafka_conf_t *conf = rd_kafka_conf_new();
        set(conf, "bootstrap.servers", load.bootstrap);
        set(conf, "acks", "all");
        set(conf, "enable.idempotence", "true");
        set(conf, "max.in.flight.requests.per.connection", "5");
        set(conf, "linger.ms", "5");
        set(conf, "batch.size", "1000000");
        set(conf, "batch.num.messages", "1000000");
        set(conf, "queue.buffering.max.messages", "1000000");
        set(conf, "queue.buffering.max.kbytes", "65536");
        set(conf, "partitioner", "murmur2_random");
        set(conf, "compression.type", load.codec);
        rd_kafka_conf_set_dr_msg_cb(conf, delivered);
        char error[512];
        rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
        if (!rk)
                die(error);
        rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, load.topic, NULL);
        latency_room = load.rate ? (size_t)(load.rate * load.time / 1000 + load.rate) : 0;
        latencies = calloc(latency_room + 1, sizeof(int64_t));
        void (*work)(rd_kafka_t *, rd_kafka_topic_t *, source_t *, const load_t *, int64_t) = load.rate ? paced : flat_out;
        pthread_t poller;
        if (load.rate && pthread_create(&poller, NULL, poll_until_told, rk))
                die("no thread");

        work(rk, topic, &source, &load, load.warm_up);
        struct rusage before, after;
        uint64_t first = source.handed_over;
        getrusage(RUSAGE_SELF, &before);
        int64_t start = now_ns();
        counting = 1;
        work(rk, topic, &source, &load, load.time);
        int64_t elapsed = now_ns() - start;
        getrusage(RUSAGE_SELF, &after);

        stopping = 1;
        if (load.rate)
                pthread_join(poller, NULL);
        if (failures)
                die("records were not written");
        print_round(source.handed_over - first, elapsed, &before, &after);
        for (int at = 0; at < load.partitions; at++)
                printf("%s%" PRIu64, at ? "," : "", source.ends[at]);
        printf("\n");
        rd_kafka_topic_destroy(topic);
        rd_kafka_destroy(rk);
        return 0;
}
