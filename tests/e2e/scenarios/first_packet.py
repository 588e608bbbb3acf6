# SPDX-License-Identifier: Apache-2.0
"""CONNECT in every shape, right and wrong: the right answer, a named reason, nobody waits."""
import time

from limpet_lab import checks, clients, mqtt
from limpet_lab.process import LabError, wait_until
from limpet_lab.scenario import scenario


def _accepted(connection):
    first, body = mqtt.read_packet(connection)
    if first != mqtt.CONNACK or body[1] != 0:
        raise LabError(f"answered {first:#x} {body.hex()} instead of CONNACK 0")


@scenario()
def connect_may_come_byte_by_byte(lab):
    """TCP has no packets: every split of CONNECT means the same."""
    lab.start()
    for version in (mqtt.V31, mqtt.V311, mqtt.V5):
        connection = lab.raw()
        for byte in mqtt.connect(f"slow-v{version}", version=version, will=("will/topic", "will payload"), username="user",
                                 password="secret"):
            connection.sendall(bytes([byte]))
            time.sleep(0.001)  # a segment for each byte, which is the point
        _accepted(connection)
        clients.ping(connection)
    checks.all_spliced(lab, 3)


@scenario()
def packets_behind_connect_ride_along(lab):
    """CONNECT, SUBSCRIBE and PUBLISH in one segment: legal pipelining, forwarded as it is."""
    lab.start()
    connection = lab.raw()
    connection.sendall(mqtt.connect("hasty") + mqtt.subscribe(7, "hasty/topic", 1)
                       + mqtt.publish("hasty/topic", b"already here", 1, 9))
    _accepted(connection)
    heard = dict(mqtt.read_packet(connection) for _ in range(3))
    if mqtt.SUBACK not in heard or mqtt.PUBACK not in heard:
        raise LabError(f"answered by {[hex(first) for first in heard]}")
    message = next(mqtt.publish_parts(first, body) for first, body in heard.items() if first & 0xF0 == mqtt.PUBLISH)
    if message[3] != b"already here":
        raise LabError(f"the message became {message}")
    clients.ping(connection)
    checks.all_spliced(lab, 1)


def _connect_of_size(size, client_id, version):
    """A CONNECT of exactly `size` bytes: the rest of it is the will's payload and a user name."""
    will, user = 40000, ""
    while True:
        packet = mqtt.connect(client_id, version=version, will=("t", bytes(will)), username=user)
        if len(packet) == size:
            return packet
        user += "u" * max(1, size - len(packet))


@scenario(timeout=90)
def connect_is_taken_up_to_the_cap_and_not_beyond(lab):
    """64 KiB is the documented cap: exactly so much passes, one byte more is refused, by name."""
    lab.start()
    for version in (mqtt.V311, mqtt.V5):
        connection = lab.raw()
        connection.sendall(_connect_of_size(65536, f"large-{version}", version))
        _accepted(connection)
        clients.ping(connection)
    checks.all_spliced(lab, 2)
    for count, version in enumerate((mqtt.V311, mqtt.V5), 1):
        connection = lab.raw()
        packet = _connect_of_size(65537, "too-large", version)
        connection.sendall(packet[:1024])  # the length alone decides
        answer = mqtt.closed_within(connection, 5)
        if answer is None:
            raise LabError("a CONNECT above the cap is still waited for")
        if answer and (version != mqtt.V5 or answer[0] != mqtt.CONNACK or answer[3] != 0x95):
            raise LabError(f"a CONNECT above the cap was answered by {answer.hex()}")
        lab.gateway.wait_reason("close_connect_too_large", count)
    if any(broker.saw_client("too-large") for broker in lab.brokers):
        raise LabError("a CONNECT above the cap reached a broker")


