// SPDX-License-Identifier: Apache-2.0
// Tables of files that are wrong, with the exact line that a person gets to read.
#include "config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "config/values.h"

namespace limpet::config {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

std::vector<std::string> lines_of(const Loaded& loaded) {
    std::vector<std::string> lines;
    for (const auto& problem : loaded.problems) lines.push_back(problem.line());
    return lines;
}

// A whole configuration around the lines under test, which begin in line 1.
const std::string good_listener =
    "[[listener]]\nname = \"mqtt\"\naddress = \"10.91.0.1:1883\"\npool = \"main\"\n";
const std::string good_pool =
    "[[pool]]\nname = \"main\"\n[[pool.broker]]\nname = \"b1\"\naddress = \"10.92.0.11:1883\"\n";

struct Wrong {
    std::string why;
    std::string text;
    std::vector<std::string> lines;
};

void PrintTo(const Wrong& wrong, std::ostream* out) {
    *out << wrong.why;
}

class WrongFile : public ::testing::TestWithParam<Wrong> {};

TEST_P(WrongFile, is_refused_with_line_column_and_what_is_allowed) {
    const auto loaded = load_text(GetParam().text, "f.toml");
    EXPECT_THAT(lines_of(loaded), ElementsAreArray(GetParam().lines)) << GetParam().why;
    EXPECT_FALSE(loaded.ok()) << "a wrong file must not count as good";
}

const std::string rest = good_listener + good_pool;

INSTANTIATE_TEST_SUITE_P(
    sections_and_keys, WrongFile,
    ::testing::Values(
        Wrong{"a slip of the fingers is named",
              "[daemon]\nwokers = 2\n" + rest,
              {"f.toml:2:1: unknown key \"wokers\": did you mean \"workers\"?"}},
        Wrong{"the key of the contract's most typed line",
              "[[listener]]\nname = \"m\"\naddres = \"10.0.0.1:1883\"\npool = \"main\"\n" + good_pool,
              {"f.toml:1:1: [[listener]] has no \"address\": add address = \"ADDR:PORT\"",
               "f.toml:3:1: unknown key \"addres\": did you mean \"address\"?"}},
        Wrong{"a key of another section is sent home",
              "[daemon]\nmode = \"tc\"\n" + rest,
              {"f.toml:2:1: unknown key \"mode\" in [daemon]: it belongs to [dataplane]"}},
        Wrong{"a key before the first section",
              "workers = 2\n" + rest,
              {"f.toml:1:1: unknown key \"workers\": it belongs to [daemon]"}},
        Wrong{"nothing near: what there is",
              "[admin]\npassword_file = \"x\"\n" + rest,
              {"f.toml:2:1: unknown key \"password_file\": [admin] has http"}},
        Wrong{"an unknown section",
              "[deamon]\nworkers = 2\n" + rest,
              {"f.toml:1:1: unknown section \"deamon\": did you mean \"daemon\"?"}},
        Wrong{"an unknown list of sections",
              "[[brokers]]\nname = \"x\"\n" + rest,
              {"f.toml:1:1: unknown section \"brokers\": a configuration has daemon, dataplane, listener, "
               "pool, rule, admin"}},
        Wrong{
            "[listener] instead of [[listener]]",
            "[listener]\nname = \"m\"\n" + good_pool,
            {"f.toml:1:1: \"listener\" may be there several times: write it as [[listener]], not as a table",
             "f.toml:1:1: no [[listener]]: clients have nothing to connect to; add one with name, address "
             "and "
             "pool"}},
        Wrong{"[[daemon]] instead of [daemon]",
              "[[daemon]]\nworkers = 1\n" + rest,
              {"f.toml:1:1: \"daemon\" must be one section, written [daemon], not several"}},
        Wrong{"a section that is a number",
              "admin = 3\n" + rest,
              {"f.toml:1:9: \"admin\" must be one section, written [admin], not a whole number"}},
        Wrong{"an empty file says both things that are missing",
              "",
              {"f.toml:1:1: no [[listener]]: clients have nothing to connect to; add one with name, address "
               "and "
               "pool",
               "f.toml:1:1: no [[pool]]: clients have nowhere to go; add one with a name and [[pool.broker]] "
               "sections"}}));

INSTANTIATE_TEST_SUITE_P(
    values, WrongFile,
    ::testing::Values(
        Wrong{"wrong type",
              "[daemon]\nworkers = \"four\"\n" + rest,
              {"f.toml:2:11: workers: it must be a whole number from 0 to 256, not a string"}},
        Wrong{"a fraction is no whole number",
              "[daemon]\nworkers = 1.5\n" + rest,
              {"f.toml:2:11: workers: it must be a whole number from 0 to 256, not a number with a point"}},
        Wrong{"below the range",
              "[daemon]\nworkers = -1\n" + rest,
              {"f.toml:2:11: workers: -1 is out of range: it must be from 0 to 256"}},
        Wrong{"above the range",
              "[dataplane]\nmax_flows = 4294967296\n" + rest,
              {"f.toml:2:13: max_flows: 4294967296 is out of range: it must be from 1 to 100000000"}},
        Wrong{"a relative socket",
              "[daemon]\nsocket = \"limpet.sock\"\n" + rest,
              {"f.toml:2:10: socket: \"limpet.sock\" is not an absolute path: begin it with /"}},
        Wrong{"a log level",
              "[daemon]\nlog_level = \"warning\"\n" + rest,
              {"f.toml:2:13: log_level: \"warning\" is unknown: did you mean \"warn\"? It must be one of "
               "trace, "
               "debug, info, warn, error"}},
        Wrong{"a mode",
              "[dataplane]\nmode = \"xpd\"\n" + rest,
              {"f.toml:2:8: mode: \"xpd\" is unknown: did you mean \"xdp\"? It must be one of auto, xdp, tc, "
               "relay"}},
        Wrong{"interfaces as a string",
              "[dataplane]\ninterfaces = \"eth0\"\n" + rest,
              {"f.toml:2:14: interfaces: it must be an array of strings, not a string"}},
        Wrong{"an interface twice, and one that cannot be",
              "[dataplane]\ninterfaces = [\"eth0\", \"eth0\",\n\"a/b\"]\n" + rest,
              {"f.toml:2:23: interfaces has \"eth0\" twice: leave one of them out",
               "f.toml:3:1: interfaces: \"a/b\" is not the name of a network interface: `ip link` lists "
               "them; a "
               "name has 1 to 15 bytes"}},
        Wrong{
            "a source address with a port",
            "[dataplane]\nsource_addresses = [\"10.0.0.1:80\"]\n" + rest,
            {"f.toml:2:21: source_addresses: \"10.0.0.1:80\" is not an IP address: write it as 10.92.0.1 or "
             "2001:db8::1, without a port"}},
        Wrong{"ports upside down",
              "[dataplane]\nsource_ports = \"20000-10000\"\n" + rest,
              {"f.toml:2:16: source_ports: \"20000-10000\" is upside down: write the smaller port first"}},
        Wrong{"ports below 1024",
              "[dataplane]\nsource_ports = \"80-10000\"\n" + rest,
              {"f.toml:2:16: source_ports: \"80-10000\" begins below 1024: take ports from 1024 to 65535"}},
        Wrong{
            "ports beyond the end",
            "[dataplane]\nsource_ports = \"60000-70000\"\n" + rest,
            {"f.toml:2:16: source_ports: \"60000-70000\" goes beyond 65535: take ports from 1024 to 65535"}},
        Wrong{"ports that are no range",
              "[dataplane]\nsource_ports = \"10000\"\n" + rest,
              {"f.toml:2:16: source_ports: \"10000\" is not a range of ports: write it as \"10000-32767\""}},
        Wrong{"a duration without a unit",
              "[dataplane]\nhold_timeout = \"2\"\n" + rest,
              {"f.toml:2:16: hold_timeout: \"2\" is not a duration: write a whole number and a unit, such as "
               "\"500ms\", \"10s\", \"2m\", \"1h\" or \"7d\""}},
        Wrong{"a duration that is a number",
              "[dataplane]\nhold_timeout = 2\n" + rest,
              {"f.toml:2:16: hold_timeout: it must be a string, not a whole number"}},
        Wrong{"a duration out of range",
              "[dataplane]\nhold_timeout = \"2h\"\n" + rest,
              {"f.toml:2:16: hold_timeout: \"2h\" is out of range: it must be from 50ms to 1m"}},
        Wrong{"a duration that does not fit 64 bits",
              "[dataplane]\nretire_grace = \"99999999999999999d\"\n" + rest,
              {"f.toml:2:16: retire_grace: \"99999999999999999d\" is not a duration: write a whole number "
               "and a "
               "unit, such as \"500ms\", \"10s\", \"2m\", \"1h\" or \"7d\""}},
        Wrong{"seconds that are not whole",
              "[dataplane]\nidle_timeout = \"1500ms\"\n" + rest,
              {"f.toml:2:16: idle_timeout: \"1500ms\" is too fine: it must be whole seconds"}},
        Wrong{"an admin address without a port",
              "[admin]\nhttp = \"127.0.0.1\"\n" + rest,
              {"f.toml:2:8: http: \"127.0.0.1\" has no port: write it as 127.0.0.1:9883 or [::1]:9883, or "
               "\"\" for "
               "none"}},
        Wrong{
            "a bad size",
            good_listener + "max_connect_size = \"64KB\"\n" + good_pool,
            {"f.toml:5:20: max_connect_size: \"64KB\" is not a size: write a whole number of bytes or with a "
             "unit, such as 65536, \"64KiB\" or \"1MiB\""}},
        Wrong{"a size out of range",
              good_listener + "max_connect_size = \"1GiB\"\n" + good_pool,
              {"f.toml:5:20: max_connect_size: \"1GiB\" is out of range: it must be from 64B to 16MiB"}},
        Wrong{"a negative size",
              good_listener + "max_connect_size = -1\n" + good_pool,
              {"f.toml:5:20: max_connect_size: -1 is out of range: it must be from 64B to 16MiB"}},
        Wrong{"a weight out of range",
              rest + "weight = 65536\n",
              {"f.toml:10:10: weight: 65536 is out of range: it must be from 1 to 65535"}},
        Wrong{"a weight of nothing",
              rest + "weight = 0\n",
              {"f.toml:10:10: weight: 0 is out of range: it must be from 1 to 65535"}},
        Wrong{"a limit below nothing",
              rest + "max_connections = -1\n",
              {"f.toml:10:19: max_connections: -1 is out of range: it must be from 0 to 100000000"}}));

Wrong listener_address(const std::string& why, const std::string& address, const std::string& message) {
    return {why,
            "[[listener]]\nname = \"m\"\npool = \"main\"\naddress = \"" + address + "\"\n" + good_pool,
            {"f.toml:4:11: address: \"" + address + "\" " + message}};
}

Wrong broker_address(const std::string& why, const std::string& address, const std::string& message) {
    return {why,
            good_listener + "[[pool]]\nname = \"main\"\n[[pool.broker]]\nname = \"b\"\naddress = \"" +
                address + "\"\n",
            {"f.toml:9:11: address: \"" + address + "\" " + message}};
}

INSTANTIATE_TEST_SUITE_P(
    addresses, WrongFile,
    ::testing::Values(
        listener_address("no port", "10.0.0.1",
                         "has no port: write it as 10.91.0.1:1883 or [2001:db8::1]:1883"),
        listener_address(
            "only a port", ":1883",
            "has no address: write 0.0.0.0:PORT for every IPv4 address or [::]:PORT for every IPv6 "
            "address"),
        listener_address(
            "no number of four", "10.0.0.256:1883",
            "is not an IPv4 address with a port: write it as 10.91.0.1:1883 or [2001:db8::1]:1883"),
        listener_address("IPv6 without brackets", "2001:db8::1:1883",
                         "is an IPv6 address without brackets: write it as [2001:db8::1]:1883"),
        listener_address("brackets without a port", "[2001:db8::1]",
                         "has no port: write it as 10.91.0.1:1883 or [2001:db8::1]:1883"),
        listener_address("port zero", "10.0.0.1:0", "has a wrong port: it must be from 1 to 65535"),
        listener_address("port too large", "10.0.0.1:65536", "has a wrong port: it must be from 1 to 65535"),
        listener_address("port with garbage", "10.0.0.1:18a", "has a wrong port: it must be from 1 to 65535"),
        listener_address("a multicast address", "224.0.0.1:1883",
                         "is a multicast address: use the address of one host"),
        listener_address("a mapped address", "[::ffff:10.0.0.1]:1883",
                         "is IPv4 in IPv6 clothes: write the IPv4 address itself"),
        broker_address("a DNS name without a port", "broker.example.com",
                       "has no port: write it as 10.92.0.11:1883 or [2001:db8::11]:1883"),
        broker_address("a DNS name with a wrong port", "broker.example.com:0",
                       "has a wrong port: it must be from 1 to 65535"),
        broker_address("SRV of no name", "srv+",
                       "names no SRV records: write it as srv+_mqtt._tcp.example.com"),
        broker_address("SRV with a port", "srv+_mqtt._tcp.example.com:1883",
                       "names no SRV records: write it as srv+_mqtt._tcp.example.com"),
        broker_address("a URL", "mqtt://10.0.0.1:1883",
                       "is a URL: write only the address and the port, such as 10.92.0.11:1883"),
        broker_address("a wildcard is no broker", "0.0.0.0:1883",
                       "is no address of one broker: write the address that the broker has"),
        broker_address(
            "a zone", "[fe80::1%eth0]:1883",
            "names an interface behind %: that is not supported by this version: use an address that is "
            "not link-local"),
        broker_address("a link-local address", "[fe80::1]:1883",
                       "is link-local: that is not supported by this version: use an address that is not "
                       "link-local")));

INSTANTIATE_TEST_SUITE_P(
    not_in_this_version, WrongFile,
    ::testing::Values(
        Wrong{"protocol mqtts without certificates",
              good_listener + "protocol = \"mqtts\"\n" + good_pool,
              {"f.toml:5:12: protocol: TLS needs a [listener.tls] section with certificate and key"}},
        Wrong{"TLS without a certificate",
              good_listener + "protocol = \"mqtts\"\n[listener.tls]\nkey = \"a.key\"\n" + good_pool,
              {"f.toml:6:1: [listener.tls] has no \"certificate\": add certificate = \"server.pem\""}},
        Wrong{"client certificates without an authority",
              good_listener +
                  "protocol = \"mqtts\"\n[listener.tls]\ncertificate = \"a\"\nverify = "
                  "\"required\"\n" +
                  good_pool,
              {"f.toml:8:10: verify: without client_ca there is nothing to judge certificates by: add "
               "client_ca "
               "= \"ca.pem\""}},
        Wrong{"a key of TLS that nobody knows",
              good_listener +
                  "protocol = \"mqtts\"\n[listener.tls]\ncertificate = \"a\"\nverfy = \"none\"\n" + good_pool,
              {"f.toml:8:1: unknown key \"verfy\": did you mean \"verify\"?"}},
        Wrong{"protocol wss without certificates",
              good_listener + "protocol = \"wss\"\n" + good_pool,
              {"f.toml:5:12: protocol: TLS needs a [listener.tls] section with certificate and key"}},
        Wrong{"rules for WebSocket where none is spoken",
              good_listener + "[listener.websocket]\npaths = [\"/mqtt\"]\n" + good_pool,
              {"f.toml:5:1: [listener.websocket] of listener \"mqtt\" has no effect: its protocol is neither "
               "ws "
               "nor wss; leave it out"}},
        Wrong{
            "values of WebSocket that cannot be",
            good_listener +
                "protocol = \"ws\"\n[listener.websocket]\npaths = [\"mqtt\", \"/a?b\"]\norigins = "
                "[\"example.org\", \"https://example.org/page\"]\nheaders = [\"X Y: 1\"]\n" +
                good_pool,
            {"f.toml:7:10: paths: \"mqtt\" is no path: it begins with / and has no spaces, such as "
             "\"/healthz\"",
             "f.toml:7:18: paths: \"/a?b\" has a query: name the path alone: any query may follow it",
             "f.toml:8:12: origins: \"example.org\" is not an origin: write scheme and host as browsers send "
             "them, such as \"https://example.org\"",
             "f.toml:8:27: origins: \"https://example.org/page\" is not an origin: write scheme and host as "
             "browsers send them, such as \"https://example.org\"",
             "f.toml:9:12: headers: \"X Y: 1\" is not a header: write \"Name: value\", or \"Name\" where any "
             "value will do"}},
        Wrong{"a path for brokers that are asked for none",
              good_listener + "[[pool]]\nname = \"main\"\npath = \"/mqtt\"\n" +
                  "[[pool.broker]]\nname = \"b1\"\naddress = \"10.92.0.11:1883\"\n",
              {"f.toml:7:8: \"path\" is only for protocol = \"ws\": leave it out, or change the protocol"}},
        Wrong{"brokers of WebSocket behind a listener that reads nothing, and probes that speak none",
              good_listener + "protocol = \"tcp\"\n[[pool]]\nname = \"main\"\nprotocol = \"ws\"\n" +
                  "[pool.health]\nprobe = \"mqtt\"\n" +
                  "[[pool.broker]]\nname = \"b1\"\naddress = \"10.92.0.11:1883\"\n",
              {"f.toml:4:8: listener \"mqtt\" passes on what it does not read, and pool \"main\" has "
               "protocol = "
               "\"ws\": make a pool without it for this listener",
               "f.toml:6:1: the health checks of a pool with protocol = \"ws\" are probe = \"tcp\" or "
               "\"http\": "
               "probe = \"mqtt\" speaks no WebSocket; or name a port without it ([pool.health] port)"}},
        Wrong{"a protocol that nobody knows",
              good_listener + "protocol = \"coap\"\n" + good_pool,
              {"f.toml:5:12: protocol: \"coap\" is unknown: it must be one of mqtt, mqtts, ws, wss, tcp, "
               "tls_passthrough"}},
        Wrong{"a route that leads everybody away",
              good_listener + "[[listener.route]]\npool = \"main\"\n" + good_pool,
              {"f.toml:5:1: [[listener.route]] says neither \"sni\" nor \"source\": name the clients that it "
               "is "
               "for; the listener's own pool is for all others"}},
        Wrong{"a route by name where no names are heard, to a pool that is not there",
              good_listener + "[[listener.route]]\nsni = \"a.example.org\"\npool = \"mian\"\n" + good_pool,
              {"f.toml:5:1: listener \"mqtt\" hears no names: sni is for the protocols mqtts, wss and "
               "tls_passthrough, and for "
               "listeners behind a proxy that tells it (proxy_from)",
               "f.toml:7:8: pool: \"mian\" is unknown: did you mean \"main\"? It must be one of main"}},
        Wrong{"names that nobody asks for",
              good_listener +
                  "protocol = \"tls_passthrough\"\n[[listener.route]]\nsni = \"*\"\npool = \"main\"\n" +
                  good_pool,
              {"f.toml:7:7: sni: \"*\" is not a name that clients ask for: write \"broker.example.org\", or "
               "\"*.example.org\" for any one label"}},
        Wrong{
            "a broker in two pools of a listener",
            good_listener + "[[listener.route]]\nsource = [\"10.0.0.0/8\"]\npool = \"near\"\n" + good_pool +
                "[[pool]]\nname = \"near\"\n[[pool.broker]]\nname = \"n1\"\naddress = \"10.92.0.11:1883\"\n",
            {"f.toml:17:11: broker address \"10.92.0.11:1883\" is in pool \"main\" and in pool \"near\", and "
             "listener \"mqtt\" leads to both: give it one of them"}},
        Wrong{"[listener.tls]",
              good_listener + "[listener.tls]\nverify = \"maybe\"\n" + good_pool,
              {"f.toml:6:10: verify: \"maybe\" is unknown: it must be one of none, optional, required"}},
        Wrong{"PROXY v2",
              good_listener + "[[pool]]\nname = \"main\"\nproxy_protocol = \"v1\"\n"
                              "[[pool.broker]]\nname = \"b\"\naddress = \"10.0.0.9:1\"\n",
              {"f.toml:7:18: proxy_protocol: \"v1\" is unknown: did you mean \"v2\"? It must be one of none, "
               "v2"}},
        Wrong{
            "a proxy's network with bits to spare",
            good_listener + "proxy_from = [\"10.0.0.1/8\"]\n" + good_pool,
            {"f.toml:5:15: proxy_from: \"10.0.0.1/8\" is an address in a network, not a network: write it as "
             "10.0.0.0/8"}},
        Wrong{"brokers of a transparent pool would see the proxy",
              good_listener + "proxy_from = [\"10.0.0.0/8\"]\n[[pool]]\nname = \"main\"\ntransparent = true\n"
                              "[[pool.broker]]\nname = \"b1\"\naddress = \"10.92.0.11:1883\"\n",
              {"f.toml:1:1: listener \"mqtt\" has proxy_from, and its pool \"main\" is transparent: brokers "
               "would "
               "see the proxies; tell them of the clients with proxy_protocol = \"v2\" instead"}},
        Wrong{"transparent is a switch",
              good_listener + "[[pool]]\nname = \"main\"\ntransparent = \"yes\"\n"
                              "[[pool.broker]]\nname = \"b\"\naddress = \"10.0.0.9:1\"\n",
              {"f.toml:7:15: transparent: it must be true or false, not a string"}},
        Wrong{"a transparent pool of another IP version than its listener",
              good_listener + "[[pool]]\nname = \"main\"\ntransparent = true\n"
                              "[[pool.broker]]\nname = \"b\"\naddress = \"10.0.0.9:1\"\n"
                              "[[pool.broker]]\nname = \"six\"\naddress = \"[2001:db8::9]:1\"\n",
              {"f.toml:13:11: broker address \"[2001:db8::9]:1\" of the transparent pool \"main\" is not of "
               "the IP version of listener \"mqtt\": make a pool for each IP version"}},
        Wrong{"an identity of nothing",
              good_listener + "[listener.identity]\nusername = \"{cm}\"\n" + good_pool,
              {"f.toml:6:12: username: \"{cm}\" has {cm}, which stands for nothing: write text, with any of "
               "{cn}, "
               "{sni}, {address}, {client_id}, {username} in it, and {{ or }} for a brace"}},
        Wrong{"a certificate's name where there are no certificates",
              good_listener + "[listener.identity]\nclient_id = \"{cn}\"\n" + good_pool,
              {"f.toml:5:1: [listener.identity] of listener \"mqtt\" says {cn}, of which it hears nothing: "
               "that is "
               "for listeners behind a proxy that tells it (proxy_from)"}},
        Wrong{"an identity where no CONNECT is read",
              good_listener + "protocol = \"tcp\"\n[listener.identity]\nusername = \"x\"\n" + good_pool,
              {"f.toml:6:1: [listener.identity] of listener \"mqtt\" has no effect: its protocol has no "
               "CONNECT; "
               "leave it out"}},
        Wrong{
            "a probe that speaks no TLS to a pool that does",
            good_listener + "[[pool]]\nname = \"main\"\ntls = true\n[pool.health]\nprobe = \"mqtt\"\n"
                            "[[pool.broker]]\nname = \"b\"\naddress = \"10.0.0.9:1\"\n",
            {"f.toml:7:7: the health checks of a pool with tls are probe = \"tcp\": the others speak no TLS; "
             "or name a port without it ([pool.health] port)"}},
        Wrong{"tls of a pool is a switch or a section",
              good_listener + "[[pool]]\nname = \"main\"\ntls = \"yes\"\n"
                              "[[pool.broker]]\nname = \"b\"\naddress = \"10.0.0.9:1\"\n",
              {"f.toml:7:7: \"tls\" must be one section, written [pool.tls], not a string"}},
        Wrong{"active health checks",
              good_listener + "[[pool]]\nname = \"main\"\n[pool.health]\nprobe = \"icmp\"\n"
                              "interval = \"5s\"\n"
                              "[[pool.broker]]\nname = \"b\"\naddress = \"10.0.0.9:1\"\n",
              {"f.toml:8:9: probe: \"icmp\" is unknown: it must be one of tcp, mqtt, http"}},
        Wrong{"health checks that do not fit",
              good_listener + "[[pool]]\nname = \"main\"\n[pool.health]\npath = \"/x\"\nusername = \"joe\"\n"
                              "fall = 0\n"
                              "[[pool.broker]]\nname = \"b\"\naddress = \"10.0.0.9:1\"\n",
              {"f.toml:8:8: \"path\" is only for probe = \"http\": leave it out, or change the probe",
               "f.toml:9:12: \"username\" is only for probe = \"mqtt\": leave it out, or change the probe",
               "f.toml:10:8: fall: 0 is out of range: it must be from 1 to 100"}},
        Wrong{"a password without a user, and a path that is none",
              good_listener +
                  "[[pool]]\nname = \"main\"\nbroker_attempts = 0\n[pool.health]\nprobe = \"mqtt\"\n"
                  "password = \"pw\"\n"
                  "[[pool.broker]]\nname = \"b\"\naddress = \"10.0.0.9:1\"\n",
              {"f.toml:7:19: broker_attempts: 0 is out of range: it must be from 1 to 1000",
               "f.toml:10:12: password without username: MQTT before 5 has no such thing, add username"}}));

INSTANTIATE_TEST_SUITE_P(
    values_seen_together, WrongFile,
    ::testing::Values(
        Wrong{
            "listener twice, name and address",
            good_listener + good_listener + good_pool,
            {"f.toml:6:8: listener \"mqtt\" is there twice: the first one is in line 2",
             "f.toml:7:11: listener address \"10.91.0.1:1883\" is there twice: the first one is in line 3"}},
        Wrong{"equal addresses written differently",
              "[[listener]]\nname = \"a\"\naddress = \"[2001:db8::1]:1883\"\npool = \"main\"\n"
              "[[listener]]\nname = \"b\"\naddress = \"[2001:db8:0::1]:1883\"\npool = \"main\"\n" +
                  good_pool,
              {"f.toml:7:11: listener address \"[2001:db8::1]:1883\" is there twice: the first one is in "
               "line 3"}},
        Wrong{"unknown pool",
              "[[listener]]\nname = \"m\"\naddress = \"10.0.0.1:1883\"\npool = \"mian\"\n" + good_pool,
              {"f.toml:4:8: pool: \"mian\" is unknown: did you mean \"main\"? It must be one of main"}},
        Wrong{"pool twice",
              rest + good_pool,
              {"f.toml:11:8: pool \"main\" is there twice: the first one is in line 6"}},
        Wrong{"a pool without brokers",
              good_listener + "[[pool]]\nname = \"main\"\n",
              {"f.toml:5:1: pool \"main\" has no brokers: add a [[pool.broker]] with name and address"}},
        Wrong{"brokers twice",
              rest + "[[pool.broker]]\nname = \"b1\"\naddress = \"10.92.0.11:1883\"\n",
              {"f.toml:11:8: broker \"b1\" of pool \"main\" is there twice: the first one is in line 8",
               "f.toml:12:11: broker address \"10.92.0.11:1883\" of pool \"main\" is there twice: the first "
               "one is "
               "in line 9"}},
        Wrong{"a circle",
              rest + "[[pool.broker]]\nname = \"b2\"\naddress = \"10.91.0.1:1883\"\n",
              {"f.toml:12:11: broker address \"10.91.0.1:1883\" is a listener of this configuration: "
               "connections "
               "would run in a circle"}},
        Wrong{"memory upside down",
              good_listener + "[[pool]]\nname = \"main\"\nstick_minimum = \"2d\"\nstick_maximum = \"1d\"\n"
                              "[[pool.broker]]\nname = \"b\"\naddress = \"10.0.0.9:1\"\n",
              {"f.toml:5:1: stick_minimum is above stick_maximum (2d, 1d): change one of them"}},
        Wrong{"admin on a listener's address",
              "[admin]\nhttp = \"10.91.0.1:1883\"\n" + rest,
              {"f.toml:5:11: listener address \"10.91.0.1:1883\" is the address of [admin] http too: give "
               "one of "
               "them another port"}},
        Wrong{"an unreadable pool name is one problem, not two",
              good_listener +
                  "[[pool]]\nname = \"ma in\"\n[[pool.broker]]\nname = \"b\"\naddress = \"10.0.0.9:1\"\n",
              {"f.toml:6:8: name: \"ma in\" is not a name: write 1 to 63 letters, digits, or any of . _ - : "
               "/ + @"}},
        Wrong{"a broker in an inline table",
              good_listener + "[[pool]]\nname = \"main\"\nbroker = [{name = \"b\", "
                              "address = \"10.0.0.9:1\"},\n 5]\n",
              {"f.toml:8:2: \"broker\" may be there several times: write it as [[pool.broker]], not as a "
               "whole number"}}));

INSTANTIATE_TEST_SUITE_P(
    broken_files, WrongFile,
    ::testing::Values(
        Wrong{"TOML's own syntax",
              "[daemon]\nworkers = \n",
              {"f.toml:2:11: not valid TOML: Error while parsing key-value pair: expected value, saw '\\n'"}},
        Wrong{"a key twice",
              "[daemon]\nworkers = 1\nworkers = 2\n",
              {"f.toml:3:11: not valid TOML: Error while parsing key-value pair: cannot redefine existing "
               "integer "
               "'workers'"}},
        Wrong{"NUL",
              std::string("[daemon]\nwo\0rkers = 1\n", 22),
              {"f.toml:2:3: this is not a text file in UTF-8: a configuration is TOML, which is text"}},
        Wrong{"UTF-16",
              "\xff\xfe[\0d\0",
              {"f.toml:1:1: this is not a text file in UTF-8: a configuration is TOML, "
               "which is text"}},
        Wrong{"a character cut in half",
              "# caf\xc3",
              {"f.toml:1:6: this is not a text file in UTF-8: a "
               "configuration is TOML, which is text"}},
        Wrong{"larger than the bound",
              std::string(1024 * 1024 + 1, '#'),
              {"f.toml:1:1: it is larger than 1 MiB: name a configuration file"}}));

TEST(Config, problems_come_all_at_once_and_in_the_order_of_the_file) {
    const auto loaded = load_text(
        "[[pool]]\nname = \"main\"\nstrategy = \"stikcy\"\n[[pool.broker]]\nname = \"b\"\naddress = "
        "\"x\"\nwieght = 1\n"
        "[admin]\nhttp = 1\n[[listener]]\nname = \"m\"\naddress = \"1.2.3.4:1\"\npool = \"other\"\n[daemon]\n"
        "workers = true\n",
        "f.toml");
    EXPECT_THAT(lines_of(loaded),
                ElementsAre(StartsWith("f.toml:3:12: strategy: "), StartsWith("f.toml:6:11: address: "),
                            StartsWith("f.toml:7:1: unknown key \"wieght\": did you mean \"weight\"?"),
                            StartsWith("f.toml:9:8: http: "), StartsWith("f.toml:13:8: pool: "),
                            StartsWith("f.toml:15:11: workers: ")));
}

TEST(Config, every_key_arrives_in_its_field) {
    const auto loaded = load_text(R"(
[daemon]
workers = 3
socket = "/tmp/x.sock"
log_level = "debug"
[dataplane]
mode = "tc"
interfaces = ["eth0", "eth1"]
bpffs = "/mnt/bpf"
max_flows = 5000
source_addresses = ["10.92.0.1", "2001:db8::1"]
source_ports = "2000-2999"
hold_timeout = "500ms"
handoff_tries = 7
idle_timeout = "1h"
closing_timeout = "3s"
retire_grace = "4s"
[[listener]]
name = "in"
address = "[::]:1883"
protocol = "tcp"
pool = "p"
connect_timeout = "1s"
connack_timeout = "2m"
max_connect_size = "128KiB"
proxy_from = ["10.0.0.0/8", "2001:db8::/32"]
[[pool]]
name = "p"
strategy = "power_of_two"
key = "source_ip"
unknown_clients = "least_connections"
proxy_protocol = "v2"
transparent = false
stick_minimum = "1m"
stick_maximum = "2d"
stick_capacity = 10
retry_down = "250ms"
max_connections = 1000
[[pool.broker]]
name = "one"
address = "127.0.0.1:1884"
weight = 3
max_connections = 300
[[pool.broker]]
name = "two"
address = "[2001:db8::2]:1884"
weight = 9
[admin]
http = ""
)",
                                  "f.toml");
    ASSERT_THAT(lines_of(loaded), IsEmpty());
    const auto& config = loaded.config;
    EXPECT_EQ(config.daemon, (Daemon{3, "/tmp/x.sock", "debug"}));
    Dataplane dataplane;
    dataplane.mode = Mode::tc;
    dataplane.interfaces = {"eth0", "eth1"};
    dataplane.bpffs = "/mnt/bpf";
    dataplane.max_flows = 5000;
    dataplane.source_addresses = {*IpAddress::parse("10.92.0.1"), *IpAddress::parse("2001:db8::1")};
    dataplane.first_source_port = 2000;
    dataplane.last_source_port = 2999;
    dataplane.hold_timeout = 500ms;
    dataplane.handoff_tries = 7;
    dataplane.idle_timeout = 1h;
    dataplane.closing_timeout = 3s;
    dataplane.retire_grace = 4s;
    EXPECT_EQ(config.dataplane, dataplane);
    ASSERT_THAT(config.listeners, SizeIs(1));
    const auto& listener = config.listeners[0];
    EXPECT_EQ(listener.name, "in");
    EXPECT_EQ(listener.address.text(), "[::]:1883");
    EXPECT_EQ(listener.protocol, Protocol::tcp);
    EXPECT_EQ(listener.pool, "p");
    EXPECT_EQ(listener.connect_timeout, 1s);
    EXPECT_EQ(listener.connack_timeout, 2min);
    EXPECT_EQ(listener.max_connect_size, 128U * 1024);
    ASSERT_EQ(listener.proxy_from.size(), 2U);
    EXPECT_EQ(listener.proxy_from[1].text(), "2001:db8::/32");
    EXPECT_TRUE(loaded.config.pools.at(0).proxy_protocol);
    EXPECT_EQ(listener.position.line, 18U);
    ASSERT_THAT(config.pools, SizeIs(1));
    const auto& pool = config.pools[0];
    EXPECT_EQ(pool.name, "p");
    EXPECT_EQ(pool.strategy, Strategy::power_of_two);
    EXPECT_EQ(pool.unknown, Strategy::least_connections);
    EXPECT_EQ(pool.key, Key::source_ip);
    EXPECT_EQ(pool.stick_minimum, 1min);
    EXPECT_EQ(pool.stick_maximum, 48h);
    EXPECT_EQ(pool.stick_capacity, 10U);
    EXPECT_EQ(pool.retry_down, 250ms);
    ASSERT_THAT(pool.brokers, SizeIs(2));
    EXPECT_EQ(pool.brokers[0].name, "one");
    EXPECT_EQ(pool.brokers[0].address.text(), "127.0.0.1:1884");
    EXPECT_EQ(pool.max_connections, 1000U);
    EXPECT_EQ(pool.brokers[0].weight, 3U);
    EXPECT_EQ(pool.brokers[0].max_connections, 300U);
    EXPECT_EQ(pool.brokers[1].max_connections, 0U);
    EXPECT_EQ(pool.brokers[1].address.text(), "[2001:db8::2]:1884");
    EXPECT_EQ(pool.brokers[1].weight, 9U);
    EXPECT_EQ(config.admin.http, "");
}

