# SPDX-License-Identifier: Apache-2.0
"""Silent connections, and the pure ACK that each of them would send now, as a frame."""
import os
import socket
import struct

from limpet_lab import mqtt
from limpet_lab.process import LabError

# Linux's own numbers (include/uapi/linux/tcp.h); Python names none of them.
_TCP_REPAIR, _TCP_REPAIR_QUEUE, _TCP_QUEUE_SEQ, _TCP_TIMESTAMP = 19, 20, 21, 24
_RECEIVE_QUEUE, _SEND_QUEUE = 1, 2
_REPAIR_ON, _REPAIR_OFF_WITHOUT_PROBE = 1, -1


def open_connections(site, targets, count):
    """`count` MQTT connections that have their CONNACK and send nothing more."""
    connections = []
    with site.topology.inside("clients"):
        for number in range(count):
            host, port = targets[number % len(targets)].rsplit(":", 1)
            connection = socket.create_connection((host, int(port)), timeout=10)
            connection.sendall(mqtt.connect(f"packets-{number}", keepalive=3600))
            first, body = mqtt.read_packet(connection)
            if first != mqtt.CONNACK or body[1] != 0:
                raise LabError(f"CONNACK {body.hex()}")
            connections.append(connection)
    return connections


def close_connections(connections):
    for connection in connections:
        connection.close()


def _state(connection):
    """(next sequence number, next expected one, timestamp clock) of a socket."""
    connection.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, _REPAIR_ON)
    try:
        numbers = []
        for queue in (_SEND_QUEUE, _RECEIVE_QUEUE):
            connection.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR_QUEUE, queue)
            numbers.append(connection.getsockopt(socket.IPPROTO_TCP, _TCP_QUEUE_SEQ) & 0xFFFFFFFF)
        clock = connection.getsockopt(socket.IPPROTO_TCP, _TCP_TIMESTAMP) & 0xFFFFFFFF
        return (*numbers, clock)
    finally:
        connection.setsockopt(socket.IPPROTO_TCP, _TCP_REPAIR, _REPAIR_OFF_WITHOUT_PROBE)


def checksum(data):
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _frame(connection, source_mac, destination_mac):
    (source, source_port), (destination, port) = connection.getsockname(), connection.getpeername()
    sequence, acknowledgement, clock = _state(connection)
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    tcp = bytearray(struct.pack("!HHIIBBHHH", source_port, port, sequence, acknowledgement, 8 << 4, 0x10, 512, 0, 0))
    tcp += struct.pack("!BBBBII", 1, 1, 8, 10, clock, 0)  # NOP, NOP, timestamps
    struct.pack_into("!H", tcp, 16, checksum(addresses + struct.pack("!HH", socket.IPPROTO_TCP, len(tcp)) + tcp))
    ip = bytearray(struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), os.getpid() & 0xFFFF, 0x4000, 64,
                               socket.IPPROTO_TCP, 0) + addresses)
    struct.pack_into("!H", ip, 10, checksum(bytes(ip)))
    macs = bytes.fromhex((destination_mac + source_mac).replace(":", ""))
    return macs + b"\x08\x00" + bytes(ip) + bytes(tcp)


def write(connections, source_mac, destination_mac):
    """One frame in hex a line."""
    return "".join(_frame(connection, source_mac, destination_mac).hex() + "\n" for connection in connections)
