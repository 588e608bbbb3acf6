# SPDX-License-Identifier: Apache-2.0
"""A small DNS server in the gateway's namespace (dnsmasq) that changes its answers when it is told to."""
import os
import shutil
import signal

from .process import LabError, Missing, run, wait_until

PORT = 5300


class NameServer:
    """Answers for `lab.`; every answer may be kept for a second."""

    address = f"127.0.0.1:{PORT}"

    def __init__(self, lab):
        if not shutil.which("dnsmasq"):
            raise Missing("command dnsmasq")
        self._lab = lab
        self._hosts = lab.folder / "hosts"
        self._services = []
        self.process = None

    def say(self, hosts, services=()):
        """hosts: name -> addresses; services: (name, target, port, priority, weight)."""
        lines = [f"{address} {name}\n" for name, addresses in hosts.items() for address in addresses]
        fresh = self._hosts.with_suffix(".new")
        fresh.write_text("".join(lines))
        os.replace(fresh, self._hosts)
        if self.process and list(services) == self._services:
            self.process.signal(signal.SIGHUP)
            return
        self._services = list(services)
        self.stop()
        self._start()

    def stop(self):
        if self.process:
            self.process.end()
        self.process = None

    def _start(self):
        words = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
                 f"--addn-hosts={self._hosts}", "--listen-address=127.0.0.1", "--bind-interfaces",
                 f"--port={PORT}", "--local=/lab/", "--local-ttl=1", "--user=root", "--pid-file="]
        words += [f"--srv-host={name},{target},{port},{priority},{weight}"
                  for name, target, port, priority, weight in self._services]
        output = self._lab.folder / "dnsmasq.log"
        self.process = self._lab.resources.start(words, output, namespace=self._lab.topology.gateway)

        def listens():
            if not self.process.running:
                raise LabError(f"dnsmasq ended: {self.process.log()}")
            found = run("ip", "netns", "exec", self._lab.topology.gateway, "ss", "-Hlun", f"sport = :{PORT}")
            return bool(found.stdout.strip())

        wait_until(listens, 5, "dnsmasq listens")
