// Messages as the Java client's own classes write them: the capture behind crates/wire/tests/data/messages.hex.
//
//   java -cp 'LIBS/*' Messages.java > crates/wire/tests/data/messages.hex
//
// What the messages hold is known to crates/wire/tests/messages/vectors.rs, which says the same in Rust. A line is a
// payload, header and body without the size. Every header has the correlation id 7, those of requests the client id
// "ottla".

import java.nio.ByteBuffer;
import java.util.HexFormat;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.message.ApiVersionsRequestData;
import org.apache.kafka.common.message.ApiVersionsResponseData;
import org.apache.kafka.common.message.CreatePartitionsRequestData;
import org.apache.kafka.common.message.FetchRequestData;
import org.apache.kafka.common.message.FetchResponseData;
import org.apache.kafka.common.message.FindCoordinatorResponseData;
import org.apache.kafka.common.message.InitProducerIdRequestData;
import org.apache.kafka.common.message.MetadataRequestData;
import org.apache.kafka.common.message.MetadataResponseData;
import org.apache.kafka.common.message.ProduceRequestData;
import org.apache.kafka.common.message.ProduceResponseData;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.record.internal.MemoryRecords;

public final class Messages {
    private static final Uuid ID = new Uuid(0x0123456789abcdefL, 0xfedcba9876543210L);

    public static void main(String[] arguments) {
        System.out.print("""
            # Payloads (header and body, without the size) that the Java client wrote: message, version, hex.
            #
            # Made with kafka-clients 4.3.1 by tools/java/Messages.java.
            """);
        apiVersions();
        metadata();
        produce();
        fetch();
        others();
    }

    private static void apiVersions() {
        request(0, new ApiVersionsRequestData());
        request(4, new ApiVersionsRequestData().setClientSoftwareName("ottla").setClientSoftwareVersion("0.1"));

        var keys = new ApiVersionsResponseData.ApiVersionCollection();
        keys.add(new ApiVersionsResponseData.ApiVersion().setApiKey((short) 18).setMinVersion((short) 0).setMaxVersion((short) 4));
        response(0, new ApiVersionsResponseData().setErrorCode((short) 35).setApiKeys(keys));
        var features = new ApiVersionsResponseData.FinalizedFeatureKeyCollection();
        features.add(new ApiVersionsResponseData.FinalizedFeatureKey()
            .setName("transaction.version").setMaxVersionLevel((short) 2).setMinVersionLevel((short) 0));
        response(3, new ApiVersionsResponseData().setErrorCode((short) 35).setApiKeys(keys.duplicate())
            .setThrottleTimeMs(5).setFinalizedFeaturesEpoch(9).setFinalizedFeatures(features));
    }

    private static void metadata() {
        request(1, new MetadataRequestData().setTopics(null));
        var byId = new MetadataRequestData.MetadataRequestTopic().setTopicId(ID).setName(null);
        request(13, new MetadataRequestData().setTopics(List.of(byId)).setAllowAutoTopicCreation(false));
        response(1, metadataAnswer(1));
        response(13, metadataAnswer(13));
    }

    private static MetadataResponseData metadataAnswer(int version) {
        var brokers = new MetadataResponseData.MetadataResponseBrokerCollection();
        brokers.add(new MetadataResponseData.MetadataResponseBroker().setNodeId(2).setHost("h").setPort(9092).setRack("r"));
        var partition = new MetadataResponseData.MetadataResponsePartition().setErrorCode((short) 9).setPartitionIndex(3)
            .setLeaderId(2).setReplicaNodes(List.of(2, 1)).setIsrNodes(List.of(2));
        var topic = new MetadataResponseData.MetadataResponseTopic().setName("orders").setPartitions(List.of(partition));
        var topics = new MetadataResponseData.MetadataResponseTopicCollection();
        topics.add(topic);
        var answer = new MetadataResponseData().setBrokers(brokers).setControllerId(2).setTopics(topics);
        if (version > 1) {
            partition.setLeaderEpoch(4).setOfflineReplicas(List.of(1));
            topic.setTopicId(ID);
            answer.setThrottleTimeMs(5).setClusterId("c1").setErrorCode((short) 129);
        }
        return answer;
    }

    private static void produce() {
        request(3, produceRequest(new ProduceRequestData.TopicProduceData().setName("orders")));
        request(13, produceRequest(new ProduceRequestData.TopicProduceData().setTopicId(ID)).setTransactionalId("tx"));

        var partition = new ProduceResponseData.PartitionProduceResponse().setIndex(1).setErrorCode((short) 6)
            .setBaseOffset(-1).setErrorMessage("moved")
            .setRecordErrors(List.of(new ProduceResponseData.BatchIndexAndErrorMessage().setBatchIndex(4)))
            .setCurrentLeader(new ProduceResponseData.LeaderIdAndEpoch().setLeaderId(2).setLeaderEpoch(5));
        var topics = new ProduceResponseData.TopicProduceResponseCollection();
        topics.add(new ProduceResponseData.TopicProduceResponse().setTopicId(ID).setPartitionResponses(List.of(partition)));
        var nodes = new ProduceResponseData.NodeEndpointCollection();
        nodes.add(new ProduceResponseData.NodeEndpoint().setNodeId(2).setHost("h").setPort(9092));
        response(13, new ProduceResponseData().setResponses(topics).setThrottleTimeMs(5).setNodeEndpoints(nodes));
    }

