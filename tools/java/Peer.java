// The Java client as a peer of the tests: one process that serves many operations.
//
// One request per line on stdin, one answer per line on stdout; fields are separated by tabs.
//
//   NUMBER  BOOTSTRAP  VERB  ARGUMENTS...        ->  NUMBER  ok  RESULTS...   or   NUMBER  error  WHAT
//
// Bytes are written `x` and then hexadecimal digits (`x` alone is empty), absent ones `-`. Options are
// `name=value` joined by `;`, or nothing. A record is `KEY:VALUE:TIMESTAMP:HEADERS`, its timestamp `-` for "now",
// its headers `NAME=VALUE` joined by `,`. A record that was read is
// `OFFSET:TIMESTAMP:TYPE:LEADER_EPOCH:KEY:VALUE:HEADERS`, where TYPE is `create` or `append`.
//
//   create TOPIC PARTITIONS REPLICATION CONFIGS     create a topic and wait until every replica serves it
//   delete TOPIC                                    delete a topic
//   produce TOPIC PARTITION OPTIONS RECORD...       -> the offset of each; options are the producer's settings;
//                                                   with a transactional.id, `end` is commit, abort or open
//   consume TOPIC PARTITION FROM TO OPTIONS         -> the records FROM <= offset < TO (`-`: the end, as the
//                                                   isolation level sees it)
//   offset TOPIC PARTITION WHEN                     -> offset, timestamp, leader epoch; WHEN is earliest, latest,
//                                                   max or a timestamp
//   delete_records TOPIC PARTITION BEFORE           -> the low watermark
//   configs TOPIC CONFIGS                           set a topic's configs
//   controller                                      -> the id of the active controller
//   leader TOPIC PARTITION                          -> the id of the leader
//   move TOPIC PARTITION REPLICA...                 move a partition and wait; the first becomes its leader
//   partitions_of COUNT KEY...                      -> the partition of each key, of so many partitions
//
// The process ends when stdin does.

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionInfo;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

public final class Peer {
    private static final Duration PATIENCE = Duration.ofSeconds(30);

    private final Map<String, Admin> admins = new HashMap<>();
    private final Map<String, KafkaProducer<byte[], byte[]>> openTransactions = new HashMap<>();

