# SPDX-License-Identifier: Apache-2.0
"""Transparent pools: the broker sees the client's own address and port, and everything else is as ever."""
import os
import shutil
import socket

from limpet_lab import checks, clients, mqtt
from limpet_lab.gateway import toml_table
from limpet_lab.process import LabError, run, wait_until
from limpet_lab.scenario import scenario
from limpet_lab.topology import CLIENT_NET, client_address, endpoint

from .restart import Talker

SPLICING = ("xdp", "tc")
POOL = {"transparent": True}
PORT = 1883


def _seen_as_itself(lab, client_id, connection, times=1):
    """The brokers together saw the client `times` times, and from its own address and port."""
    peers = [peer for broker in lab.brokers for peer in broker.peers_of(client_id)]
    own = connection.getsockname()[:2]
    if peers != [own] * times:
        raise LabError(f"client {client_id} is {own}, the brokers saw {peers}")


def _policy(lab):
    """The rules and routes of ours in the gateway, both IP versions."""
    found = []
    for family in (4, 6):
        rules = run("ip", "-n", lab.topology.gateway, f"-{family}", "rule", "show").stdout
        found += [line for line in rules.splitlines() if "fwmark 0x4c494d52" in line]
        routes = run("ip", "-n", lab.topology.gateway, f"-{family}", "route", "show", "table", "18830", check=False)
        found += routes.stdout.splitlines()
    return found


def _session(lab, client_id, source=None, port=PORT, **options):
    """A session from a source address and port of one's own."""
    connection = lab.track(clients.raw_from(lab.topology, lab.listener, source, port)) if source else lab.raw()
    connection.sendall(mqtt.connect(client_id, **options))
    first, body = mqtt.read_packet(connection)
    if first != mqtt.CONNACK or body[1] != 0:
        raise LabError(f"client {client_id}: answered {first:#x} {body.hex()} instead of CONNACK 0")
    return connection


@scenario()
def brokers_see_the_clients_own_address_and_port(lab):
    """In the broker's log and in its sockets, before and after the handoff; payloads cross unchanged both ways."""
    lab.start(pool=POOL)
    sessions = {f"own-{number}": lab.raw_session(f"own-{number}") for number in range(5)}
    talker = lab.client("own-talker")
    talker.subscribe("own/talk", 2)
    for number, qos in enumerate((0, 1, 2)):
        data = clients.payload(number, 300_000)
        talker.publish("own/talk", data, qos)
        if clients.digest(talker.receive().payload) != clients.digest(data):
            raise LabError(f"a payload of QoS {qos} came back changed")
    checks.all_spliced(lab, 6)
    for client_id, connection in sessions.items():
        clients.ping(connection)
        _seen_as_itself(lab, client_id, connection)
    _seen_as_itself(lab, "own-talker", talker.paho.socket())
    connected = {peer for state, _, peer in lab.topology.tcp_sockets("broker") if state == "ESTAB"}
    for connection in sessions.values():
        if (own := endpoint(*connection.getsockname()[:2])) not in connected:
            raise LabError(f"no broker has a connection with {own}: {connected}")
    for flow in lab.gateway.flows():
        if flow["source"] != flow["client"]:
            raise LabError(f"not transparent: {flow}")


@scenario(modes=SPLICING)
def a_flood_from_the_first_byte_crosses_the_handoff(lab):
    """Publishing begins with CONNECT, so that packets are parked and sent on by us, under the client's address."""
    lab.start(pool=POOL)
    for number in range(10):
        client = lab.client(f"flood-{number}")
        client.subscribe(f"flood/{number}", 1)
        for piece in range(200):
            client.publish(f"flood/{number}", str(piece).encode() * 200, 1, wait=0)
        heard = client.receive_payloads(200, 15)
        if heard != [str(piece).encode() * 200 for piece in range(200)]:
            raise LabError(f"client {number} heard {len(heard)} messages, not those that it sent in order")
    checks.all_spliced(lab, 10)


@scenario(modes=SPLICING, families=(4,))
def loss_is_survived(lab):
    """2 % loss while connections are set up, and after."""
    lab.start(pool=POOL)
    lab.topology.lose(2)
    sessions = {f"lossy-{number}": lab.raw_session(f"lossy-{number}") for number in range(20)}
    client = lab.client("lossy")
    client.subscribe("lossy", 1)
    data = clients.payload(7, 1_000_000)
    client.publish("lossy", data, 1, wait=0)
    if clients.digest(client.receive(40).payload) != clients.digest(data):
        raise LabError("the payload changed on a lossy network")
    lab.topology.lose(0)
    lab.gateway.wait_spliced(21, 20)
    for client_id, connection in sessions.items():
        clients.ping(connection)
        _seen_as_itself(lab, client_id, connection)


