# SPDX-License-Identifier: Apache-2.0
"""Every way in which a spliced connection can end, with real stacks at both ends: both are told, the entries go within
the stated time and not before, and the host's own TCP says nothing."""
import contextlib
import errno
import socket
import threading
import time

from limpet_lab import checks, clients, ends, wire
from limpet_lab.disorder import Disorder
from limpet_lab.process import LabError, run, wait_until
from limpet_lab.scenario import scenario
from limpet_lab.topology import client_address

SPLICING = ("xdp", "tc")


@scenario(modes=SPLICING)
def a_fin_from_either_side_ends_it(lab):
    """Whoever closes first: the other side hears FIN, closes too, and the entries go."""
    desk = ends.start(lab)
    by_client, by_broker = desk.pairs("by-client", "by-broker")
    by_client.talk()
    by_broker.talk()
    by_client.client.shutdown(socket.SHUT_WR)
    by_broker.broker.shutdown(socket.SHUT_WR)
    ends.ends_as(by_client.broker, "fin")
    ends.ends_as(by_broker.client, "fin")
    if lab.gateway.flow_count() != 2:
        raise LabError("an entry went although its connection is only half closed")
    by_client.broker.close()
    by_broker.client.close()
    ends.ends_as(by_client.client, "fin")
    ends.ends_as(by_broker.broker, "fin")
    ends.gone(lab)
    if lab.gateway.reason("end_fin") != 2:
        raise LabError(f"counted as {lab.gateway.status()['reasons']}")


@scenario(modes=SPLICING)
def both_sides_may_close_at_once(lab):
    """FINs that cross on the way: each frame takes 15 ms here, so that they surely do."""
    desk = ends.start(lab)
    pairs = desk.pairs(*(f"crossing-{number}" for number in range(5)))
    disorder = Disorder(lab)
    disorder.set(late=100, lateness=(15, 15))
    for pair in pairs:
        pair.client.shutdown(socket.SHUT_WR)
        pair.broker.shutdown(socket.SHUT_WR)
    for pair in pairs:
        ends.ends_as(pair.client, "fin")
        ends.ends_as(pair.broker, "fin")
        pair.client.close()
        pair.broker.close()

    def waiting(where):
        return sum(state == "TIME-WAIT" for state, _, _ in lab.topology.tcp_sockets(where))

    # Where FINs cross both ends go through CLOSING to TIME-WAIT; otherwise only one of them does (RFC 9293 3.6).
    wait_until(lambda: waiting("clients") == waiting("broker") == len(pairs), 3, "both ends of all are in TIME-WAIT")
    ends.gone(lab)


@scenario(modes=SPLICING, timeout=60)
def a_half_close_may_last(lab):
    """One side has said all, the other goes on for seconds, or is silent for seconds and then goes on: longer than
    closing_timeout, and nothing is cut short."""
    desk = ends.start(lab)
    to_client, to_broker, silent = desk.pairs("to-client", "to-broker", "silent")
    to_client.client.shutdown(socket.SHUT_WR)
    to_broker.broker.shutdown(socket.SHUT_WR)
    silent.client.shutdown(socket.SHUT_WR)
    ends.ends_as(to_client.broker, "fin")
    ends.ends_as(to_broker.client, "fin")
    ends.ends_as(silent.broker, "fin")
    seconds = 2 * checks.STATED_SECONDS
    other = threading.Thread(target=ends.keeps_talking, args=(to_broker.client, to_broker.broker, seconds))
    other.start()
    ends.keeps_talking(to_client.broker, to_client.client, seconds)
    other.join()
    ends.crosses(to_broker.client, to_broker.broker, b"and the last word")
    ends.crosses(silent.broker, silent.client, clients.payload(1, 20_000))
    if (count := lab.gateway.flow_count()) != 3:
        raise LabError(f"of three half-closed connections {count} are left")
    for first, second in ((to_client.broker, to_client.client), (to_broker.client, to_broker.broker),
                          (silent.broker, silent.client)):
        first.close()
        ends.ends_as(second, "fin")
    ends.gone(lab)


