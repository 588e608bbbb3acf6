# SPDX-License-Identifier: Apache-2.0
"""What operators do while clients are connected: drain, rebalance, add, remove, weigh, limit, reload."""
import http.client
import itertools
import json
import pathlib
import re
import signal
import time

from limpet_lab import checks, clients, load, mqtt
from limpet_lab.process import LabError, patient, run, wait_until
from limpet_lab.scenario import MEASURED, scenario
from limpet_lab.topology import broker_address, client_address, endpoint

SPLICING = ("xdp", "tc")
HTTP_PORT = 9464


def _crowd(lab, count, prefix="crowd-", **options):
    """`count` clients that stay, all of them served and where they shall be (spliced, or relayed)."""
    crowd = load.mass(lab, count, [endpoint(lab.listener, 1883)], prefix, rate=1000, timeout=60, **options)
    result = crowd.result(90)
    if result["served"] != count:
        raise LabError(f"of {count} clients: {result}")
    checks.all_spliced(lab, count, 20)
    return crowd


def _spread(lab):
    """broker name -> connections of this family's pool."""
    return {each["name"]: each["connections"] for each in lab.gateway.ask("brokers")
            if each["pool"] == f"main{lab.family}"}


def _pool(lab):
    return ("--pool", f"main{lab.family}")


def _new_broker(lab, number):
    """A broker that is started, and added by command."""
    lab.start_brokers([number])
    lab.gateway.command("brokers", "add", f"b{number}", endpoint(broker_address(lab.family, number), 1883), *_pool(lab))


@scenario(families=(4,), modes=("tc", "relay"))
def a_drain_takes_the_time_that_its_rate_says(lab):
    """600 clients, 200/s: a third of them is at b1, and 3 s of 200/s end nobody but them. Within 10 %."""
    lab.start()
    lab.gateway.command("brokers", "drain", "b2", "--rate", "0", *_pool(lab))
    lab.gateway.command("brokers", "drain", "b3", "--rate", "0", *_pool(lab))
    crowd = _crowd(lab, 600)
    for name in ("b2", "b3"):
        lab.gateway.command("brokers", "enable", name, *_pool(lab))
    begin = time.monotonic()
    drain = lab.gateway.ask("brokers", "drain", "b1", "--rate", "200/s", *_pool(lab))
    took = time.monotonic() - begin
    if drain["state"] != "done" or drain["ended"] != 600 or drain["left"] != 0:
        raise LabError(f"the drain ended as {drain}")
    if not 2.7 <= drain["elapsed_seconds"] <= 3.3 or took > 3.9:
        raise LabError(f"600 connections at 200/s took {drain['elapsed_seconds']:.2f} s (asked for {took:.2f} s)")
    if lab.gateway.reason("end_drained") != 600 or _spread(lab)["b1"] != 0:
        raise LabError(f"drained: {lab.gateway.reason('end_drained')}, left: {_spread(lab)}")
    if (pinged := crowd.tell("ping"))["lost"] != 600:
        raise LabError(f"the clients of the drained broker were not told: {pinged}")
    crowd.kill()


@scenario(families=(4,), modes=SPLICING)
def clients_of_a_drained_broker_move_and_are_remembered_anew(lab):
    """Only b1's clients lose their connections; they come back to others and stay there when b1 is back."""
    lab.start()
    held = {f"move-{number}": lab.raw_session(f"move-{number}", clean=False) for number in range(30)}
    checks.all_spliced(lab, 30)
    homes = {client_id: lab.broker_of(client_id) for client_id in held}
    lab.gateway.command("brokers", "drain", "b1", "--deadline", "1s", *_pool(lab))
    moved = [client_id for client_id, home in homes.items() if home == "b1"]
    for client_id in moved:
        if mqtt.closed_within(held[client_id], 3) is None:
            raise LabError(f"{client_id} was not told")
    anew = {}
    for client_id in moved:
        held[client_id] = lab.raw_session(client_id, clean=False)
        anew[client_id] = lab.gateway.lookup(client_id, lab.family)["broker"]
    if "b1" in anew.values():
        raise LabError(f"the drained broker got new clients: {anew}")
    for connection in held.values():
        clients.ping(connection)
    lab.gateway.command("brokers", "enable", "b1", *_pool(lab))
    lab.leave()
    checks.flows_end(lab.gateway)
    for client_id, home in anew.items():
        if (found := lab.gateway.lookup(client_id, lab.family))["broker"] != home:
            raise LabError(f"{client_id} moved to {home} and is looked for at {found}")