def _goes_on(lab, end):
    """Five talkers talk through the end of a daemon and the start of the next."""
    lab.start(pool=POOL)
    talkers = [Talker(lab, f"talker-{number}") for number in range(5)]
    checks.all_spliced(lab, 5)
    for talker in talkers:
        talker.start()
    end(lab.gateway)
    if len(_policy(lab)) != 4:
        raise LabError(f"without a daemon the rules are {_policy(lab)}")
    said = [talker.sent for talker in talkers]
    wait_until(lambda: all(talker.sent > before + 30 for talker, before in zip(talkers, said)), 5,
               "thirty messages each are said without a daemon")
    if lost := [talker.client.client_id for talker in talkers if not talker.client.alive]:
        raise LabError(f"without a daemon these were lost: {lost}")
    lab.gateway.start()
    lab.check_mode()
    if lab.gateway.flow_count() != 5:
        raise LabError(f"the new daemon adopted {lab.gateway.flow_count()} flows of 5")
    newcomer = lab.raw_session("newcomer")
    lab.gateway.wait_spliced(6)
    _seen_as_itself(lab, "newcomer", newcomer)
    for talker in talkers:
        talker.finish()


@scenario(modes=SPLICING)
def sigterm_and_a_new_start_go_unnoticed(lab):
    """Flows need no mark, the next daemon's connections do: the rules stay."""
    _goes_on(lab, lambda gateway: gateway.stop())


@scenario(modes=SPLICING)
def a_killed_daemon_and_a_new_start_go_unnoticed(lab):
    """kill -9 is no different."""
    _goes_on(lab, lambda gateway: gateway.kill())


def _goodbye(connection):
    connection.sendall(bytes([mqtt.DISCONNECT, 0]))
    connection.close()


@scenario(timeout=120)
def a_client_comes_back_from_its_old_port(lab):
    """There is no other port to choose: after DISCONNECT, after a reset, and after a reboot that told nobody, the
    same address and port make a fresh session at the same broker, again and again."""
    lab.start(pool=POOL)
    source = (client_address(lab.family), 40_001)
    endings = (_goodbye, clients.reset, clients.forget)
    kind = "relayed" if lab.mode == "relay" else "spliced"
    for times, end in enumerate(endings * 2, 1):
        connection = _session(lab, "returns", source)
        wait_until(lambda: lab.gateway.connections(kind) == 1, 10,
                   lambda: f"one connection is {kind} (the {times}th): {lab.gateway.status()}", step=0.02)
        for _ in range(3):
            clients.ping(connection)
        _seen_as_itself(lab, "returns", connection, times)
        end(connection)
    connection = _session(lab, "returns", source)
    clients.ping(connection)
    _seen_as_itself(lab, "returns", connection, len(endings) * 2 + 1)


@scenario(timeout=120)
def two_connections_never_share_a_tuple(lab):
    """One client address and port, two listeners, one broker: the second is refused by name, in MQTT's words, and
    the first is none the worse; when the first has left, the second is served."""
    lab.start_brokers([1])
    lab.make_gateway(brokers=[1], pool=POOL, listener={"connack_timeout": "2s"})
    second = toml_table("[[listener]]", {"name": "second", "address": endpoint(lab.listener, 1884), "protocol": "mqtt",
                                         "pool": f"main{lab.family}", "connack_timeout": "2s"})
    lab.gateway.config_path.write_text(lab.gateway.config() + second)
    lab.gateway.start()
    source = (client_address(lab.family), 40_002)
    first = _session(lab, "first", source)
    checks.all_spliced(lab, 1)
    other = lab.track(clients.raw_from(lab.topology, lab.listener, source, 1884))
    other.sendall(mqtt.connect("other"))
    answer = mqtt.closed_within(other, 5)
    other.close()
    if not answer or answer[0] != mqtt.CONNACK or answer[3] != 3:
        raise LabError(f"the second connection of a tuple was answered by {answer and answer.hex()}")
    lab.gateway.wait_reason("close_tuple_in_use")
    if lab.brokers[0].saw_client("other"):
        raise LabError("the second connection reached the broker")
    for _ in range(3):
        clients.ping(first)
    _goodbye(first)
    checks.no_connection_counted(lab.gateway)
    clients.ping(_session(lab, "other", source, 1884))


