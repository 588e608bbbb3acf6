# SPDX-License-Identifier: Apache-2.0
"""TLS that ends at Limpet: towards clients, towards brokers, and what becomes of bad handshakes."""
import contextlib
import hashlib
import os
import select
import socket
import ssl
import threading
import time

from limpet_lab import checks, clients, mqtt
from limpet_lab.broker import PORT
from limpet_lab.certificates import Authority
from limpet_lab.gateway import toml_table
from limpet_lab.process import LabError, patient, run, wait_until
from limpet_lab.scenario import scenario
from limpet_lab.topology import broker_address, endpoint

TLS_PORT = 8883


def _listener(lab, pool="main4", port=TLS_PORT, name="mqtts", **tls):
    """A TLS listener's sections."""
    return (toml_table("[[listener]]", {"name": name, "address": endpoint(lab.listener, port), "protocol": "mqtts",
                                        "pool": pool, "connect_timeout": "3s"})
            + toml_table("[listener.tls]", tls))


def _start(lab, authority, extra="", brokers=True, workers=2, **tls):
    """Brokers and a gateway with a TLS listener; its certificate is for localhost."""
    certificate, key = authority.issue("server")
    if brokers:
        lab.start_brokers()
    return lab.start_gateway(daemon={"workers": workers},
                             extra=_listener(lab, certificate=certificate, key=key, **tls) + extra)


def _context(authority, certificate=None, key=None):
    context = ssl.create_default_context(cafile=authority.ca)
    if certificate:
        context.load_cert_chain(certificate, key)
    return context


def _secure(lab, context, name="localhost", port=TLS_PORT):
    """A TLS connection of the clients' namespace."""
    return lab.track(context.wrap_socket(clients.raw(lab.topology, lab.listener, port=port), server_hostname=name))


def _session(lab, context, client_id, **options):
    """A TLS connection with a CONNECT that was accepted."""
    connection = _secure(lab, context, **options)
    connection.sendall(mqtt.connect(client_id))
    first, body = mqtt.read_packet(connection)
    if first != mqtt.CONNACK or body[1] != 0:
        raise LabError(f"{client_id}: answered with {first:#x} {body!r}")
    return connection


def _in_clients(lab, *words, **options):
    return run("ip", "netns", "exec", lab.topology.clients, *words, **options)


def _s_client(lab, authority, *words, port=TLS_PORT, text_input="Q\n"):
    return _in_clients(lab, "openssl", "s_client", "-connect", endpoint(lab.listener, port), "-CAfile", authority.ca,
                       "-servername", "localhost", *words, check=False, text_input=text_input)


@scenario(modes=("tc",), families=(4,))
def real_clients_of_every_kind_speak_tls(lab):
    """mosquitto_sub and mosquitto_pub, paho and openssl come in by TLS 1.2 and 1.3 and reach a real broker."""
    authority = Authority(lab.folder)
    gateway = _start(lab, authority)
    trust = ["--cafile", authority.ca, "--insecure", "-h", lab.listener, "-p", TLS_PORT]
    _in_clients(lab, "mosquitto_pub", *trust, "-i", "one", "-t", "kept", "-m", "by mosquitto", "-r", "-q", "1")
    heard = _in_clients(lab, "mosquitto_sub", *trust, "-i", "one", "-t", "kept", "-C", "1", "-W", "20").stdout
    if heard != "by mosquitto\n":
        raise LabError(f"mosquitto_sub heard {heard!r}")
    client = lab.client("paho", port=TLS_PORT, tls={"ca_certs": str(authority.ca)})
    for qos in (0, 1, 2):
        client.subscribe(f"loop/{qos}", qos)
        client.publish(f"loop/{qos}", b"by paho", qos)
        if client.receive().payload != b"by paho":
            raise LabError("paho heard something else")
    counts = gateway.status()["connections"]
    if (counts["tls"], counts["relayed"], counts["spliced"]) != (1, 1, 0):
        raise LabError(f"one TLS connection is counted as {counts}")
    if gateway.reason("relay_tls") < 3:
        raise LabError("relays because of TLS are not counted as such")
    for version, good in (("-tls1_3", True), ("-tls1_2", True), ("-tls1_1", False)):
        done = _s_client(lab, authority, version, "-alpn", "mqtt", "-cipher", "ALL:@SECLEVEL=0")
        if ("Verify return code: 0" in done.stdout and "ALPN protocol: mqtt" in done.stdout) != good:
            raise LabError(f"openssl s_client {version}: {done.stdout} {done.stderr}")
    gateway.wait_reason("close_tls_version")


