# SPDX-License-Identifier: Apache-2.0
"""Messages of every kind, through every mode and family, with real brokers and real clients."""
import signal
import time

from limpet_lab import checks, clients, mqtt
from limpet_lab.process import LabError, wait_until
from limpet_lab.scenario import scenario
from limpet_lab.topology import endpoint


def _loops_back(client, qos, data):
    """The client hears its own message, once."""
    client.subscribe(f"loop/{client.client_id}/{qos}", qos)
    client.publish(f"loop/{client.client_id}/{qos}", data, qos)
    message = client.receive()
    if message.payload != data or message.qos != qos:
        raise LabError(f"QoS {qos}: came back as QoS {message.qos}, {len(message.payload)} bytes")
    client.nothing_more()


@scenario()
def every_qos_goes_both_ways(lab):
    """QoS 0, 1 and 2 are whole conversations in both directions; after CONNACK the kernel carries them."""
    lab.start()
    for version in (mqtt.V31, mqtt.V311, mqtt.V5):
        client = lab.client(f"qos-v{version}", version=version)
        checks.all_spliced(lab, 1)
        for qos in (0, 1, 2):
            _loops_back(client, qos, f"message of quality {qos}".encode())
        if lab.gateway.connections("spliced" if lab.mode != "relay" else "relayed") != 1:
            raise LabError("the connection changed hands while it was used")
        lab.leave()
        checks.flows_end(lab.gateway)
        checks.no_connection_counted(lab.gateway)


@scenario()
def another_library_is_as_well_served(lab):
    """MQTT.js instead of paho, in each version of the protocol."""
    lab.start()
    for version in (mqtt.V31, mqtt.V311, mqtt.V5):
        clients.mqttjs(lab.topology, f"mqtt://{endpoint(lab.listener, 1883)}", f"js-v{version}", version, 300_000)
    if lab.mode != "relay" and lab.gateway.status()["hold_microseconds"]["count"] != 3:
        raise LabError(f"not all of three clients of MQTT.js were spliced: {lab.gateway.status()}")


@scenario()
def many_messages_in_flight_keep_their_order(lab):
    """MQTT promises the order of a topic's messages; a splice that moved a segment would break it."""
    lab.start()
    client = lab.client("order")
    client.subscribe("order", 1)
    count = 2000
    for number in range(count):
        client.publish("order", str(number).encode(), 1, wait=0)
    heard = [int(payload) for payload in client.receive_payloads(count, 20)]
    if heard != list(range(count)):
        raise LabError(f"out of order, lost or doubled near {next(i for i, n in enumerate(heard) if i != n)}")
    client.nothing_more()


@scenario()
def retained_messages_wait_for_later_subscribers(lab):
    """A retained message lives at a broker; the same client finds it there after it came back."""
    lab.start()
    ids = [f"retain-{number}" for number in range(6)]
    for client_id in ids:
        client = lab.client(client_id)
        client.publish(f"state/{client_id}", client_id.encode(), 1, retain=True)
        client.disconnect()
    for client_id in ids:
        client = lab.client(client_id)
        client.subscribe(f"state/{client_id}", 1)
        message = client.receive()
        if not message.retain or message.payload != client_id.encode():
            raise LabError(f"{client_id}: retained message came as {message.payload!r}, retain {message.retain}")


@scenario()
def wills_are_published_when_a_client_dies(lab):
    """A killed process (FIN by its kernel, no DISCONNECT) and a reset connection both end in the will."""
    lab.start()
    watchers = lab.acquaint("watcher-")
    process = clients.mosquitto_sub(lab.resources, lab.topology, lab.listener, lab.folder / "victim.out", "-i", "victim",
                                    "-t", "nothing", "--will-topic", "last/words", "--will-payload", "killed")
    wait_until(lambda: any(broker.saw_client("victim") for broker in lab.brokers), 10, "the victim is connected")
    watcher = lab.client(watchers[lab.broker_of("victim")])
    watcher.subscribe("last/words", 1)
    checks.all_spliced(lab, 2)
    process.signal(signal.SIGKILL)
    if watcher.receive().payload != b"killed":
        raise LabError("the will of the killed client is not what it left")
    other = lab.client("victim", will=("last/words", b"reset"))
    checks.all_spliced(lab, 2)
    other.vanish()
    if watcher.receive().payload != b"reset":
        raise LabError("the will of the reset client is not what it left")


@scenario()
def a_clean_goodbye_publishes_no_will(lab):
    """DISCONNECT reaches the broker before the FIN does."""
    lab.start()
    watchers = lab.acquaint("watcher-")
    client = lab.client("polite", will=("last/words", b"never said"))
    watcher = lab.client(watchers[lab.broker_of("polite")])
    watcher.subscribe("last/words", 1)
    client.disconnect()
    watcher.nothing_more(1)


@scenario()
def persistent_sessions_get_their_queued_messages(lab):
    """The brokers know nothing of each other: only the one that has the session has its messages. That they
    come after a reconnect proves that each id returned to its broker."""
    lab.start()
    ids = [f"session-{number}" for number in range(12)]
    for client_id in ids:
        client = lab.client(client_id, clean=False)
        client.subscribe(f"inbox/{client_id}", 1)
        client.disconnect()
    used = {lab.broker_of(client_id) for client_id in ids}
    if len(used) < 2:
        raise LabError(f"twelve ids all went to {used}: nothing is proved")
    for client_id in ids:  # straight to the broker that holds the session, past the balancer
        address = next(broker for broker in lab.brokers if broker.name == lab.broker_of(client_id)).address(lab.family)
        clients.mosquitto_pub(lab.topology, address, "-i", f"sender-{client_id}", "-q", "1", "-t",
                              f"inbox/{client_id}", "-m", f"for {client_id}")
    for client_id in ids:
        client = lab.client(client_id, clean=False)
        if not client.session_present:
            raise LabError(f"{client_id} came back to a broker without its session")
        if client.receive().payload != f"for {client_id}".encode():
            raise LabError(f"{client_id} got somebody else's message")
        client.nothing_more(0.05)


