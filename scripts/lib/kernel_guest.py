# SPDX-License-Identifier: Apache-2.0
"""The first process of a guest that scripts/lib/kernels.py booted: checks Limpet on the guest's kernel. One
line a check on the console: 'pass|fail|skip  NAME: DETAIL'."""
import argparse
import contextlib
import ctypes
import json
import os
import pathlib
import signal
import subprocess
import time
import traceback

PORT = 1883
CLIENTS = "limpet-clients"
BROKERS = "limpet-brokers"
TCG_PATIENCE = 60  # seconds; everything is ten times slower here than on a machine


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def run(*command, check=True, timeout=TCG_PATIENCE, namespace=None):
    words = [str(word) for word in command]
    if namespace:
        words = ["ip", "netns", "exec", namespace, *words]
    done = subprocess.run(words, text=True, capture_output=True, timeout=timeout, check=False)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(words)}: {done.returncode}: {(done.stdout + done.stderr)[-1500:]}")
    return done


def wait_until(holds, what, seconds=TCG_PATIENCE):
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise Failed(f"after {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.1)


@contextlib.contextmanager
def background(*command, namespace=None, log="/tmp/background.log", end=signal.SIGTERM):
    words = [str(word) for word in command]
    if namespace:
        words = ["ip", "netns", "exec", namespace, *words]
    with open(log, "w", encoding="utf-8") as out:
        process = subprocess.Popen(words, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    process.log = pathlib.Path(log)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(end)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


# the BPF object

def verified_instructions(pin):
    """What the verifier counted for a pinned program; kernels since 5.16 tell in its fdinfo."""
    path = ctypes.create_string_buffer(os.fsencode(pin))
    attributes = (ctypes.c_uint64 * 16)(ctypes.addressof(path))
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.syscall(321, 7, ctypes.byref(attributes), ctypes.sizeof(attributes))  # bpf(BPF_OBJ_GET)
    if descriptor < 0:
        raise Failed(f"opening {pin}: {os.strerror(ctypes.get_errno())}")
    for line in pathlib.Path(f"/proc/self/fdinfo/{descriptor}").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == "verified_insns":
            return int(value)
    return 0


def object_loads(arguments):
    """Every program of the object passes this kernel's verifier."""
    folder = "/sys/fs/bpf/loaded"
    source = arguments.build / "bpf/limpet.bpf.o"
    if not source.exists():
        raise Skipped(f"{source} is not built")
    done = run("bpftool", "prog", "loadall", source, folder, check=False, timeout=300)
    if done.returncode != 0:
        raise Failed((done.stdout + done.stderr)[-6000:])
    counts = {pin: verified_instructions(f"{folder}/{pin}") for pin in sorted(os.listdir(folder))}
    run("rm", "-r", folder)
    return ", ".join(f"{name} {count}" for name, count in counts.items()) + " verified instructions"


def packet_tests(arguments):
    """tests/bpf's packet tests pass under BPF_PROG_RUN."""
    program = next(iter(sorted(arguments.build.rglob("bpf_tests"))), None)
    if program is None:
        raise Skipped(f"no bpf_tests in {arguments.build}")
    done = run(program, "--gtest_brief=1", check=False, timeout=600)
    if done.returncode != 0:
        raise Failed(done.stdout[-3000:])
    return [line for line in done.stdout.splitlines() if line][-1]


def capability(name):
    def probe(arguments):
        if not arguments.limpet.exists():
            raise Skipped(f"{arguments.limpet} is not built")
        listing = json.loads(run(arguments.limpet, "features", "--json").stdout)
        features = listing if isinstance(listing, list) else listing["features"]
        feature = next(entry for entry in features if entry["name"] == name)
        if not feature["available"]:
            raise Failed(feature["detail"])
        return feature["detail"]
    probe.__doc__ = f"`limpet features` finds {name}, which this kernel has."
    return probe


# forwarding

def link(device, namespace, address4, address6, peer4, peer6):
    """A veth pair whose far end behaves like a machine behind a NIC (GRO on, no pending checksums)."""
    far = f"{device}-far"
    run("ip", "link", "add", device, "type", "veth", "peer", "name", far, "netns", namespace)
    for words, where in (([device], None), ([far], namespace)):
        run("ethtool", "-K", *words, "tx", "off", "gro", "on", namespace=where)
        run("ip", "link", "set", *words, "up", namespace=where)
        if where is None:
            run("ip", "addr", "add", address4, "dev", device)
            run("ip", "-6", "addr", "add", address6, "dev", device, "nodad")
        else:
            run("ip", "addr", "add", peer4, "dev", far, namespace=where)
            run("ip", "-6", "addr", "add", peer6, "dev", far, "nodad", namespace=where)
    run("ip", "route", "add", "default", "via", address4.split("/")[0], namespace=namespace)
    run("ip", "-6", "route", "add", "default", "via", address6.split("/")[0], namespace=namespace)


@contextlib.contextmanager
def network():
    """Clients and brokers in namespaces of their own; the guest itself is the gateway."""
    for namespace in (CLIENTS, BROKERS):
        run("ip", "netns", "add", namespace)
        run("ip", "link", "set", "lo", "up", namespace=namespace)
    link("clients", CLIENTS, "10.91.0.1/24", "fd91::1/64", "10.91.0.2/24", "fd91::2/64")
    link("brokers", BROKERS, "10.92.0.1/24", "fd92::1/64", "10.92.0.11/24", "fd92::11/64")
    configuration = pathlib.Path("/tmp/mosquitto.conf")
    configuration.write_text(f"user root\nallow_anonymous true\nlistener {PORT}\n", encoding="utf-8")
    try:
        with background("mosquitto", "-c", configuration, namespace=BROKERS, log="/tmp/mosquitto.log"):
            wait_until(lambda: f":{PORT}" in run("ss", "-ltn", namespace=BROKERS).stdout, "mosquitto listens")
            yield
    finally:
        for namespace in (CLIENTS, BROKERS):
            run("ip", "netns", "del", namespace, check=False)
        for device in ("clients", "brokers"):
            wait_until(lambda: run("ip", "link", "show", device, check=False).returncode != 0, "the devices are gone")


class Limpet:
    """A daemon in the guest's own namespace, or what its command line says of it."""

    def __init__(self, arguments, mode, family):
        self.binary = arguments.limpet
        address, broker = {4: ("10.91.0.1", "10.92.0.11"), 6: ("[fd91::1]", "[fd92::11]")}[family]
        self.command = [self.binary, "serve", "--listen", f"{address}:{PORT}", "--broker", f"{broker}:{PORT}",
                        "--mode", mode, "-i", "clients", "-i", "brokers"]

    @contextlib.contextmanager
    def running(self, log="/tmp/limpet.log"):
        with background(*self.command, log=log) as daemon:
            def ready():
                if daemon.poll() is not None:
                    raise Failed(f"limpet ended with {daemon.returncode}: {daemon.log.read_text()[-2000:]}")
                return self.ask("status", check=False) is not None
            wait_until(ready, lambda: f"limpet answers: {daemon.log.read_text()[-2000:]}")
            yield daemon

    def ask(self, *words, check=True):
        done = run(self.binary, *words, "--json", check=check)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def detach(self):
        run(self.binary, "detach", "--force")


@contextlib.contextmanager
def subscriber(address, topic, count):
    with background("stdbuf", "-oL", "mosquitto_sub", "-h", address, "-i", "subscriber", "-q", "1", "-t", topic,
                    "-C", count, "-d", namespace=CLIENTS, log="/tmp/subscriber.log") as process:
        wait_until(lambda: "SUBACK" in process.log.read_text(), lambda: f"SUBACK: {process.log.read_text()}")
        yield process


def publish(address, topic, message):
    run("mosquitto_pub", "-h", address, "-i", "publisher", "-q", "1", "-t", topic, "-m", message, namespace=CLIENTS)


def expect_spliced(limpet, count):
    def holds():
        return limpet.ask("status")["connections"]["spliced"] == count
    wait_until(holds, lambda: f"{count} spliced: {limpet.ask('status')}")


def expect_clean(limpet, mode):
    """Nothing was relayed, nothing of an active flow was seen by the host, and the mode is the one asked for."""
    status = limpet.ask("status")
    reasons = status.get("reasons", {})
    relays = {name: count for name, count in reasons.items() if name.startswith("relay_") and count}
    if relays or status["connections"]["relayed"]:
        raise Failed(f"relayed: {relays}")
    if reasons.get("guard_host_packet", 0):
        raise Failed(f"the host spoke on an active flow: {reasons}")
    if not reasons.get(f"forwarded_{mode}", 0):
        raise Failed(f"nothing was forwarded by {mode}: {reasons}")
    return reasons[f"forwarded_{mode}"]


def address_of(family):
    return {4: "10.91.0.1", 6: "fd91::1"}[family]


def forwards(mode, family):
    def check(arguments):
        limpet = Limpet(arguments, mode, family)
        address = address_of(family)
        with network():
            with limpet.running(), subscriber(address, "t", 20) as receiver:
                expect_spliced(limpet, 1)
                for number in range(20):
                    publish(address, "t", f"message {number}")
                if receiver.wait(TCG_PATIENCE) != 0:
                    raise Failed(receiver.log.read_text()[-2000:])
                got = sum(f"message {number}\n" in receiver.log.read_text() for number in range(20))
                if got != 20:
                    raise Failed(f"{got} of 20 messages arrived")
                packets = expect_clean(limpet, mode)
            limpet.detach()
        return f"20 messages, {packets} packets forwarded by {mode}"
    check.__doc__ = f"QoS 1 crosses over IPv{family} in mode {mode}, every connection spliced."
    return check


# sharing XDP

def xdp_of(device):
    """Names of the programs that run on a device, the dispatcher left out."""
    listing = run("xdp-loader", "status", device).stdout
    return [name for name in ("limpet_xdp", "xdp_pass") for line in listing.splitlines() if f" {name} " in line]


def interface_view(limpet, device):
    return next(view for view in limpet.ask("status")["interfaces"] if view["name"] == device)


def pass_program():
    """An XDP program that passes everything: the one that comes with libxdp to try kernels."""
    found = next(pathlib.Path("/usr/lib").glob("*/bpf/xdp-dispatcher.o"), None)
    if found is None:
        raise Skipped("libxdp's xdp-dispatcher.o is not installed")
    small = pathlib.Path("/tmp/pass.bpf.c")
    small.write_text("#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n"
                     "SEC(\"xdp\") int xdp_pass(struct xdp_md *c) { return XDP_PASS; }\n"
                     "char _license[] SEC(\"license\") = \"GPL\";\n", encoding="utf-8")
    compiler = next((name for name in ("clang-19", "clang-16", "clang-14") if pathlib.Path("/usr/bin", name).exists()),
                    None)
    if compiler is None:
        raise Skipped("no clang to compile a second XDP program")
    run(compiler, "-O2", "-g", "-target", "bpf", "-I/usr/include/x86_64-linux-gnu", "-c", small, "-o", "/tmp/pass.o")
    return "/tmp/pass.o"


def joins_a_dispatcher(arguments):
    """Another tool's program stays in the dispatcher while Limpet comes, is restarted and goes."""
    limpet = Limpet(arguments, "xdp", 4)
    with network():
        run("xdp-loader", "load", "-m", "native", "clients", pass_program())
        if xdp_of("clients") != ["xdp_pass"]:
            raise Failed(f"xdp-loader: {run('xdp-loader', 'status').stdout}")
        with limpet.running() as first, subscriber("10.91.0.1", "t", 2) as receiver:
            for device in ("clients", "brokers"):
                view = interface_view(limpet, device)
                if view["mode"] != "xdp" or not view["dispatcher"]:
                    raise Failed(f"{device}: {view}")
            expect_spliced(limpet, 1)
            publish("10.91.0.1", "t", "one")
            both = xdp_of("clients")
            if both != ["limpet_xdp", "xdp_pass"]:
                raise Failed(f"both programs should run: {run('xdp-loader', 'status').stdout}")
            expect_clean(limpet, "xdp")
            first.terminate()
            first.wait(TCG_PATIENCE)
            return restarted(limpet, receiver)


def restarted(limpet, receiver):
    """The second half of joins_a_dispatcher: a new daemon beside the programs of the first, which was ended."""
    with limpet.running(log="/tmp/limpet2.log"):
        if xdp_of("clients") != ["limpet_xdp", "xdp_pass"]:
            raise Failed(f"after a restart: {run('xdp-loader', 'status').stdout}")
        expect_spliced(limpet, 1)
        publish("10.91.0.1", "t", "two")
        if receiver.wait(TCG_PATIENCE) != 0:
            raise Failed(receiver.log.read_text()[-2000:])
        expect_clean(limpet, "xdp")
    limpet.detach()
    if xdp_of("clients") != ["xdp_pass"] or xdp_of("brokers"):
        raise Failed(f"after detach: {run('xdp-loader', 'status').stdout}")
    return "the other program stayed, a restart left one program of ours, the connection lived"


def leaves_a_foreign_program(arguments):
    """A single XDP program of somebody else's is not replaced; TC does the work."""
    limpet = Limpet(arguments, "xdp", 4)
    with network():
        run("ip", "link", "set", "dev", "clients", "xdpdrv", "obj", pass_program(), "sec", "xdp")
        with limpet.running(), subscriber("10.91.0.1", "t", 1) as receiver:
            view = interface_view(limpet, "clients")
            if view["mode"] != "tc" or "another XDP program" not in view["note"]:
                raise Failed(f"{view}")
            expect_spliced(limpet, 1)
            publish("10.91.0.1", "t", "one")
            if receiver.wait(TCG_PATIENCE) != 0:
                raise Failed(receiver.log.read_text()[-2000:])
            expect_clean(limpet, "tc")
        limpet.detach()
        if "xdp_pass" not in run("bpftool", "net", "show", "dev", "clients").stdout and \
                "xdp" not in run("ip", "link", "show", "clients").stdout:
            raise Failed("the other program is gone")
        return view["note"]


CHECKS = {
    "object": object_loads,
    "packets": packet_tests,
    "dispatcher": capability("dispatcher"),
    "forward-tc-4": forwards("tc", 4),
    "forward-tc-6": forwards("tc", 6),
    "forward-xdp-4": forwards("xdp", 4),
    "forward-xdp-6": forwards("xdp", 6),
    "join-dispatcher": joins_a_dispatcher,
    "foreign-xdp": leaves_a_foreign_program,
}


def one(name, check, arguments):
    begin = time.monotonic()
    try:
        if check not in (object_loads, packet_tests) and not arguments.limpet.exists():
            raise Skipped(f"{arguments.limpet} is not built")
        detail = check(arguments)
        verdict = "pass"
    except Skipped as reason:
        verdict, detail = "skip", str(reason)
    except (Failed, subprocess.TimeoutExpired) as reason:
        verdict, detail = "fail", str(reason)
    except Exception:  # pylint: disable=broad-exception-caught
        verdict, detail = "fail", traceback.format_exc()
    if verdict == "fail":
        for log in sorted(pathlib.Path("/tmp").glob("*.log")):
            print(f"--- {log}\n{log.read_text(errors='replace')[-2000:]}")
    print(f"{verdict}  {name}: {check.__doc__.splitlines()[0]} ({time.monotonic() - begin:.0f} s) {detail}", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path)
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    arguments.limpet = arguments.build / "limpet"
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    os.environ["HOME"] = "/root"
    print(f"\ninfo  kernel {os.uname().release}, up after {time.clock_gettime(time.CLOCK_BOOTTIME):.0f} s", flush=True)
    run("ip", "link", "set", "lo", "up")
    for path in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        pathlib.Path("/proc/sys/net", path).write_text("1", encoding="utf-8")
    for name, check in CHECKS.items():
        if any(part in name for part in arguments.only.split(",")):
            one(name, check, arguments)
    print("guest: done", flush=True)


if __name__ == "__main__":
    try:
        main()
    finally:
        time.sleep(1)  # the serial line's last bytes
        pathlib.Path("/proc/sysrq-trigger").write_text("o", encoding="utf-8")  # off
        time.sleep(60)
