// The Java half of crates/wire/tests/java/exchange.rs, which starts it:
//
//   java -cp 'LIBS/*' Exchange.java
//
// Standard input has jobs, standard output the answers; numbers are big-endian, texts have their length in front.
//
//   job:     "request KEY", "response KEY" or "data CLASS"; version; lowest and highest version; seed; count; samples
//   answer:  for each sample, and for as many of our own: the bytes that the generated class writes after reading it;
//            every field of the object; the bytes of the same object in another version
//
// Where there are no bytes, the length is -1 and a text says why. Our own samples are random values of the Schema that
// each generated class has for each version, written by Kafka's Schema itself, so that the generated code is only one
// of two parties.

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.Struct;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.BaseRecords;
import org.apache.kafka.common.record.internal.MemoryRecords;

public final class Exchange {
    private static final String[] PACKAGES = {
        "org.apache.kafka.common.message.", "org.apache.kafka.coordinator.group.generated.",
        "org.apache.kafka.coordinator.transaction.generated.", "org.apache.kafka.coordinator.share.generated.",
    };

    public static void main(String[] arguments) throws Exception {
        var in = new DataInputStream(new BufferedInputStream(System.in));
        var out = new DataOutputStream(new BufferedOutputStream(System.out, 1 << 16));
        while (true) {
            in.mark(1);
            if (in.read() < 0) return;
            in.reset();
            var subject = new Subject(in.readUTF());
            short version = in.readShort(), lowest = in.readShort(), highest = in.readShort();
            var random = new Random(in.readLong());
            // All of it before the first answer, so that neither side waits for the other to read.
            byte[][] samples = new byte[in.readInt()][];
            for (int i = 0; i < samples.length; i++) samples[i] = in.readNBytes(in.readInt());
            for (int i = 0; i < 2 * samples.length; i++) {
                short other = (short) (lowest + i % (highest - lowest + 1));
                boolean isOurs = i >= samples.length;
                var choices = new Choices(random, isOurs && i - samples.length < EDGES ? i - samples.length : NONE);
                answer(out, subject, version, other, isOurs ? null : ByteBuffer.wrap(samples[i]), choices);
            }
            out.flush();
        }
    }

    private static void answer(DataOutputStream out, Subject subject, short version, short other, ByteBuffer sample,
                               Choices choices) throws IOException {
        Message message = null;
        byte[] payload = null, inOther = null;
        String why = "", whyNotOther = "";
        try {
            message = sample == null ? subject.random(version, choices) : subject.read(sample, version);
            payload = subject.write(message, version, true);
        } catch (Exception e) {
            why = e.toString();
        }
        try {
            inOther = subject.write(message, other, false);
        } catch (Exception e) {
            whyNotOther = e.toString();
        }
        outcome(out, payload, why);
        var dump = new StringBuilder();
        dump(message, dump);
        text(out, dump.toString());
        outcome(out, inOther, whyNotOther);
    }

    private static void outcome(DataOutputStream out, byte[] bytes, String why) throws IOException {
        out.writeInt(bytes == null ? -1 : bytes.length);
        if (bytes == null) text(out, why);
        else out.write(bytes);
    }

    private static void text(DataOutputStream out, String text) throws IOException {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        out.writeInt(bytes.length);
        out.write(bytes);
    }

    /// A request or response with its header, or a struct of its own.
    private static final class Subject {
        private final String sort;
        private final ApiKeys api;
        private final Class<?> type;
        /// What stood or stands in front of the last message; null for a struct of its own.
        private ApiMessage header;

        Subject(String label) throws ReflectiveOperationException {
            String[] words = label.split(" ");
            sort = words[0];
            api = sort.equals("data") ? null : ApiKeys.forId(Integer.parseInt(words[1]));
            type = switch (sort) {
                case "request" -> api.messageType.newRequest().getClass();
                case "response" -> api.messageType.newResponse().getClass();
                default -> find(words[1]);
            };
        }