@scenario()
def version_5_sessions_outlive_their_connection(lab):
    """Session Expiry Interval makes a v5 session persistent; the id is remembered at least as long."""
    lab.start()
    for number in range(4):
        client = lab.client(f"five-{number}", version=mqtt.V5, clean=True, session_seconds=300)
        client.subscribe(f"five/{number}", 2)
        client.disconnect()
    for number in range(4):
        client = lab.client(f"five-{number}", version=mqtt.V5, clean=False, session_seconds=0)
        if not client.session_present:
            raise LabError(f"five-{number}: the session is at another broker")


@scenario()
def an_id_assigned_by_the_broker_is_learned(lab):
    """An empty id in v5 is named by the broker in CONNACK: that name leads back to that broker."""
    lab.start()
    assigned = []
    for _ in range(6):
        connection = lab.raw()
        connection.sendall(mqtt.connect("", version=mqtt.V5, properties=b"\x11\0\0\1\0"))
        _, body = mqtt.read_packet(connection)
        at = body.index(b"\x12")
        length = int.from_bytes(body[at + 1:at + 3], "big")
        assigned.append(body[at + 3:at + 3 + length].decode())
        checks.all_spliced(lab, len(assigned))
    for client_id in assigned:
        broker = lab.broker_of(client_id)
        if (named := lab.gateway.lookup(client_id, lab.family)["broker"]) != broker:
            raise LabError(f"{client_id} is at {broker}, lookup says {named}")


def _carries(lab, client, size, qos):
    data = clients.payload(size, size)
    client.publish(f"big/{client.client_id}", data, qos, wait=0)
    got = client.receive(60).payload
    if clients.digest(got) != clients.digest(data):
        raise LabError(f"{size} bytes came back as {len(got)} other ones")


@scenario(timeout=120)
def payloads_of_any_size_arrive_byte_for_byte(lab):
    """1 byte to 50 MB, to the broker and back, on one connection that the kernel carries."""
    lab.start()
    client = lab.client("payload")
    client.subscribe("big/payload", 1)
    checks.all_spliced(lab, 1)
    for size in (1, 100, 1448, 1449, 65535, 65536, 1_000_000, 50_000_000):
        _carries(lab, client, size, 1)
    client.nothing_more()


@scenario()
def a_large_message_in_the_first_flight_arrives(lab):
    """A client that publishes 2 MB right behind CONNECT, before it hears CONNACK, loses nothing in the handoff."""
    lab.start()
    data = clients.payload(2, 2_000_000)
    connection = lab.raw(timeout=30)
    connection.sendall(mqtt.connect("eager") + mqtt.subscribe(1, "eager") + mqtt.publish("eager", data, 1, 2))
    heard = {}
    while mqtt.PUBLISH not in heard or mqtt.PUBACK not in heard:
        first, body = mqtt.read_packet(connection)
        heard[first & 0xF0] = body
    if clients.digest(mqtt.publish_parts(mqtt.PUBLISH, heard[mqtt.PUBLISH])[3]) != clients.digest(data):
        raise LabError("the message behind CONNECT is not what was sent")
    checks.all_spliced(lab, 1)


@scenario()
def real_clients_work_unchanged(lab):
    """mosquitto_pub and mosquitto_sub, all three versions: what an operator tries first."""
    lab.start()
    senders = lab.acquaint("sender-")
    for version in ("mqttv31", "mqttv311", "mqttv5"):
        sub = f"sub-{version}"
        output = lab.folder / f"{sub}.out"
        process = clients.mosquitto_sub(lab.resources, lab.topology, lab.listener, output, "-i", sub, "-V", version,
                                        "-t", "real/#", "-q", "2", "-C", "3")
        wait_until(lambda: any(broker.saw_client(sub) for broker in lab.brokers), 10, f"{sub} is connected")
        sender = senders[lab.broker_of(sub)]
        checks.all_spliced(lab, 1)
        for qos in "012":
            clients.mosquitto_pub(lab.topology, lab.listener, "-i", sender, "-V", version, "-q", qos, "-t", f"real/{qos}",
                                  "-m", f"quality {qos}")
        if process.wait(10) != 0 or process.log().split("\n")[:3] != ["quality 0", "quality 1", "quality 2"]:
            raise LabError(f"{sub} heard {process.log()!r}")


@scenario()
def keep_alive_of_two_seconds_lasts_ten_quiet_seconds(lab):
    """PINGREQ and PINGRESP are all that is said, and the connection stays. A client that does not even ping is
    dropped by its broker after three seconds, and its flow ends."""
    lab.start()
    quiet = lab.client("quiet", keepalive=2)
    mute = lab.raw_session("mute", keepalive=2)
    checks.all_spliced(lab, 2)
    begin = time.monotonic()
    if clients.mqtt.closed_within(mute, 9) is None:
        raise LabError("a client without pings is still connected after 9 s of a keep-alive of 2 s")
    mute.close()
    kind = "relayed" if lab.mode == "relay" else "spliced"
    wait_until(lambda: lab.gateway.connections(kind) == 1, 10, "only the quiet client is left", step=0.1)
    quiet.lost.wait(max(0.0, begin + 10 - time.monotonic()))
    if not quiet.alive:
        raise LabError("the quiet client was disconnected")
    quiet.subscribe("still/here", 1)
    quiet.publish("still/here", b"yes", 1)
    if quiet.receive().payload != b"yes":
        raise LabError("the quiet client hears something else")
