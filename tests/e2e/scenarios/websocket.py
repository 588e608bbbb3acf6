# SPDX-License-Identifier: Apache-2.0
"""MQTT over WebSocket with real clients (paho, and frames cut on purpose) and real brokers behind a real WebSocket server:
spliced when both sides speak it, unwrapped when the broker does not."""
import ssl

from limpet_lab import checks, clients, mqtt, websocket
from limpet_lab.broker import PORT
from limpet_lab.certificates import Authority
from limpet_lab.gateway import toml_table
from limpet_lab.process import LabError, patient, wait_until
from limpet_lab.scenario import scenario
from limpet_lab.topology import broker_address, client_address, endpoint
from limpet_lab.websocket import BINARY, CONTINUATION, PING, TEXT, WEB_PORT, WebSocket, frame, start_web_brokers

TLS_PORT, SECURE_WEB_PORT = 8883, 8084


def _listener(lab, pool, protocol="ws", port=WEB_PORT, rules=None, tls=None):
    text = toml_table("[[listener]]", {"name": f"{protocol}{port}", "address": endpoint(lab.listener, port),
                                       "protocol": protocol, "pool": pool, "connect_timeout": "3s"})
    if rules:
        text += toml_table("[listener.websocket]", rules)
    if tls:
        text += toml_table("[listener.tls]", tls)
    return text


def _web_pool(lab, **keys):
    """A pool of the brokers' WebSocket servers."""
    text = toml_table("[[pool]]", {"name": "web", "protocol": "ws", **keys})
    for number in range(1, lab.topology.brokers + 1):
        text += toml_table("[[pool.broker]]", {"name": f"b{number}",
                                               "address": endpoint(broker_address(lab.family, number), WEB_PORT)})
    return text


def _main(lab):
    return f"main{lab.family}"


def _paho(lab, client_id, port=WEB_PORT, **options):
    return lab.client(client_id, port=port, websocket=True, **options)


def _back_and_forth(client):
    client.subscribe(f"echo/{client.client_id}", 2)
    for qos in (0, 1, 2):
        data = clients.payload(qos, 20_000)  # paho 1.6 loses a frame that its socket does not take at once
        client.publish(f"echo/{client.client_id}", data, qos)
        if clients.digest(client.receive().payload) != clients.digest(data):
            raise LabError(f"a payload of QoS {qos} came back changed")


@scenario(brokers=2)
def websocket_on_both_sides_is_spliced(lab):
    """Handshakes of both sides, CONNECT from masked frames, and then the kernel carries the frames as they are."""
    brokers = start_web_brokers(lab)
    lab.start_gateway(extra=_listener(lab, "web") + _web_pool(lab, host="broker.example.org"))
    talkers = [_paho(lab, f"web-v{version}", version=version) for version in (mqtt.V31, mqtt.V311, mqtt.V5)]
    checks.all_spliced(lab, len(talkers))
    if lab.mode != "relay":
        if {flow["client_id"] for flow in lab.gateway.flows()} != {talker.client_id for talker in talkers}:
            raise LabError(f"flows are known by their client id: {lab.gateway.flows()}")
    for talker in talkers:
        _back_and_forth(talker)
    asked = [request for broker in brokers for request in broker.requests]
    client = client_address(lab.family)
    for request in asked:
        if (request["path"], request["Host"], request["X-Forwarded-For"], request["subprotocol"]) != (
                "/mqtt", "broker.example.org", client, "mqtt"):
            raise LabError(f"a broker was asked: {request}")
    if len(asked) != len(talkers):
        raise LabError(f"{len(asked)} handshakes with brokers for {len(talkers)} clients")


@scenario(modes=("tc", "relay"), brokers=1, families=(4,))
def websocket_is_unwrapped_for_brokers_without(lab):
    """The broker speaks plain MQTT, or the client does: somebody must wrap and unwrap, under a name."""
    start_web_brokers(lab)
    gateway = lab.start_gateway(extra=_listener(lab, _main(lab)) + _listener(lab, "web", "mqtt", 1884) + _web_pool(lab))
    for client in (_paho(lab, "unwrapped"), lab.client("wrapped", port=1884)):
        _back_and_forth(client)
    wait_until(lambda: gateway.connections("relayed") == 2, 5, "both are relayed")
    gateway.wait_reason("relay_listener", 2)