const std::string with_rule = good_listener + good_pool + "[[rule]]\n";

INSTANTIATE_TEST_SUITE_P(
    rules_and_rates, WrongFile,
    ::testing::Values(
        Wrong{"a rule without an action",
              with_rule,
              {"f.toml:10:1: [[rule]] has no \"action\": add action = \"allow\" or \"deny\""}},
        Wrong{"an action that nobody knows",
              with_rule + "action = \"alow\"\n",
              {"f.toml:11:10: action: \"alow\" is unknown: did you mean \"allow\"? It must be "
               "one of allow, deny"}},
        Wrong{"a network that is none",
              with_rule + "action = \"deny\"\nsource = [\"10.0.0.0/33\"]\n",
              {"f.toml:12:11: source: \"10.0.0.0/33\" is not a network: write it as 10.0.0.0/8 or "
               "2001:db8::/32"}},
        Wrong{"a version that is none",
              with_rule + "action = \"deny\"\nversion = [\"5\", \"4\"]\n",
              {"f.toml:12:17: version: \"4\" is unknown: it must be one of 3.1, 3.1.1, 5"}},
        Wrong{"a reason for those who may come in",
              with_rule + "action = \"allow\"\nreason = \"banned\"\n",
              {"f.toml:12:10: reason: a rule that allows has none: leave it out"}},
        Wrong{"a pool for those who may not",
              with_rule + "action = \"deny\"\npool = \"main\"\n",
              {"f.toml:12:8: pool: a rule that denies leads nowhere: leave it out"}},
        Wrong{"a pool that is not there",
              with_rule + "action = \"allow\"\npool = \"mian\"\n",
              {"f.toml:12:8: pool: \"mian\" is unknown: did you mean \"main\"? It must be one of main"}},
        Wrong{"a listener that is not there",
              with_rule + "action = \"deny\"\nlistener = \"x\"\n",
              {"f.toml:12:12: listener: \"x\" is unknown: it must be one of mqtt"}},
        Wrong{"a key that is not there",
              with_rule + "action = \"deny\"\nuser_name = \"x\"\n",
              {"f.toml:12:1: unknown key \"user_name\": did you mean \"username\"?"}},
        Wrong{"a keep-alive that no CONNECT can have",
              with_rule + "action = \"deny\"\nkeep_alive_above = \"1d\"\n",
              {"f.toml:12:20: keep_alive_above: \"1d\" is out of range: it must be from 1s to 65535s"}},
        Wrong{"a rate without a time",
              good_listener + "connect_rate = \"5/w\"\n" + good_pool,
              {"f.toml:5:16: connect_rate: \"5/w\" is not a rate: write a whole number and a time, such as "
               "\"200/s\", \"6/m\" or \"100/h\""}},
        Wrong{"a rate that is a number",
              good_listener + "connect_rate = 5\n" + good_pool,
              {"f.toml:5:16: connect_rate: it must be a string, not a whole number"}}));