@scenario(families=(4,), modes=("relay",))
def relayed_clients_of_mqtt_5_are_told_in_words(lab):
    """DISCONNECT 0x9C in a relay of MQTT 5; 3.1.1 has no words, and is closed."""
    lab.start()
    lab.gateway.command("brokers", "drain", "b2", "--rate", "0", *_pool(lab))
    lab.gateway.command("brokers", "drain", "b3", "--rate", "0", *_pool(lab))
    fresh = lab.raw_session("words", version=mqtt.V5)
    old = lab.raw_session("no-words")
    checks.all_spliced(lab, 2)
    lab.gateway.command("brokers", "enable", "b2", *_pool(lab))
    lab.gateway.command("brokers", "drain", "b1", "--rate", "50/s", *_pool(lab))
    if (said := mqtt.closed_within(fresh, 3)) != bytes([mqtt.DISCONNECT, 1, 0x9C]):
        raise LabError(f"the client of MQTT 5 heard {said!r}")
    if (said := mqtt.closed_within(old, 3)) != b"":
        raise LabError(f"the client of 3.1.1 heard {said!r}")


@scenario(families=(4,), modes=("tc",))
def a_drain_can_be_cancelled(lab):
    """What was not ended yet stays, and the broker takes clients again."""
    lab.start()
    crowd = _crowd(lab, 90)
    before = _spread(lab)
    lab.gateway.command("brokers", "drain", "b1", "--rate", "5/s", "--no-wait", *_pool(lab))
    lab.gateway.wait_reason("end_drained", 2)
    lab.gateway.command("brokers", "drain", "b1", "--cancel", *_pool(lab))
    ended = lab.gateway.reason("end_drained")
    move = lab.gateway.ask("brokers", "moves")[-1]
    if move["state"] != "cancelled" or move["ended"] != ended:
        raise LabError(f"{ended} were ended, the move says {move}")
    if (now := _spread(lab))["b1"] != before["b1"] - ended:
        raise LabError(f"before: {before}, after {ended} were ended: {now}")
    if lab.gateway.ask("brokers")[0]["state"] != "up":
        raise LabError("the broker does not take clients again")
    crowd.tell("leave")


@scenario(families=(4,), modes=("tc", "relay"), brokers=4)
def rebalancing_gives_a_new_broker_its_share(lab):
    """b4 comes to three brokers with 120 clients: 30 of them are moved, who come back to b4, and no other."""
    lab.start_brokers([1, 2, 3])
    lab.make_gateway(brokers=[1, 2, 3]).start()
    held = {f"even-{number}": lab.raw_session(f"even-{number}", clean=False) for number in range(120)}
    checks.all_spliced(lab, 120)
    _new_broker(lab, 4)
    moves = lab.gateway.ask("brokers", "rebalance", "--rate", "100/s", *_pool(lab))
    if [move["state"] for move in moves] != ["done"] or not 28 <= moves[0]["ended"] <= 32:
        raise LabError(f"rebalancing: {moves}")
    wait_until(lambda: sum(_spread(lab).values()) == 120 - moves[0]["ended"], 5, lambda: f"counted: {_spread(lab)}")
    back = 0
    for client_id, connection in held.items():
        connection.settimeout(10)
        try:
            clients.ping(connection)
        except (EOFError, ConnectionError):
            held[client_id] = lab.raw_session(client_id, clean=False)
            back += 1
    if back != moves[0]["ended"]:
        raise LabError(f"{moves[0]['ended']} were ended, {back} noticed")
    checks.all_spliced(lab, 120)
    spread = _spread(lab)
    if max(spread.values()) > 1.1 * 30 or min(spread.values()) < 0.9 * 30:
        raise LabError(f"after rebalancing: {spread}")
    if lab.gateway.ask("brokers", "rebalance", *_pool(lab)) != []:
        raise LabError("what is even is rebalanced again")


