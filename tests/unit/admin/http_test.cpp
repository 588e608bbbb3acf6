// SPDX-License-Identifier: Apache-2.0
// HTTP over a real loopback socket.
#include <gmock/gmock.h>

#include "admin/dispatch.h"
#include "fake_verbs.h"
#include "sockets.h"

namespace limpet::admin::test {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

class Http : public ServerTest {
  protected:
    std::string post(const std::string& target, const std::string& body,
                     const std::string& type = "application/json") {
        BareClient client(http_);
        client.send("POST " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: " + type +
                    "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
        return client.rest();
    }
    std::string get(const std::string& target, const std::string& method = "GET") {
        BareClient client(http_);
        client.send(method + " " + target + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        return client.rest();
    }
};

TEST_F(Http, health_readiness_and_metrics) {
    start();
    EXPECT_THAT(get("/healthz"), StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(get("/readyz"), StartsWith("HTTP/1.1 200 OK\r\n"));
    verbs_.is_ready = false;
    EXPECT_THAT(get("/readyz"), StartsWith("HTTP/1.1 503 Service Unavailable\r\n"));
    EXPECT_THAT(get("/healthz"), StartsWith("HTTP/1.1 200 OK\r\n")) << "alive, though not ready";
    const auto metrics = get("/metrics");
    EXPECT_THAT(metrics, HasSubstr("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    EXPECT_THAT(metrics, EndsWith("\r\n\r\nlimpet_up 1\n"));
}

TEST_F(Http, the_api_reads_what_the_command_line_reads) {
    start();
    EXPECT_THAT(get("/api/v1/status"), EndsWith("\r\n\r\n{\"version\":\"1\"}\n"));
    EXPECT_THAT(get("/api/v1/brokers"), EndsWith("\r\n\r\n[{\"name\":\"b1\"}]\n"));
    EXPECT_THAT(get("/api/v1/flows?client_id=a%20b+c%2f&broker=b1&limit=12"),
                EndsWith("[{\"client_id\":\"x\"}]\n"));
    EXPECT_THAT(get("/api/v1/flows/count?client-id=d"), EndsWith("\r\n\r\n{\"count\":7}\n"));
    EXPECT_THAT(get("/api/v1/lookup?client_id=e&pool=p"), EndsWith("{\"client_id\":\"e\",\"pool\":\"p\"}\n"));
    EXPECT_THAT(verbs_.asked(), ElementsAre("flows a b c/ b1 12", "count d - 0"));
}

TEST_F(Http, the_api_changes_what_the_command_line_changes) {
    start();
    EXPECT_THAT(post("/api/v1/brokers/add", R"({"broker":"b4","address":"10.0.0.4:1883","weight":2})"),
                EndsWith("{\"changed\":[\"pool main: broker b4: added\"]}\n"));
    EXPECT_THAT(post("/api/v1/brokers/weight", R"({"broker":"b1","pool":"p","value":7})"),
                StartsWith("HTTP/1.1 200"));
    EXPECT_THAT(post("/api/v1/brokers/drain", R"({"broker":"b1","rate":12.5,"deadline":60})",
                     "application/json; charset=utf-8"),
                HasSubstr("\"kind\":\"drain\""));
    EXPECT_THAT(post("/api/v1/brokers/rebalance", ""), EndsWith("\r\n\r\n[]\n"));
    EXPECT_THAT(post("/api/v1/brokers/cancel", "{}"), StartsWith("HTTP/1.1 200"));
    EXPECT_THAT(get("/api/v1/brokers/moves"), HasSubstr("\"state\":\"running\""));
    EXPECT_THAT(verbs_.asked(),
                ElementsAre("add b4 - 10.0.0.4:1883 2", "weight b1 p 7", "drain b1 - 12.500000 60",
                            "rebalance - - -1.000000 -1.000000 -", "cancel - - -"));
}

TEST_F(Http, nonsense_that_would_change_something_is_refused_and_changes_nothing) {
    start();
    const std::string path = "/api/v1/brokers/weight";
    const std::string good = R"({"broker":"b1","value":7})";
    EXPECT_THAT(post(path, good, "text/plain"), StartsWith("HTTP/1.1 415")) << "no page of another site";
    EXPECT_THAT(post(path + "?broker=b1", good), StartsWith("HTTP/1.1 400"));
    for (const auto* body :
         {"", "[]", "{", "nonsense", "{}", R"({"broker":"b1"})", R"({"broker":"b1","value":-1})",
          R"({"broker":"b1","value":1.5})", R"({"broker":"b1","value":"7"})", R"({"broker":7,"value":7})",
          R"({"broker":null,"value":7})", R"({"broker":"b1","value":7,"valeu":7})"}) {
        const auto answer = post(path, body);
        EXPECT_THAT(answer, StartsWith("HTTP/1.1 400")) << body;
        EXPECT_THAT(answer, HasSubstr("\"error\":\"")) << body;
    }
    EXPECT_THAT(post("/api/v1/brokers/drain", R"({"broker":"b1","rate":"fast"})"),
                StartsWith("HTTP/1.1 400"));
    EXPECT_THAT(post("/api/v1/brokers/remove", R"({"broker":"nobody"})"), StartsWith("HTTP/1.1 404"));
    EXPECT_THAT(post("/api/v1/flows/kill", "{}"), StartsWith("HTTP/1.1 400"));
    EXPECT_THAT(post("/api/v1/reload", "{}"), StartsWith("HTTP/1.1 422"));
    EXPECT_THAT(verbs_.asked(), ElementsAre());
}

TEST_F(Http, the_api_describes_itself) {
    start();
    const auto answer = get("/api/v1/openapi.json");
    const auto document = Json::parse(answer.substr(answer.find("\r\n\r\n") + 4));
    EXPECT_EQ(document["openapi"], "3.0.3");
    const auto& drain = document["paths"]["/brokers/drain"]["post"];
    EXPECT_EQ(drain["operationId"], "brokers_drain");
    const auto& schema = drain["requestBody"]["content"]["application/json"]["schema"];
    EXPECT_EQ(schema["required"], Json::array({"broker"}));
    EXPECT_EQ(schema["properties"]["rate"]["type"], "number");
    EXPECT_EQ(document["paths"]["/flows"]["get"]["parameters"].size(), 3U);
    for (const auto& [path, operations] : document["paths"].items())
        for (const auto& [method, operation] : operations.items()) {
            const auto wrong = method == "get" ? get("/api/v1" + path, "PUT") : post("/api/v1" + path, "[]");
            EXPECT_THAT(wrong, Not(StartsWith("HTTP/1.1 404"))) << path << " is described and not there";
            EXPECT_TRUE(operation["responses"].contains("200")) << path;
        }
}

TEST_F(Http, a_connection_serves_many_requests_and_two_at_once_in_order) {
    start();
    BareClient client(http_);
    for (int i = 0; i < 3; ++i) {
        client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        EXPECT_THAT(client.response(), EndsWith("alive\n"));
    }
    client.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(client.response(), EndsWith("alive\n"));
    EXPECT_THAT(client.response(), EndsWith("ready\n"));
    client.send("GET /healthz HTTP/1.0\r\n\r\n");
    EXPECT_THAT(client.rest(), EndsWith("alive\n")) << "HTTP/1.0 ends with its answer";
    EXPECT_FALSE(client.timed_out());
}

TEST_F(Http, head_has_the_header_of_get_and_no_body) {
    start();
    BareClient client(http_);
    client.send("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    const auto head = client.response(true);
    EXPECT_THAT(head, HasSubstr("Content-Length: 6\r\n"));
    EXPECT_THAT(head, EndsWith("\r\n\r\n"));
    client.send("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(client.response(), StartsWith("HTTP/1.1 200")) << "no byte of a body may stand in between";
}

TEST_F(Http, wrong_requests_get_their_own_status) {
    start();
    EXPECT_THAT(get("/nothing"), StartsWith("HTTP/1.1 404"));
    const auto reload = get("/api/v1/reload");
    EXPECT_THAT(reload, StartsWith("HTTP/1.1 405")) << "what changes things is never a GET";
    EXPECT_THAT(reload, HasSubstr("Allow: POST\r\n"));
    const auto post = get("/api/v1/status", "POST");
    EXPECT_THAT(post, StartsWith("HTTP/1.1 405"));
    EXPECT_THAT(post, HasSubstr("Allow: GET, HEAD\r\n"));
    EXPECT_THAT(get("/api/v1/flows?limit=many"), StartsWith("HTTP/1.1 400"));
    EXPECT_THAT(get("/api/v1/flows?limit=-1"), StartsWith("HTTP/1.1 400"));
    EXPECT_THAT(get("/api/v1/flows?client_id=%zz"), StartsWith("HTTP/1.1 400"));
    EXPECT_THAT(get("/api/v1/flows?client_id=%4"), StartsWith("HTTP/1.1 400"));
    EXPECT_THAT(get("/api/v1/flows?cleint_id=a"), StartsWith("HTTP/1.1 400"));
    EXPECT_THAT(get("/api/v1/flows?limit=1&limit=2"), StartsWith("HTTP/1.1 400"));
    EXPECT_THAT(get("/api/v1/status?limit=1"), StartsWith("HTTP/1.1 400"));
    EXPECT_THAT(get("/api/v1/lookup"), StartsWith("HTTP/1.1 400"));
    EXPECT_THAT(get("/api/v1/lookup?client_id=a&pool=none"), StartsWith("HTTP/1.1 404"));
    verbs_.broken = true;
    EXPECT_THAT(get("/api/v1/status"), StartsWith("HTTP/1.1 500"));
    EXPECT_THAT(verbs_.asked(), ElementsAre()) << "no wrong request reaches the daemon";
}

TEST_F(Http, what_is_no_http_or_too_much_of_it_is_refused_within_bounds) {
    start();
    BareClient garbage(http_);
    garbage.send("\x10\x0e\0\4MQTT\r\n\r\n");
    EXPECT_THAT(garbage.rest(), StartsWith("HTTP/1.1 400"));
    BareClient header(http_);
    header.send("GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + std::string(20000, 'x') + "\r\n\r\n");
    EXPECT_THAT(header.rest(), StartsWith("HTTP/1.1 431"));
    BareClient body(http_);
    body.send("POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
    EXPECT_THAT(body.rest(), StartsWith("HTTP/1.1 413"));
    EXPECT_FALSE(garbage.timed_out() || header.timed_out() || body.timed_out()) << "and closed";
}

TEST_F(Http, slow_clients_are_closed_at_the_deadline) {
    Limits limits;
    limits.deadline = 50ms;
    start(limits);
    BareClient silent(http_);
    BareClient half(http_);
    half.send("GET /healthz HTT");
    BareClient kept(http_);
    kept.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(silent.rest(), "");
    EXPECT_EQ(half.rest(), "");
    EXPECT_THAT(kept.rest(), EndsWith("alive\n"));
    EXPECT_FALSE(silent.timed_out() || half.timed_out() || kept.timed_out()) << "the server must close them";
}

TEST_F(Http, one_client_too_many_gets_503) {
    Limits limits;
    limits.clients = 1;
    start(limits);
    BareClient first(http_);
    first.send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_THAT(first.response(), EndsWith("alive\n"));
    BareClient second(http_);
    EXPECT_THAT(second.rest(), StartsWith("HTTP/1.1 503"));
}

TEST_F(Http, an_address_that_is_taken_is_one_clear_line) {
    start();
    Server other(io_, verbs_);
    const auto listening = other.listen_http(http_.text());
    ASSERT_FALSE(listening);
    EXPECT_EQ(listening.error().line(),
              "serving HTTP on " + http_.text() +
                  ": Address already in use: another program listens there: set [admin] "
                  "http or --admin to another address, or to \"\" for none");
    EXPECT_FALSE(other.listen_http("nowhere"));
}

TEST(Json, a_client_id_that_is_cut_in_the_middle_of_a_character_is_still_json) {
    const auto text = json_text(Json{{"client_id", "caf\xc3"}});
    EXPECT_EQ(text, "{\"client_id\":\"caf\xef\xbf\xbd\"}") << "U+FFFD stands for what is not UTF-8";
    EXPECT_THAT(text, Not(HasSubstr("\n")));
}

}  // namespace
}  // namespace limpet::admin::test