TEST(Config, rules_and_rates_become_values) {
    const auto loaded = load_text(R"(
[[listener]]
name = "mqtt"
address = "10.0.0.1:1883"
pool = "main"
connect_rate = "2000/s"
source_connect_rate = "50"
client_connect_rate = "6/m"
hold_off = "5m"
[[listener]]
name = "bytes"
address = "10.0.0.1:1884"
pool = "main"
protocol = "tcp"
[[pool]]
name = "main"
[[pool.broker]]
name = "b1"
address = "10.0.0.2:1883"
[[pool]]
name = "eu"
[[pool.broker]]
name = "b1"
address = "10.0.0.3:1883"
[[rule]]
name = "europe"
listener = "mqtt"
source = "10.0.0.0/8"
client_id = ["a*", "b?"]
username = "eu-*"
version = ["3.1.1", "5"]
keep_alive_below = "10s"
keep_alive_above = "1h"
action = "allow"
pool = "eu"
[[rule]]
action = "deny"
)",
                                  "f.toml");
    ASSERT_THAT(lines_of(loaded), IsEmpty());
    const auto& listener = loaded.config.listeners[0];
    EXPECT_EQ(listener.connect_rate, (Rate{2000, 1s}));
    EXPECT_EQ(listener.source_connect_rate, (Rate{50, 1s}));
    EXPECT_EQ(listener.client_connect_rate, (Rate{6, 60s}));
    EXPECT_EQ(listener.hold_off, 5min);
    ASSERT_THAT(loaded.config.rules, SizeIs(2));
    const auto& rule = loaded.config.rules[0];
    EXPECT_EQ(rule.name, "europe");
    EXPECT_EQ(rule.sources[0].text(), "10.0.0.0/8");
    EXPECT_EQ(rule.client_ids, (std::vector<std::string>{"a*", "b?"}));
    EXPECT_EQ(rule.usernames, (std::vector<std::string>{"eu-*"}));
    EXPECT_EQ(rule.versions, (std::vector<unsigned>{4, 5}));
    EXPECT_EQ(rule.keep_alive_below, 10s);
    EXPECT_EQ(rule.keep_alive_above, 1h);
    EXPECT_FALSE(rule.deny);
    EXPECT_EQ(loaded.config.rules[1].name, "rule2");
    EXPECT_TRUE(loaded.config.rules[1].deny);
    EXPECT_EQ(loaded.config.rules[1].reason, DenyReason::not_authorized);
    EXPECT_THAT(listener.rules, SizeIs(2));
    EXPECT_THAT(loaded.config.listeners[1].rules, IsEmpty()) << "it hears nobody's CONNECT";
    EXPECT_EQ(pools_of(listener), (std::vector<std::string>{"main", "eu"}));
}

