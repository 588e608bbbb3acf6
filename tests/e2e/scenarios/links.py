# SPDX-License-Identifier: Apache-2.0
"""Links that are not a clean pair of veths: lossy and reordering ones, 802.1q tags, NICs. Many kernels lack one or the
other of these; the guests of scripts/test-kernels lack none."""
from limpet_lab import checks, clients
from limpet_lab.process import LabError
from limpet_lab.scenario import scenario

SPLICING = ("xdp", "tc")
ROUGH = "delay 4ms 1ms loss 2% reorder 10% duplicate 1%"


def _crosses(lab, client_id, size=300_000):
    """Every QoS, and a message that fills many segments, there and back on one connection."""
    client = lab.client(client_id)
    client.subscribe(client_id, 2)
    for qos in (0, 1, 2):
        client.publish(client_id, bytes([qos]), qos)
        if client.receive().payload != bytes([qos]):
            raise LabError(f"{client_id}: QoS {qos} came back changed")
    data = clients.payload(client_id, size)
    client.publish(client_id, data, 1, wait=0)
    if client.receive(30).payload != data:
        raise LabError(f"{client_id}: {size} bytes came back as other ones")
    client.nothing_more(0.05)


def _attached(lab, wanted):
    """The interfaces that `wanted` names carry the data path in the mode that it says."""
    views = {view["name"]: view for view in lab.gateway.status()["interfaces"]}
    for name, mode in wanted.items():
        if views[name]["mode"] != mode:
            raise LabError(f"wanted {mode} on {name}, attached: {views[name]}")


@scenario(modes=SPLICING, timeout=120)
def loss_delay_and_reordering_lose_no_byte(lab):
    """netem on both ends from the first SYN on, 2 % loss with delay, reordering and duplicates: the handoff and all that
    comes behind it survive, nothing is relayed, and every byte is there."""
    lab.start()
    lab.topology.impair(ROUGH)
    rough = [lab.client(f"rough-{number}") for number in range(4)]
    for client in rough:
        client.subscribe(client.client_id, 1)
    checks.all_spliced(lab, len(rough), 30)
    for client in rough:
        client.publish(client.client_id, clients.payload(client.client_id, 200_000), 1, wait=0)
    for client in rough:
        if client.receive(60).payload != clients.payload(client.client_id, 200_000):
            raise LabError(f"{client.client_id}: the payload changed on a rough network")
    lab.topology.impair(None)


@scenario(modes=SPLICING, vlan=10)
def a_listener_on_a_vlan_is_spliced(lab):
    """Clients behind a tag: their VLAN's device has no XDP and gets TC, the brokers' interface what was asked for. A
    packet that XDP takes from a broker finds its way to the VLAN all the same."""
    lab.start_brokers()
    lab.make_gateway().start()
    _attached(lab, {"front.10": "tc", "back": lab.mode})
    for number in range(3):
        _crosses(lab, f"tagged-{number}")
    checks.all_spliced(lab, 3)


@scenario(modes=SPLICING, vlan=10)
def tagged_packets_are_served_with_the_parent_attached(lab):
    """The VLAN's parent carries the data path as well, and sees every packet of the VLAN first."""
    lab.start_brokers()
    lab.make_gateway(dataplane={"interfaces": ["front", "front.10", "back"]}).start()
    _attached(lab, {"front": lab.mode, "front.10": "tc", "back": lab.mode})
    for number in range(3):
        _crosses(lab, f"parent-{number}")
    checks.all_spliced(lab, 3)


@scenario(modes=SPLICING, wire="virtio")
def virtio_net_carries_the_data_path(lab):
    """A NIC's driver instead of veth: native XDP runs in virtio_net, and `auto` would take it; TC does as well."""
    lab.start()
    for number in range(3):
        _crosses(lab, f"virtio-{number}")
    checks.all_spliced(lab, 3)
    if not lab.gateway.reason(f"forwarded_{lab.mode}"):
        raise LabError(f"nothing was forwarded by {lab.mode}: {lab.gateway.status()['reasons']}")
    said = {view["name"]: view["mode"] for view in lab.gateway.features()["interfaces"]}
    if said["front"] != "xdp":
        raise LabError(f"auto would take {said}")


@scenario(modes=SPLICING, families=(4,), wire="virtio", vlan=10)
def a_vlan_on_virtio_net_is_spliced(lab):
    """On a NIC the tag stands in the frame that XDP sees; the parent is attached, as on a trunk."""
    lab.start_brokers()
    lab.make_gateway(dataplane={"interfaces": ["front", "front.10", "back"]}).start()
    _attached(lab, {"front": lab.mode, "front.10": "tc", "back": lab.mode})
    for number in range(3):
        _crosses(lab, f"trunk-{number}")
    checks.all_spliced(lab, 3)
