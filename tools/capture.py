#!/usr/bin/env python3
"""Captures what the Java client, librdkafka and ottla send for the same work, and what the broker answers.

    eval "$(cargo xtask kafka env)"           # a running cluster, and where the peers are
    tools/capture.py java librdkafka ottla    # writes java.hex, librdkafka.hex and ottla.hex
    tools/capture.py --once --out crates/wire/tests/data/sessions java librdkafka
                                              # the snapshots of the repository: each API once
    tools/capture.py --batches --out crates/wire/tests/data/batches
                                              # the batches that librdkafka and a broker wrote

The work: create a topic, write two records, read them, look offsets up, delete the topic. The client goes through a
recording TCP proxy: addresses that the broker advertises are replaced by the proxy's on their way, so that the client
stays on it. A line of the output is a frame without its size, in the order of the wire:

    CONNECTION > API VERSION HEX              a request
    CONNECTION < API VERSION HEX              the answer to it

With `--batches` librdkafka produces the same 1,500 records with each codec; librdkafka-CODEC.bin is the batch in its
Produce request. Then the Java client commits one transaction and aborts another, a batch each, and reads all of it;
broker-transactions.bin is what the second answer to Fetch holds (the first has only the first batch): the commit
marker, the batch that was aborted, and the abort marker, as the broker wrote them.

Only Python's standard library is needed here. With `--pcap FILE` and tcpdump installed the packets are kept too, for
`tshark -d tcp.port==PORT,kafka`.
"""

import argparse
import asyncio
import os
import pathlib
import struct
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
APIS = {
    0: "Produce", 1: "Fetch", 2: "ListOffsets", 3: "Metadata", 8: "OffsetCommit", 9: "OffsetFetch",
    10: "FindCoordinator", 11: "JoinGroup", 12: "Heartbeat", 13: "LeaveGroup", 14: "SyncGroup", 18: "ApiVersions",
    19: "CreateTopics", 20: "DeleteTopics", 21: "DeleteRecords", 22: "InitProducerId", 23: "OffsetForLeaderEpoch",
    32: "DescribeConfigs", 37: "CreatePartitions", 60: "DescribeCluster", 71: "GetTelemetrySubscriptions",
    72: "PushTelemetry", 75: "DescribeTopicPartitions",
}  # fmt: skip


class Recorder:
    """A proxy in front of one broker, and the frames that went through it."""

    def __init__(self, host, port):
        self.broker = (host, port)
        self.frames = []
        self.connections = 0

    async def start(self):
        self.server = await asyncio.start_server(self.serve, self.broker[0], 0)
        self.port = self.server.sockets[0].getsockname()[1]
        name = self.broker[0].encode()
        self.advertised = name + struct.pack(">i", self.broker[1])
        self.replacement = name + struct.pack(">i", self.port)

    async def serve(self, client_in, client_out):
        number, self.connections = self.connections, self.connections + 1
        broker_in, broker_out = await asyncio.open_connection(*self.broker)
        asked = {}
        pumps = [
            asyncio.create_task(self.pump(client_in, broker_out, lambda frame: self.request(number, asked, frame))),
            asyncio.create_task(self.pump(broker_in, client_out, lambda frame: self.answer(number, asked, frame))),
        ]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        for writer in (broker_out, client_out):
            writer.close()

    @staticmethod
    async def pump(reader, writer, record):
        try:
            while True:
                size = await reader.readexactly(4)
                frame = record(await reader.readexactly(struct.unpack(">i", size)[0]))
                writer.write(struct.pack(">i", len(frame)) + frame)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass

    def request(self, number, asked, frame):
        api, version, correlation = struct.unpack_from(">hhi", frame)
        asked[correlation] = (api, version)
        self.frames.append((number, ">", api, version, frame))
        return frame

    def answer(self, number, asked, frame):
        api, version = asked.pop(struct.unpack_from(">i", frame)[0])
        # Recorded as the broker wrote it, before the address is replaced by one of the same length.
        self.frames.append((number, "<", api, version, frame))
        return frame.replace(self.advertised, self.replacement)

    def lines(self, once):
        """All frames, or of each API in each version the longest exchange: the one that says most."""
        frames = self.frames
        if once:
            longest = {}
            for exchange in self.exchanges():
                _, _, api, version, _ = exchange[0]
                known = longest.get((api, version), [])
                if sum(len(frame[4]) for frame in exchange) > sum(len(frame[4]) for frame in known):
                    longest[api, version] = exchange
            frames = [frame for exchange in longest.values() for frame in exchange]
        return [f"{n} {way} {APIS.get(api, api)} {version} {frame.hex()}" for n, way, api, version, frame in frames]

    def exchanges(self):
        """Requests with their answers: both begin or end with the same correlation id, on one connection."""
        open_requests = {}
        for frame in self.frames:
            number, way, _, _, payload = frame
            if way == ">":
                open_requests[number, payload[4:8]] = frame
            elif request := open_requests.pop((number, payload[0:4]), None):
                yield [request, frame]


def record_set(frame):
    """The batches in a Produce request or in the answer to a Fetch: whole ones, with their length in front."""
    for start in range(1, len(frame)):
        end = start
        while end + 61 <= len(frame) and frame[end + 16] == 2:
            length = struct.unpack_from(">i", frame, end + 8)[0]
            if length < 49 or end + 12 + length > len(frame):
                break
            end += 12 + length
        before = frame[:start]
        if end > start and before.endswith((compact(end - start + 1), struct.pack(">i", end - start))):
            return frame[start:end]
    return b""


