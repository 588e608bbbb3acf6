// SPDX-License-Identifier: Apache-2.0
// One connection's story: accept -> (TLS) -> (WebSocket) -> CONNECT -> choose -> connect -> (TLS) ->
// (WebSocket) -> CONNACK -> hand off, or relay for good.
#pragma once

#include <atomic>
#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "balancer/balancer.h"
#include "base/fd.h"
#include "base/reason.h"
#include "dataplane/dataplane.h"
#include "handoff/handoff.h"
#include "mqtt/packet.h"
#include "proxy_protocol/header.h"
#include "session/asio.h"
#include "session/gate.h"
#include "session/leg.h"
#include "session/listener.h"
#include "session/refusal_log.h"
#include "session/relay.h"
#include "session/trace.h"
#include "session/websocket_channel.h"
#include "tls_hello/client_hello.h"

namespace limpet::session {

/// What a worker counts; read by others.
struct Counters {
    std::atomic<std::uint64_t> accepted{0};
    std::atomic<std::uint64_t> spliced{0};  ///< connections that left for the kernel, since the start
    std::atomic<std::uint64_t> relayed{0};  ///< now, for good
    std::atomic<std::uint64_t> tls{0};      ///< now, with TLS on one leg at least; relayed or pending too
    std::atomic<std::uint64_t> pending{0};  ///< now, before CONNACK or still trying to leave
};

/// What the sessions of one worker share. All of it outlives them.
struct Environment {
    Executor executor;
    unsigned worker = 0;
    dataplane::Dataplane& dataplane;
    DescriptorGate& gate;
    Trace& trace;
    std::chrono::seconds idle_timeout{0};  ///< of flows without keep-alive; 0: no limit
    std::span<std::uint8_t> scratch;       ///< for reads; nothing in it survives a suspension
    Counters counters;
    RefusalLog refusals;
};

class Session
    : public std::enable_shared_from_this<Session>,
      public boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
  public:
    /// Takes an accepted, non-blocking socket. `no_room`: descriptors have run out; the client is heard and
    /// refused.
    Session(Environment& environment, std::shared_ptr<const Listener> listener, Fd client, bool no_room);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    /// The whole story; finish() must follow when it returned or threw.
    [[nodiscard]] Awaitable<void> story();
    /// Closes what is still open and gives back what was counted.
    void finish();
    /// The daemon stops: ends the story at its next step.
    void stop();

    /// Relayed to this broker, for good.
    [[nodiscard]] bool is_relayed_to(const balancer::Pool& pool, balancer::BrokerId broker) const;
    /// Under which the pool remembers the client; 0: it does not.
    [[nodiscard]] std::uint64_t client_hash() const { return client_hash_; }
    /// Ends a relayed connection so that its client comes back and goes elsewhere.
    void evict(Reason reason);

  private:
    /// What is needed until CONNACK and freed then.
    struct Handshake {
        Clock::time_point connect_deadline;  ///< of all that the client says up to CONNECT
        proxy_protocol::Header origin;       ///< who the client is, as far as it or a proxy before us says
        mqtt::Connect connect;
        std::string subprotocol;       ///< of the client's WebSocket
        std::size_t connect_size = 0;  ///< bytes in front of from_client, as the client wrote it
        mqtt::Connack connack;
        std::vector<std::uint8_t> from_client;  ///< CONNECT and all behind it, kept for another broker
        std::size_t sent = 0;                   ///< of from_client, to the present broker
        bool client_ended = false;              ///< the client sent FIN
        std::vector<std::uint8_t> from_broker;  ///< up to a whole packet
        std::vector<std::uint8_t> to_client;    ///< AUTH packets on their way to the client
        std::size_t to_client_taken = 0;
        bool broker_spoke = false;  ///< the client has seen bytes of a broker: no other one can take over
        std::vector<std::uint8_t> last_refusal;  ///< CONNACK of the broker that was busy last
        std::uint8_t refusal_code = 0;           ///< in it
        std::vector<balancer::BrokerId> tried;
        std::optional<balancer::Choice> next;  ///< chosen while the present broker was still being tried
        Clock::time_point deadline;            ///< of all attempts
        Clock::time_point attempt_deadline;    ///< of the present one
    };
    enum class Verdict : std::uint8_t { undecided, accepted, refused };

    // The chapters, in order. False: the story ends here.
    Awaitable<bool> read_proxy_header();
    Awaitable<bool> accept_tls();
    Awaitable<bool> read_upgrade();
    Awaitable<bool> read_connect();
    Awaitable<bool> read_client_hello();
    [[nodiscard]] bool identify();
    [[nodiscard]] bool admit(Reason over);
    [[nodiscard]] bool find_route();
    [[nodiscard]] bool apply_rules();
    Awaitable<bool> reach_broker();
    Awaitable<void> relay();
    Awaitable<void> take_leave();
    Awaitable<void> linger();