@scenario(modes=("tc",))
def who_is_relayed_keeps_its_address(lab):
    """No room in the flow map: the connection stays a relay for its whole life, and the broker sees the client."""
    lab.start(pool=POOL, dataplane={"max_flows": 1})
    lab.raw_session("spliced")
    lab.gateway.wait_spliced(1)
    relayed = lab.client("relayed")
    lab.gateway.wait_reason("relay_flow_map_full")
    relayed.subscribe("relayed", 1)
    data = clients.payload(9, 2_000_000)
    relayed.publish("relayed", data, 1)
    if clients.digest(relayed.receive().payload) != clients.digest(data):
        raise LabError("the payload came back changed")
    _seen_as_itself(lab, "relayed", relayed.paho.socket())
    if lab.gateway.connections("relayed") != 1:
        raise LabError(f"connections: {lab.gateway.status()['connections']}")
    relayed.disconnect()
    checks.only_listeners_left(lab.topology)


@scenario(modes=("relay",))
def a_relay_ends_whole(lab):
    """Packets for a socket find it until its last FIN is acknowledged: whoever closes first, and long after the
    session is over, no socket is left half closed."""
    lab.start(pool=POOL)
    _goodbye(lab.raw_session("goes-first"))
    checks.only_listeners_left(lab.topology)
    held = lab.raw_session("is-left", keepalive=60)
    for broker in lab.brokers:
        broker.stop()
    if mqtt.closed_within(held, 3) is None:
        raise LabError("the broker is gone and its client was not told")
    held.close()
    checks.only_listeners_left(lab.topology)


@scenario(modes=("relay",), routed=True)
def a_relay_hears_of_a_small_link_behind_the_gateway(lab):
    """A router on the way to the broker tells the client's address that packets are too big: that is for the socket
    that sent them."""
    lab.start(pool=POOL)
    lab.topology.narrow(1300)
    client = lab.client("large")
    client.subscribe("large", 1)
    data = clients.payload(11, 200_000)
    client.publish("large", data, 1)
    if clients.digest(client.receive().payload) != clients.digest(data):
        raise LabError("the payload came back changed")


@scenario(modes=SPLICING)
def who_is_killed_is_told(lab):
    """The operator ends a flow: the reset that the broker gets comes from the client's address."""
    lab.start(pool=POOL)
    connection = lab.raw_session("victim")
    checks.all_spliced(lab, 1)
    source = connection.getsockname()[:2]
    lab.gateway.command("flows", "kill", "--client-id", "victim")
    if mqtt.closed_within(connection, 3) is None:
        raise LabError("the client was not told")
    wait_until(lambda: endpoint(*source) not in {peer for _, _, peer in lab.topology.tcp_sockets("broker")}, 3,
               lambda: f"the broker was told: {lab.topology.tcp_sockets('broker')}")
    connection.close()
    clients.ping(_session(lab, "victim", source))


@scenario(modes=SPLICING, families=(4,))
def rules_come_back_and_go_with_detach(lab):
    """Who tidies up routing tables does no harm; SIGTERM leaves the rules, detach removes them."""
    lab.start(pool=POOL)
    wanted = sorted(_policy(lab))
    if len(wanted) != 4:
        raise LabError(f"a rule and a route for each IP version were expected: {wanted}")
    for family in (4, 6):
        run("ip", "-n", lab.topology.gateway, f"-{family}", "rule", "del", "priority", "1883")
        run("ip", "-n", lab.topology.gateway, f"-{family}", "route", "flush", "table", "18830")
    wait_until(lambda: sorted(_policy(lab)) == wanted, 4, lambda: f"the rules are there again: {_policy(lab)}")
    lab.raw_session("alive")
    checks.all_spliced(lab, 1)
    lab.gateway.stop()
    if sorted(_policy(lab)) != wanted:
        raise LabError(f"after SIGTERM the rules are {_policy(lab)}")
    done = run("ip", "netns", "exec", lab.topology.gateway, lab.binary, "detach", "--force", "--bpffs", lab.bpffs())
    if _policy(lab) or "rules" not in done.stdout:
        raise LabError(f"after detach, which said {done.stdout!r}, the rules are {_policy(lab)}")


@scenario(families=(4,))
def flush_removes_the_rules(lab):
    """`serve --flush` leaves nothing behind when it stops."""
    lab.start_brokers()
    lab.make_gateway(pool=POOL)
    lab.gateway.config_path.write_text(lab.gateway.config())
    lab.gateway.launch(["serve", "-c", lab.gateway.config_path, "--flush"])
    clients.ping(lab.raw_session("briefly"))
    lab.gateway.stop()
    if _policy(lab):
        raise LabError(f"after a stop with --flush the rules are {_policy(lab)}")
    filters = run("tc", "-n", lab.topology.gateway, "filter", "show", "dev", "back", "ingress").stdout
    if "limpet" in filters:
        raise LabError(f"after a stop with --flush: {filters}")