@scenario(brokers=1, families=(4,))
def frames_may_be_cut_anywhere_at_the_handoff(lab):
    """The kernel takes over in the middle of a frame, and between fragments of a message: not a byte is lost."""
    start_web_brokers(lab)
    lab.start_gateway(extra=_listener(lab, "web") + _web_pool(lab))
    # Before the last byte of the first frame, between the two, in the second, behind both.
    for number, place in enumerate((-1, 0, 2000, None)):
        web = lab.track(WebSocket(lab.raw(port=WEB_PORT)))
        first = mqtt.connect(f"cut-{number}") + mqtt.subscribe(1, f"cut/{number}") + bytes([mqtt.PINGREQ, 0])
        second = mqtt.publish("nobody/hears", clients.payload(number, 4000)) + mqtt.publish(f"cut/{number}", b"heard")
        whole = frame(first, final=False) + frame(second, CONTINUATION)
        cut = len(whole) if place is None else len(frame(first)) + place
        web.connection.sendall(whole[:cut])
        if mqtt.read_packet(web) != (mqtt.CONNACK, b"\0\0"):
            raise LabError("no CONNACK")
        if mqtt.read_packet(web)[0] != mqtt.SUBACK:
            raise LabError("no SUBACK")
        checks.all_spliced(lab, number + 1)
        web.connection.sendall(whole[cut:])
        seen = set()
        while "heard" not in seen:
            first, body = mqtt.read_packet(web)
            seen.add("ping" if first == mqtt.PINGRESP else mqtt.publish_parts(first, body)[3].decode())
        if seen != {"ping", "heard"}:
            raise LabError(f"heard {seen}")


@scenario(modes=("relay",), brokers=1, families=(4,))
def what_is_no_websocket_gets_an_http_answer(lab):
    """400, 403, 404 and 426 as HTTP has them; frames that are wrong are closed by a close frame; all under a name."""
    lab.start_brokers()
    gateway = lab.start_gateway(extra=_listener(
        lab, _main(lab), rules={"paths": ["/mqtt"], "origins": ["https://example.org"], "headers": ["X-Tenant"]}))
    tenant, page = "X-Tenant: blue", "Origin: https://example.org"
    for status, request in ((404, websocket.request("/other", tenant)), (403, websocket.request("/mqtt", page)),
                            (403, websocket.request("/mqtt", tenant, "Origin: https://example.net")),
                            (400, websocket.request("/mqtt", tenant, subprotocol="chat")),
                            (400, b"GET /mqtt HTTP/1.1\r\nno header\r\n\r\n"),
                            (426, b"GET /mqtt HTTP/1.1\r\nHost: limpet\r\n\r\n")):
        connection = lab.raw(port=WEB_PORT)
        connection.sendall(request)
        answer = mqtt.closed_within(connection, 5)
        if not answer or not answer.startswith(f"HTTP/1.1 {status} ".encode()):
            raise LabError(f"wanted {status}, answered by {answer}")
    gateway.wait_reason("close_not_websocket", 6)
    connection = lab.raw(port=WEB_PORT)
    connection.sendall(websocket.request("/mqtt?a=b", tenant, page) + frame(mqtt.connect("text"), TEXT))
    web = WebSocket(connection, upgrade=False)
    web.read_answer()
    if web.recv(1) or web.close_code != 1003:
        raise LabError(f"a text frame was answered by a close frame of code {web.close_code}")
    gateway.wait_reason("close_websocket_frame")
    silent = lab.raw(port=WEB_PORT)
    silent.sendall(b"GET /mqtt HTTP/1.1\r\n")
    if mqtt.closed_within(silent, 10) != b"":
        raise LabError("half a handshake is not closed at the deadline")
    gateway.wait_reason("close_connect_timeout")


def _secure_listeners(lab, authority, pool):
    certificate, key = authority.issue("server")
    tls = {"certificate": certificate, "key": key}
    return (_listener(lab, pool, "mqtts", TLS_PORT, tls=tls) + _listener(lab, pool)
            + _listener(lab, pool, "wss", SECURE_WEB_PORT, tls=tls))


