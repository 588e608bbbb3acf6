# SPDX-License-Identifier: Apache-2.0
"""The demonstration: 300 clients, three real brokers, one gateway, and what became of them, as a table."""
import argparse
import asyncio
import collections
import pathlib
import signal
import statistics
import sys
import time

TOP = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / "tests/e2e"))
sys.dont_write_bytecode = True

from limpet_lab import clients, load, mqtt  # noqa: E402
from limpet_lab.fleet import FleetClient, gather_in_batches  # noqa: E402
from limpet_lab.lab import Lab  # noqa: E402
from limpet_lab.process import LabError, wait_until  # noqa: E402

PORT = 1883
REAL_CLIENTS = 6         # of them are mosquitto_sub processes, fed by mosquitto_pub
MESSAGES_PER_QOS = 5
PING_PONGS = 2000


class Demo:
    """What happened, step by step, and whether it was as promised."""

    def __init__(self, lab, count):
        self.lab = lab
        self.fleet = [FleetClient(f"sensor-{number:03}") for number in range(count - REAL_CLIENTS)]
        self.real_ids = [f"mosquitto-{number}" for number in range(REAL_CLIENTS)]
        self.ids = [client.client_id for client in self.fleet] + self.real_ids
        self.homes = []          # per round: client id -> broker name, from the brokers' own logs
        self.real = []
        self.real_messages = 0
        self.senders = lab.acquaint("sender-")
        self.rows = []
        self.failures = []

    def row(self, what, value, good=True):
        self.rows.append((what, value, good))
        if not good:
            self.failures.append(what)

    # the rounds

    def run_round(self, number):
        """Everybody connects, talks, is looked at, and leaves."""
        started = self._log_marks()
        with self.lab.topology.inside("clients"):
            asyncio.run(self._round(number))
        self.homes.append(self._homes_since(started))
        wait_until(lambda: self.lab.gateway.flow_count() == 0, 10, "flows are gone after everybody left", step=0.1)

    async def _round(self, number):
        loop = asyncio.get_running_loop()
        for client_id in self.real_ids:
            self.real.append(clients.mosquitto_sub(
                self.lab.resources, self.lab.topology, self.lab.listener, self.lab.folder / f"{client_id}-{number}.out",
                "-i", client_id, "-t", f"real/{client_id}", "-q", "2", "-C", "3"))
        await gather_in_batches([client.connect(self.lab.listener, PORT) for client in self.fleet])
        await gather_in_batches([client.subscribe(2) for client in self.fleet])
        await gather_in_batches([self._talk(client, number) for client in self.fleet])
        await loop.run_in_executor(None, self._look_at, number)
        await loop.run_in_executor(None, self._feed_real_clients)
        await gather_in_batches([client.disconnect() for client in self.fleet])

    async def _talk(self, client, number):
        before = len(client.received)
        for qos in (0, 1, 2):
            for message in range(MESSAGES_PER_QOS):
                await client.publish(f"{client.client_id} {number} {qos} {message}".encode(), qos)
        await client.heard(before + 3 * MESSAGES_PER_QOS, 10)

    def _feed_real_clients(self):
        """mosquitto_pub speaks to each mosquitto_sub, under an id that has its home at the same broker."""
        for client_id, process in zip(self.real_ids, self.real[-REAL_CLIENTS:]):
            home = self.lab.gateway.lookup(client_id)["broker"]
            for qos in "012":
                clients.mosquitto_pub(self.lab.topology, self.lab.listener, "-i", self.senders[home], "-t", f"real/{client_id}",
                                      "-q", qos, "-m", f"quality {qos}")
            process.wait(10)
            self.real_messages += process.log().count("quality ")

    def _look_at(self, number):
        """While all are connected: who carries them."""
        gateway = self.lab.gateway
        try:
            gateway.wait_spliced(len(self.ids), 10)
        except LabError:
            pass  # the table says so
        connections = gateway.status()["connections"]
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline and (left := self._connection_sockets()):
            time.sleep(0.05)
        left = self._connection_sockets()
        name = f"round {number}: "
        self.row(name + "connections spliced", connections["spliced"], connections["spliced"] == len(self.ids))
        self.row(name + "connections relayed", connections["relayed"], connections["relayed"] == 0)
        listeners = sum(entry[0] == "LISTEN" for entry in self.lab.topology.tcp_sockets())
        self.row(name + "TCP sockets left in the gateway", f"{len(left)} and {listeners} listening", not left)

    def _connection_sockets(self):
        """Without TIME-WAIT, which is what remains for a minute of a mosquitto_pub that left before its handoff."""
        return [entry for entry in self.lab.topology.tcp_sockets() if entry[0] not in ("LISTEN", "TIME-WAIT")]

    # what the brokers say themselves

    def _log_marks(self):
        return {broker.name: len(broker.log()) for broker in self.lab.brokers}

    def _homes_since(self, marks):
        homes = {}
        for broker in self.lab.brokers:
            text = broker.log()[marks[broker.name]:]
            for client_id in self.ids:
                if f" as {client_id} (" in text:
                    homes[client_id] = broker.name if client_id not in homes else "several"
        return homes

    def judge(self):
        first, second = self.homes
        spread = collections.Counter(first.values())
        for broker in self.lab.brokers:
            self.row(f"clients at broker {broker.name}", spread[broker.name], spread[broker.name] > 0)
        returned = sum(first.get(client_id) == second.get(client_id) is not None for client_id in self.ids)
        self.row("returned to the same broker", f"{returned} of {len(self.ids)}", returned == len(self.ids))
        sent = sum(client.sent for client in self.fleet) + 2 * 3 * REAL_CLIENTS
        received = sum(len(client.received) for client in self.fleet) + self.real_messages
        self.row("messages sent, QoS 0, 1 and 2", sent)
        self.row("messages received", received, received == sent)

    def ping_pong(self):
        """Round trips through Limpet and through plain routing, turn by turn, to the same broker."""
        home = self.lab.gateway.lookup("pinger")["broker"]
        broker = next(broker for broker in self.lab.brokers if broker.name == home)
        through = self.lab.track(clients.raw_session(self.lab.topology, self.lab.listener, "pinger"))
        direct = self.lab.track(clients.raw_session(self.lab.topology, broker.address(self.lab.family), "pinger-direct"))
        self.lab.gateway.wait_spliced(1)
        times = {through: [], direct: []}
        for connection in times:
            topic = f"ping/{id(connection)}"
            connection.sendall(mqtt.subscribe(1, topic))
            mqtt.read_packet(connection)
        for _ in range(PING_PONGS):
            for connection, taken in times.items():
                packet = mqtt.publish(f"ping/{id(connection)}", b"x" * 32)
                begin = time.perf_counter_ns()
                connection.sendall(packet)
                answer = mqtt.read_exactly(connection, len(packet))
                taken.append(time.perf_counter_ns() - begin)
                if answer != packet:
                    raise LabError("a ping came back changed")
        limpet, routing = (statistics.median(taken) / 1000 for taken in times.values())
        self.row("round trip through Limpet, median", f"{limpet:.1f} us")
        self.row("round trip through plain routing, median", f"{routing:.1f} us")
        self.row("ratio", f"{limpet / routing:.2f}")

    def print_table(self):
        width = max(len(what) for what, _, _ in self.rows)
        print()
        for what, value, good in self.rows:
            print(f"  {what:{width}}  {value}{'' if good else '   <-- not as promised'}")
        print()