@scenario(modes=("relay",), families=(4,))
def client_certificates_are_judged(lab):
    """With verify = required: a good certificate passes; none, a stranger's and a revoked one are refused, each under
    its own name; the broker pool sticks by the certificate's common name."""
    authority = Authority(lab.folder)
    revoked = authority.issue("revoked")
    pool = toml_table("[[pool]]", {"name": "by_cn", "key": "certificate_cn"}) + "".join(
        toml_table("[[pool.broker]]", {"name": f"b{n}", "address": endpoint(broker_address(4, n), PORT)})
        for n in (1, 2, 3))
    certificate, key = authority.issue("server")
    lab.start_brokers()
    gateway = lab.start_gateway(extra=_listener(
        lab, pool="by_cn", certificate=certificate, key=key, client_ca=authority.ca, verify="required",
        client_crl=authority.revoke(revoked[0])) + pool)
    device = _context(authority, *authority.issue("device-7"))
    for number in range(5):
        _session(lab, device, f"any id {number}")
    homes = {lab.broker_of(f"any id {number}") for number in range(5)}
    if len(homes) != 1:
        raise LabError(f"one certificate went to {homes}")
    other = lab.folder / "other"
    other.mkdir()
    stranger = Authority(other)
    for context, reason in ((_context(authority), "close_tls_no_certificate"),
                            (_context(authority, *stranger.issue("device-7")), "close_tls_certificate"),
                            (_context(authority, *revoked), "close_tls_certificate")):
        before = gateway.reason(reason)
        try:
            connection = _secure(lab, context)
            connection.sendall(mqtt.connect("nobody"))
            connection.recv(1)
            raise LabError(f"a client that must fail with {reason} was let in")
        except ssl.SSLError as error:
            if "alert" not in str(error):
                raise LabError(f"{reason}: the client was told {error}") from None
        gateway.wait_reason(reason, before + 1)
    if "certificate revoked" not in gateway.log():
        raise LabError("the log does not say that a certificate was revoked")


def _is_let_in(lab, authority, *words):
    """Whether openssl s_client gets through a handshake that these words ask for."""
    done = _s_client(lab, authority, *words)
    return "Verify return code: 0" in done.stdout and "Cipher is (NONE)" not in done.stdout, done


@scenario(modes=("relay",), families=(4,))
def what_is_negotiated_is_what_is_allowed(lab):
    """Versions, ciphers, application protocols, the stapled status, renegotiation and compression, seen by openssl."""
    authority = Authority(lab.folder)
    certificate, key = authority.issue("server")
    lab.start_brokers()
    gateway = lab.start_gateway(extra=_listener(lab, certificate=certificate, key=key,
                                                ocsp_response=authority.status_of(certificate)))
    weak = ["-cipher", "ALL:@SECLEVEL=0"]
    for words, good in ((["-tls1_3"], True), (["-tls1_2"], True), (["-tls1_1", *weak], False), (["-tls1", *weak], False),
                        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], True),
                        (["-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305"], True),
                        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"], False),  # CBC
                        (["-tls1_2", "-cipher", "aNULL:eNULL:@SECLEVEL=0"], False),
                        (["-alpn", "mqtt"], True), (["-alpn", "http/1.1,mqtt"], True), (["-alpn", "http/1.1"], False)):
        let_in, done = _is_let_in(lab, authority, *words)
        if let_in != good:
            raise LabError(f"openssl s_client {' '.join(words)}: {done.stdout[-1500:]} {done.stderr[-500:]}")
    for reason in ("close_tls_version", "close_tls_alpn", "close_tls_cipher"):
        gateway.wait_reason(reason)
    if "no application protocol" not in _s_client(lab, authority, "-alpn", "http/1.1").stderr:
        raise LabError("who offers other protocols only is not told so")
    shown = _s_client(lab, authority, "-tls1_2", "-status").stdout
    if "OCSP Response Status: successful" not in shown or "Cert Status: good" not in shown:
        raise LabError(f"no status is stapled: {shown[:2000]}")
    if "Compression: NONE" not in shown or "Secure Renegotiation IS supported" not in shown:
        raise LabError(f"compression or renegotiation: {shown[-1500:]}")
    again = _s_client(lab, authority, "-tls1_2", text_input="R\n")
    if "no renegotiation" not in again.stderr + again.stdout:
        raise LabError(f"a client that renegotiates: {again.stdout[-800:]} {again.stderr[-800:]}")


