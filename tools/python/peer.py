"""librdkafka as a peer of the tests: one process that serves many operations.

It speaks the protocol that tools/java/Peer.java describes at its head, and of its verbs `create`, `delete`,
`produce`, `consume` and `offset` (earliest, latest or a timestamp; no leader epoch). One more verb:

    mock BROKERS [TOPIC]    -> the bootstrap addresses of a mock cluster that lives as long as this process, and holds
                               the topic (with four partitions): CreateTopics is not among what it serves

Options are librdkafka's settings. The process ends when stdin does.
"""

import os
import sys
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

PATIENCE = 30
# A broker that does not answer is a failure soon, and the library's own log stays out of the test's output.
COMMON = {"socket.timeout.ms": 5000, "log_level": 0}

mock_clusters = []
open_transactions = {}


def main():
    for line in sys.stdin:
        number, bootstrap, verb, *arguments = line.rstrip("\n").split("\t")
        try:
            answer = ["ok", *VERBS[verb](bootstrap, *arguments)]
        except Exception as e:  # whatever it is, the test is told
            answer = ["error", f"{type(e).__name__}: {e}".replace("\t", " ").replace("\n", " ")]
        print("\t".join([number, *map(str, answer)]), flush=True)
    # Mock clusters and open transactions need no orderly end.
    os._exit(0)


def create(bootstrap, topic, partitions, replication, configs):
    admin = AdminClient({"bootstrap.servers": bootstrap, **COMMON})
    new = NewTopic(topic, int(partitions), int(replication), config=options(configs))
    admin.create_topics([new])[topic].result(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while not served(admin, topic, int(partitions)):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{topic} is not served")
        time.sleep(0.01)
    return []


def served(admin, topic, partitions):
    seen = admin.list_topics(topic, PATIENCE).topics[topic].partitions
    return len(seen) == partitions and all(p.error is None and p.leader >= 0 for p in seen.values())


def delete(bootstrap, topic):
    admin = AdminClient({"bootstrap.servers": bootstrap, **COMMON})
    admin.delete_topics([topic])[topic].result(PATIENCE)
    return []


def produce(bootstrap, topic, partition, settings, *records):
    settings = options(settings)
    end = settings.pop("end", "commit")
    transaction = settings.get("transactional.id")
    producer = open_transactions.pop(transaction, None) if transaction else None
    if producer is None:
        # All records of one request are to share a batch, hence the linger.
        producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 100, **COMMON, **settings})
        if transaction:
            producer.init_transactions(PATIENCE)
            producer.begin_transaction()
    results = [None] * len(records)
    for index, record in enumerate(records):
        send(producer, topic, int(partition), record, results, index)
    if producer.flush(PATIENCE):
        raise TimeoutError("not every record was delivered")
    for result in results:
        if isinstance(result, KafkaError):
            raise KafkaException(result)
    if transaction:
        if end == "open":
            open_transactions[transaction] = producer
        elif end == "abort":
            producer.abort_transaction(PATIENCE)
        else:
            producer.commit_transaction(PATIENCE)
    return results


def send(producer, topic, partition, record, results, index):
    key, value, timestamp, headers = record.split(":")
    pairs = [header.split("=") for header in headers.split(",")] if headers else []

    def delivered(error, message):
        results[index] = error or message.offset()

    more = {} if timestamp == "-" else {"timestamp": int(timestamp)}
    producer.produce(
        topic,
        partition=partition,
        key=data(key),
        value=data(value),
        headers=[(data(name).decode(), data(content)) for name, content in pairs],
        on_delivery=delivered,
        **more,
    )


def consume(bootstrap, topic, partition, first, to, settings):
    consumer = reader(bootstrap, options(settings))
    try:
        here = TopicPartition(topic, int(partition), int(first))
        end = consumer.get_watermark_offsets(here, PATIENCE)[1] if to == "-" else int(to)
        consumer.assign([here])
        found = []
        deadline = time.monotonic() + PATIENCE
        while True:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(found)} records are all that came before offset {end}")
            message = consumer.poll(0.2)
            if message is None:
                continue
            if message.error():
                # The end of the partition comes after every record, and after trailing control records too.
                if message.error().code() == KafkaError._PARTITION_EOF and message.offset() >= end:
                    return found
                if message.error().code() == KafkaError._PARTITION_EOF and to == "-":
                    return found
                if message.error().code() == KafkaError._PARTITION_EOF:
                    continue
                raise KafkaException(message.error())
            if message.offset() >= end:
                return found
            found.append(read(message))
            if message.offset() == end - 1:
                return found
    finally:
        consumer.close()


def reader(bootstrap, settings):
    fixed = {"bootstrap.servers": bootstrap, "group.id": "peer", "enable.auto.commit": False}
    fixed |= {"enable.partition.eof": True, "check.crcs": True, "auto.offset.reset": "error"}
    return Consumer({**fixed, **COMMON, **settings})


def read(message):
    kind, timestamp = message.timestamp()
    headers = [f"{text(name.encode())}={text(value)}" for name, value in message.headers() or []]
    epoch = message.leader_epoch()
    fields = [message.offset(), timestamp, "append" if kind == 2 else "create", -1 if epoch is None else epoch]
    return ":".join(map(str, [*fields, text(message.key()), text(message.value()), ",".join(headers)]))


def offset(bootstrap, topic, partition, when):
    consumer = reader(bootstrap, {})
    try:
        here = TopicPartition(topic, int(partition))
        if when in ("earliest", "latest"):
            low, high = consumer.get_watermark_offsets(here, PATIENCE)
            return [low if when == "earliest" else high, -1, -1]
        here.offset = int(when)
        return [consumer.offsets_for_times([here], PATIENCE)[0].offset, -1, -1]
    finally:
        consumer.close()


def mock(_bootstrap, brokers, topic=None):
    keeper = Producer({"bootstrap.servers": "none:1", "test.mock.num.brokers": int(brokers), **COMMON})
    mock_clusters.append(keeper)
    # Looking a topic up creates it there.
    known = keeper.list_topics(topic, timeout=PATIENCE).brokers.values()
    return [",".join(f"{broker.host}:{broker.port}" for broker in known)]


def options(joined):
    return dict(pair.split("=", 1) for pair in joined.split(";")) if joined else {}


def data(written):
    return None if written == "-" else bytes.fromhex(written[1:])


def text(content):
    return "-" if content is None else "x" + content.hex()


VERBS = {
    "create": create,
    "delete": delete,
    "produce": produce,
    "consume": consume,
    "offset": offset,
    "mock": mock,
}

if __name__ == "__main__":
    main()