def play(limpet, count):
    with Lab(limpet, mode="auto", prefix="limpet-demo") as lab:
        print("three mosquitto brokers, a gateway and a client network, each in a namespace of its own")
        lab.start()
        attached = ", ".join(f"{interface['name']} {interface['mode']}" for interface in lab.gateway.status()["interfaces"])
        print(f"limpet is ready; data path: {attached}")
        demo = Demo(lab, count)
        for number in (1, 2):
            print(f"round {number}: {count} clients connect, subscribe, publish and leave")
            demo.run_round(number)
        demo.judge()
        demo.ping_pong()
        lab.finish()
        demo.print_table()
    if lab.resources.trouble:
        demo.failures.append(f"cleaning up: {lab.resources.trouble}")
    return demo.failures


def interrupted(*_):
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=300)
    parser.add_argument("--limpet", type=pathlib.Path, default=TOP / "build/release/limpet", help="the binary to show")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, interrupted)
    load.build(arguments.limpet.parent / "e2e", "entries")  # the closing checks look into the maps with it
    begin = time.monotonic()
    try:
        failures = play(arguments.limpet, arguments.clients)
    except LabError as error:
        failures = [str(error)]
    except KeyboardInterrupt:
        return 130
    took = time.monotonic() - begin
    if failures:
        print(f"demo: not as promised: {'; '.join(failures)}", file=sys.stderr)
        return 1
    print(f"all of it was true; it took {took:.0f} s, and nothing is left behind")
    return 0


if __name__ == "__main__":
    sys.exit(main())