@scenario(modes=SPLICING)
def a_fin_may_carry_data(lab):
    """The last bytes and FIN in one segment: the bytes arrive, then the end, in either direction."""
    desk = ends.start(lab)
    up, down, both = desk.pairs("up", "down", "both")

    def last_words(connection, words):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        connection.sendall(words)  # less than a segment: waits for more, which is FIN
        connection.shutdown(socket.SHUT_WR)

    last_words(up.client, b"that was all" * 20)
    last_words(down.broker, b"nothing more" * 20)
    last_words(both.client, b"from the client" * 20)
    last_words(both.broker, b"from the broker" * 20)
    ends.ends_as(up.broker, "fin", b"that was all" * 20)
    ends.ends_as(down.client, "fin", b"nothing more" * 20)
    ends.ends_as(both.broker, "fin", b"from the client" * 20)
    ends.ends_as(both.client, "fin", b"from the broker" * 20)
    last_words(up.broker, b"and that too")
    last_words(down.client, b"not from me either")
    ends.ends_as(up.client, "fin", b"and that too")
    ends.ends_as(down.broker, "fin", b"not from me either")
    ends.gone(lab)


@scenario(modes=SPLICING)
def a_reset_from_either_side_ends_it(lab):
    """RST at the right sequence number: the other side hears it at once, and the entries go."""
    desk = ends.start(lab)
    by_client, by_broker = desk.pairs("by-client", "by-broker")
    by_client.talk()
    by_broker.talk()
    clients.reset(by_client.client)
    clients.reset(by_broker.broker)
    ends.ends_as(by_client.broker, "reset")
    ends.ends_as(by_broker.client, "reset")
    ends.gone(lab)
    if lab.gateway.reason("end_rst") != 2:
        raise LabError(f"counted as {lab.gateway.status()['reasons']}")


@scenario(modes=SPLICING)
def a_reset_into_a_stream_ends_it(lab):
    """RST crosses data that is on its way: who streams is told, and what still comes does not revive the flow."""
    desk = ends.start(lab)
    up, down = desk.pairs("up", "down")
    told = []

    def stream(connection):
        with contextlib.suppress(OSError):
            while True:
                connection.sendall(bytes(100_000))
        told.append(connection)

    streams = [threading.Thread(target=stream, args=(connection,)) for connection in (up.client, down.broker)]
    for thread in streams:
        thread.start()
    for reader in (up.broker, down.client):
        for _ in range(50):
            reader.recv(65536)
        clients.reset(reader)
    for thread in streams:
        thread.join(3)
    if len(told) != 2:
        raise LabError("who streams into a reset connection was not told")
    ends.gone(lab)


@scenario(modes=SPLICING)
def a_blind_reset_or_syn_ends_nothing(lab):
    """Who knows addresses and ports but no sequence number: RST and SYN from either side change nothing. The last
    RST has the right number, and shows that the forged ones did arrive."""
    desk = ends.start(lab)
    pair, = desk.pairs("target")
    pair.talk(1)
    for impostor, right, _ in ends.impostors(lab, pair):
        for offset in (1, 1000, 60_000, -1, -1000, 1 << 24, 1 << 31):
            impostor.forge(wire.RST, right + offset)
        impostor.forge(wire.SYN, right + 12_345)
    pair.talk(2)
    later = time.monotonic() + checks.STATED_SECONDS
    wait_until(lambda: time.monotonic() > later, checks.STATED_SECONDS + 1, "closing_timeout passes")
    if (state := ends.state_of(lab, "target")) != "active":
        raise LabError(f"the attacked flow is {state}")
    pair.talk(3)
    impostor, right, _ = ends.impostors(lab, pair)[0]
    impostor.forge(wire.RST, right)
    ends.ends_as(pair.broker, "reset")
    ends.gone(lab)


@scenario(modes=SPLICING)
def a_blind_attacker_spoils_no_ending(lab):
    """FIN, ACK and data far out of window, from either side: dropped by whom they reach, and what the entries
    remember is no worse for it. The connections live on, and end by RST and by FIN as if nothing had been."""
    desk = ends.start(lab)
    resets, closes = desk.pairs("resets", "closes")
    for pair in (resets, closes):
        pair.talk(1)
        for impostor, right, acknowledgement in ends.impostors(lab, pair):
            for offset in (1 << 24, 1 << 30, -(1 << 24)):
                for flags, data in ((wire.FIN | wire.ACK, b""), (wire.ACK, b""), (wire.ACK, b"evil")):
                    impostor.forge(flags, right + offset, acknowledgement + offset, data)
        pair.talk(2)
    clients.reset(resets.client)
    ends.ends_as(resets.broker, "reset")
    closes.client.shutdown(socket.SHUT_WR)
    ends.ends_as(closes.broker, "fin")
    closes.broker.close()
    ends.ends_as(closes.client, "fin")
    ends.gone(lab)