@scenario(modes=("tc", "relay"), families=(4,))
def a_reload_may_switch_it_on(lab):
    """Connections that were there go on; new ones are seen under their own address. Without a data path the reload
    is refused whole."""
    lab.start()
    before = lab.raw_session("before")
    checks.all_spliced(lab, 1)
    lab.gateway.config_path.write_text(lab.gateway.config(pool=POOL))
    done = lab.gateway.command("reload", check=False)
    if lab.mode == "relay":
        if done.returncode != 1 or "restart" not in done.stderr:
            raise LabError(f"without a data path: {done}")
    else:
        after = lab.raw_session("after")
        _seen_as_itself(lab, "after", after)
        checks.all_spliced(lab, 2)
    clients.ping(before)


@scenario(modes=("tc",), families=(4,))
def what_stops_answers_is_named(lab):
    """A strict reverse path filter does not; src_valid_mark does, and `features` and `status` say so."""
    lab.start(pool=POOL, listener={"connack_timeout": "1s"})

    def sysctl(*settings):
        run("ip", "netns", "exec", lab.topology.gateway, "sysctl", "-q", "-w", *settings)

    def transparent(interface):
        features = {feature["name"]: feature for feature in lab.gateway.features()["features"]}
        return features[f"transparent {interface}"]

    sysctl("net.ipv4.conf.all.rp_filter=1")
    clients.ping(lab.raw_session("strict"))
    if not transparent("back")["available"] or "rp_filter" not in transparent("back")["detail"]:
        raise LabError(f"with a strict filter: {transparent('back')}")
    sysctl("net.ipv4.conf.back.src_valid_mark=1")
    if transparent("back")["available"] or "src_valid_mark" not in transparent("back")["detail"]:
        raise LabError(f"with src_valid_mark: {transparent('back')}")
    refused = lab.raw()
    refused.sendall(mqtt.connect("martian"))
    answer = mqtt.closed_within(refused, 5)
    if not answer or answer[3] == 0:
        raise LabError(f"with src_valid_mark the client was answered by {answer}: features exaggerates")
    lab.gateway.stop()
    lab.gateway.start()
    notes = {interface["name"]: interface["note"] for interface in lab.gateway.status()["interfaces"]}
    if "src_valid_mark" not in notes["back"]:
        raise LabError(f"status says nothing of src_valid_mark: {notes}")
    sysctl("net.ipv4.conf.back.src_valid_mark=0")
    clients.ping(lab.raw_session("mended"))


@scenario(modes=("tc", "relay"), families=(4,))
def without_capabilities_it_is_refused_in_one_line(lab):
    """Nobody may add rules: no daemon that would leak the gateway's address to the brokers is started."""
    os.chmod(lab.folder, 0o777)
    limpet = shutil.copy(lab.binary, lab.folder / "limpet")
    gateway = lab.make_gateway(pool=POOL, daemon={"socket": lab.folder / "nobody.sock"})
    gateway.config_path.write_text(gateway.config())
    done = run("ip", "netns", "exec", lab.topology.gateway, "setpriv", "--reuid=65534", "--regid=65534",
               "--clear-groups", "timeout", "5", limpet, "serve", "-c", gateway.config_path, check=False, timeout=15)
    said = [line for line in done.stderr.splitlines() if line.startswith("limpet: ")]
    if done.returncode != 1 or len(said) != 1 or "transparent" not in said[0] or "CAP_NET_ADMIN" not in said[0]:
        raise LabError(f"without capabilities: {done}")
    if lab.topology.tcp_sockets() or _policy(lab):
        raise LabError("something was started or added all the same")


@scenario(one_arm=True)
def one_arm_is_enough(lab):
    """Clients, gateway and brokers on one link."""
    lab.start(pool=POOL)
    connection = lab.raw_session("one-arm")
    checks.all_spliced(lab, 1)
    clients.ping(connection)
    _seen_as_itself(lab, "one-arm", connection)


@scenario(routed=True)
def routers_on_both_sides_are_no_obstacle(lab):
    """Clients and brokers behind routers, whose way back leads through the gateway."""
    lab.start(pool=POOL)
    connection = lab.raw_session("routed")
    checks.all_spliced(lab, 1)
    clients.ping(connection)
    _seen_as_itself(lab, "routed", connection)


@scenario(modes=("tc",), families=(4,))
def a_client_on_the_gateway_itself_is_relayed(lab):
    """Its own address is the gateway's: it comes from one of those, under its reason."""
    lab.start(pool=POOL)
    with lab.topology.inside("gateway"):
        connection = lab.track(socket.create_connection((CLIENT_NET[4].format(1), PORT), timeout=10))
    connection.sendall(mqtt.connect("local"))
    if mqtt.read_packet(connection)[1][1] != 0:
        raise LabError("refused")
    clients.ping(connection)
    lab.gateway.wait_reason("relay_local_peer")