TEST(Config, sections_of_later_versions_are_accepted_with_a_warning_at_their_place) {
    const auto loaded = load_text(good_listener +
                                      "[listener.tls]\nverify = \"none\"\n[[pool]]\nname = \"main\"\n"
                                      "[pool.health]\nprobe = \"mqtt\"\ninterval = \"5s\"\n"
                                      "[[pool.broker]]\nname = \"b\"\naddress = \"10.0.0.9:1\"\n",
                                  "f.toml");
    EXPECT_TRUE(loaded.ok()) << "the contract's example must be startable";
    ASSERT_EQ(loaded.warnings.size(), 1U) << "nothing that has no effect may pass in silence";
    EXPECT_TRUE(loaded.warnings[0].line().starts_with("f.toml:5:1: [listener.tls] has no effect"));
}

TEST(Config, health_checks_take_what_they_are_told) {
    const auto health = [](const std::string& lines) {
        const auto loaded = load_text(good_listener + "[[pool]]\nname = \"main\"\n" + lines +
                                          "[[pool.broker]]\nname = \"b\"\naddress = \"10.0.0.9:1\"\n",
                                      "f.toml");
        EXPECT_TRUE(loaded.ok()) << (loaded.ok() ? "" : loaded.problems[0].line());
        return loaded.config.pools[0].health;
    };
    EXPECT_FALSE(health("").always);
    const auto plain = health("[pool.health]\n");
    EXPECT_TRUE(plain.always);
    EXPECT_EQ(plain.probe, Probe::tcp);
    EXPECT_EQ(plain.interval, 5s);
    const auto mqtt = health(
        "[pool.health]\nprobe = \"mqtt\"\ninterval = \"1s\"\nfast_interval = \"200ms\"\ntimeout = \"300ms\"\n"
        "rise = 4\nfall = 5\ninitial = \"down\"\nport = 1884\nproxy_command = \"proxy\"\nslow_start = "
        "\"0s\"\nend_rate = 100\n"
        "mqtt_version = \"5\"\nclient_id = \"me\"\nusername = \"joe\"\npassword = \"pw\"\n");
    EXPECT_EQ(mqtt.probe, Probe::mqtt);
    EXPECT_EQ(mqtt.interval, 1s);
    EXPECT_EQ(mqtt.fast_interval, 200ms);
    EXPECT_EQ(mqtt.timeout, 300ms);
    EXPECT_EQ(mqtt.rise, 4U);
    EXPECT_EQ(mqtt.fall, 5U);
    EXPECT_FALSE(mqtt.initially_up);
    EXPECT_EQ(mqtt.port, 1884);
    EXPECT_EQ(mqtt.proxy_command, ProxyCommand::proxy);
    EXPECT_EQ(mqtt.slow_start, 0s);
    EXPECT_EQ(mqtt.end_rate, 100U);
    EXPECT_EQ(mqtt.mqtt_version, MqttVersion::v5);
    EXPECT_EQ(mqtt.client_id, "me");
    EXPECT_EQ(mqtt.username, "joe");
    EXPECT_EQ(mqtt.password, "pw");
    const auto http =
        health("[pool.health]\nprobe = \"http\"\npath = \"/ready\"\nhost = \"b\"\nstatus = 204\n");
    EXPECT_EQ(http.path, "/ready");
    EXPECT_EQ(http.host, "b");
    EXPECT_EQ(http.status, 204U);
}