def compact(number):
    """An unsigned varint."""
    written = bytearray()
    while number >= 0x80:
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*written, number])


def peer(client):
    """The command that starts the peer program of a client."""
    if client == "java":
        path = f"{os.environ['OTTLA_KAFKA_LIBS']}/*:{os.environ['OTTLA_PEER_CLASSES']}"
        return ["java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "-cp", path, "Peer"]
    return [os.environ["OTTLA_PYTHON"], str(ROOT / "tools/python/peer.py")]


def work(client, bootstrap):
    """What each client does; blocks until it is done."""
    if client == "ottla":
        command = ["cargo", "run", "--quiet", "-p", "ottla", "--example", "capture"]
        subprocess.run(command, cwd=ROOT, env={**os.environ, "KAFKA": bootstrap}, check=True)
        return
    topic = f"capture-{client}"
    records = ["x6b31:x76616c75652d31:1700000000000:x6831=x01", "x6b32:-:1700000000001:"]
    steps = [
        ["create", topic, "1", "1", "retention.ms=-1"],
        ["produce", topic, "0", "enable.idempotence=true", *records],
        ["consume", topic, "0", "0", "-", ""],
        ["offset", topic, "0", "1700000000001"],
        ["delete", topic],
    ]
    operate(client, bootstrap, steps)


def operate(client, bootstrap, steps):
    """Has the peer program of a client do one step after another."""
    process = subprocess.Popen(peer(client), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for number, step in enumerate(steps):
        print(number, bootstrap, *step, sep="\t", file=process.stdin, flush=True)
        answer = process.stdout.readline().rstrip("\n").split("\t")
        if answer[1:2] != ["ok"]:
            sys.exit(f"{client}: {step[0]}: {' '.join(answer[2:])}")
    process.stdin.close()
    process.wait()


async def recording(options):
    host, port = options.bootstrap.split(",")[0].rsplit(":", 1)
    recorder = Recorder(host, int(port))
    await recorder.start()
    return recorder, f"{host}:{recorder.port}"


async def batches(options):
    for codec in ["gzip", "snappy", "lz4", "zstd"]:
        topic = f"capture-batches-{codec}"
        # What crates/wire/tests/snapshots_batches.rs expects.
        records = [
            f"{field(f'key {i % 100}')}:{field(f'value {i} ' * 8)}:{1_700_000_000_000 + i}:" for i in range(1500)
        ]
        steps = [
            ["create", topic, "1", "1", ""],
            ["produce", topic, "0", f"compression.codec={codec};linger.ms=5000", *records],
            ["delete", topic],
        ]
        await batch("librdkafka", steps, (">", 0), f"librdkafka-{codec}.bin", options)
    topic = "capture-transactions"
    ending = "transactional.id=capture;end="
    steps = [
        ["create", topic, "1", "1", "retention.ms=-1"],
        ["produce", topic, "0", ending + "commit", f"{field('k1')}:{field('committed')}:1700000000000:"],
        ["produce", topic, "0", ending + "abort", f"{field('k2')}:{field('aborted')}:1700000000001:"],
        ["consume", topic, "0", "0", "-", ""],
        ["delete", topic],
    ]
    await batch("java", steps, ("<", 1), "broker-transactions.bin", options)


async def batch(client, steps, wanted, name, options):
    """Keeps the largest record set that went one way in frames of one API."""
    recorder, bootstrap = await recording(options)
    await asyncio.to_thread(operate, client, bootstrap, steps)
    sets = [record_set(frame) for _, way, api, _, frame in recorder.frames if (way, api) == wanted]
    path = pathlib.Path(options.out) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(max(sets, key=len))
    print(f"{path}: {path.stat().st_size} bytes, {len(sets)} frames of this API")


def field(content):
    return "x" + content.encode().hex()


async def capture(client, options):
    recorder, bootstrap = await recording(options)
    pcap = None
    if options.pcap:
        listen = ["tcpdump", "-i", "lo", "-w", options.pcap, f"tcp port {recorder.port}"]
        pcap = subprocess.Popen(listen, stderr=subprocess.DEVNULL)
    await asyncio.to_thread(work, client, bootstrap)
    if pcap:
        pcap.terminate()
    path = pathlib.Path(options.out) / f"{client}.hex"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = recorder.lines(options.once)
    path.write_text("\n".join(lines) + "\n")
    print(f"{path}: {len(lines)} of {len(recorder.frames)} frames, {recorder.connections} connections")


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("clients", nargs="*", help="java, librdkafka, ottla")
    arguments.add_argument("--bootstrap", default=os.environ.get("OTTLA_KAFKA_ONE"), help="HOST:PORT of one broker")
    arguments.add_argument("--out", default=".", help="the directory that is written to")
    arguments.add_argument("--once", action="store_true", help="of each API in each version one exchange")
    arguments.add_argument("--batches", action="store_true", help="batches instead of conversations")
    arguments.add_argument("--pcap", help="a file for the packets, which tcpdump writes")
    options = arguments.parse_args()
    if not options.bootstrap:
        sys.exit('no broker: give --bootstrap HOST:PORT, or eval "$(cargo xtask kafka env)" before')
    if options.batches:
        asyncio.run(batches(options))
    for client in options.clients:
        if client not in ("java", "librdkafka", "ottla"):
            arguments.error(f"no client is called {client}: java, librdkafka or ottla")
        asyncio.run(capture(client, options))


if __name__ == "__main__":
    main()
