// Record batches by the Java client's own classes: the capture behind crates/wire/tests/data, and a check of ours.
//
//   java -cp 'LIBS/*' RecordBatches.java capture DIR      write one file for each kind of batch
//   java -cp 'LIBS/*' RecordBatches.java verify DIR       read every NAME.bin, compare with the lines of NAME.txt
//
// A line of NAME.txt is a record: OFFSET TIMESTAMP KEY VALUE HEADERS, separated by blanks. Bytes are written `x` and
// then hexadecimal digits, null is `-`; headers are NAME=VALUE joined by `,`, or `-` for none.
//
// What the batches hold is known to crates/wire/tests/snapshots_batches.rs, which says the same in Rust.

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.DefaultRecordBatch;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;
import org.apache.kafka.common.utils.ByteBufferOutputStream;

public class RecordBatches {
    static final long TIME = 1_700_000_000_000L;
    static final byte MAGIC = RecordBatch.CURRENT_MAGIC_VALUE;

    public static void main(String[] args) throws IOException {
        Path dir = Path.of(args[1]);
        switch (args[0]) {
            case "capture" -> capture(dir);
            case "verify" -> verify(dir);
            default -> throw new IllegalArgumentException("capture or verify, not " + args[0]);
        }
    }

    static void capture(Path dir) throws IOException {
        Files.createDirectories(dir);
        save(dir, "plain", shapes(new Options()));
        save(dir, "offsets", shapes(new Options().baseOffset(1L << 40).leaderEpoch(7)));
        save(dir, "log-append-time", shapes(new Options().logAppendTime(TIME + 77)));
        save(dir, "idempotent", shapes(new Options().producer(4711, (short) 3, Integer.MAX_VALUE)));
        save(dir, "transactional", shapes(new Options().producer(4711, (short) 3, 0).transactional()));
        save(dir, "delete-horizon", shapes(new Options().deleteHorizon(TIME - 5)));
        save(dir, "compacted", compacted());
        save(dir, "empty", empty());
        save(dir, "commit", marker(ControlRecordType.COMMIT));
        save(dir, "abort", marker(ControlRecordType.ABORT));
        save(dir, "gzip", many(Compression.gzip().build()));
        save(dir, "snappy", many(Compression.snappy().build()));
        save(dir, "lz4", many(Compression.lz4().build()));
        save(dir, "zstd", many(Compression.zstd().build()));
        save(dir, "format-1", format1());
    }

    /** What a batch says beyond its records. */
    static class Options {
        Compression compression = Compression.NONE;
        TimestampType timestampType = TimestampType.CREATE_TIME;
        long baseOffset = 0;
        long logAppendTime = RecordBatch.NO_TIMESTAMP;
        long producerId = RecordBatch.NO_PRODUCER_ID;
        short producerEpoch = RecordBatch.NO_PRODUCER_EPOCH;
        int baseSequence = RecordBatch.NO_SEQUENCE;
        boolean transactional = false;
        int leaderEpoch = RecordBatch.NO_PARTITION_LEADER_EPOCH;
        long deleteHorizon = RecordBatch.NO_TIMESTAMP;

        Options compression(Compression compression) {
            this.compression = compression;
            return this;
        }

        Options baseOffset(long offset) {
            baseOffset = offset;
            return this;
        }

        Options leaderEpoch(int epoch) {
            leaderEpoch = epoch;
            return this;
        }

        Options logAppendTime(long time) {
            timestampType = TimestampType.LOG_APPEND_TIME;
            logAppendTime = time;
            return this;
        }

        Options producer(long id, short epoch, int sequence) {
            producerId = id;
            producerEpoch = epoch;
            baseSequence = sequence;
            return this;
        }

        Options transactional() {
            transactional = true;
            return this;
        }

        Options deleteHorizon(long time) {
            deleteHorizon = time;
            return this;
        }

        MemoryRecordsBuilder builder() {
            return new MemoryRecordsBuilder(new ByteBufferOutputStream(1024), MAGIC, compression, timestampType,
                baseOffset, logAppendTime, producerId, producerEpoch, baseSequence, transactional, false, leaderEpoch,
                1 << 20, deleteHorizon);
        }
    }

    /** Records of all shapes. */
    static MemoryRecords shapes(Options options) {
        MemoryRecordsBuilder builder = options.builder();
        builder.append(TIME, bytes("key"), bytes("value"));
        builder.append(TIME + 1, null, bytes("no key"));
        builder.append(TIME + 2, bytes("tombstone"), null);
        builder.append(TIME + 3, (byte[]) null, (byte[]) null);
        builder.append(TIME + 4, new byte[0], new byte[0]);
        builder.append(TIME - 1000, bytes("earlier"), bytes("than the first"));
        builder.append(TIME + 5, bytes("headers"), bytes("in order, twice, empty, null, binary"), new Header[] {
            new RecordHeader("b", bytes("1")),
            new RecordHeader("a", bytes("2")),
            new RecordHeader("b", bytes("3")),
            new RecordHeader("", bytes("empty key")),
            new RecordHeader("empty value", new byte[0]),
            new RecordHeader("null", (byte[]) null),
            new RecordHeader("\u00e9\u20ac", new byte[] {0, (byte) 0xff, (byte) 0x80}),
        });
        builder.append(TIME + (1L << 40), bytes("long"), bytes("x".repeat(300)));
        return builder.build();
    }