TEST(Config, brokers_may_be_names_that_dns_knows) {
    const auto loaded =
        load_text("[daemon]\ndns_servers = [\"192.0.2.53\", \"[2001:db8::53]:5353\"]\n" + good_listener +
                      "[[pool]]\nname = \"main\"\nbrokers_from = \"/etc/limpet/brokers.d\"\n"
                      "[[pool.broker]]\nname = \"a\"\naddress = \"mqtt.example.com:1884\"\nweight = 3\n"
                      "[[pool.broker]]\nname = \"s\"\naddress = \"srv+_mqtt._tcp.example.com\"\n"
                      "[[pool.broker]]\nname = \"b\"\naddress = \"10.0.0.9:1883\"\n",
                  "f.toml");
    ASSERT_TRUE(loaded.ok()) << loaded.problems[0].line();
    EXPECT_THAT(loaded.config.daemon.dns_servers, ElementsAre("192.0.2.53:53", "[2001:db8::53]:5353"));
    const auto& pool = loaded.config.pools[0];
    EXPECT_EQ(pool.brokers_from, "/etc/limpet/brokers.d");
    ASSERT_EQ(pool.hosts.size(), 2U);
    EXPECT_EQ(pool.hosts[0].host, (HostName{"mqtt.example.com", 1884}));
    EXPECT_EQ(pool.hosts[0].weight, 3U);
    EXPECT_EQ(pool.hosts[1].host, (HostName{"_mqtt._tcp.example.com", 0}));
    EXPECT_TRUE(pool.hosts[1].host.is_service());
    ASSERT_EQ(pool.brokers.size(), 1U);
    EXPECT_EQ(pool.brokers[0].address.text(), "10.0.0.9:1883");
}