@scenario(modes=("relay",), families=(4,))
def certificates_are_optional_and_handshakes_are_bounded(lab):
    """With verify = optional nobody must have a certificate, and a bad one is still refused; while max_handshakes are
    under way others are closed, and served when those are done."""
    authority = Authority(lab.folder)
    gateway = _start(lab, authority, client_ca=authority.ca, verify="optional", max_handshakes=3)
    clients.ping(_session(lab, _context(authority), "without"))
    clients.ping(_session(lab, _context(authority, *authority.issue("device")), "with"))
    other = lab.folder / "other"
    other.mkdir()
    with contextlib.suppress(ssl.SSLError):
        _session(lab, _context(authority, *Authority(other).issue("device")), "stranger")
    gateway.wait_reason("close_tls_certificate")
    hello = _client_hello(lab, authority)[2].read()
    halves = [lab.raw(port=TLS_PORT) for _ in range(4)]
    for connection in halves:
        connection.sendall(hello[:60])
    gateway.wait_reason("close_tls_busy", seconds=2)
    for connection in halves:
        connection.close()
    wait_until(lambda: gateway.status()["connections"]["pending"] == 0, 5, "they are gone")
    clients.ping(_session(lab, _context(authority), "afterwards"))


@scenario(modes=("relay",), families=(4,))
def sessions_are_resumed_by_whatever_worker(lab):
    """Tickets of one worker are good at every other, in TLS 1.2 and 1.3, and after a reload."""
    authority = Authority(lab.folder)
    gateway = _start(lab, authority, workers=4)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = _context(authority)
        context.minimum_version = context.maximum_version = version
        first = _session(lab, context, "first")
        ticket = first.session
        for number in range(12):
            if number == 6:
                gateway.command("reload")
            plain = clients.raw(lab.topology, lab.listener, port=TLS_PORT)
            again = lab.track(context.wrap_socket(plain, server_hostname="localhost", session=ticket))
            again.sendall(mqtt.connect(f"again {number}"))
            mqtt.read_packet(again)
            if not again.session_reused:
                raise LabError(f"{version.name}: attempt {number} was not resumed")
            ticket = again.session
    path = lab.folder / "session.pem"
    _s_client(lab, authority, "-tls1_2", "-sess_out", path)
    if "Reused" not in _s_client(lab, authority, "-tls1_2", "-sess_in", path).stdout:
        raise LabError("openssl s_client -sess_in was not resumed")


@scenario(modes=("relay",), families=(4,))
def certificates_change_while_clients_arrive(lab):
    """A reload replaces the certificate under a stream of handshakes: none fails, no connection is lost, and a wrong
    key changes nothing."""
    authority = Authority(lab.folder)
    gateway = _start(lab, authority)
    context = _context(authority)
    held = _session(lab, context, "held")
    failures, seen, stop = [], set(), threading.Event()

    def arrive():
        while not stop.is_set():
            try:
                with contextlib.closing(_secure(lab, context)) as connection:
                    seen.add(connection.getpeercert()["serialNumber"])
                    connection.sendall(mqtt.connect("visitor"))
                    mqtt.read_packet(connection)
            except (OSError, EOFError) as error:
                failures.append(error)

    threads = [threading.Thread(target=arrive) for _ in range(2)]
    for thread in threads:
        thread.start()
    for changes in range(2, 5):
        authority.issue("server", kind="rsa" if changes % 2 else "ec")
        answer = gateway.ask("reload")
        if not any("new certificate" in line for line in answer["changed"]):
            raise LabError(f"reload says {answer}")
        wait_until(lambda: len(seen) >= changes, 10, "the new certificate is shown")
    stop.set()
    for thread in threads:
        thread.join()
    if failures:
        raise LabError(f"{len(failures)} handshakes failed: {failures[0]!r}")
    clients.ping(held)
    (authority.folder / "server.key").write_text("no key")
    done = gateway.command("reload", check=False)
    if done.returncode != 1 or "limpet.toml:" not in done.stderr or "key" not in done.stderr:
        raise LabError(f"a reload with a wrong key: {done}")
    clients.ping(_session(lab, context, "after the refused reload"))


