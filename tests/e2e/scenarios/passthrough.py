# SPDX-License-Identifier: Apache-2.0
"""TLS that nobody opens, and whatever else speaks TCP: routed by name or by address, and carried by the kernel."""
import socket
import ssl

from limpet_lab import checks, clients, mqtt
from limpet_lab.gateway import toml_table
from limpet_lab.process import LabError, patient, run, wait_until
from limpet_lab.scenario import scenario
from limpet_lab.topology import broker_address, client_address, endpoint

PORT, TLS_PORT = 1883, 8883
PIECE = 1 << 16


def _certificate(lab, name):
    """A certificate that nobody but this name may show; (certificate, key)."""
    certificate, key = lab.folder / f"{name}.pem", lab.folder / f"{name}.key"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
        "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", key, "-out", certificate)
    return certificate, key


def _tls_broker(lab, number, name):
    """A mosquitto that speaks TLS alone, under this name; its certificate."""
    certificate, key = _certificate(lab, name)
    config = lab.folder / f"{name}.conf"
    config.write_text(f"""listener {TLS_PORT} {broker_address(lab.family, number)}
user root
allow_anonymous true
certfile {certificate}
keyfile {key}
""")
    output = lab.folder / f"{name}.log"
    process = lab.resources.start(["mosquitto", "-v", "-c", config], output, namespace=lab.topology.broker)
    listening = endpoint(broker_address(lab.family, number), TLS_PORT)
    wait_until(lambda: any(own == listening for _, own, _ in lab.topology.tcp_sockets("broker")), 10,
               lambda: f"mosquitto {name} listens: {process.log()}")
    return certificate


def _start(lab, *tables, pools):
    """Limpet with a listener and pools of its own: {pool: broker number}."""
    gateway = lab.make_gateway()
    text = gateway.config()
    text += "".join(tables)
    for name, number in pools.items():
        text += toml_table("[[pool]]", {"name": name})
        text += toml_table("[[pool.broker]]", {"name": f"{name}-b1",
                                               "address": endpoint(broker_address(lab.family, number), TLS_PORT)})
    gateway.config_path.write_text(text)
    gateway.start()
    lab.check_mode()


def _talk(lab, name, certificate, client_id):
    """TLS with the broker of this name, whose certificate must show, and MQTT inside; the connection."""
    context = ssl.create_default_context(cafile=certificate)
    connection = context.wrap_socket(lab.raw(port=TLS_PORT), server_hostname=name)
    lab.track(connection)
    connection.sendall(mqtt.connect(client_id))
    if mqtt.read_packet(connection) != (mqtt.CONNACK, b"\0\0"):
        raise LabError(f"{name} refused")
    return connection


@scenario(brokers=3)
def tls_goes_by_its_name_and_crosses_in_the_kernel(lab):
    """Three brokers, three certificates, one listener: each name, in any case and by a star, reaches the broker that
    can prove it, and not a byte is opened on the way."""
    certificates = {name: _tls_broker(lab, number, name) for number, name in
                    enumerate(("a.example.org", "b.stars.example.org", "rest.example.net"), 1)}
    listener = toml_table("[[listener]]", {"name": "tls", "address": endpoint(lab.listener, TLS_PORT),
                                           "protocol": "tls_passthrough", "pool": "rest"})
    routes = toml_table("[[listener.route]]", {"sni": "A.example.org", "pool": "first"})
    routes += toml_table("[[listener.route]]", {"sni": "*.stars.example.org", "pool": "stars"})
    _start(lab, listener, routes, pools={"first": 1, "stars": 2, "rest": 3})
    sessions = [_talk(lab, name, certificate, name) for name, certificate in certificates.items()]
    checks.all_spliced(lab, 3)
    data = clients.payload(1, 1_000_000)
    for connection in sessions:
        connection.sendall(mqtt.subscribe(1, "large"))
        mqtt.read_packet(connection)
        connection.sendall(mqtt.publish("large", data))
        first, body = mqtt.read_packet(connection)
        if mqtt.publish_parts(first, body)[3] != data:
            raise LabError("the payload came back changed")
    counts = {broker["pool"]: broker["connections"] for broker in lab.gateway.ask("brokers")}
    if any(counts[pool] != 1 for pool in ("first", "stars", "rest")):
        raise LabError(f"each pool has one connection: {counts}")
    plain = lab.raw(port=TLS_PORT)
    plain.sendall(mqtt.connect("plain"))
    if mqtt.closed_within(plain, 5) != b"":
        raise LabError("plain MQTT on a TLS port was not closed")
    lab.gateway.wait_reason("close_not_tls")
    for connection in sessions:
        clients.ping(connection)


def _sink(lab, number, port):
    """A server of no known protocol: greets, then sends back what it hears."""
    with lab.topology.inside("broker"):
        family = socket.AF_INET6 if lab.family == 6 else socket.AF_INET
        server = socket.create_server((broker_address(lab.family, number), port), family=family)
    return server


@scenario(brokers=2)
def any_protocol_crosses_and_sources_lead_where_they_should(lab):
    """`tcp`: the server may speak first; the client's address picks the pool; it is handed off with the first word,
    whoever says it, and however long nobody does."""
    servers = [_sink(lab, number, TLS_PORT) for number in (1, 2)]
    for server in servers:
        lab.resources.on_exit(server.close)
    listener = toml_table("[[listener]]", {"name": "any", "address": endpoint(lab.listener, TLS_PORT),
                                           "protocol": "tcp", "pool": "rest"})
    routes = toml_table("[[listener.route]]", {"source": [f"{client_address(lab.family)}/{128 if lab.family == 6 else 32}"],
                                               "pool": "first"})
    _start(lab, listener, routes, pools={"first": 1, "rest": 2})
    client = lab.raw(port=TLS_PORT)
    servers[0].settimeout(patient(10))
    served = lab.track(servers[0].accept()[0])
    served.sendall(b"welcome")
    if mqtt.read_exactly(client, 7) != b"welcome":
        raise LabError("the greeting changed")
    checks.all_spliced(lab, 1)
    data = clients.payload(2, 1_000_000)
    for there, back in ((client, served), (served, client)):
        for at in range(0, len(data), PIECE):
            there.sendall(data[at:at + PIECE])
            if mqtt.read_exactly(back, len(data[at:at + PIECE])) != data[at:at + PIECE]:
                raise LabError("bytes changed on the way")
    client.shutdown(socket.SHUT_WR)
    if mqtt.closed_within(served, 5) != b"":
        raise LabError("the half-close did not arrive")
    served.sendall(b"last words")
    if mqtt.read_exactly(client, 10) != b"last words":
        raise LabError("what was said behind a half-close was lost")