TEST(Config, names_and_addresses_share_the_names_of_a_pool) {
    const auto loaded =
        load_text(good_listener +
                      "[[pool]]\nname = \"main\"\n"
                      "[[pool.broker]]\nname = \"a\"\naddress = \"srv+_mqtt._tcp.x\"\nweight = 2\n"
                      "[[pool.broker]]\nname = \"a\"\naddress = \"10.0.0.9:1883\"\n",
                  "f.toml");
    ASSERT_EQ(loaded.problems.size(), 2U);
    EXPECT_EQ(loaded.problems[0].line(),
              "f.toml:10:10: weight: SRV records have weights of their own: leave it out");
    EXPECT_EQ(loaded.problems[1].line(),
              "f.toml:12:8: broker \"a\" of pool \"main\" is there twice: the first one is in line 8");
}

TEST(Config, tls_sections_are_read_with_the_places_of_their_files) {
    const auto loaded = load_text(good_listener +
                                      "protocol = \"mqtts\"\n[listener.tls]\ncertificate = \"a.pem\"\n"
                                      "key = \"a.key\"\nclient_ca = \"ca.pem\"\nminimum_version = \"1.3\"\n"
                                      "ticket_lifetime = \"1h\"\nalpn = []\n[[listener.tls.certificates]]\n"
                                      "certificate = \"b.pem\"\n[[pool]]\nname = \"main\"\nkey = \"sni\"\n"
                                      "[pool.tls]\nca = \"brokers.pem\"\nserver_name = \"b.org\"\n"
                                      "[[pool.broker]]\nname = \"b\"\naddress = \"10.0.0.9:1\"\n",
                                  "f.toml");
    ASSERT_TRUE(loaded.ok()) << loaded.problems[0].line();
    ASSERT_EQ(loaded.warnings.size(), 1U);
    EXPECT_TRUE(loaded.warnings[0].line().starts_with("f.toml:9:13: client_ca without verify"));
    const auto& tls = loaded.config.listeners[0].tls;
    ASSERT_THAT(tls.certificates, SizeIs(2));
    EXPECT_EQ(tls.certificates[0].key.text, "a.key");
    EXPECT_EQ(tls.certificates[0].key.position.line, 8U);
    EXPECT_EQ(tls.certificates[1].certificate.text, "b.pem");
    EXPECT_EQ(tls.verify, Verify::optional);
    EXPECT_EQ(tls.policy.minimum_version, TlsVersion::tls13);
    EXPECT_EQ(tls.ticket_lifetime, std::chrono::hours{1});
    EXPECT_TRUE(tls.alpn_said && tls.alpn.empty());
    const auto& pool = loaded.config.pools[0];
    EXPECT_EQ(pool.key, Key::sni);
    EXPECT_TRUE(pool.tls.present && pool.tls.verify);
    EXPECT_EQ(pool.tls.server_name.text, "b.org");
}