    private static ProduceRequestData produceRequest(ProduceRequestData.TopicProduceData topic) {
        var partition = new ProduceRequestData.PartitionProduceData().setIndex(1).setRecords(records(1, 2, 3));
        var topics = new ProduceRequestData.TopicProduceDataCollection();
        topics.add(topic.setPartitionData(List.of(partition)));
        return new ProduceRequestData().setAcks((short) -1).setTimeoutMs(30_000).setTopicData(topics);
    }

    private static void fetch() {
        var wanted = new FetchRequestData.FetchPartition().setPartition(1).setCurrentLeaderEpoch(4).setFetchOffset(42)
            .setPartitionMaxBytes(1024).setHighWatermark(50).setReplicaDirectoryId(ID);
        request(18, new FetchRequestData().setClusterId("c1")
            .setReplicaState(new FetchRequestData.ReplicaState().setReplicaId(1).setReplicaEpoch(2))
            .setMaxWaitMs(500).setMinBytes(1).setMaxBytes(1_048_576).setIsolationLevel((byte) 1)
            .setSessionId(3).setSessionEpoch(4)
            .setTopics(List.of(new FetchRequestData.FetchTopic().setTopicId(ID).setPartitions(List.of(wanted))))
            .setForgottenTopicsData(List.of(new FetchRequestData.ForgottenTopic().setTopicId(ID).setPartitions(List.of(7))))
            .setRackId("r"));

        var full = fetched().setLogStartOffset(0)
            .setDivergingEpoch(new FetchResponseData.EpochEndOffset().setEpoch(3).setEndOffset(41))
            .setSnapshotId(new FetchResponseData.SnapshotId().setEndOffset(1).setEpoch(1))
            .setAbortedTransactions(List.of(new FetchResponseData.AbortedTransaction().setProducerId(8).setFirstOffset(40)))
            .setRecords(records(9, 8));
        var byId = new FetchResponseData.FetchableTopicResponse().setTopicId(ID).setPartitions(List.of(full));
        response(18, new FetchResponseData().setThrottleTimeMs(5).setSessionId(3).setResponses(List.of(byId)));
        var nulls = fetched().setAbortedTransactions(null).setRecords(null);
        var byName = new FetchResponseData.FetchableTopicResponse().setTopic("orders").setPartitions(List.of(nulls));
        response(4, new FetchResponseData().setThrottleTimeMs(5).setResponses(List.of(byName)));
    }

    private static FetchResponseData.PartitionData fetched() {
        return new FetchResponseData.PartitionData().setPartitionIndex(1).setHighWatermark(44).setLastStableOffset(43);
    }

    private static void others() {
        var topics = new CreatePartitionsRequestData.CreatePartitionsTopicCollection();
        topics.add(new CreatePartitionsRequestData.CreatePartitionsTopic().setName("orders").setCount(4).setAssignments(null));
        request(3, new CreatePartitionsRequestData().setTopics(topics).setTimeoutMs(5000).setValidateOnly(true));
        response(2, new FindCoordinatorResponseData().setThrottleTimeMs(5).setErrorCode((short) 15)
            .setErrorMessage("none").setNodeId(-1).setPort(-1));
        request(6, new InitProducerIdRequestData().setTransactionalId("tx").setTransactionTimeoutMs(60_000).setEnable2Pc(true));
    }

    private static MemoryRecords records(int... content) {
        byte[] bytes = new byte[content.length];
        for (int i = 0; i < bytes.length; i++) bytes[i] = (byte) content[i];
        return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes));
    }

    private static void request(int version, ApiMessage message) {
        ApiKeys api = ApiKeys.forId(message.apiKey());
        var header = new RequestHeaderData().setRequestApiKey(api.id).setRequestApiVersion((short) version)
            .setCorrelationId(7).setClientId("ottla");
        line(version, message, header, api.requestHeaderVersion((short) version));
    }

    private static void response(int version, ApiMessage message) {
        ApiKeys api = ApiKeys.forId(message.apiKey());
        line(version, message, new ResponseHeaderData().setCorrelationId(7), api.responseHeaderVersion((short) version));
    }

    private static void line(int version, ApiMessage message, ApiMessage header, short headerVersion) {
        String name = message.getClass().getSimpleName().replaceAll("Data$", "");
        System.out.println(name + " " + version + " " + hex(header, headerVersion) + hex(message, (short) version));
    }

    private static String hex(ApiMessage message, short version) {
        ByteBuffer written = MessageUtil.toByteBufferAccessor(message, version).buffer();
        byte[] bytes = new byte[written.remaining()];
        written.get(bytes);
        return HexFormat.of().formatHex(bytes);
    }
}
