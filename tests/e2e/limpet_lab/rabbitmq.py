# SPDX-License-Identifier: Apache-2.0
"""RabbitMQ with its MQTT plugins as a broker of the laboratory: a node of its own per address."""
import os
import pathlib
import re

from .process import LabError, Missing, wait_until
from .topology import broker_address

PORT, WEB_PORT = 1883, 15675
#: before its client ids are known (a Raft log of its own) it refuses every client
READY_SECONDS = 90


def _program():
    found = sorted(pathlib.Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    if not found:
        raise Missing("RabbitMQ (Debian's rabbitmq-server)")
    return found[-1]


class RabbitMq:
    """`proxy`: it wants a PROXY header before everything."""

    def __init__(self, lab, number, proxy=False):
        self.number = number
        self.name = f"b{number}"
        self._lab = lab
        self._folder = lab.folder / f"rabbit{number}"
        self._folder.mkdir()
        listeners = [f"mqtt.listeners.tcp.{family} = {broker_address(family, number)}:{PORT}\n"
                     for family in (4, 6)]
        (self._folder / "rabbitmq.conf").write_text(
            "listeners.tcp = none\nloopback_users = none\nlog.file = false\nlog.console = true\nlog.console.level = info\n"
            f"mqtt.allow_anonymous = true\nmqtt.proxy_protocol = {'true' if proxy else 'false'}\n" + "".join(listeners) +
            f"web_mqtt.tcp.ip = {broker_address(lab.family, number)}\nweb_mqtt.tcp.port = {WEB_PORT}\n")
        (self._folder / "plugins").write_text("[rabbitmq_mqtt,rabbitmq_web_mqtt].\n")
        self.process = None
        self._starts = 0

    def start(self):
        folder = self._folder
        self._starts += 1
        # Nodes share the namespace: each has a name and ports for Erlang's own talk that no other has. As under systemd
        # the process is the node itself, so that its death is the node's; its port mapper is started here, since it
        # would start one that stays.
        mapper = 4368 + self.number
        if self._starts == 1:
            self._lab.resources.start(["epmd", "-port", mapper, "-address", "127.0.0.1"], folder / "epmd.log",
                                      namespace=self._lab.topology.broker)
        environment = {
            "HOME": folder, "RABBITMQ_BASE": folder, "RABBITMQ_MNESIA_BASE": folder / "mnesia",
            "RABBITMQ_LOG_BASE": folder / "log", "RABBITMQ_NODENAME": f"rabbit{self.number}@localhost",
            "RABBITMQ_CONFIG_FILE": folder / "rabbitmq.conf", "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "plugins",
            "RABBITMQ_CONF_ENV_FILE": os.devnull, "RABBITMQ_DIST_PORT": 25671 + self.number,
            "ERL_EPMD_PORT": mapper, "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RUNNING_UNDER_SYSTEMD": 1, "ERL_CRASH_DUMP": folder / "erl_crash.dump",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }
        words = ["env", *(f"{name}={value}" for name, value in environment.items()), _program()]
        self.process = self._lab.resources.start(words, folder / "output.log", namespace=self._lab.topology.broker)
        return self

    def _answers(self):
        if not self.process.running:
            raise LabError(f"RabbitMQ {self.name} ended: {self.log()[-2000:]}")
        return self.log().count("Server startup complete") == self._starts

    def wait_ready(self):
        wait_until(self._answers, READY_SECONDS, lambda: f"RabbitMQ {self.name} is ready: {self.log()[-1500:]}", step=0.2)
        return self

    def log(self):
        return self.process.log()

    def saw_client(self, client_id):
        """How often this broker accepted a CONNECT of the client."""
        return len(self.peers_of(client_id))

    def peers_of(self, client_id):
        """Address and port from which the client came, each time that it did."""
        pattern = rf"accepting MQTT connection \S+ \((\S+):(\d+) -> \S+, client id: {re.escape(client_id)}\)"
        return [(address, int(port)) for address, port in re.findall(pattern, self.log())]