TEST(Config, a_pool_is_transparent_when_it_says_so) {
    const auto loaded = load_text(good_listener +
                                      "[[pool]]\nname = \"main\"\ntransparent = true\n"
                                      "[[pool.broker]]\nname = \"b\"\naddress = "
                                      "\"10.0.0.9:1\"\n",
                                  "f.toml");
    ASSERT_THAT(lines_of(loaded), IsEmpty());
    EXPECT_TRUE(loaded.config.pools[0].transparent);
}

TEST(Config, what_is_left_out_has_the_documented_default) {
    const auto loaded = load_text(rest, "f.toml");
    ASSERT_THAT(lines_of(loaded), IsEmpty());
    EXPECT_EQ(loaded.config.daemon, Daemon{});
    EXPECT_EQ(loaded.config.dataplane, Dataplane{});
    EXPECT_EQ(loaded.config.admin.http, "127.0.0.1:9883");
    EXPECT_EQ(loaded.config.listeners[0].connect_timeout, 10s);
    EXPECT_EQ(loaded.config.listeners[0].max_connect_size, 65536U);
    EXPECT_EQ(loaded.config.pools[0].strategy, Strategy::sticky);
    EXPECT_FALSE(loaded.config.pools[0].transparent);
}

TEST(Config, one_pool_may_serve_many_listeners_and_two_pools_may_name_the_same_broker) {
    const auto second =
        std::string("[[listener]]\nname = \"six\"\naddress = \"[::]:1883\"\npool = \"main\"\n");
    const auto other = std::string(
        "[[pool]]\nname = \"other\"\n[[pool.broker]]\nname = \"b1\"\naddress = \"10.92.0.11:1883\"\n");
    EXPECT_THAT(lines_of(load_text(good_listener + second + good_pool + other, "f.toml")), IsEmpty());
}