@scenario(modes=SPLICING)
def guessed_fins_on_both_legs_end_nothing(lab):
    """Who guesses numbers so near that the data path believes two FINs closes the flow for a moment: no SYN ends it
    then, and both ends, when they are asked, say that they live."""
    desk = ends.start(lab)
    pair, = desk.pairs("guessed")
    pair.talk(1)
    impostors = ends.impostors(lab, pair)
    for impostor, right, acknowledgement in impostors:
        impostor.forge(wire.FIN | wire.ACK, right + (1 << 21), acknowledgement)  # beyond the receiver's window
    impostors[0][0].forge(wire.SYN, 12_345)
    wait_until(lambda: lab.gateway.reason("fin_denied"), 8,
               lambda: f"an end denies its FIN: {lab.gateway.status()['reasons']}", step=0.1)
    ends.wait_state(lab, "guessed", "active", 1)
    if lab.gateway.reason("end_syn"):
        raise LabError("a SYN ended the flow")
    pair.talk(2)
    pair.client.close()
    ends.ends_as(pair.broker, "fin")
    pair.broker.close()
    ends.gone(lab)


def _reborn(lab, desk, port, client_id, old_broker=None):
    """A client that comes back on the same port ends up in a fresh session, through the listener."""
    begin = time.monotonic()
    client = ends.connect(lab, client_id, port=port)
    broker = desk.take(client_id)
    if (took := time.monotonic() - begin) > 5:
        raise LabError(f"the new session took {took:.1f} s")
    ends.Pair(client_id, client, broker).talk()
    if old_broker:
        ends.ends_as(old_broker, "reset")
    wait_until(lambda: [flow["client_id"] for flow in lab.gateway.flows()] == [client_id], 5,
               lambda: f"only {client_id} has a flow: {lab.gateway.flows()}", step=0.05)
    return client, broker


@scenario(modes=SPLICING)
def a_device_that_lost_power_comes_back_on_its_port(lab):
    """A SYN on a live tuple: the old connection ends with a reset at its broker, and the new one is a session of its
    own, though its broker's end is the same. Once more, with a broker's end that has forgotten the connection too."""
    desk = ends.start(lab)
    old, = desk.pairs("before")
    old.talk()
    port = ends.forget(old.client)
    client, broker = _reborn(lab, desk, port, "after", old.broker)
    port = ends.forget(client)
    ends.forget(broker)
    client, broker = _reborn(lab, desk, port, "at-last")
    client.close()
    ends.ends_as(broker, "fin")
    broker.close()
    ends.gone(lab)


@scenario(modes=SPLICING)
def a_port_may_be_used_again_while_the_old_flow_closes(lab):
    """The broker closed first, so that the client's port is free at once: its SYN meets the closing flow, and once
    more the retired one."""
    desk = ends.start(lab)
    for number, met in enumerate(("closing", "retired")):
        pair, = desk.pairs(f"first-{number}")
        port = pair.client.getsockname()[1]
        pair.broker.shutdown(socket.SHUT_WR)
        ends.ends_as(pair.client, "fin")
        pair.client.close()
        ends.ends_as(pair.broker, "fin")
        pair.broker.close()
        wait_until(lambda: checks.entries(lab)[met] == 2, 5, lambda: f"the flow is {met}: {checks.entries(lab)}",
                   step=0.01)
        client, broker = _reborn(lab, desk, port, f"second-{number}")
        broker.close()
        ends.ends_as(client, "fin")
        client.close()
        ends.gone(lab)