    public static void main(String[] arguments) throws Exception {
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        Peer peer = new Peer();
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            List<String> fields = Arrays.asList(line.split("\t", -1));
            out.println(fields.get(0) + "\t" + peer.answer(fields.subList(1, fields.size())));
        }
        Runtime.getRuntime().halt(0);
    }

    private String answer(List<String> fields) {
        try {
            List<String> results = serve(fields.get(0), fields.get(1), fields.subList(2, fields.size()));
            return results.isEmpty() ? "ok" : "ok\t" + String.join("\t", results);
        } catch (Exception e) {
            Throwable cause = e instanceof ExecutionException && e.getCause() != null ? e.getCause() : e;
            return "error\t" + cause.toString().replaceAll("[\t\r\n]+", " ");
        }
    }

    private List<String> serve(String bootstrap, String verb, List<String> a) throws Exception {
        Admin admin = admins.computeIfAbsent(bootstrap, b -> Admin.create(Map.of("bootstrap.servers", b)));
        switch (verb) {
            case "create":
                return create(admin, a.get(0), Integer.parseInt(a.get(1)), Short.parseShort(a.get(2)), options(a.get(3)));
            case "delete":
                admin.deleteTopics(List.of(a.get(0))).all().get();
                return List.of();
            case "produce":
                return produce(bootstrap, partition(a), options(a.get(2)), a.subList(3, a.size()));
            case "consume":
                return consume(bootstrap, partition(a), Long.parseLong(a.get(2)), a.get(3), options(a.get(4)));
            case "offset":
                return offset(admin, partition(a), a.get(2));
            case "delete_records":
                RecordsToDelete before = RecordsToDelete.beforeOffset(Long.parseLong(a.get(2)));
                return List.of("" + admin.deleteRecords(Map.of(partition(a), before)).lowWatermarks()
                    .get(partition(a)).get().lowWatermark());
            case "configs":
                return configs(admin, a.get(0), options(a.get(1)));
            case "controller":
                return List.of("" + admin.describeMetadataQuorum().quorumInfo().get().leaderId());
            case "leader":
                return List.of("" + describe(admin, partition(a)).leader().id());
            case "move":
                List<Integer> replicas = a.subList(2, a.size()).stream().map(Integer::valueOf).toList();
                return move(admin, partition(a), replicas);
            case "partitions_of":
                int count = Integer.parseInt(a.get(0));
                return a.subList(1, a.size()).stream()
                    .map(key -> "" + BuiltInPartitioner.partitionForKey(bytes(key), count)).toList();
            default:
                throw new IllegalArgumentException("unknown verb " + verb);
        }
    }

    private static List<String> create(Admin admin, String topic, int partitions, short replication, Map<String, String> configs)
            throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, replication).configs(configs))).all().get();
        long end = System.nanoTime() + PATIENCE.toNanos();
        for (int p = 0; p < partitions; p++) {
            while (!served(admin, new TopicPartition(topic, p), replication)) {
                if (System.nanoTime() > end) throw new IllegalStateException(topic + "-" + p + " is not served");
                Thread.sleep(10);
            }
        }
        return List.of();
    }

    /** A leader that answers is one that has taken the partition over. */
    private static boolean served(Admin admin, TopicPartition partition, int replicas) throws Exception {
        try {
            TopicPartitionInfo info = describe(admin, partition);
            if (info.leader() == null || info.isr().size() < replicas) return false;
            admin.listOffsets(Map.of(partition, OffsetSpec.latest())).all().get();
            return true;
        } catch (ExecutionException e) {
            return false;
        }
    }

    private static TopicPartitionInfo describe(Admin admin, TopicPartition partition) throws Exception {
        String topic = partition.topic();
        return admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().get(partition.partition());
    }

    private static List<String> configs(Admin admin, String topic, Map<String, String> configs) throws Exception {
        List<AlterConfigOp> ops = configs.entrySet().stream()
            .map(e -> new AlterConfigOp(new ConfigEntry(e.getKey(), e.getValue()), AlterConfigOp.OpType.SET)).toList();
        admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.TOPIC, topic), ops)).all().get();
        return List.of();
    }

    private static List<String> offset(Admin admin, TopicPartition partition, String when) throws Exception {
        OffsetSpec spec = switch (when) {
            case "earliest" -> OffsetSpec.earliest();
            case "latest" -> OffsetSpec.latest();
            case "max" -> OffsetSpec.maxTimestamp();
            default -> OffsetSpec.forTimestamp(Long.parseLong(when));
        };
        var found = admin.listOffsets(Map.of(partition, spec)).partitionResult(partition).get();
        return List.of("" + found.offset(), "" + found.timestamp(), "" + found.leaderEpoch().orElse(-1));
    }

    private static List<String> move(Admin admin, TopicPartition partition, List<Integer> replicas) throws Exception {
        admin.alterPartitionReassignments(Map.of(partition, Optional.of(new NewPartitionReassignment(replicas)))).all().get();
        long end = System.nanoTime() + PATIENCE.toNanos();
        while (!moved(admin, partition, replicas)) {
            if (System.nanoTime() > end) throw new IllegalStateException(partition + " did not move to " + replicas);
            Thread.sleep(20);
        }
        return List.of();
    }

    private static boolean moved(Admin admin, TopicPartition partition, List<Integer> replicas) throws Exception {
        TopicPartitionInfo now = describe(admin, partition);
        List<Integer> where = now.replicas().stream().map(node -> node.id()).toList();
        if (!where.equals(replicas) || now.isr().size() < replicas.size() || now.leader() == null) return false;
        if (now.leader().id() == replicas.get(0)) return true;
        try {
            admin.electLeaders(ElectionType.PREFERRED, Set.of(partition)).all().get();
        } catch (ExecutionException e) {
            if (!(e.getCause() instanceof ElectionNotNeededException)) throw e;
        }
        return false;
    }

    private List<String> produce(String bootstrap, TopicPartition to, Map<String, String> options, List<String> records)
            throws Exception {
        String end = options.remove("end");
        String id = options.get("transactional.id");
        KafkaProducer<byte[], byte[]> producer = id == null ? null : openTransactions.remove(id);
        if (producer == null) {
            producer = producer(bootstrap, options);
            if (id != null) {
                producer.initTransactions();
                producer.beginTransaction();
            }
        }
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (String record : records) sent.add(producer.send(record(to, record)));
        producer.flush();
        List<String> offsets = new ArrayList<>();
        for (Future<RecordMetadata> one : sent) offsets.add("" + one.get().offset());
        if (id != null && "open".equals(end)) {
            openTransactions.put(id, producer);
            return offsets;
        }
        if (id != null && "abort".equals(end)) producer.abortTransaction();
        else if (id != null) producer.commitTransaction();
        producer.close();
        return offsets;
    }

    /** All records of one request are to share a batch, hence the linger. */
    private static KafkaProducer<byte[], byte[]> producer(String bootstrap, Map<String, String> options) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "linger.ms", "100"));
        settings.putAll(options);
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    private static ProducerRecord<byte[], byte[]> record(TopicPartition to, String text) {
        String[] part = text.split(":", -1);
        List<Header> headers = new ArrayList<>();
        for (String header : part[3].isEmpty() ? new String[0] : part[3].split(",")) {
            String[] pair = header.split("=", -1);
            headers.add(new RecordHeader(new String(bytes(pair[0]), StandardCharsets.UTF_8), bytes(pair[1])));
        }
        Long timestamp = part[2].equals("-") ? null : Long.valueOf(part[2]);
        return new ProducerRecord<>(to.topic(), to.partition(), timestamp, bytes(part[0]), bytes(part[1]), headers);
    }

    private static List<String> consume(String bootstrap, TopicPartition from, long first, String to, Map<String, String> options) {
        Map<String, Object> settings = new HashMap<>(Map.of("bootstrap.servers", bootstrap, "auto.offset.reset", "none"));
        settings.putAll(options);
        try (var consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            consumer.assign(List.of(from));
            consumer.seek(from, first);
            long end = to.equals("-") ? consumer.endOffsets(List.of(from)).get(from) : Long.parseLong(to);
            List<String> records = new ArrayList<>();
            long deadline = System.nanoTime() + PATIENCE.toNanos();
            while (consumer.position(from) < end) {
                if (System.nanoTime() > deadline) {
                    throw new IllegalStateException("offset " + consumer.position(from) + " is as far as it came, not " + end);
                }
                for (var record : consumer.poll(Duration.ofMillis(200))) if (record.offset() < end) records.add(read(record));
            }
            return records;
        }
    }

    private static String read(ConsumerRecord<byte[], byte[]> record) {
        List<String> headers = new ArrayList<>();
        for (Header header : record.headers()) {
            headers.add(text(header.key().getBytes(StandardCharsets.UTF_8)) + "=" + text(header.value()));
        }
        String type = record.timestampType() == TimestampType.LOG_APPEND_TIME ? "append" : "create";
        return record.offset() + ":" + record.timestamp() + ":" + type + ":" + record.leaderEpoch().orElse(-1) + ":"
            + text(record.key()) + ":" + text(record.value()) + ":" + String.join(",", headers);
    }

    private static TopicPartition partition(List<String> arguments) {
        return new TopicPartition(arguments.get(0), Integer.parseInt(arguments.get(1)));
    }

    private static Map<String, String> options(String text) {
        if (text.isEmpty()) return new LinkedHashMap<>();
        return Arrays.stream(text.split(";")).map(pair -> pair.split("=", 2))
            .collect(Collectors.toMap(pair -> pair[0], pair -> pair[1], (a, b) -> b, LinkedHashMap::new));
    }

    private static byte[] bytes(String text) {
        return text.equals("-") ? null : HexFormat.of().parseHex(text.substring(1));
    }

    private static String text(byte[] bytes) {
        return bytes == null ? "-" : "x" + HexFormat.of().formatHex(bytes);
    }
}
