# SPDX-License-Identifier: Apache-2.0
"""Networks and command lines of other shapes."""
import json
import os
import shutil

from limpet_lab import checks, clients, mqtt
from limpet_lab.process import LabError, run
from limpet_lab.scenario import scenario
from limpet_lab.topology import broker_address, endpoint


def _talks(lab, client_id):
    client = lab.client(client_id)
    client.subscribe(client_id, 2)
    for qos in (0, 1, 2):
        client.publish(client_id, bytes([qos]) * 10_000, qos)
        if client.receive().payload != bytes([qos]) * 10_000:
            raise LabError(f"QoS {qos} came back changed")


@scenario(one_arm=True)
def one_interface_is_enough(lab):
    """One arm: packets leave through the interface by which they came."""
    lab.start()
    for number in range(5):
        _talks(lab, f"one-arm-{number}")
    checks.all_spliced(lab, 5)


@scenario()
def flags_alone_are_enough(lab):
    """`limpet serve --listen … --broker …`: no file, no bpffs that outlives the namespace, default paths."""
    lab.start_brokers()
    lab.make_gateway(bpffs=None)
    words = ["serve", "--listen", endpoint(lab.listener, 1883), "--mode", lab.mode, "--socket", lab.gateway.socket]
    for number in (1, 2, 3):
        words += ["--broker", endpoint(broker_address(lab.family, number), 1883)]
    for interface in lab.topology.interfaces:
        words += ["-i", interface]
    lab.gateway.launch(words)
    lab.check_mode()
    _talks(lab, "flags")
    checks.all_spliced(lab, 1)


@scenario()
def interfaces_are_found_by_themselves(lab):
    """No interface is named: the data path is attached wherever a route may lead."""
    lab.start_brokers()
    lab.start_gateway(dataplane={"interfaces": []})
    attached = {interface["name"] for interface in lab.gateway.status()["interfaces"]
                if interface["mode"] == lab.mode}
    if lab.mode != "relay" and not set(lab.topology.interfaces) <= attached:
        raise LabError(f"attached only to {attached}")
    _talks(lab, "found")
    checks.all_spliced(lab, 1)


@scenario(modes=("tc",), families=(4,))
def the_mode_that_auto_takes_works(lab):
    """`auto` takes what `features` says it would, and splices."""
    lab.start_brokers()
    lab.mode = "auto"
    lab.make_gateway().start()
    modes = {interface["mode"] for interface in lab.gateway.status()["interfaces"]}
    if not modes & {"xdp", "tc"}:
        raise LabError(f"auto took {modes}")
    _talks(lab, "auto")
    lab.gateway.wait_spliced(1)
    said = {interface["name"]: interface["mode"] for interface in lab.gateway.features()["interfaces"]}
    for interface in lab.gateway.status()["interfaces"]:
        if interface["name"] in lab.topology.interfaces and interface["mode"] != said[interface["name"]]:
            raise LabError(f"features says {said}, attached is {interface}")


@scenario(modes=("tc",), families=(4,))
def mixed_families_are_relayed_by_name(lab):
    """An IPv6 client of an IPv4 broker cannot be translated: it is relayed, and the reason counted."""
    lab.start_brokers()
    lab.make_gateway()
    lab.gateway.config_path.write_text(lab.gateway.config(listener={"pool": "main4"}))
    lab.gateway.start()
    connection = lab.track(clients.raw(lab.topology, lab.topology.listener(6)))
    connection.sendall(mqtt.connect("six-to-four"))
    if mqtt.read_packet(connection)[1][1] != 0:
        raise LabError("refused")
    for _ in range(20):
        clients.ping(connection)
    lab.gateway.wait_reason("relay_mixed_families")
    if lab.gateway.connections("relayed") != 1:
        raise LabError(f"connections: {lab.gateway.status()['connections']}")


@scenario(modes=("xdp", "tc"), families=(4, 6))
def loss_on_both_sides_is_survived(lab):
    """2 % loss at clients and brokers: retransmission, SACK and timestamps cross the translation unharmed."""
    lab.start()
    client = lab.client("lossy")
    client.subscribe("lossy", 1)
    checks.all_spliced(lab, 1)
    lab.topology.lose(2)
    data = clients.payload(5, 2_000_000)
    client.publish("lossy", data, 1, wait=0)
    if clients.digest(client.receive(40).payload) != clients.digest(data):
        raise LabError("the payload changed on a lossy network")
    lab.topology.lose(0)


@scenario(modes=("tc",), families=(4,))
def missing_capabilities_are_said_in_one_line(lab):
    """Without root nothing can be attached: one clear line, and either a relay or an end, but no silence."""
    os.chmod(lab.folder, 0o777)
    limpet = shutil.copy(lab.binary, lab.folder / "limpet")  # where somebody else may run it
    words = ["ip", "netns", "exec", lab.topology.gateway, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
             "timeout", "3", limpet, "serve", "--listen", "10.91.0.1:11883", "--broker", "10.92.0.11:1883", "--mode",
             "tc", "--socket", lab.folder / "nobody.sock"]
    done = run(*words, check=False, timeout=15)
    said = [line for line in (done.stdout + done.stderr).lower().splitlines()
            if any(word in line for word in ("root", "privilege", "cap_", "capabilit", "permitted"))]
    if not said:
        raise LabError(f"without root it says: {done}")


@scenario(modes=("relay",), families=(4,))
def decode_reads_a_packet_from_standard_input(lab):
    """The parser is at hand for people and scripts, with the documented exit statuses."""
    for data, status, word in ((mqtt.connect("decoded", version=5, keepalive=30), 0, "complete"),
                               (mqtt.connect("decoded")[:9], 3, "incomplete"),
                               (b"GET / HTTP/1.1\r\n", 1, "invalid")):
        done = run(lab.binary, "decode", "--hex", check=False, text_input=data.hex())
        answer = json.loads(done.stdout)
        if done.returncode != status or answer["status"] != word:
            raise LabError(f"decode of {data!r}: exit {done.returncode}, {done.stdout}")
        if status == 0 and (answer["packet"]["client_id"], answer["packet"]["keep_alive"]) != ("decoded", 30):
            raise LabError(f"decode says {answer['packet']}")