@scenario(modes=SPLICING)
def a_port_may_be_used_again_in_time_wait(lab):
    """The client closed first and is in TIME_WAIT; its host lets it have the port again after a second (RFC 6191)."""
    run("ip", "netns", "exec", lab.topology.clients, "sysctl", "-q", "-w", "net.ipv4.tcp_tw_reuse=1")
    desk = ends.start(lab)
    pair, = desk.pairs("first")
    pair.talk()
    port = pair.client.getsockname()[1]
    pair.client.shutdown(socket.SHUT_WR)
    ends.ends_as(pair.broker, "fin")
    pair.broker.close()
    ends.ends_as(pair.client, "fin")
    pair.client.close()
    deadline = time.monotonic() + 5
    while True:
        try:
            client, broker = _reborn(lab, desk, port, "second")
            break
        except OSError as error:
            if error.errno != errno.EADDRNOTAVAIL or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
    client.close()
    ends.ends_as(broker, "fin")
    broker.close()
    ends.gone(lab)


def _cut_off(lab, address):
    """This address of the clients hears nothing and says nothing any more."""
    word = "ip" if lab.family == 4 else "ip6"
    rules = "".join(f"table inet {hook} {{\n chain {hook} {{\n  type filter hook {hook} priority 0;\n"
                    f"  {word} {side} {address} drop\n }}\n}}\n"
                    for hook, side in (("input", "daddr"), ("output", "saddr")))
    run("ip", "netns", "exec", lab.topology.clients, "nft", "-f", "-", text_input=rules)


@scenario(modes=SPLICING, client_addresses=2, timeout=60)
def a_peer_that_vanishes_is_given_up(lab):
    """Silence beyond 1.5 times the keep-alive of 2 s and the margin of 10 s: both ends are told by RST. One client only
    says nothing, the other is cut off from the network while its broker goes on sending."""
    desk = ends.start(lab)
    silent = desk.pair("silent", keepalive=2)
    lost = desk.pair("lost", keepalive=2, number=11)
    stays = desk.pair("stays", keepalive=60)
    checks.all_spliced(lab, 3)
    begin = time.monotonic()
    _cut_off(lab, client_address(lab.family, 11))
    allowed = 2 + 1 + 10
    while (passed := time.monotonic() - begin) < allowed - 1:
        with contextlib.suppress(TimeoutError):
            lost.broker.sendall(b"are you there?")
        if lab.gateway.flow_count() != 3:
            raise LabError(f"a flow was given up after {passed:.1f} s, {allowed} s of silence are allowed")
        time.sleep(1)
    late = allowed + 2 + 2 - passed  # a sweep every 2 s, and some time to carry it out
    ends.ends_as(silent.broker, "reset", seconds=late)
    ends.ends_as(silent.client, "reset")
    ends.ends_as(lost.broker, "reset", seconds=late)
    stays.talk()
    if lab.gateway.reason("end_idle") != 2 or lab.gateway.flow_count() != 1:
        raise LabError(f"counted as {lab.gateway.status()['reasons']}")
    stays.client.close()
    stays.broker.close()
    ends.gone(lab)


@scenario(modes=("tc",), families=(4,), leaves={"guard": "the host is made to speak on an active flow"})
def what_is_left_behind_is_found(lab):
    """The checks behind every scenario can fail, each of them: while a flow lives, they find it, its entries and its
    port; and a word of the host's own on it."""
    desk = ends.start(lab)
    pair, = desk.pairs("stays")
    flow, = lab.gateway.flows()

    def finds(name):
        others = [other for other in checks.CLOSING if other != name]
        try:
            checks.nothing_left(lab, others, seconds=0.1)
        except LabError as error:
            if f"'{name}'" in str(error):
                return
            raise
        raise LabError(f"the closing check of {name} found nothing")

    for name in ("flows", "connections", "entries", "source_ports"):
        finds(name)
    checks.nothing_left(lab, [name for name in checks.CLOSING if name != "guard"])
    word = wire.tcp_packet(ends.parse_endpoint(flow["listener"]), ends.parse_endpoint(flow["client"]), 1, 1, wire.RST)
    with contextlib.suppress(OSError):  # ENOBUFS: the guard dropped it
        wire.send_frame(lab.topology, "gateway", "front", wire.frame(
            word, wire.mac(lab.topology.clients, "eth0"), wire.mac(lab.topology.gateway, "front")))
    finds("guard")
    pair.talk()