@scenario(families=(4,), modes=("tc", "relay"), brokers=4)
def brokers_come_go_and_change_without_losing_a_connection(lab):
    """add, weight, maxconn and remove, one after the other, under forty clients."""
    lab.start_brokers([1, 2, 3])
    lab.make_gateway(brokers=[1, 2, 3]).start()
    held = [lab.raw_session(f"hold-{number}") for number in range(40)]
    checks.all_spliced(lab, 40)
    _new_broker(lab, 4)
    lab.gateway.command("brokers", "weight", "b4", "50", *_pool(lab))
    held += [lab.raw_session(f"more-{number}") for number in range(20)]
    if (spread := _spread(lab))["b4"] < 10:
        raise LabError(f"a broker of weight 50 against 1 got {spread}")
    lab.gateway.command("brokers", "maxconn", "b4", spread["b4"], *_pool(lab))
    held += [lab.raw_session(f"full-{number}") for number in range(10)]
    if _spread(lab)["b4"] != spread["b4"]:
        raise LabError(f"a full broker took more: {_spread(lab)}")
    lab.gateway.command("brokers", "remove", "b4", *_pool(lab))
    held += [lab.raw_session(f"gone-{number}") for number in range(10)]
    for connection in held:
        clients.ping(connection)
    checks.all_spliced(lab, len(held))
    for words in (("add", "b1", "10.92.0.99:1883"), ("add", "b9", endpoint(broker_address(lab.family, 1), 1883)),
                  ("add", "b9", "nowhere"), ("weight", "b1", "0"), ("weight", "b1", "65536"), ("weight", "b9", "1"),
                  ("remove", "b9"), ("drain", "b9"), ("drain", "b1", "--rate", "5000000/s")):
        before = lab.gateway.ask("brokers")
        refused = lab.gateway.command("brokers", *words, *_pool(lab), check=False)
        if refused.returncode != 1 or not refused.stderr.startswith("limpet: ") or refused.stderr.count("\n") != 1:
            raise LabError(f"brokers {words}: {refused}")
        if [dict(each, chosen=0) for each in before] != [dict(each, chosen=0) for each in lab.gateway.ask("brokers")]:
            raise LabError(f"brokers {words} was refused and changed something")


@scenario(families=(4,), modes=("tc", "relay"))
def limits_hold_and_are_refused_by_name(lab):
    """Three brokers of at most two clients: six are served, the seventh hears "quota" in its own words."""
    lab.start_brokers()
    lab.start_gateway(pool={"max_connections": 100})
    for name in ("b1", "b2", "b3"):
        lab.gateway.command("brokers", "maxconn", name, "2", *_pool(lab))
    for number in range(6):
        lab.raw_session(f"place-{number}")
    for version, code in ((mqtt.V311, 3), (mqtt.V5, 0x97)):
        connection = lab.raw()
        connection.sendall(mqtt.connect("seventh", version=version))
        answer = mqtt.closed_within(connection, 8)
        if not answer or answer[2:4] != bytes([0, code]):
            raise LabError(f"version {version} heard {answer!r}, not code {code:#x}")
    if lab.gateway.reason("close_brokers_full") != 2:
        raise LabError(f"counted: {lab.gateway.status()['reasons']}")
    clients.ping(lab.raw_session("place-3"))  # it takes over its own connection, which needs no place


