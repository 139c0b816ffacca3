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
                answer(out, subject, version, other, i < samples.length ? ByteBuffer.wrap(samples[i]) : null, random);
            }
            out.flush();
        }
    }

    private static void answer(DataOutputStream out, Subject subject, short version, short other, ByteBuffer sample,
                               Random random) throws IOException {
        Message message = null;
        byte[] payload = null, inOther = null;
        String why = "", whyNotOther = "";
        try {
            message = sample == null ? subject.random(version, random) : subject.read(sample, version);
            payload = subject.write(message, version);
        } catch (Exception e) {
            why = e.toString();
        }
        try {
            inOther = subject.write(message, other);
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

        private ApiMessage header(short version) {
            return switch (sort) {
                case "request" -> new RequestHeaderData().setRequestApiKey(api.id).setRequestApiVersion(version)
                    .setCorrelationId(7).setClientId("me");
                case "response" -> new ResponseHeaderData().setCorrelationId(7);
                default -> null;
            };
        }

        private short headerVersion(short version) {
            return sort.equals("request") ? api.requestHeaderVersion(version) : api.responseHeaderVersion(version);
        }

        Message read(ByteBuffer payload, short version) throws ReflectiveOperationException {
            var readable = new ByteBufferAccessor(payload);
            ApiMessage expected = header(version);
            if (expected != null) {
                var header = (ApiMessage) expected.getClass().getConstructor().newInstance();
                header.read(readable, headerVersion(version));
                if (!header.equals(expected)) throw new IllegalArgumentException("header " + header);
            }
            var message = (Message) type.getConstructor().newInstance();
            message.read(readable, version);
            if (readable.remaining() > 0) throw new IllegalArgumentException(readable.remaining() + " bytes are left");
            return message;
        }

        byte[] write(Message message, short version) {
            byte[] body = bytes(message, version);
            ApiMessage header = header(version);
            if (header == null) return body;
            byte[] head = bytes(header, headerVersion(version));
            return ByteBuffer.allocate(head.length + body.length).put(head).put(body).array();
        }

        private static byte[] bytes(Message message, short version) {
            return MessageUtil.byteBufferToArray(MessageUtil.toByteBufferAccessor(message, version).buffer());
        }

        Message random(short version, Random random) throws ReflectiveOperationException {
            Schema schema = ((Schema[]) type.getField("SCHEMAS").get(null))[version];
            var choices = new Choices(random);
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

    /// Random values of a Schema's types.
    private static final class Choices {
        private final Random random;
        /// How many rare and large things may still come, so that they do not multiply.
        private int large = 2;
        private int elements = 200;

        Choices(Random random) {
            this.random = random;
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

        private Object value(Type type) {
            if (type instanceof TaggedFields) return tags((TaggedFields) type);
            if (type.isNullable() && once(4)) return null;
            if (type instanceof Schema) return struct((Schema) type);
            if (type.isArray()) return array(type.arrayElementType().orElseThrow());
            if (type == Type.BOOLEAN) return random.nextBoolean();
            if (type == Type.INT8) return (byte) number(Byte.MIN_VALUE, Byte.MAX_VALUE);
            if (type == Type.INT16) return (short) number(Short.MIN_VALUE, Short.MAX_VALUE);
            if (type == Type.UINT16) return (int) number(0, 65535);
            if (type == Type.INT32) return (int) number(Integer.MIN_VALUE, Integer.MAX_VALUE);
            if (type == Type.UNSIGNED_INT32) return number(0, 4294967295L);
            if (type == Type.INT64) return number(Long.MIN_VALUE, Long.MAX_VALUE);
            if (type == Type.FLOAT64) return random.nextGaussian() * Math.pow(10, random.nextInt(600) - 300);
            if (type == Type.UUID) return once(4) ? Uuid.ZERO_UUID : new Uuid(random.nextLong(), random.nextLong());
            String name = type.toString();
            if (name.endsWith("STRING")) return string();
            if (name.endsWith("RECORDS")) return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes()));
            if (name.endsWith("BYTES")) return ByteBuffer.wrap(bytes());
            throw new IllegalArgumentException("a type called " + name);
        }

        private long number(long lowest, long highest) {
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
            byte[] bytes = new byte[isLarge() ? 2000 : random.nextInt(12)];
            random.nextBytes(bytes);
            return bytes;
        }

        private Object[] array(Type element) {
            int count = isLarge() ? 130 : random.nextInt(4);
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
                if (random.nextBoolean()) tags.put(tag, isStruct ? struct((Schema) field.type) : value(field.type));
            });
            for (int i = once(6) ? random.nextInt(3) : 0; i > 0; i--) {
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