        private static Class<?> find(String name) throws ClassNotFoundException {
            for (String place : PACKAGES) {
                try {
                    return Class.forName(place + name);
                } catch (ClassNotFoundException e) {
                    // Elsewhere, then.
                }
            }
            throw new ClassNotFoundException(name);
        }

        private ApiMessage emptyHeader() {
            return switch (sort) {
                case "request" -> new RequestHeaderData();
                case "response" -> new ResponseHeaderData();
                default -> null;
            };
        }

        /// The header for a version. Tagged fields that nobody knows stay with the version that had them.
        private ApiMessage header(short version, boolean isSame) {
            ApiMessage copy = emptyHeader();
            if (copy instanceof RequestHeaderData request) {
                var from = (RequestHeaderData) header;
                request.setRequestApiKey(api.id).setRequestApiVersion(version);
                request.setCorrelationId(from.correlationId()).setClientId(from.clientId());
            } else if (copy instanceof ResponseHeaderData response) {
                response.setCorrelationId(((ResponseHeaderData) header).correlationId());
            }
            if (copy != null && isSame) copy.unknownTaggedFields().addAll(header.unknownTaggedFields());
            return copy;
        }

        private short headerVersion(short version) {
            return sort.equals("request") ? api.requestHeaderVersion(version) : api.responseHeaderVersion(version);
        }

        Message read(ByteBuffer payload, short version) throws ReflectiveOperationException {
            var readable = new ByteBufferAccessor(payload);
            header = emptyHeader();
            if (header != null) header.read(readable, headerVersion(version));
            if (header instanceof RequestHeaderData h && (h.requestApiKey() != api.id || h.requestApiVersion() != version)) {
                throw new IllegalArgumentException("header " + h);
            }
            var message = (Message) type.getConstructor().newInstance();
            message.read(readable, version);
            if (readable.remaining() > 0) throw new IllegalArgumentException(readable.remaining() + " bytes are left");
            return message;
        }

        byte[] write(Message message, short version, boolean isSame) {
            byte[] body = bytes(message, version);
            if (header == null) return body;
            byte[] head = bytes(header(version, isSame), headerVersion(version));
            return ByteBuffer.allocate(head.length + body.length).put(head).put(body).array();
        }

        private static byte[] bytes(Message message, short version) {
            return MessageUtil.byteBufferToArray(MessageUtil.toByteBufferAccessor(message, version).buffer());
        }

        Message random(short version, Choices choices) throws ReflectiveOperationException {
            header = emptyHeader();
            if (header instanceof RequestHeaderData h) {
                h.setCorrelationId((int) choices.number(Integer.MIN_VALUE, Integer.MAX_VALUE));
                h.setClientId(choices.isNull() ? null : choices.string());
            } else if (header instanceof ResponseHeaderData h) {
                h.setCorrelationId((int) choices.number(Integer.MIN_VALUE, Integer.MAX_VALUE));
            }
            boolean hasTags = header != null && headerVersion(version) == header.highestSupportedVersion();
            if (hasTags) choices.unknownTags().values().forEach(tag -> header.unknownTaggedFields().add((RawTaggedField) tag));
            Schema schema = ((Schema[]) type.getField("SCHEMAS").get(null))[version];
            Object value = choices.struct(schema);
            var buffer = ByteBuffer.allocate(schema.sizeOf(value));
            schema.write(buffer, value);
            buffer.flip();
            var readable = new ByteBufferAccessor(buffer);
            var message = (Message) type.getConstructor().newInstance();
            message.read(readable, version);
            if (readable.remaining() > 0) throw new IllegalArgumentException(readable.remaining() + " bytes are left");
            return message;
        }
    }

    /// No edge: all is left to chance.
    private static final int NONE = -1;
    /// Everything empty or zero; everything null that may be; the longest string; the smallest numbers; the largest; an
    /// unknown tagged field in every struct.
    private static final int EMPTY = 0, NULL = 1, LONGEST = 2, SMALLEST = 3, LARGEST = 4, TAGGED = 5, EDGES = 6;

