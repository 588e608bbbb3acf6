# SPDX-License-Identifier: Apache-2.0
"""The few MQTT packets that the laboratory writes and reads itself, byte by byte, right or wrong on purpose."""
import socket
import struct

from .process import patient

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 0x10, 0x20, 0x30, 0x40, 0x50, 0x62, 0x70
SUBSCRIBE, SUBACK, PINGREQ, PINGRESP, DISCONNECT = 0x82, 0x90, 0xC0, 0xD0, 0xE0
V31, V311, V5 = 3, 4, 5


def remaining_length(number):
    """MQTT-5.0 1.5.5: seven bits a byte, the lowest first."""
    out = bytearray()
    while True:
        number, digit = divmod(number, 128)
        out.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(out)


def text(value):
    raw = value if isinstance(value, bytes) else value.encode()
    return struct.pack("!H", len(raw)) + raw


def packet(first, body):
    return bytes([first]) + remaining_length(len(body)) + body


def connect(client_id, version=V311, clean=True, keepalive=60, username=None, password=None, will=None, name=None,
            level=None, flags=None, properties=b""):
    """CONNECT; `will` is (topic, payload). name, level and flags replace the right ones, for wrong packets."""
    right_flags = (2 if clean else 0) | (4 if will else 0) | (0x80 if username is not None else 0) \
        | (0x40 if password is not None else 0)
    body = text(name if name is not None else ("MQIsdp" if version == V31 else "MQTT"))
    body += bytes([level if level is not None else version, flags if flags is not None else right_flags])
    body += struct.pack("!H", keepalive)
    if version == V5:
        body += remaining_length(len(properties)) + properties
    body += text(client_id)
    if will:
        body += (b"\0" if version == V5 else b"") + text(will[0]) + text(will[1])
    for field in (username, password):
        if field is not None:
            body += text(field)
    return packet(CONNECT, body)


def connack(version=V311, code=0, session_present=0, properties=b""):
    body = bytes([session_present, code])
    if version == V5:
        body += remaining_length(len(properties)) + properties
    return packet(CONNACK, body)


def connect_version(body):
    """The protocol level of a CONNECT's body."""
    length = struct.unpack_from("!H", body)[0]
    return body[2 + length] & 0x7F


def connect_client_id(body):
    """The client id of a CONNECT's body."""
    at = 2 + struct.unpack_from("!H", body)[0] + 4
    if connect_version(body) == V5:
        if body[at] & 0x80:
            raise ValueError("properties of more than 127 bytes are not read here")
        at += 1 + body[at]
    length = struct.unpack_from("!H", body, at)[0]
    return body[at + 2:at + 2 + length]


def subscribe(packet_id, topic, qos=0, version=V311):
    properties = b"\0" if version == V5 else b""
    return packet(SUBSCRIBE, struct.pack("!H", packet_id) + properties + text(topic) + bytes([qos]))


def publish(topic, payload, qos=0, packet_id=0, retain=False, version=V311):
    body = text(topic) + (struct.pack("!H", packet_id) if qos else b"") + (b"\0" if version == V5 else b"") + payload
    return packet(PUBLISH | qos << 1 | int(retain), body)


def answer(first, packet_id):
    """PUBACK, PUBREC, PUBREL or PUBCOMP."""
    return packet(first, struct.pack("!H", packet_id))


def publish_parts(first, body, version=V311):
    """(topic, qos, packet id, payload) of a PUBLISH."""
    length = struct.unpack_from("!H", body)[0]
    topic = body[2:2 + length].decode()
    at = 2 + length
    qos = first >> 1 & 3
    packet_id = 0
    if qos:
        packet_id = struct.unpack_from("!H", body, at)[0]
        at += 2
    if version == V5:
        at += 1 + body[at]
    return topic, qos, packet_id, body[at:]


def read_exactly(connection, count):
    out = bytearray()
    while len(out) < count:
        piece = connection.recv(min(count - len(out), 1 << 20))
        if not piece:
            raise EOFError("closed by the other side")
        out += piece
    return bytes(out)


def read_packet(connection):
    """(first byte, body) of the next packet of a blocking socket; EOFError when the other side closes."""
    first = read_exactly(connection, 1)[0]
    length = shift = 0
    while True:
        digit = read_exactly(connection, 1)[0]
        length |= (digit & 0x7F) << shift
        shift += 7
        if not digit & 0x80:
            return first, read_exactly(connection, length)


def closed_within(connection, seconds):
    """Reads until the other side closes or resets: the bytes that came before, or None when it stays open."""
    connection.settimeout(patient(seconds))
    seen = bytearray()
    try:
        while piece := connection.recv(65536):
            seen += piece
    except socket.timeout:
        return None
    except ConnectionError:
        pass
    return bytes(seen)