@scenario(families=(4,), modes=("tc", "relay"))
def ten_reloads_in_a_row_change_nothing_for_clients(lab):
    """Weights, timeouts and a broker more or less, ten times, while clients talk and new ones come."""
    lab.start()
    held = [lab.raw_session(f"still-{number}") for number in range(50)]
    checks.all_spliced(lab, 50)
    for turn in range(10):
        lab.gateway._brokers = [1, 2, 3] if turn % 2 else [1, 2]
        lab.gateway.config_path.write_text(lab.gateway.config(listener={"connack_timeout": f"{turn + 2}s"}))
        changed = lab.gateway.ask("reload")["changed"]
        if not any("connack_timeout" in line for line in changed) or not any("broker b3" in line for line in changed):
            raise LabError(f"reload {turn} says {changed}")
        held.append(lab.raw_session(f"turn-{turn}"))
        for connection in held[::10]:
            clients.ping(connection)
    for connection in held:
        clients.ping(connection)
    checks.all_spliced(lab, len(held))


def _post(lab, path):
    """(status, what it answers) of the HTTP API, asked from inside the gateway."""
    with lab.topology.inside("gateway"):
        connection = http.client.HTTPConnection("127.0.0.1", HTTP_PORT, timeout=patient(10))
        connection.request("POST", path, "{}", {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@scenario(families=(4,), modes=("tc",))
def reload_is_a_command_a_signal_and_a_request(lab):
    """SIGHUP and the API do what `limpet reload` does: the good file counts, a wrong one changes nothing."""
    lab.start(admin=f"127.0.0.1:{HTTP_PORT}")
    held = [lab.raw_session(f"held-{number}") for number in range(6)]
    write = lab.gateway.config_path.write_text

    write(lab.gateway.config(listener={"connack_timeout": "3s"}))
    lab.gateway.process.signal(signal.SIGHUP)
    wait_until(lambda: "connack_timeout" in lab.gateway.log(), 10, lambda: f"SIGHUP reloads: {lab.gateway.log()[-800:]}")
    write(lab.gateway.config() + "[surprise]\nkey = 1\n")
    lab.gateway.process.signal(signal.SIGHUP)
    wait_until(lambda: "reload refused" in lab.gateway.log(), 10, lambda: f"refused: {lab.gateway.log()[-800:]}")
    status, answer = _post(lab, "/api/v1/reload")
    if status < 400 or "surprise" not in json.dumps(answer):
        raise LabError(f"a wrong file, asked by HTTP: {status} {answer}")
    write(lab.gateway.config(listener={"connack_timeout": "4s"}))
    status, answer = _post(lab, "/api/v1/reload")
    if status != 200 or "connack_timeout" not in json.dumps(answer):
        raise LabError(f"a good file, asked by HTTP: {status} {answer}")
    for connection in held:
        clients.ping(connection)


def _resident_kilobytes(process):
    text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", text).group(1))


@scenario(families=(4,), modes=("tc",), alone=True, timeout=240, client_addresses=2)
def reloads_under_load_lose_nobody(lab):
    """5,000 clients stay while others come and go as fast as this machine lets them, up to 2,000 a second, and the
    configuration is loaded again and again, a broker more or less each time: every client is served, none is lost, and
    memory comes back to where it was."""
    lab.start()
    target = endpoint(lab.listener, 1883)
    stay = load.mass(lab, 5000, [target], "stay-", rate=2000, source=client_address(4, 10), timeout=60)
    if (result := stay.result(100))["served"] != 5000:
        raise LabError(f"of those who stay: {result}")
    checks.all_spliced(lab, 5000, 30)

    def reload(turn):
        lab.gateway._brokers = [1, 2] if turn % 2 else [1, 2, 3]
        lab.gateway.config_path.write_text(lab.gateway.config(listener={"connack_timeout": f"{5 + turn % 2}s"}))
        changed = lab.gateway.ask("reload")["changed"]
        if not any("broker b3" in line for line in changed):
            raise LabError(f"reload {turn} says {changed}")

    memory = []
    turns = itertools.count(1)
    for _ in range(2):
        begin = time.monotonic()
        passing = load.mass(lab, 8000, [target], "pass-", rate=2000, window=1000, stay=0, source=client_address(4, 11),
                            timeout=60)
        reloads = 0
        while (result := passing.poll()) is None:
            reload(next(turns))
            reloads += 1
            time.sleep(0.2)
        took = time.monotonic() - begin
        if result["left"] != 8000 or reloads < 10:
            raise LabError(f"{reloads} reloads in {took:.1f} s: {result}")
        lab.gateway.wait_spliced(5000, 20)
        memory.append(_resident_kilobytes(lab.gateway.process))
        print(f"{MEASURED}{reloads} reloads in {took:.1f} s beside 8,000 clients that came and went; memory {memory[-1]} kB")
    if (pinged := stay.tell("ping", 90))["answered"] != 5000:
        raise LabError(f"of those who stay: {pinged}")
    # Allocators keep what the first load needed, and the pools its clients; a second one of the same needs no more.
    if memory[1] > memory[0] * 1.05:
        raise LabError(f"memory grew from {memory[0]} to {memory[1]} kB")
    stay.tell("leave")


@scenario(families=(4,), modes=("tc", "relay"))
def clients_that_come_too_often_are_refused_by_name(lab):
    """A flapping id is held off while others are served; an address and the whole listener have their own rates."""
    lab.start_brokers()
    gateway = lab.start_gateway(listener={"client_connect_rate": "5/m", "hold_off": "1h"})
    for _ in range(5):
        lab.raw_session("flapping").close()
    for version, code in ((mqtt.V311, 3), (mqtt.V5, 0x9F), (mqtt.V31, 3)):
        _refused(lab, mqtt.connect("flapping", version=version), code)
    if gateway.reason("close_client_rate") != 3 or "flapping" not in gateway.log():
        raise LabError(f"counted: {gateway.status()['reasons']}")
    clients.ping(lab.raw_session("calm"))
    for key, reason, code in (("source_connect_rate", "close_source_rate", 0x9F),
                              ("connect_rate", "close_listener_rate", 0x89)):
        gateway.config_path.write_text(gateway.config(listener={key: "4/h"}))
        gateway.command("reload")
        served = [lab.raw_session(f"{key}-{number}") for number in range(4)]
        _refused(lab, mqtt.connect("one-more", version=mqtt.V5), code)
        if gateway.reason(reason) != 1:
            raise LabError(f"counted: {gateway.status()['reasons']}")
        for connection in served:
            clients.ping(connection)


def _refused(lab, connect, code):
    """CONNACK with this code, and the end of the connection."""
    connection = lab.raw()
    connection.sendall(connect)
    answer = mqtt.closed_within(connection, 8)
    if not answer or answer[:1] != bytes([mqtt.CONNACK]) or answer[2:4] != bytes([0, code]):
        raise LabError(f"heard {answer and answer.hex()}, not CONNACK {code:#x}")


RULES = """
[[rule]]
name = "intruder"
client_id = ["evil-*", "bad-?"]
action = "deny"
reason = "banned"

[[rule]]
name = "old"
version = "3.1"
action = "deny"

[[rule]]
name = "impatient"
keep_alive_below = "10s"
action = "deny"
reason = "server_busy"

[[rule]]
name = "europe"
listener = "mqtt4"
username = "eu-*"
source = "10.91.0.0/16"
action = "allow"
pool = "europe"

[[pool]]
name = "europe"
[[pool.broker]]
name = "e1"
address = "10.92.0.13:1883"
"""


@scenario(families=(4,), modes=("tc", "relay"))
def rules_deny_and_choose_a_pool_by_user_name(lab):
    """Users eu-… go to a cluster of their own through the same address; who is denied hears why."""
    lab.start_brokers()
    gateway = lab.make_gateway(brokers=[1, 2])
    gateway.config_path.write_text(gateway.config() + RULES)
    gateway.start()
    for number in range(10):
        lab.raw_session(f"there-{number}", username=f"eu-{number}", password="x")
        lab.raw_session(f"here-{number}", username=f"us-{number}", password="x")
    checks.all_spliced(lab, 20)
    for number in range(10):
        if (home := lab.broker_of(f"there-{number}")) != "b3":
            raise LabError(f"a user of Europe is at {home}")
        if (home := lab.broker_of(f"here-{number}")) == "b3":
            raise LabError("a user of elsewhere is in Europe")
    counts = {each["name"]: each["connections"] for each in gateway.ask("brokers") if each["pool"] == "europe"}
    if counts != {"e1": 10}:
        raise LabError(f"Europe has {counts}")
    if lab.mode != "relay" and len(gateway.flows("--broker", "e1")) != 10:
        raise LabError("flows list does not know the broker that a rule led to")
    _refused(lab, mqtt.connect("evil-7", username="eu-1", password="x"), 5)
    _refused(lab, mqtt.connect("bad-1", version=mqtt.V5), 0x8A)
    _refused(lab, mqtt.connect("anybody", version=mqtt.V31), 5)
    _refused(lab, mqtt.connect("anybody", version=mqtt.V5, keepalive=9), 0x89)
    clients.ping(lab.raw_session("bad-12"))
    clients.ping(lab.raw_session("forever", keepalive=0))
    if gateway.reason("close_denied") != 4 or "intruder" not in gateway.log():
        raise LabError(f"counted: {gateway.status()['reasons']}")
    lab.leave()
    checks.flows_end(gateway)
    if any(each["connections"] for each in gateway.ask("brokers")):
        raise LabError(f"after everybody left: {gateway.ask('brokers')}")


@scenario(families=(4,), modes=("tc", "relay"))
def what_is_remembered_survives_the_daemon_and_the_pins(lab):
    """Clients that are away when the daemon is killed, and when even its pins are gone as after a reboot, come back
    to their brokers; `limpet stick` shows and changes where."""
    lab.start()
    gateway = lab.gateway
    ids = [f"away-{number}" for number in range(30)]
    for client_id in ids:
        lab.raw_session(client_id, clean=False)
    checks.all_spliced(lab, 30)
    homes = {client_id: lab.broker_of(client_id) for client_id in ids}
    lab.leave()
    checks.flows_end(gateway)
    target = next(name for name in ("b1", "b2", "b3") if name != homes[ids[0]])
    homes[ids[0]] = gateway.ask("stick", "set", ids[0], target, *_pool(lab))["broker"]
    time.sleep(1)  # what changed in the last 200 ms may be lost with a daemon that is killed
    gateway.kill()
    gateway.start()
    _remembered(gateway, homes, lab.family)
    gateway.stop()
    run("ip", "netns", "exec", lab.topology.gateway, lab.binary, "detach", "--bpffs", lab.bpffs(), "--force")
    gateway.start()
    _remembered(gateway, homes, lab.family)
    if len(gateway.ask("stick", "list", *_pool(lab))) != 30:
        raise LabError("stick list does not show the thirty clients")
    gateway.command("stick", "clear", ids[1], *_pool(lab))
    if gateway.command("stick", "show", ids[1], *_pool(lab), check=False).returncode != 1:
        raise LabError("a client that was cleared is still remembered")
    if gateway.ask("stick", "clear", "--all", *_pool(lab)) != {"cleared": 29}:
        raise LabError("not everybody was forgotten")


def _remembered(gateway, homes, family):
    for client_id, home in homes.items():
        found = gateway.lookup(client_id, family)
        if found["why"] != "remembered" or found["broker"] != home:
            raise LabError(f"{client_id} was at {home}, lookup says {found}")
