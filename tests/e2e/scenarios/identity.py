# SPDX-License-Identifier: Apache-2.0
"""Who clients are to the brokers: CONNECT is written anew, and the connection is spliced all the same."""
import re

from limpet_lab import checks, clients, mqtt
from limpet_lab.gateway import toml_table
from limpet_lab.process import LabError
from limpet_lab.scenario import scenario
from limpet_lab.topology import endpoint

OWN_PORT = 1885


def _connected(broker):
    """client id -> user name, of everybody whom the broker let in."""
    return dict(re.findall(r"New client connected from \S+ as (\S+) \([^)]*u'([^']*)'\)", broker.log()))


def _echo(client):
    client.subscribe(f"echo/{client.client_id}", 1)
    data = clients.payload(1, 50_000)
    client.publish(f"echo/{client.client_id}", data, 1)
    if clients.digest(client.receive().payload) != clients.digest(data):
        raise LabError("a payload came back changed")


@scenario(brokers=1, families=(4,))
def a_client_with_another_identity_is_spliced(lab):
    """Client id, user name and password are replaced in every version, by longer ones; the broker sees those, and the
    kernel carries the connection as any other."""
    broker, = lab.start_brokers()
    gateway = lab.start_gateway(extra=toml_table(
        "[[listener]]", {"name": "own", "address": endpoint(lab.listener, OWN_PORT), "pool": f"main{lab.family}"})
        + toml_table("[listener.identity]", {"username": "user of {client_id} at {address}", "password": "secret",
                                             "client_id": "fleet/{client_id}"}))
    talkers = [lab.client(f"own-v{version}", version=version, port=OWN_PORT)
               for version in (mqtt.V31, mqtt.V311, mqtt.V5)]
    checks.all_spliced(lab, len(talkers))
    for talker in talkers:
        _echo(talker)
    hasty = lab.raw(port=OWN_PORT)
    hasty.sendall(mqtt.connect("hasty", username="me", password="mine") + bytes([mqtt.PINGREQ, 0]))
    if [mqtt.read_packet(hasty)[0] for _ in range(2)] != [mqtt.CONNACK, mqtt.PINGRESP]:
        raise LabError("what follows a CONNECT that is written anew was lost")
    checks.all_spliced(lab, len(talkers) + 1)
    clients.ping(hasty)
    names = [talker.client_id for talker in talkers] + ["hasty"]
    own = hasty.getsockname()[0]
    if _connected(broker) != {f"fleet/{name}": f"user of {name} at {own}" for name in names}:
        raise LabError(f"the broker sees {_connected(broker)}")
    if lab.mode == "relay":
        return
    listed = {flow["client_id"]: flow for flow in gateway.flows()}
    if set(listed) != {f"fleet/{name}" for name in names}:
        raise LabError(f"the list of flows has {sorted(listed)}")
