// The message schemas inside Kafka's jars, and its error codes, as lines of words between tabs.
//
//   java -cp 'LIBS/*' Schema.java LIBS
//
//   message NAME TYPE KEY VERSIONS FLEXIBLE UNSTABLE LISTENERS     then its fields, depth first:
//   field   PATH TYPE VERSIONS TAG DEFAULT NULLABLE IGNORABLE      names in snake case, joined with slashes
//   error   CODE NAME CLASSES                                      the exception's own class and those above it
//
// Everything stands as the schema has it; "-" where it says nothing. crates/wire/tests/java compares the lines with
// the table, cargo xtask protocol does for other releases.

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.util.Collections;
import java.util.HashMap;
import java.util.Map;
import java.util.zip.ZipEntry;
import java.util.zip.ZipFile;
import org.apache.kafka.common.protocol.Errors;

public final class Schema {
    private static final ObjectMapper JSON = new ObjectMapper().enable(JsonParser.Feature.ALLOW_COMMENTS);

    public static void main(String[] arguments) throws Exception {
        File[] jars = new File(arguments[0]).listFiles((folder, name) -> name.matches("kafka[-_].*\\.jar"));
        for (File jar : jars) jar(jar);
        for (Errors error : Errors.values()) {
            line("error", error.code(), error.name(), classes(error.exception()));
        }
    }

    private static String classes(Exception exception) {
        if (exception == null) return "-";
        StringBuilder joined = new StringBuilder();
        for (Class<?> type = exception.getClass(); type != Object.class; type = type.getSuperclass()) {
            joined.append(joined.isEmpty() ? "" : ",").append(type.getSimpleName());
        }
        return joined.toString();
    }

    private static void jar(File file) throws Exception {
        try (ZipFile jar = new ZipFile(file)) {
            for (ZipEntry entry : Collections.list(jar.entries())) {
                if (entry.getName().matches("common/message/.*\\.json")) message(JSON.readTree(jar.getInputStream(entry)));
            }
        }
    }

    private static void message(JsonNode message) {
        String name = word(message, "name");
        line("message", name, word(message, "type"), word(message, "apiKey"), word(message, "validVersions"),
            word(message, "flexibleVersions"), word(message, "latestVersionUnstable"), words(message.path("listeners")));
        Map<String, JsonNode> common = new HashMap<>();
        for (JsonNode struct : message.path("commonStructs")) common.put(word(struct, "name"), struct.path("fields"));
        fields(name, message.path("fields"), common);
    }

    private static void fields(String path, JsonNode fields, Map<String, JsonNode> common) {
        for (JsonNode field : fields) {
            String here = path + "/" + snake(word(field, "name"));
            String type = word(field, "type");
            String versions = word(field, field.has("versions") ? "versions" : "taggedVersions");
            line("field", here, type, versions, word(field, "tag"), word(field, "default"),
                word(field, "nullableVersions"), word(field, "ignorable"));
            JsonNode inside = field.has("fields") ? field.path("fields") : common.get(type.replace("[]", ""));
            if (inside != null) fields(here, inside, common);
        }
    }

    private static String snake(String name) {
        return name.replaceAll("(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_").toLowerCase();
    }

    private static String word(JsonNode node, String name) {
        String text = node.path(name).asText("").strip();
        return text.isEmpty() ? "-" : text;
    }

    private static String words(JsonNode list) {
        StringBuilder joined = new StringBuilder();
        for (JsonNode word : list) joined.append(joined.isEmpty() ? "" : ",").append(word.asText());
        return joined.isEmpty() ? "-" : joined.toString();
    }

    private static void line(Object... words) {
        StringBuilder line = new StringBuilder();
        for (Object word : words) line.append(line.isEmpty() ? "" : "\t").append(word);
        System.out.println(line);
    }
}
