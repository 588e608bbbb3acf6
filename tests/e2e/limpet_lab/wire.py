# SPDX-License-Identifier: Apache-2.0
"""Single packets of the laboratory's own making, put on a link as they are."""
import ipaddress
import json
import socket
import struct

from .process import run

ETH_P_ALL = 3
FIN, SYN, RST, PSH, ACK = 1, 2, 4, 8, 16


def _sum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def tcp_packet(source, destination, sequence, acknowledgement, flags, payload=b"", window=1000, hops=64):
    """An IP packet with a TCP segment; source and destination are (address, port)."""
    here, there = (ipaddress.ip_address(end[0]) for end in (source, destination))
    segment = struct.pack("!HHIIBBHHH", source[1], destination[1], sequence & 0xFFFFFFFF, acknowledgement & 0xFFFFFFFF,
                          5 << 4, flags, window, 0, 0) + payload
    pseudo = here.packed + there.packed + struct.pack("!II", len(segment), socket.IPPROTO_TCP)
    check = 0xFFFF ^ _sum(pseudo + segment)
    segment = segment[:16] + struct.pack("!H", check) + segment[18:]
    if here.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(segment), socket.IPPROTO_TCP, hops) + here.packed + there.packed + segment
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0x4000, hops, socket.IPPROTO_TCP, 0) \
        + here.packed + there.packed
    return header[:10] + struct.pack("!H", 0xFFFF ^ _sum(header)) + header[12:] + segment


def mac(namespace, device):
    return json.loads(run("ip", "-n", namespace, "-j", "link", "show", "dev", device).stdout)[0]["address"]


def frame(packet, to, sender, tag=None):
    """An Ethernet frame around an IP packet, with an 802.1Q tag (its 16 bits) where one is given."""
    kind = 0x86DD if packet[0] >> 4 == 6 else 0x0800
    addresses = bytes.fromhex(to.replace(":", "")) + bytes.fromhex(sender.replace(":", ""))
    between = struct.pack("!HH", 0x8100, tag) if tag is not None else b""
    return addresses + between + struct.pack("!H", kind) + packet


def send_frame(topology, where, device, data):
    """Puts a frame on the link of a namespace ('clients', 'broker')."""
    with topology.inside(where):
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as wire:
            wire.bind((device, 0))
            wire.send(data)