    // One broker; NONE when it answered CONNECT.
    Awaitable<Reason> try_broker(const balancer::Choice& choice);
    Awaitable<Reason> connect_broker(const Endpoint& address);
    Awaitable<Reason> secure_broker(const balancer::Choice& choice);
    Awaitable<Reason> await_connack();
    Awaitable<Reason> send_proxy_header();
    Awaitable<Reason> upgrade_broker(const balancer::Choice& choice);
    [[nodiscard]] balancer::Client client_facts() const;
    /// The common name of the client's certificate; none where there is no certificate that was verified.
    [[nodiscard]] const std::string* certificate_name() const;
    /// Until CONNACK the client's own address, also where a trusted proxy lies between; then the peer's.
    [[nodiscard]] const Endpoint& client_address() const;
    /// Waits for what the client says next. False: it was refused.
    Awaitable<bool> await_client();
    /// Reads what the client has said, behind what it said before. Nothing: it is gone, and was refused.
    [[nodiscard]] std::optional<std::span<const std::uint8_t>> hear_client();
    [[nodiscard]] std::optional<balancer::Choice> choose_next();
    [[nodiscard]] bool attempts_left() const;
    [[nodiscard]] Reason start_connect(const Endpoint& address);
    [[nodiscard]] Result<Fd> open_leg(const Endpoint& address);
    [[nodiscard]] bool give_way();
    [[nodiscard]] Reason exchange();
    [[nodiscard]] Reason read_answer();
    [[nodiscard]] Reason judge_answer();
    void drop_broker(const balancer::Choice& choice, Reason failure);
    void report_failure(const balancer::Choice& choice, Reason failure);
    void give_up_on_brokers(Reason failure);
    void settle(const balancer::Choice& choice);

    // TLS, of either leg.
    struct Side {
        unsigned readable;
        unsigned writable;
    };
    Awaitable<bool> hear_first_byte();
    Awaitable<tls::Failure> shake_hands(tls::Connection& tls, Side side, const Clock::time_point& deadline);
    void count_tls();
    void remember_client(const tls::Connection& tls);

    // After CONNACK.
    [[nodiscard]] bool pump_both();
    Awaitable<void> break_off();
    enum class Departure { gone, at_once, later };  ///< the kernel has it; look again: now, or at wake_at
    [[nodiscard]] bool both_in_frames() const { return frames_of(client_) && frames_of(broker_); }
    [[nodiscard]] bool join_frames();
    [[nodiscard]] Departure leave(Clock::time_point& wake_at);
    void stay(Reason reason);

    /// For those who watch this client (`what` is a literal).
    void tell(std::string_view what, std::string_view broker = {}, std::string_view detail = {}) const;
    void refuse_hello(tls_hello::Fault fault);
    /// Counts and logs why the client is closed, and says it in MQTT's words where there are words.
    void refuse(Reason reason, std::optional<mqtt::Refusal> refusal, std::string_view detail = {});
    /// The same, in the words of another protocol.
    void turn_away(Reason reason, std::span<const std::uint8_t> words, std::string_view detail);

    // Waiting: arm what may wake the story, then wait for the signal.
    void arm(unsigned interest, Clock::time_point deadline);
    void arm_one(Leg& leg, Descriptor::wait_type event, unsigned bit);
    void wake_for(unsigned bit);
    void arm_timer(Clock::time_point deadline);
    /// Whether the wait came true since it was last asked for.
    [[nodiscard]] bool fired(unsigned bit);
    [[nodiscard]] unsigned handshake_interest() const;
    [[nodiscard]] unsigned relay_interest() const;
    /// Both directions of this side have ended: nothing more is to be heard of it.
    [[nodiscard]] bool client_over() const { return to_broker_.ended && to_client_.passed_on; }
    [[nodiscard]] bool broker_over() const { return to_client_.ended && to_broker_.passed_on; }

    /// Why a read of the client was broken.
    [[nodiscard]] Reason why_client_broke() const;
    void count(Reason reason) const { environment_.dataplane.count(reason); }
    [[nodiscard]] balancer::Pool& pool() const { return *destination_->pool; }

    Environment& environment_;
    std::shared_ptr<const Listener> listener_;
    const Destination* destination_;  ///< a part of the listener
    Leg client_;
    Leg broker_;
    Timer timer_;
    Signal signal_;
    std::unique_ptr<handoff::Connection> connection_;
    std::unique_ptr<Handshake> handshake_;
    std::string client_id_;  ///< while it may still be handed over

    Direction to_broker_;
    Direction to_client_;
    std::uint64_t client_hash_ = 0;  ///< under which the pool remembers the client; 0: it does not
    std::chrono::seconds lifetime_{0};
    std::chrono::seconds idle_timeout_{0};
    Clock::time_point relay_until_ = never;
    Clock::time_point armed_deadline_ = never;
    std::uint32_t broker_generation_ =
        0;                           ///< tells waits of an earlier broker's socket from the present one's
    std::uint32_t descriptors_ = 0;  ///< taken from the gate
    std::optional<balancer::BrokerId> broker_id_;  ///< whose connection count we hold
    std::optional<mqtt::Version> version_;         ///< whose words the client understands
    Reason forced_relay_ = LIMPET_REASON_NONE;     ///< the broker leg is none of the data path's
    std::uint8_t armed_ = 0;                       ///< waits under way
    std::uint8_t fired_ = 0;                       ///< waits that came true and were not looked at yet
    Verdict verdict_ = Verdict::undecided;
    bool leaving_ = false;
    bool relayed_ = false;  ///< counted as such
    bool no_room_ = false;
    bool told_why_ = false;  ///< the client was sent words, or an alert, before it is closed
    bool counted_tls_ = false;
    bool stopped_ = false;
    Reason evicted_ = LIMPET_REASON_NONE;
    bool finished_ = false;
};

/// Every session of a worker; sessions leave it by themselves when they end.
using SessionList = boost::intrusive::list<Session, boost::intrusive::constant_time_size<false>>;

}  // namespace limpet::session