    /** Three of ten offsets are left, and neither the first nor the last is among them. */
    static MemoryRecords compacted() {
        MemoryRecordsBuilder builder = new Options().baseOffset(100).builder();
        builder.appendWithOffset(102, TIME, bytes("a"), bytes("1"));
        builder.appendWithOffset(103, TIME + 1, bytes("b"), bytes("2"));
        builder.appendWithOffset(107, TIME + 2, bytes("c"), bytes("3"));
        builder.overrideLastOffset(109);
        return builder.build();
    }

    /** What the log cleaner leaves of a producer's last batch. */
    static MemoryRecords empty() {
        ByteBuffer buffer = ByteBuffer.allocate(DefaultRecordBatch.RECORD_BATCH_OVERHEAD);
        DefaultRecordBatch.writeEmptyHeader(buffer, MAGIC, 4711, (short) 3, 20, 30, 39, 7, TimestampType.CREATE_TIME,
            TIME, false, false);
        buffer.flip();
        return MemoryRecords.readableRecords(buffer);
    }

    static MemoryRecords marker(ControlRecordType type) {
        return MemoryRecords.withEndTransactionMarker(50, TIME, 7, 4711, (short) 3, new EndTransactionMarker(type, 12));
    }

    /** About 150 KiB, so that every codec writes more than one block. */
    static MemoryRecords many(Compression compression) {
        MemoryRecordsBuilder builder = new Options().compression(compression).builder();
        for (int i = 0; i < 1500; i++) {
            builder.append(TIME + i, bytes("key " + i % 100), bytes(("value " + i + " ").repeat(8)));
        }
        return builder.build();
    }

    static MemoryRecords format1() {
        MemoryRecordsBuilder builder = new MemoryRecordsBuilder(new ByteBufferOutputStream(1024),
            RecordBatch.MAGIC_VALUE_V1, Compression.NONE, TimestampType.CREATE_TIME, 0, RecordBatch.NO_TIMESTAMP,
            RecordBatch.NO_PRODUCER_ID, RecordBatch.NO_PRODUCER_EPOCH, RecordBatch.NO_SEQUENCE, false, false,
            RecordBatch.NO_PARTITION_LEADER_EPOCH, 1 << 20);
        builder.append(TIME, bytes("key"), bytes("value"));
        return builder.build();
    }

    static void save(Path dir, String name, MemoryRecords records) throws IOException {
        ByteBuffer buffer = records.buffer().duplicate();
        byte[] content = new byte[buffer.remaining()];
        buffer.get(content);
        Files.write(dir.resolve(name + ".bin"), content);
    }

    static void verify(Path dir) throws IOException {
        int files = 0;
        try (DirectoryStream<Path> paths = Files.newDirectoryStream(dir, "*.bin")) {
            for (Path path : paths) {
                Path expected = Path.of(path.toString().replaceFirst("\\.bin$", ".txt"));
                List<String> lines = lines(MemoryRecords.readableRecords(ByteBuffer.wrap(Files.readAllBytes(path))));
                if (!lines.equals(Files.readAllLines(expected))) {
                    System.err.println(path + " does not hold the records of " + expected);
                    System.exit(1);
                }
                files++;
            }
        }
        System.out.println(files + " files hold what they should");
        System.exit(files == 0 ? 1 : 0);
    }

    static List<String> lines(MemoryRecords records) {
        List<String> lines = new ArrayList<>();
        for (MutableRecordBatch batch : records.batches()) {
            batch.ensureValid();
            for (Record record : batch) {
                record.ensureValid();
                List<String> headers = new ArrayList<>();
                for (Header header : record.headers()) {
                    headers.add(hex(bytes(header.key())) + "=" + hex(header.value()));
                }
                lines.add(String.join(" ", String.valueOf(record.offset()), String.valueOf(record.timestamp()),
                    hex(content(record.key())), hex(content(record.value())),
                    headers.isEmpty() ? "-" : String.join(",", headers)));
            }
        }
        return lines;
    }

    static byte[] content(ByteBuffer buffer) {
        if (buffer == null) {
            return null;
        }
        byte[] content = new byte[buffer.remaining()];
        buffer.duplicate().get(content);
        return content;
    }

    static String hex(byte[] bytes) {
        return bytes == null ? "-" : "x" + HexFormat.of().formatHex(bytes);
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
