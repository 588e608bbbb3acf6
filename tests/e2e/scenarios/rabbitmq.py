# SPDX-License-Identifier: Apache-2.0
"""RabbitMQ as a broker: beside mosquitto in one pool, asked by health checks, killed, and told of the client."""
import signal

from limpet_lab import checks, clients, mqtt
from limpet_lab.gateway import toml_table
from limpet_lab.process import LabError, wait_until
from limpet_lab.rabbitmq import WEB_PORT, RabbitMq
from limpet_lab.scenario import scenario
from limpet_lab.topology import broker_address, endpoint

FAST = {"interval": "500ms", "fast_interval": "200ms", "timeout": "2s", "fall": 3, "rise": 2}


def _state(lab, name):
    return next(entry["state"] for entry in lab.gateway.ask("brokers")
                if entry["name"] == name and entry["pool"] == f"main{lab.family}")


def _round_trip(client, qos, size=100_000):
    client.subscribe(f"rabbit/{client.client_id}", qos)
    data = clients.payload(qos, size)
    client.publish(f"rabbit/{client.client_id}", data, qos)
    if client.receive().payload != data:
        raise LabError(f"a payload of QoS {qos} came back changed")


@scenario(modes=("tc",), families=(4,), brokers=2, timeout=240)
def it_stands_in_a_pool_beside_mosquitto(lab):
    """Both serve; an MQTT session as a probe finds RabbitMQ well; when it is killed its clients are told and come
    back to the other, and when it is there again it is used again."""
    rabbit = RabbitMq(lab, 2).start()
    lab.start_brokers([1])
    rabbit.wait_ready()
    lab.start_gateway(health={"probe": "mqtt", "slow_start": "0s", **FAST})
    lab.gateway.wait_reason("probe_passed", 4)
    talkers = {name: lab.client(lab.gateway.id_at(name, lab.family)) for name in ("b1", "b2")}
    held = [lab.raw_session(f"held-{number}") for number in range(10)]
    checks.all_spliced(lab, 12)
    for talker in talkers.values():
        for qos in (0, 1):  # RabbitMQ 3.10 makes 1 of 2
            _round_trip(talker, qos)
    if rabbit.saw_client(talkers["b2"].client_id) != 1:
        raise LabError(f"RabbitMQ did not see its client: {rabbit.log()[-1500:]}")
    homes = lab.gateway.lookups([f"held-{number}" for number in range(10)], lab.family)
    rabbit.process.signal(signal.SIGKILL)
    if not talkers["b2"].lost.wait(10):
        raise LabError("the client of a killed RabbitMQ was not told")
    for connection, name in zip(held, homes.values()):
        if name == "b2" and mqtt.closed_within(connection, 5) is None:
            raise LabError("a client of a killed RabbitMQ was not told")
        if name == "b1":
            clients.ping(connection)
    for number in range(5):
        lab.raw_session(f"held-{number}")
    wait_until(lambda: _state(lab, "b2") == "down", 10, "RabbitMQ is down")
    rabbit.start().wait_ready()
    wait_until(lambda: _state(lab, "b2") == "up", 20, "RabbitMQ is up again")
    _round_trip(lab.client(lab.gateway.id_at("b2", lab.family, "again-")), 1)


@scenario(modes=("xdp",), families=(4,), brokers=2, timeout=240)
def it_is_told_of_the_client_by_a_proxy_header(lab):
    """With `proxy_protocol` RabbitMQ names the client's own address, the connection is spliced, and health checks name
    the gateway: version 3.10 crashes at LOCAL, which is what others are told."""
    rabbit = RabbitMq(lab, 1, proxy=True).start().wait_ready()
    lab.start_gateway(brokers=[1], pool={"proxy_protocol": "v2"}, health={"probe": "mqtt", "proxy_command": "proxy", **FAST})
    lab.gateway.wait_reason("probe_passed", 2)
    client = lab.client("known")
    checks.all_spliced(lab, 1)
    _round_trip(client, 1)
    address, port = client.paho.socket().getsockname()[:2]
    if (address, port) not in rabbit.peers_of("known"):
        raise LabError(f"RabbitMQ was told of {rabbit.peers_of('known')}, the client is {address}:{port}")


@scenario(modes=("tc",), families=(4,), brokers=1, timeout=240)
def its_websocket_is_spliced(lab):
    """Web MQTT, at a path of its own: after both handshakes the kernel carries the frames."""
    RabbitMq(lab, 1).start().wait_ready()
    web = toml_table("[[listener]]", {"name": "web", "address": endpoint(lab.listener, 8083), "protocol": "ws",
                                      "pool": "web"})
    web += toml_table("[[pool]]", {"name": "web", "protocol": "ws", "path": "/ws"})
    web += toml_table("[[pool.broker]]", {"name": "b1", "address": endpoint(broker_address(lab.family, 1), WEB_PORT)})
    lab.start_gateway(extra=web)
    client = lab.client("browser", port=8083, websocket=True)
    checks.all_spliced(lab, 1)
    for qos in (0, 1):
        _round_trip(client, qos, 20_000)
