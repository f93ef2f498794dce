import static java.util.stream.Collectors.joining;
import static java.util.stream.Collectors.toMap;

import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.common.utils.Exit;
import org.apache.kafka.tools.consumer.group.ConsumerGroupCommand;

/** Runs the scripts of consumer.txt, members.txt and resets.txt against a broker: a filter. */
public class Script {
    static final String SERVER = "127.0.0.1:19092";
    static final Admin ADMIN = Admin.create(Map.of("bootstrap.servers", SERVER));
    static final KafkaProducer<String, String> PRODUCER = producer();
    static final PrintStream OUT = System.out;
    static final DateTimeFormatter DATE_TIME =
            DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSS").withZone(ZoneOffset.UTC);

    /** Begins the names of topics and groups, so that no script sees those of another. */
    static String prefix;
    static final Map<String, KafkaConsumer<String, String>> CONSUMERS = new HashMap<>();
    static final Set<String> TOPICS = new TreeSet<>();

    public static void main(String[] arguments) throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        long run = System.currentTimeMillis();
        int number = 0;
        for (String line; (line = in.readLine()) != null; ) {
            if (line.startsWith("###")) {
                cleanUp();
                prefix = "script-" + run + "-" + number++ + "-";
            }
            if (line.isEmpty() || line.startsWith("//") || line.startsWith("###")) {
                OUT.println(line);
                continue;
            }
            String step = line.split(" ->")[0];
            OUT.println((step + " -> " + answer(step)).trim());
        }
        cleanUp();
        System.exit(0);
    }

    static String answer(String step) {
        try {
            return run(step.split(" "));
        } catch (Exception failed) {
            return error(failed);
        }
    }

    static String error(Throwable error) {
        boolean wrapped = error instanceof ExecutionException || error.getClass() == KafkaException.class;
        boolean unwrap = wrapped && error.getCause() != null;
        return unwrap ? error(error.getCause()) : "!" + error.getClass().getSimpleName();
    }

    static String run(String[] words) throws Exception {
        String name = words[1];
        switch (words[0]) {
            case "topic":
                create(name, Integer.parseInt(words[2]), options(words, 3));
                break;
            case "send":
                return send(place(name), List.of(words).subList(2, words.length));
            case "delete-records": {
                var before = RecordsToDelete.beforeOffset(Long.parseLong(words[2]));
                var deleted = ADMIN.deleteRecords(Map.of(place(name), before));
                return "" + deleted.lowWatermarks().get(place(name)).get().lowWatermark();
            }
            case "offsets": {
                var start = list(name, OffsetSpec.earliest());
                return start.offset() + ".." + list(name, OffsetSpec.latest()).offset();
            }
            case "offset-for-time":
                return found(list(name, OffsetSpec.forTimestamp(Long.parseLong(words[2]))));
            case "offset-of-max-timestamp":
                return found(list(name, OffsetSpec.maxTimestamp()));
            case "set-offset": {
                var offset = Map.of(place(words[2]), offset(words));
                ADMIN.alterConsumerGroupOffsets(prefix + name, offset).all().get();
                break;
            }
            case "delete-offsets":
                ADMIN.deleteConsumerGroupOffsets(prefix + name, Set.copyOf(places(words[2]))).all().get();
                break;
            case "delete-group":
                ADMIN.deleteConsumerGroups(List.of(prefix + name)).all().get();
                break;
            case "group-offsets": {
                var committed = new TreeMap<String, String>();
                ADMIN.listConsumerGroupOffsets(prefix + name).partitionsToOffsetAndMetadata().get()
                        .forEach((place, offset) -> committed.put(show(place), show(offset)));
                return show(committed);
            }
            case "group-state": {
                var groups = ADMIN.describeConsumerGroups(List.of(prefix + name)).all().get();
                var group = groups.get(prefix + name);
                return group.groupState() + " " + group.members().size();
            }
            case "add-partitions": {
                var count = NewPartitions.increaseTo(Integer.parseInt(words[2]));
                ADMIN.createPartitions(Map.of(prefix + name, count)).all().get();
                Thread.sleep(1000);
                break;
            }
            case "remove-instance": {
                var member = List.of(new MemberToRemove(words[2]));
                var options = new RemoveMembersFromConsumerGroupOptions(member);
                ADMIN.removeMembersFromConsumerGroup(prefix + name, options).all().get();
                break;
            }
            case "settle":
                return settle(List.of(name.split(",")));
            case "plan", "reset":
                return reset(words);
            case "consumer":
                CONSUMERS.put(name, consumer(options(words, 2)));
                break;
            default:
                return consume(CONSUMERS.get(name), words);
        }
        return "ok";
    }

    static String consume(KafkaConsumer<String, String> consumer, String[] words) {
        boolean named = words.length > 2 && words[2].contains(":");
        List<TopicPartition> places = named ? places(words[2]) : List.of();
        switch (words[0]) {
            case "assign":
                consumer.assign(places);
                break;
            case "subscribe":
                consumer.subscribe(Arrays.stream(words[2].split(",")).map(topic -> prefix + topic).toList());
                break;
            case "unsubscribe":
                consumer.unsubscribe();
                break;
            case "assignment":
                return show(consumer.assignment());
            case "seek":
                consumer.seek(places.get(0), Long.parseLong(words[3]));
                break;
            case "seek-to-beginning":
                consumer.seekToBeginning(places);
                break;
            case "seek-to-end":
                consumer.seekToEnd(places);
                break;
            case "position":
                return "" + consumer.position(places.get(0), Duration.ofSeconds(3));
            case "pause":
                consumer.pause(places);
                break;
            case "resume":
                consumer.resume(places);
                break;
            case "paused":
                return show(consumer.paused());
            case "poll":
                return poll(consumer, false);
            case "drain":
                return poll(consumer, true);
            case "commit":
                consumer.commitSync();
                break;
            case "commit-offset":
                consumer.commitSync(Map.of(places.get(0), offset(words)));
                break;
            case "committed":
                return show(consumer.committed(Set.copyOf(places)).get(places.get(0)));
            case "close":
                consumer.close();
                break;
            default:
                throw new UnsupportedOperationException(words[0]);
        }
        return "ok";
    }

    static void create(String name, int partitions, Map<String, String> options) throws Exception {
        var topic = new NewTopic(prefix + name, partitions, (short) 1).configs(options);
        ADMIN.createTopics(List.of(topic)).all().get();
        TOPICS.add(prefix + name);
        // The answer comes before the topic is there for everybody.
        Thread.sleep(200);
    }

    /** One batch, of values with or without a timestamp behind them: {@code a@5000 b}. */
    static String send(TopicPartition place, List<String> records) {
        var sent = new ArrayList<Future<RecordMetadata>>();
        for (String record : records) {
            String[] parts = record.split("@");
            Long time = parts.length > 1 ? (Long) time(parts[1]) : null;
            String topic = place.topic(), value = parts[0];
            sent.add(PRODUCER.send(new ProducerRecord<>(topic, place.partition(), time, null, value)));
        }
        PRODUCER.flush();
        return sent.stream().map(Script::offset).collect(joining(" "));
    }

    static String offset(Future<RecordMetadata> sent) {
        try {
            return "" + sent.get().offset();
        } catch (Exception failed) {
            return error(failed);
        }
    }

    /** Milliseconds since 1970, or before now: {@code now-60000}. */
    static long time(String text) {
        if (text.startsWith("now-")) {
            return System.currentTimeMillis() - Long.parseLong(text.substring("now-".length()));
        }
        return Long.parseLong(text);
    }

    /** One poll that waits for records, or polls until there are no more. */
    static String poll(KafkaConsumer<String, String> consumer, boolean all) {
        var read = new TreeMap<String, String>();
        String failed = "";
        try {
            // Who subscribes has nothing to read before it is assigned something.
            for (int tries = 0; !consumer.subscription().isEmpty() && tries < 50; tries++) {
                if (!consumer.assignment().isEmpty()) {
                    break;
                }
                read(consumer, read);
            }
            while (read(consumer, read) && all) {}
        } catch (KafkaException | IllegalStateException error) {
            failed = " " + error(error);
        }
        return (show(read) + failed).trim();
    }

    /** Polls members in turn for long enough, whatever they read, and tells who has what then. */
    static String settle(List<String> members) {
        for (int round = 0; round < 40; round++) {
            members.forEach(member -> CONSUMERS.get(member).poll(Duration.ofMillis(50)));
        }
        var shown = members.stream().map(member -> member + "=" + show(CONSUMERS.get(member).assignment()));
        return shown.collect(joining(" "));
    }

    static boolean read(KafkaConsumer<String, String> consumer, Map<String, String> into) {
        var records = consumer.poll(Duration.ofMillis(250));
        for (var record : records) {
            var place = new TopicPartition(record.topic(), record.partition());
            into.merge(show(place), "" + record.offset(), (before, offset) -> before + "," + offset);
        }
        return !records.isEmpty();
    }

    /** What {@code kafka-consumer-groups --reset-offsets} says: the offset of each partition after it. */
    static String reset(String[] words) {
        String group = prefix + words[1], topic = prefix + words[2];
        var arguments = new ArrayList<>(List.of("--bootstrap-server", SERVER, "--reset-offsets"));
        arguments.addAll(List.of("--group", group, "--topic", topic, "--" + words[3]));
        switch (words[3]) {
            case "to-datetime" -> arguments.add(DATE_TIME.format(Instant.ofEpochMilli(time(words[4]))));
            case "by-duration" -> arguments.add("PT" + words[4] + "S");
            case "to-offset", "shift-by" -> arguments.add(words[4]);
            default -> {}
        }
        arguments.add(words[0].equals("plan") ? "--dry-run" : "--execute");
        var printed = new ByteArrayOutputStream();
        System.setOut(new PrintStream(printed));
        try {
            Exit.setExitProcedure((code, message) -> { throw new IllegalStateException(message); });
            ConsumerGroupCommand.main(arguments.toArray(new String[0]));
        } catch (Exception refused) {
            return "!exit";
        } finally {
            System.setOut(OUT);
        }
        // Behind the group and the topic: the partition and its offset. A warning may stand in the same line.
        var after = new TreeSet<String>();
        String[] columns = printed.toString().split("\\s+");
        for (int at = 0; at + 3 < columns.length; at++) {
            if (columns[at].equals(group) && columns[at + 1].equals(topic)) {
                after.add(words[2] + ":" + columns[at + 2] + "=" + columns[at + 3]);
            }
        }
        return String.join(" ", after);
    }

    static KafkaProducer<String, String> producer() {
        var options = new Properties();
        options.put("bootstrap.servers", SERVER);
        options.put("key.serializer", StringSerializer.class);
        options.put("value.serializer", StringSerializer.class);
        options.put("linger.ms", "1000");
        options.put("metadata.max.age.ms", "500");
        return new KafkaProducer<>(options);
    }

    static KafkaConsumer<String, String> consumer(Map<String, String> asked) {
        var options = new Properties();
        options.put("bootstrap.servers", SERVER);
        options.put("key.deserializer", StringDeserializer.class);
        options.put("value.deserializer", StringDeserializer.class);
        options.put("fetch.max.wait.ms", "20");
        options.put("retry.backoff.ms", "20");
        options.put("heartbeat.interval.ms", "100");
        options.put("metadata.max.age.ms", "400");
        options.put("auto.offset.reset", asked.getOrDefault("reset", "earliest"));
        // What commits automatically does so where it must, and not because time has passed.
        options.put("enable.auto.commit", asked.getOrDefault("auto", "false"));
        options.put("auto.commit.interval.ms", "3600000");
        if (asked.containsKey("group")) {
            options.put("group.id", prefix + asked.get("group"));
        }
        if (asked.containsKey("instance")) {
            options.put("group.instance.id", asked.get("instance"));
        }
        if (asked.containsKey("assignor")) {
            String assignor = "org.apache.kafka.clients.consumer." + asked.get("assignor");
            options.put("partition.assignment.strategy", assignor);
        }
        if (asked.containsKey("max")) {
            options.put("max.poll.records", asked.get("max"));
        }
        return new KafkaConsumer<>(options);
    }

    static Map<String, String> options(String[] words, int from) {
        var options = Arrays.stream(words).skip(from).map(word -> word.split("="));
        return options.collect(toMap(option -> option[0], option -> option[1]));
    }

    static ListOffsetsResultInfo list(String place, OffsetSpec offset) throws Exception {
        return ADMIN.listOffsets(Map.of(place(place), offset)).partitionResult(place(place)).get();
    }

    static String found(ListOffsetsResultInfo found) {
        return found.offset() < 0 ? "none" : found.offset() + "@" + found.timestamp();
    }

    /** The offset of {@code commit-offset c t:0 7 note}. */
    static OffsetAndMetadata offset(String[] words) {
        return new OffsetAndMetadata(Long.parseLong(words[3]), words.length > 4 ? words[4] : "");
    }

    static TopicPartition place(String text) {
        String[] parts = text.split(":");
        return new TopicPartition(prefix + parts[0], Integer.parseInt(parts[1]));
    }

    static List<TopicPartition> places(String text) {
        return Arrays.stream(text.split(",")).map(Script::place).toList();
    }

    static String show(TopicPartition place) {
        return place.topic().substring(prefix.length()) + ":" + place.partition();
    }

    static String show(Collection<TopicPartition> places) {
        return places.stream().map(Script::show).sorted().collect(joining(","));
    }

    static String show(OffsetAndMetadata offset) {
        return offset == null ? "none" : offset.offset() + "/" + offset.metadata();
    }

    static String show(Map<String, String> each) {
        var entries = each.entrySet().stream();
        return entries.map(entry -> entry.getKey() + "=" + entry.getValue()).collect(joining(" "));
    }

    static void cleanUp() throws Exception {
        for (var consumer : CONSUMERS.values()) {
            consumer.close(CloseOptions.timeout(Duration.ofMillis(500)));
        }
        CONSUMERS.clear();
        ADMIN.deleteTopics(TOPICS).all().get();
        TOPICS.clear();
    }
}