class _End:
    """One end of a connection that sends and receives at the same time, in one thread: an SSLSocket is not for two."""

    def __init__(self, connection, data, expected):
        connection.setblocking(False)
        self.connection = connection
        self._left = memoryview(data)
        self._expected = expected
        self._digest = hashlib.sha256()

    def move(self):
        """Sends and receives what can be moved now; True: something was."""
        moved = False
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while self._left:
                self._left = self._left[self.connection.send(self._left[:65536]):]
                moved = True
        with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while self._expected > 0:
                piece = self.connection.recv(65536)
                if not piece:
                    raise LabError(f"the stream ended {self._expected} bytes too early")
                self._digest.update(piece)
                self._expected -= len(piece)
                moved = True
        return moved

    @property
    def through(self):
        return not self._left and self._expected <= 0

    @property
    def heard(self):
        return self._digest.hexdigest()


def _pour_both_ways(one, other, size):
    """So many bytes cross each way at once; says whether just these arrived."""
    up, down = clients.payload(1, size), clients.payload(2, size)
    ends = _End(one, up, size), _End(other, down, size)
    deadline = time.monotonic() + patient(60)
    while not all(end.through for end in ends):
        if not any([end.move() for end in ends]):
            select.select([end.connection for end in ends], [], [], 0.01)
        if time.monotonic() > deadline:
            raise LabError("the bytes did not cross in time")
    for end in ends:
        end.connection.settimeout(patient(10))
    return [end.heard for end in ends] == [clients.digest(down), clients.digest(up)]


@scenario(modes=("relay",), families=(4,), timeout=180)
def fifty_megabytes_cross_each_way(lab):
    """TLS on the client's leg, and on both legs: 50 MB each way, byte for byte, then half-close both ways."""
    authority = Authority(lab.folder)
    certificate, key = authority.issue("broker", names=f"DNS:broker,IP:{broker_address(4, 2)}")
    arrived, context = {}, ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def story(connection, secure):
        if secure:
            connection = context.wrap_socket(connection, server_side=True)
        connection.settimeout(patient(60))
        mqtt.read_packet(connection)
        connection.sendall(mqtt.connack())
        arrived[secure] = connection
        wait_until(lambda: secure not in arrived, 120, "the scenario is done with the broker")

    lab.scripted_broker(1, lambda connection: story(connection, False))
    lab.scripted_broker(2, lambda connection: story(connection, True))
    pool = toml_table("[[pool]]", {"name": "secure"}) + toml_table("[pool.tls]", {"ca": authority.ca}) + toml_table(
        "[[pool.broker]]", {"name": "b2", "address": endpoint(broker_address(4, 2), PORT)})
    plain = toml_table("[[pool]]", {"name": "plain"}) + toml_table(
        "[[pool.broker]]", {"name": "b1", "address": endpoint(broker_address(4, 1), PORT)})
    second = authority.issue("second")
    _start(lab, authority, brokers=False, pool="plain", extra=plain + pool + _listener(
        lab, pool="secure", port=8884, name="both", certificate=second[0], key=second[1]))
    for secure, port in ((False, TLS_PORT), (True, 8884)):
        client = _session(lab, _context(authority), "pouring", port=port)
        broker = wait_until(lambda: arrived.get(secure), 10, "the broker has the client")
        if not _pour_both_ways(client, broker, 50_000_000):
            raise LabError(f"other bytes arrived than were sent (TLS towards the broker: {secure})")
        client.shutdown(socket.SHUT_WR)
        if broker.recv(1) != b"":
            raise LabError("the end of the client's direction did not reach the broker")
        del arrived[secure]


@scenario(modes=("tc",), families=(4,))
def a_client_id_has_one_home_over_tcp_and_tls(lab):
    """Whichever way a client comes, by plain TCP or by TLS, its id leads to the same broker."""
    authority = Authority(lab.folder)
    _start(lab, authority)
    context = _context(authority)
    ids = [f"device {number}" for number in range(20)]
    for client_id in ids[:10]:
        lab.raw_session(client_id)
    for client_id in ids:
        _session(lab, context, client_id)
    for client_id in ids[10:]:
        lab.raw_session(client_id)
    for client_id in ids:
        lab.broker_of(client_id)  # one broker has seen it, or this says so
    if {lab.broker_of(client_id) for client_id in ids} != {"b1", "b2", "b3"}:
        raise LabError("twenty ids did not use all brokers")


