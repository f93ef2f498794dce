import static java.util.stream.Collectors.joining;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.net.URLDecoder;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Assignment;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.GroupSubscription;
import org.apache.kafka.clients.consumer.ConsumerPartitionAssignor.Subscription;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.Cluster;
import org.apache.kafka.common.Node;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.internals.Topic;

/** Answers the questions of keys.txt, topics.txt and assignors.txt: a filter, which needs no broker. */
public class Functions {
    public static void main(String[] arguments) throws Exception {
        var in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        var out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        for (String line; (line = in.readLine()) != null; ) {
            String question = line.split(" -> ")[0];
            boolean comment = line.isEmpty() || line.startsWith("//");
            out.println(comment ? line : question + " -> " + answer(question));
        }
        out.flush();
    }

    static String answer(String question) {
        String[] words = question.split(" ");
        return switch (words[0]) {
            case "key" -> {
                byte[] key = HexFormat.of().parseHex(words[1].substring("0x".length()));
                yield "" + BuiltInPartitioner.partitionForKey(key, Integer.parseInt(words[2]));
            }
            case "topic" -> {
                String quoted = words[1].substring(1, words[1].length() - 1);
                yield topic(URLDecoder.decode(quoted, StandardCharsets.UTF_8));
            }
            default -> assign(question.split(" \\| "));
        };
    }

    static String topic(String name) {
        try {
            Topic.validate(name);
            return "accepted";
        } catch (InvalidTopicException refused) {
            return "refused";
        }
    }

    /** {@code sticky | t:2 u:1 | a t,u t:0 | b@instance t}: topics, then members with what they own. */
    static String assign(String[] parts) {
        var node = new Node(0, "localhost", 1);
        var nodes = new Node[] {node};
        var all = new ArrayList<PartitionInfo>();
        for (String topic : parts[1].split(" ")) {
            String[] count = topic.split(":");
            for (int partition = 0; partition < Integer.parseInt(count[1]); partition++) {
                all.add(new PartitionInfo(count[0], partition, node, nodes, nodes));
            }
        }
        var members = new HashMap<String, Subscription>();
        for (String member : List.of(parts).subList(2, parts.length)) {
            String[] words = member.split(" ");
            String[] id = words[0].split("@");
            List<String> topics = List.of(words[1].split(","));
            String[] places = words.length > 2 ? words[2].split(",") : new String[0];
            var owned = Arrays.stream(places).map(Functions::place).toList();
            var subscription = new Subscription(topics, owned.isEmpty() ? null : remembered(topics, owned));
            if (id.length > 1) {
                subscription.setGroupInstanceId(Optional.of(id[1]));
            }
            members.put(id[0], subscription);
        }
        ConsumerPartitionAssignor assignor = switch (parts[0]) {
            case "range" -> new RangeAssignor();
            case "roundrobin" -> new RoundRobinAssignor();
            default -> new StickyAssignor();
        };
        var cluster = new Cluster("kafka", List.of(node), all, Set.of(), Set.of());
        var assigned = assignor.assign(cluster, new GroupSubscription(members)).groupAssignment();
        return new TreeMap<>(assigned).entrySet().stream().map(Functions::show).collect(joining(" | "));
    }

    /** What a member with these partitions of an earlier generation tells the sticky assignor. */
    @SuppressWarnings("removal")
    static ByteBuffer remembered(List<String> topics, List<TopicPartition> owned) {
        var before = new StickyAssignor();
        before.onAssignment(new Assignment(owned), new ConsumerGroupMetadata("g", 5, "m", Optional.empty()));
        return before.subscriptionUserData(Set.copyOf(topics));
    }

    static String show(Map.Entry<String, Assignment> member) {
        var places = member.getValue().partitions().stream();
        var shown = places.map(place -> place.topic() + ":" + place.partition()).sorted();
        return (member.getKey() + " " + shown.collect(joining(","))).trim();
    }

    static TopicPartition place(String text) {
        String[] parts = text.split(":");
        return new TopicPartition(parts[0], Integer.parseInt(parts[1]));
    }
}