TEST(Config, a_byte_order_mark_and_windows_line_ends_are_no_problem) {
    std::string text = "\xef\xbb\xbf";
    for (const char byte : rest) text += byte == '\n' ? std::string("\r\n") : std::string(1, byte);
    EXPECT_THAT(lines_of(load_text(text, "f.toml")), IsEmpty());
}

class ConfigFile : public ::testing::Test {
  protected:
    void SetUp() override {
        char name[] = "/tmp/limpet-config-XXXXXX";
        ASSERT_NE(mkdtemp(name), nullptr);
        folder_ = name;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }

    std::string folder_;
};

TEST_F(ConfigFile, is_read_and_named_as_it_was_given) {
    std::ofstream(path("good.toml")) << rest;
    EXPECT_TRUE(load_file(path("good.toml")).ok());
    std::ofstream(path("bad.toml")) << rest << "wieght = 1\n";
    EXPECT_THAT(lines_of(load_file(path("bad.toml"))),
                ElementsAre(path("bad.toml") + ":10:1: unknown key \"wieght\": did you mean \"weight\"?"));
}

TEST_F(ConfigFile, that_is_missing_a_folder_or_endless_is_one_clear_problem) {
    EXPECT_THAT(
        lines_of(load_file(path("none"))),
        ElementsAre(path("none") + ":1:1: opening it: No such file or directory: name a file that is there "
                                   "and may be read"));
    EXPECT_THAT(lines_of(load_file(folder_)),
                ElementsAre(folder_ + ":1:1: it is a folder: name the configuration file in it"));
    EXPECT_THAT(lines_of(load_file("/dev/zero")),
                ElementsAre("/dev/zero:1:1: it is larger than 1 MiB: name a configuration file"))
        << "reading must stop at the bound";
}

TEST(Validate, values_of_the_command_line_are_held_to_the_same_bounds) {
    auto config = load_text(rest, "f.toml").config;
    config.daemon.workers = 1000;
    config.daemon.log_level = "loud";
    config.dataplane.max_flows = 0;
    config.dataplane.first_source_port = 5000;
    config.dataplane.last_source_port = 4000;
    config.dataplane.interfaces = {"eth0", "eth0"};
    config.admin.http = "nowhere";
    std::vector<Problem> problems;
    validate(config, problems);
    std::vector<std::string> lines;
    for (const auto& problem : problems) lines.push_back(problem.line());
    EXPECT_THAT(
        lines,
        ElementsAre(
            "workers: 1000 is out of range: it must be from 0 to 256",
            "log_level: \"loud\" is unknown: it must be one of trace, debug, info, warn, error",
            "interfaces has \"eth0\" twice: leave one of them out",
            "max_flows: 0 is out of range: it must be from 1 to 100000000",
            "source_ports: \"5000-4000\" is upside down: write the smaller port first",
            "http: \"nowhere\" has no port: write it as 127.0.0.1:9883 or [::1]:9883, or \"\" for none"))
        << "such problems have no file and no line";
}

// docs/CONFIGURATION.md shows one complete file; it must stay one that is accepted.
TEST(Documentation, the_example_of_the_configuration_page_is_accepted) {
    std::ifstream file(std::filesystem::path(__FILE__).parent_path() / "../../../docs/CONFIGURATION.md");
    std::stringstream page;
    page << file.rdbuf();
    const auto text = page.str();
    const auto begin = text.find("```toml\n");
    ASSERT_NE(begin, std::string::npos) << "the page has no example";
    const auto end = text.find("```", begin + 8);
    ASSERT_NE(end, std::string::npos);
    const auto example = text.substr(begin + 8, end - begin - 8);
    EXPECT_THAT(lines_of(load_text(example, "CONFIGURATION.md")), IsEmpty());
    EXPECT_THAT(example, HasSubstr("retire_grace")) << "the example is the complete one, with every key";
}

TEST(Values, durations_and_sizes_read_back_as_they_are_shown) {
    for (const auto* text : {"500ms", "10s", "2m", "1h", "7d", "90s", "0s"})
        EXPECT_EQ(duration_text(*parse_duration(text)), text);
    for (const auto* text : {"", "s", "10", "10 s", "-1s", "+1s", "1.5s", "1S", "1s ", "ms", "1w"})
        EXPECT_FALSE(parse_duration(text)) << text;
    EXPECT_EQ(*parse_size("64KiB"), 65536U);
    EXPECT_EQ(*parse_size("4096"), 4096U);
    EXPECT_EQ(*parse_size("1MiB"), 1048576U);
    for (const auto* text : {"", "KiB", "64 KiB", "64kib", "1e3", "18446744073709551616", "99999999999GiB"})
        EXPECT_FALSE(parse_size(text)) << text;
}

TEST(Values, nothing_that_a_terminal_obeys_comes_through_a_quotation) {
    EXPECT_EQ(quote("a\x1b[2Jb\n\"\\"), "\"a\\x1b[2Jb\\x0a\\\"\\\\\"");
    EXPECT_EQ(quote(std::string(79, 'x') + "é"), "\"" + std::string(79, 'x') + "…\"")
        << "a long text is cut between characters";
}

}  // namespace
}  // namespace limpet::config