_SIGNATURE_V2 = b"\r\n\r\n\0\r\nQUIT\n"
WRONG_BEGINNINGS = {
    "close_tls_client_hello": [bytes.fromhex("16030100c8010000c40303") + bytes(range(60))],
    "close_http": [b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n", b"POST /mqtt HTTP/1.1\r\n\r\n"],
    "close_proxy_v1": [b"PROXY TCP4 192.0.2.1 192.0.2.2 4321 1883\r\n"],
    "close_proxy_v2": [_SIGNATURE_V2 + b"\x21\x11\0\x0c" + bytes(12)],
    "close_ssh": [b"SSH-2.0-OpenSSH_9.2\r\n"],
    "close_smtp": [b"EHLO client.example\r\n", b"HELO client.example\r\n"],
    "close_not_mqtt": [mqtt.publish("topic", b"too early"), bytes(range(128, 168)),
                       bytes([mqtt.PINGREQ, 0]), bytes([mqtt.DISCONNECT, 0])],
    "close_malformed_connect": [
        mqtt.connect("id", flags=0x03),                         # reserved flag
        mqtt.connect("id", flags=0x1a),                         # will QoS without will
        mqtt.connect("id", flags=0x1e, will=("t", "p")),        # will QoS 3
        mqtt.connect("id", flags=0x42, password="p"),           # 3.1.1: password without user name
        mqtt.connect(b"a\xc0\x80b"),                            # overlong NUL
        mqtt.connect(b"a\xed\xa0\x80"),                         # surrogate
        mqtt.connect(b"a\0b"),                                  # NUL
        b"\x10\xff\xff\xff\xff\x01",                            # a remaining length of five bytes
        b"\x11" + mqtt.connect("id")[1:],                       # flags of the fixed header
        mqtt.packet(mqtt.CONNECT, mqtt.connect("id")[2:] + b"more"),
        mqtt.connect("id", version=mqtt.V5, properties=b"\x21\0\0"),      # receive maximum 0
        mqtt.connect("id", version=mqtt.V5, properties=b"\x17\2"),        # boolean above 1
        mqtt.connect("id", version=mqtt.V5, properties=b"\x16\0\1a"),     # authentication data without method
        mqtt.connect("id", version=mqtt.V5, properties=b"\x24\1"),        # a property of CONNACK
    ],
    "close_unsupported_version": [mqtt.connect("id", level=6), mqtt.connect("id", name="MQIsdp", level=4),
                                  mqtt.connect("id", name="mqtt"), mqtt.connect("id", level=0)],
    "close_client_id_rejected": [mqtt.connect("", clean=False)],
}


@scenario(timeout=90)
def wrong_first_packets_are_closed_at_once_by_name(lab):
    """Whatever is no CONNECT, or a wrong one, ends within a moment, counts under its name and never reaches a
    broker; a client that does it right is served beside them."""
    lab.start()
    good = lab.client("bystander")
    for reason, beginnings in WRONG_BEGINNINGS.items():
        for count, data in enumerate(beginnings, 1):
            connection = lab.raw()
            begin = time.monotonic()
            connection.sendall(data)
            answer = mqtt.closed_within(connection, 3)
            if answer is None:
                raise LabError(f"{reason}: {data[:24].hex()} is still open after {time.monotonic() - begin:.1f} s")
            connection.close()
            try:
                lab.gateway.wait_reason(reason, count, 2)
            except LabError:
                raise LabError(f"{reason}: {data[:24].hex()} counted as {lab.gateway.status()['reasons']}") from None
    good.publish("still", b"served", 1)
    if any(broker.saw_client("id") for broker in lab.brokers):
        raise LabError("a wrong CONNECT reached a broker")


@scenario()
def version_refusals_are_said_in_the_clients_words(lab):
    """An unknown level is answered as its specification says: 3.1.1 code 1; an empty id without clean session
    code 2 (MQTT-3.1.1 3.1.2.2, 3.1.3.1)."""
    lab.start()
    for data, code in ((mqtt.connect("id", level=6), (1, 0x84)), (mqtt.connect("", clean=False), (2,))):
        connection = lab.raw()
        connection.sendall(data)
        answer = mqtt.closed_within(connection, 3)
        if not answer or answer[0] != mqtt.CONNACK or answer[3] not in code:
            raise LabError(f"{data.hex()} was answered by {answer and answer.hex()}, wanted CONNACK {code}")


def _closes_after(connection, seconds, slack=1.5):
    """Closed by the gateway after about `seconds`, no sooner."""
    begin = time.monotonic()
    answer = mqtt.closed_within(connection, seconds + slack)
    took = time.monotonic() - begin
    if answer is None or took < seconds - 0.5:
        raise LabError(f"closed after {took:.1f} s ({answer!r}), the deadline is {seconds} s")


@scenario(families=(4,))
def silent_clients_are_closed_at_the_connect_timeout(lab):
    """Who connects and says nothing holds a descriptor: for connect_timeout and no longer."""
    lab.start(listener={"connect_timeout": "2s"})
    _closes_after(lab.raw(), 2)
    lab.gateway.wait_reason("close_connect_timeout", 1)


@scenario(families=(4,))
def a_slow_connect_has_the_same_deadline(lab):
    """A byte now and then does not extend connect_timeout."""
    lab.start(listener={"connect_timeout": "2s"})
    connection = lab.raw()
    packet = mqtt.connect("a-client-that-takes-its-time")
    begin = time.monotonic()
    try:
        for byte in packet:
            connection.sendall(bytes([byte]))
            connection.settimeout(0.25)
            try:
                if connection.recv(1) == b"":
                    break
            except TimeoutError:
                pass
    except ConnectionError:
        pass
    took = time.monotonic() - begin
    if not 1.5 < took < 4:
        raise LabError(f"a CONNECT of a byte every 250 ms was ended after {took:.1f} s, not 2 s")
    lab.gateway.wait_reason("close_connect_timeout", 1)


@scenario(families=(4,), modes=("tc",))
def a_thousand_silent_clients_cost_bounded_memory(lab):
    """Half a CONNECT that announces 64 KiB must not reserve 64 KiB: memory grows with what was sent."""
    lab.start(listener={"connect_timeout": "30s"})

    def resident():
        with open(f"/proc/{lab.gateway.process.pid}/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))

    before = resident()
    waiting = [lab.raw() for _ in range(1000)]
    announced = _connect_of_size(65536, "half", mqtt.V311)[:16]
    for connection in waiting:
        connection.sendall(announced)
    wait_until(lambda: sum(entry[0] == "ESTAB" for entry in lab.topology.tcp_sockets()) >= 1000, 10, "all are accepted")
    if (grown := resident() - before) > 24 * 1024:
        raise LabError(f"1000 waiting clients cost {grown} KiB of memory")
    if lab.client("served").code != 0:
        raise LabError("a client beside them is not served")
