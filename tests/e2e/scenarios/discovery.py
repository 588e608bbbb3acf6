# SPDX-License-Identifier: Apache-2.0
"""Brokers that DNS or a file knows: they come and go while clients are connected."""
import os
import time

from limpet_lab import checks, clients
from limpet_lab.names import NameServer
from limpet_lab.process import LabError, wait_until
from limpet_lab.scenario import scenario
from limpet_lab.topology import broker_address


def _addresses(lab):
    """name -> address of the brokers that take clients now."""
    return {entry["name"]: entry["address"].rsplit(":", 1)[0].strip("[]") for entry in lab.gateway.ask("brokers")
            if entry["pool"] == f"main{lab.family}" and entry["state"] == "up"}


def _wait_brokers(lab, numbers, seconds=8):
    """The brokers of these numbers, and no others, take clients."""
    wanted = sorted(broker_address(lab.family, number) for number in numbers)
    wait_until(lambda: sorted(_addresses(lab).values()) == wanted, seconds,
               lambda: f"the brokers are {wanted}: {_addresses(lab)}", step=0.05)


def _only_to(before, after, newcomer):
    """Whoever moved, moved to the newcomer."""
    moved = {client_id for client_id in before if before[client_id] != after[client_id]}
    if astray := [client_id for client_id in moved if after[client_id] != newcomer]:
        raise LabError(f"{len(astray)} of {len(moved)} ids moved, but not to {newcomer}: {astray[:3]}")
    if not moved or len(moved) > len(before) / 2:
        raise LabError(f"{len(moved)} of {len(before)} ids moved to one newcomer of three")


def _at(lab, connections, address):
    """One of these connections that is at a broker's address."""
    for flow in lab.gateway.flows():
        if flow["broker"].startswith(f"{address}:"):
            return connections[flow["client_id"]]
    raise LabError(f"nobody is at {address}")


@scenario(modes=("tc",), families=(4,))
def a_name_has_brokers_that_come_and_go(lab):
    """A records: a newcomer takes only its own keys, whoever leaves keeps its connections, and a DNS server that
    is dead changes nothing."""
    lab.start_brokers()
    first, second, third = (broker_address(4, number) for number in (1, 2, 3))
    names = NameServer(lab)
    names.say({"mqtt.lab": [first, second]})
    lab.start_gateway(brokers=[], sources={"b": "mqtt.lab:1883"}, daemon={"dns_servers": [names.address]})
    _wait_brokers(lab, (1, 2))
    ids = [f"key-{number}" for number in range(200)]
    before = lab.gateway.lookups(ids)
    names.say({"mqtt.lab": [first, second, third]})
    _wait_brokers(lab, (1, 2, 3))
    _only_to(before, lab.gateway.lookups(ids), f"b/{third}")
    connections = {client_id: lab.raw_session(client_id) for client_id in ids[:24]}
    checks.all_spliced(lab, len(connections))
    names.say({"mqtt.lab": [second, third]})
    _wait_brokers(lab, (2, 3))
    clients.ping(_at(lab, connections, first))
    names.stop()
    lab.gateway.wait_reason("discovery_failed", 1, 15)
    if sorted(_addresses(lab).values()) != [second, third]:
        raise LabError(f"a dead DNS server changed the brokers: {_addresses(lab)}")
    for connection in connections.values():
        clients.ping(connection)
    lab.raw_session("late")
    names.say({"mqtt.lab": [first]})
    _wait_brokers(lab, (1,), 15)


@scenario(modes=("tc",), families=(4,))
def srv_records_say_who_is_first_and_who_is_spare(lab):
    """Priority: the spare gets nobody while one of the first is up, and everybody when they are dead; weight: a share."""
    lab.start_brokers()
    names = NameServer(lab)
    hosts = {f"n{number}.lab": [broker_address(4, number)] for number in (1, 2, 3)}
    services = [("_mqtt._tcp.lab", "n1.lab", 1883, 10, 3), ("_mqtt._tcp.lab", "n2.lab", 1883, 10, 1),
                ("_mqtt._tcp.lab", "n3.lab", 1883, 20, 9)]
    names.say(hosts, services)
    lab.start_gateway(brokers=[], sources={"s": "srv+_mqtt._tcp.lab"}, daemon={"dns_servers": [names.address]},
                      pool={"strategy": "round_robin"})
    _wait_brokers(lab, (1, 2, 3))
    for number in range(40):
        lab.raw_session(f"first-{number}")
    counts = {entry["name"]: entry["connections"] for entry in lab.gateway.ask("brokers") if entry["pool"] == "main4"}
    if counts != {"s/n1.lab": 30, "s/n2.lab": 10, "s/n3.lab": 0}:
        raise LabError(f"weights 3 and 1, and a spare: {counts}")
    lab.leave()
    checks.no_connection_counted(lab.gateway)
    for each in lab.brokers[:2]:
        each.stop()
    clients.ping(lab.raw_session("spared"))
    if lab.broker_of("spared") != "b3":
        raise LabError("the spare did not take over")


@scenario(modes=("tc",), families=(4,))
def a_folder_of_brokers_is_followed(lab):
    """Files that somebody writes: read within a second; one that is wrong changes nothing and is named in the log."""
    lab.start_brokers()
    folder = lab.folder / "brokers.d"
    folder.mkdir()

    def write(name, text):
        (folder / f"{name}.new").write_text(text)
        os.replace(folder / f"{name}.new", folder / f"{name}.toml")

    def entry(number):
        return f'[[broker]]\nname = "n{number}"\naddress = "{broker_address(4, number)}:1883"\n'

    write("one", entry(1))
    lab.start_gateway(brokers=[], pool={"brokers_from": folder})
    _wait_brokers(lab, (1,))
    held = lab.raw_session("held")
    write("two", entry(2) + entry(3))
    _wait_brokers(lab, (1, 2, 3))
    write("two", entry(2) + "weight = many\n")
    wait_until(lambda: f"{folder}/two.toml:4:" in lab.gateway.log(), 5, "the log names the line that is wrong")
    lab.gateway.wait_reason("discovery_failed")
    time.sleep(0.2)
    _wait_brokers(lab, (1, 2, 3), 1)
    (folder / "one.toml").unlink()
    write("two", entry(2))
    _wait_brokers(lab, (2,))
    clients.ping(held)