def _client_hello(lab, authority):
    """The bytes that a TLS client begins with."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = _context(authority).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return tls, incoming, outgoing


@scenario(modes=("relay",), families=(4,))
def slow_and_hostile_handshakes_cost_nobody_else(lab):
    """A handshake byte by byte succeeds; plain text, nonsense, cut-off and silent clients are closed under their names
    while others are served."""
    authority = Authority(lab.folder)
    gateway = _start(lab, authority)
    context = _context(authority)
    silent = [lab.raw(port=TLS_PORT) for _ in range(50)]
    hello = _client_hello(lab, authority)[2].read()
    for connection in (halves := [lab.raw(port=TLS_PORT) for _ in range(50)]):
        connection.sendall(hello[:60])
    tls, incoming, outgoing = _client_hello(lab, authority)
    slow = lab.raw(port=TLS_PORT)
    while True:
        for byte in outgoing.read():
            slow.sendall(bytes([byte]))
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            incoming.write(slow.recv(7))
    tls.write(mqtt.connect("slow"))
    for byte in outgoing.read():
        slow.sendall(bytes([byte]))
    wait_until(lambda: any(broker.saw_client("slow") for broker in lab.brokers), 5, "the slow client is served")
    for words, reason in ((mqtt.connect("plain"), "close_not_tls"), (b"GET / HTTP/1.1\r\n\r\n", "close_not_tls"),
                          (b"\x16\x03\x01\x00\x05nonsense" + bytes(100), "close_tls_handshake"),
                          (b"\x80\x2e\x01\x03\x01" + bytes(50), "close_tls_version")):
        before = gateway.reason(reason)
        bad = lab.raw(port=TLS_PORT)
        bad.sendall(words)
        gateway.wait_reason(reason, before + 1)
        if mqtt.closed_within(bad, 3) is None:
            raise LabError(f"a client of {reason} was not closed")
    clients.ping(_session(lab, context, "served meanwhile"))
    gateway.wait_reason("close_tls_timeout", len(silent) + len(halves), 10)
    stream = _session(lab, context, "breaks off")
    with socket.socket(fileno=os.dup(stream.fileno())) as under:
        under.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    gateway.wait_reason("tls_broken")
    clear = lab.raw_session("towards the plain port")
    clients.ping(clear)
    wrong = lab.raw()
    wrong.sendall(hello)
    gateway.wait_reason("close_tls_client_hello")


@scenario(modes=("relay",), families=(4,))
def brokers_are_spoken_to_by_tls(lab):
    """A mosquitto with a TLS listener that wants a certificate: reached with the pool's CA and certificate, from plain
    and TLS clients; one whose certificate is another's is left for the next broker, by name."""
    authority = Authority(lab.folder)
    names = f"IP:{broker_address(4, 1)}"
    certificate, key = authority.issue("broker", names=names)
    own = authority.issue("gateway")
    lab.start_brokers((1,), listener_options=f"cafile {authority.ca}\ncertfile {certificate}\nkeyfile {key}\n"
                                             "require_certificate true\n")
    wrong = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    wrong.load_cert_chain(certificate, key)
    lab.scripted_broker(2, lambda connection: wrong.wrap_socket(connection, server_side=True).recv(1))
    server = authority.issue("server")
    pool = toml_table("[[pool]]", {"name": "secure", "strategy": "round_robin"}) + toml_table(
        "[pool.tls]", {"ca": authority.ca, "certificate": own[0], "key": own[1]}) + "".join(
        toml_table("[[pool.broker]]", {"name": f"b{n}", "address": endpoint(broker_address(4, n), PORT)}) for n in (1, 2))
    gateway = lab.start_gateway(listener={"pool": "secure"}, extra=pool + _listener(
        lab, pool="secure", certificate=server[0], key=server[1]))
    for number in range(4):
        clients.ping(lab.raw_session(f"plain {number}"))
        clients.ping(_session(lab, _context(authority), f"secure {number}"))
    if gateway.reason("broker_tls") < 1 or "broker b2" not in gateway.log():
        raise LabError("a broker with another's certificate is not named")
    if gateway.connections("tls") != 8:
        raise LabError(f"eight connections with TLS are counted as {gateway.status()['connections']}")