    /// Random values of a Schema's types, or those of an edge.
    private static final class Choices {
        private final Random random;
        private final int edge;
        /// How many rare and large things may still come, so that they do not multiply.
        private int large = 2;
        private int elements = 200;

        Choices(Random random, int edge) {
            this.random = random;
            this.edge = edge;
        }

        Struct struct(Schema schema) {
            var struct = new Struct(schema);
            for (BoundField field : schema.fields()) struct.set(field, value(field.def.type));
            return struct;
        }

        private boolean once(int times) {
            return random.nextInt(times) == 0;
        }

        private boolean isLarge() {
            return large > 0 && once(50) && large-- > 0;
        }

        boolean isNull() {
            return edge == NONE ? once(4) : edge == NULL;
        }

        private Object value(Type type) {
            if (type instanceof TaggedFields) return tags((TaggedFields) type);
            if (type.isNullable() && isNull()) return null;
            if (type instanceof Schema) return struct((Schema) type);
            if (type.isArray()) return array(type.arrayElementType().orElseThrow());
            if (type == Type.BOOLEAN) return edge == NONE ? random.nextBoolean() : edge == LARGEST;
            if (type == Type.INT8) return (byte) number(Byte.MIN_VALUE, Byte.MAX_VALUE);
            if (type == Type.INT16) return (short) number(Short.MIN_VALUE, Short.MAX_VALUE);
            if (type == Type.UINT16) return (int) number(0, 65535);
            if (type == Type.INT32) return (int) number(Integer.MIN_VALUE, Integer.MAX_VALUE);
            if (type == Type.UNSIGNED_INT32) return number(0, 4294967295L);
            if (type == Type.INT64) return number(Long.MIN_VALUE, Long.MAX_VALUE);
            if (type == Type.FLOAT64) {
                return switch (edge) {
                    case NONE -> random.nextGaussian() * Math.pow(10, random.nextInt(600) - 300);
                    case SMALLEST -> -Double.MAX_VALUE;
                    case LARGEST -> Double.MAX_VALUE;
                    default -> 0.0;
                };
            }
            if (type == Type.UUID) return edge == NONE ? once(4) ? Uuid.ZERO_UUID : new Uuid(random.nextLong(), random.nextLong()) : Uuid.ZERO_UUID;
            String name = type.toString();
            if (name.endsWith("STRING")) return string();
            if (name.endsWith("RECORDS")) return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes()));
            if (name.endsWith("BYTES")) return ByteBuffer.wrap(bytes());
            throw new IllegalArgumentException("a type called " + name);
        }

        private long number(long lowest, long highest) {
            if (edge != NONE) return edge == SMALLEST ? lowest : edge == LARGEST ? highest : 0;
            return switch (random.nextInt(8)) {
                case 0 -> lowest;
                case 1 -> highest;
                case 2 -> Math.max(lowest, -1);
                case 3 -> 0;
                case 4 -> random.nextInt(100);
                default -> random.nextLong();
            };
        }

        private String string() {
            if (edge != NONE) return edge == LONGEST && large-- > 1 ? "z".repeat(Short.MAX_VALUE) : "";
            if (isLarge()) return "z".repeat(once(2) ? Short.MAX_VALUE : 126 + random.nextInt(4));
            var text = new StringBuilder();
            for (int i = random.nextInt(8); i > 0; i--) {
                text.appendCodePoint(switch (random.nextInt(4)) {
                    case 0 -> random.nextInt(0x80);
                    case 1 -> 0xa0 + random.nextInt(0x500);
                    case 2 -> 0x1f600 + random.nextInt(0x40);
                    default -> 'a' + random.nextInt(26);
                });
            }
            return text.toString();
        }

        private byte[] bytes() {
            if (edge != NONE) return new byte[0];
            byte[] bytes = new byte[isLarge() ? 2000 : random.nextInt(12)];
            random.nextBytes(bytes);
            return bytes;
        }

        private Object[] array(Type element) {
            int count = edge == EMPTY ? 0 : edge != NONE ? 1 : isLarge() ? 130 : random.nextInt(4);
            Object[] array = new Object[Math.min(count, elements)];
            elements -= array.length;
            for (int i = 0; i < array.length; i++) array[i] = value(element);
            return array;
        }

        private TreeMap<Integer, Object> tags(TaggedFields known) {
            var tags = new TreeMap<Integer, Object>();
            known.fields().forEach((tag, field) -> {
                // The generated classes have another null for tagged structs than the Schema.
                boolean isStruct = field.type instanceof Schema;
                boolean isThere = edge == NONE ? random.nextBoolean() : edge != EMPTY;
                if (isThere) tags.put(tag, isStruct ? struct((Schema) field.type) : value(field.type));
            });
            tags.putAll(unknownTags());
            return tags;
        }

        private TreeMap<Integer, Object> unknownTags() {
            var tags = new TreeMap<Integer, Object>();
            int count = edge == TAGGED ? 1 : edge != NONE ? 0 : once(6) ? random.nextInt(3) : 0;
            for (int i = count; i > 0; i--) {
                int tag = once(2) ? 100 + random.nextInt(100) : Integer.MAX_VALUE - 1 - random.nextInt(9);
                tags.put(tag, new RawTaggedField(tag, bytes()));
            }
            return tags;
        }
    }

    private static final Map<Class<?>, List<Field>> FIELDS = new HashMap<>();

    private static List<Field> fields(Class<?> type) {
        return FIELDS.computeIfAbsent(type, key -> {
            var fields = new ArrayList<Field>();
            for (Field field : key.getDeclaredFields()) {
                boolean isLink = field.getName().equals("next") || field.getName().equals("prev");
                // Elements of Kafka's linked collections have those two; no message has fields of that type.
                if (Modifier.isStatic(field.getModifiers()) || (isLink && field.getType() == int.class)) continue;
                field.setAccessible(true);
                fields.add(field);
            }
            return fields;
        });
    }

    /// A value in the grammar of crates/wire/tests/java/dump.rs.
    private static void dump(Object value, StringBuilder out) {
        if (value == null) {
            out.append("None");
        } else if (value instanceof String text) {
            out.append('"');
            text.codePoints().forEach(c -> {
                if (Character.isLetterOrDigit(c) && c < 0x80) out.appendCodePoint(c);
                else out.append("\\u{").append(Integer.toHexString(c)).append('}');
            });
            out.append('"');
        } else if (value instanceof byte[] bytes) {
            dump(bytes, out);
        } else if (value instanceof ByteBuffer buffer) {
            dump(MessageUtil.byteBufferToArray(buffer.duplicate()), out);
        } else if (value instanceof BaseRecords records) {
            out.append("RecordSet(").append(records.sizeInBytes()).append(" bytes)");
        } else if (value instanceof Collection<?> list) {
            out.append('[');
            for (Object element : list) {
                dump(element, out);
                out.append(", ");
            }
            out.append(']');
        } else if (value instanceof RawTaggedField tag) {
            out.append("UnknownTag { tag: ").append(tag.tag()).append(", value: ");
            dump(tag.data(), out);
            out.append(" }");
        } else if (value instanceof Message) {
            struct(value, out);
        } else {
            out.append(value);
        }
    }

    private static void dump(byte[] bytes, StringBuilder out) {
        out.append("b\"");
        for (byte b : bytes) out.append("\\x").append(Character.forDigit(b >> 4 & 15, 16)).append(Character.forDigit(b & 15, 16));
        out.append('"');
    }

    private static void struct(Object value, StringBuilder out) {
        out.append(value.getClass().getSimpleName()).append(" { ");
        for (Field field : fields(value.getClass())) {
            try {
                Object inside = field.get(value);
                boolean isTags = field.getName().equals("_unknownTaggedFields");
                out.append(isTags ? "unknown_tags" : field.getName()).append(": ");
                dump(isTags && inside instanceof List<?> list && list.isEmpty() ? null : inside, out);
                out.append(", ");
            } catch (IllegalAccessException e) {
                throw new IllegalStateException(e);
            }
        }
        out.append('}');
    }
}
