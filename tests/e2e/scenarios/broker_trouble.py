# SPDX-License-Identifier: Apache-2.0
"""Brokers that are dead, deaf or rude: the next one serves, and the client sees nothing of it."""
import time

from limpet_lab import broker, checks, clients, mqtt
from limpet_lab.process import LabError, wait_until
from limpet_lab.scenario import scenario

TIMEOUTS = {"connack_timeout": "4s"}


@scenario()
def a_deaf_broker_is_left_for_the_next_one(lab):
    """b1 accepts and never answers CONNECT: within the connack timeout the client is served by another one."""
    deaf = lab.scripted_broker(1, broker.never_answers)
    lab.start_brokers([2, 3])
    lab.start_gateway(listener=TIMEOUTS)
    client_id = lab.gateway.id_at("b1", lab.family)
    begin = time.monotonic()
    connection = lab.raw_session(client_id)
    if (took := time.monotonic() - begin) > 4.5:
        raise LabError(f"served after {took:.1f} s, connack_timeout is 4 s")
    if not deaf.accepted:
        raise LabError("the deaf broker was not even tried")
    clients.ping(connection)
    lab.gateway.wait_reason("broker_connack_timeout")
    checks.all_spliced(lab, 1)


@scenario()
def a_broker_that_hangs_up_is_left_for_the_next_one(lab):
    """b1 reads CONNECT and closes: what a broker does while it restarts."""
    lab.scripted_broker(1, broker.closes_at_connect)
    lab.start_brokers([2, 3])
    lab.start_gateway(listener=TIMEOUTS)
    clients.ping(lab.raw_session(lab.gateway.id_at("b1", lab.family)))
    lab.gateway.wait_reason("broker_closed_early")
    checks.all_spliced(lab, 1)


@scenario()
def a_dead_broker_is_left_for_the_next_one(lab):
    """Nobody listens at b1: thirty clients are served by the others, at once."""
    lab.start_brokers([2, 3])
    lab.start_gateway(listener=TIMEOUTS)
    begin = time.monotonic()
    for number in range(30):
        lab.raw_session(f"dead-{number}")
    if (took := time.monotonic() - begin) > 5:
        raise LabError(f"thirty clients took {took:.1f} s beside a dead broker")
    lab.gateway.wait_reason("broker_connect_failed")
    checks.all_spliced(lab, 30)


@scenario()
def without_brokers_the_refusal_is_in_mqtts_words(lab):
    """Nobody listens anywhere: 3.1 and 3.1.1 hear code 3, 5 hears 0x88, and the connection ends."""
    lab.start_gateway(listener=TIMEOUTS)
    for count, (version, code) in enumerate(((mqtt.V31, 3), (mqtt.V311, 3), (mqtt.V5, 0x88)), 1):
        connection = lab.raw()
        connection.sendall(mqtt.connect("nobody-home", version=version))
        answer = mqtt.closed_within(connection, 8)
        if not answer or answer[:1] != bytes([mqtt.CONNACK]) or answer[2:4] != bytes([0, code]):
            raise LabError(f"version {version} heard {answer and answer.hex()}, not CONNACK {code:#x}")
        lab.gateway.wait_reason("close_no_broker", count)


@scenario(families=(4,))
def deaf_brokers_alone_end_in_a_refusal(lab):
    """All three accept and say nothing: after connack_timeout, retries included, the client knows."""
    for number in (1, 2, 3):
        lab.scripted_broker(number, broker.never_answers)
    lab.start_gateway(listener={"connack_timeout": "2s"})
    connection = lab.raw()
    begin = time.monotonic()
    connection.sendall(mqtt.connect("patient"))
    answer = mqtt.closed_within(connection, 5)
    if not answer or answer[3] != 3 or not 1 < time.monotonic() - begin < 4:
        raise LabError(f"heard {answer!r} after {time.monotonic() - begin:.1f} s")


@scenario(families=(4,))
def a_broker_that_comes_back_is_used_again(lab):
    """A broker that failed is avoided for a while and then tried again: no restart of the gateway needed."""
    lab.start_brokers([2, 3])
    lab.start_gateway(pool={"strategy": "hash"})
    client_id = lab.gateway.id_at("b1", lab.family)
    lab.raw_session(client_id)
    lab.leave()
    lab.start_brokers([1])

    def returned():
        lab.raw_session(client_id)
        lab.leave()
        checks.no_connection_counted(lab.gateway)  # whoever is still connected elsewhere stays with that broker
        return lab.brokers[-1].saw_client(client_id)

    wait_until(returned, 15, "the client of b1 is at b1 again", step=0.3)


@scenario()
def a_broker_that_dies_ends_its_clients_connections(lab):
    """The broker's FIN or RST crosses the fast path: the client knows at once, and the entries go."""
    lab.start()
    held = {name: lab.raw_session(lab.gateway.id_at(name, lab.family)) for name in ("b1", "b2", "b3")}
    checks.all_spliced(lab, 3)
    lab.brokers[0].stop()
    if mqtt.closed_within(held["b1"], 3) is None:
        raise LabError("the client of the dead broker was not told")
    held["b1"].close()
    for name in ("b2", "b3"):
        clients.ping(held[name])
    kind = "relayed" if lab.mode == "relay" else "spliced"
    wait_until(lambda: lab.gateway.connections(kind) == 2, 10, "two connections are left", step=0.1)


@scenario(families=(4,), modes=("tc", "relay"))
def bad_user_names_are_the_brokers_business(lab):
    """CONNACK with a refusal of the broker's own is relayed as it is."""
    def refuses(connection):
        mqtt.read_packet(connection)
        connection.sendall(mqtt.connack(code=5))

    for number in (1, 2, 3):
        lab.scripted_broker(number, refuses)
    lab.start_gateway()
    connection = lab.raw()
    connection.sendall(mqtt.connect("stranger", username="eve", password="guess"))
    answer = mqtt.closed_within(connection, 5)
    if answer != mqtt.connack(code=5):
        raise LabError(f"the broker said code 5, the client heard {answer!r}")