@scenario(modes=("tc",))
def one_id_has_one_broker_whichever_way_it_comes(lab):
    """By TCP, TLS, WebSocket and WebSocket over TLS (as browsers come, with ALPN http/1.1)."""
    authority = Authority(lab.folder)
    lab.start_brokers()
    lab.start_gateway(extra=_secure_listeners(lab, authority, _main(lab)))
    trust = {"ca_certs": str(authority.ca)}
    browser = ssl.create_default_context(cafile=authority.ca)
    browser.set_alpn_protocols(["http/1.1"])
    for number in range(4):
        client_id = f"device-{number}"
        lab.client(client_id).disconnect()
        lab.client(client_id, port=TLS_PORT, tls=trust).disconnect()
        _paho(lab, client_id).disconnect()
        _paho(lab, client_id, SECURE_WEB_PORT, tls=trust).disconnect()
        websocket.session(lab, client_id, SECURE_WEB_PORT, browser).close()
        home = lab.broker_of(client_id)
        if (times := next(broker for broker in lab.brokers if broker.name == home).saw_client(client_id)) != 5:
            raise LabError(f"{client_id} came five times, its broker saw {times}")


@scenario(modes=("tc",), brokers=1, families=(4,))
def another_library_is_as_well_served(lab):
    """MQTT.js by ws to brokers of WebSocket and without, and by wss, whose certificate it checks as browsers do."""
    authority = Authority(lab.folder)
    start_web_brokers(lab)
    certificate, key = authority.issue("browser", names=f"IP:{lab.listener}")
    lab.start_gateway(extra=_listener(lab, "web") + _listener(lab, _main(lab), port=8085) + _web_pool(lab)
                      + _listener(lab, _main(lab), "wss", SECURE_WEB_PORT, tls={"certificate": certificate, "key": key}))
    for number, url in enumerate((f"ws://{endpoint(lab.listener, WEB_PORT)}/mqtt", f"ws://{endpoint(lab.listener, 8085)}",
                                  f"wss://{endpoint(lab.listener, SECURE_WEB_PORT)}/mqtt")):
        clients.mqttjs(lab.topology, url, f"js-{number}", mqtt.V5, 200_000, authority.ca)
    if lab.gateway.status()["hold_microseconds"]["count"] != 1:
        raise LabError(f"MQTT.js by WebSocket on both sides was not spliced: {lab.gateway.status()}")


def _stream(web, client_id, size):
    """Publishes a payload to itself in fragments of every length with pings between them, and compares."""
    web.sendall(mqtt.subscribe(1, f"large/{client_id}"))
    if mqtt.read_packet(web)[0] != mqtt.SUBACK:
        raise LabError("no SUBACK")
    data = clients.payload(size, size)
    packet = mqtt.publish(f"large/{client_id}", data)
    at, number = 0, 0
    while at < len(packet):
        length = (1, 125, 126, 65535, 65536, 300_000)[number % 6]
        piece = packet[at:at + length]
        at += len(piece)
        last = at >= len(packet)
        out = frame(piece, BINARY if number == 0 else CONTINUATION, final=last)
        if number % 10 == 3 and not last:
            out += frame(b"still here?", PING)
        web.connection.sendall(out)
        number += 1
    web.settimeout(patient(30))
    first, body = mqtt.read_packet(web)  # the broker says nothing of it before it has all of it
    if first != mqtt.PUBLISH or clients.digest(mqtt.publish_parts(first, body)[3]) != clients.digest(data):
        raise LabError(f"{size} bytes did not come back as they were")


@scenario(brokers=1, families=(4,), timeout=180)
def megabytes_cross_byte_for_byte(lab):
    """Each way of WebSocket, 8 MB there and back: spliced, unwrapped, and within TLS."""
    authority = Authority(lab.folder)
    start_web_brokers(lab)
    certificate, key = authority.issue("server")
    tls = {"certificate": certificate, "key": key}
    lab.start_gateway(extra=_listener(lab, "web") + _listener(lab, "web", "wss", SECURE_WEB_PORT, tls=tls)
                      + _listener(lab, _main(lab), "ws", 8085) + _listener(lab, _main(lab), "wss", 8086, tls=tls)
                      + _web_pool(lab))
    context = ssl.create_default_context(cafile=authority.ca)
    for port, context in ((WEB_PORT, None), (8085, None), (SECURE_WEB_PORT, context), (8086, context)):
        client_id = f"large-{port}"
        web = websocket.session(lab, client_id, port, context)
        if port == WEB_PORT:
            checks.all_spliced(lab, 1)
        _stream(web, client_id, 8_000_000)
        web.close()
        checks.no_connection_counted(lab.gateway)
