/* SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only */
/*
 * Every reason that Limpet counts: one list, append-only, shared by the BPF programs (which index their
 * counter map with it), the daemon, the metrics, the log and the command line. A name that was published
 * never changes its number or its spelling; new ones go to the end, above LIMPET_REASON_COUNT.
 *
 * X(identifier, "published_name", "one sentence for people")
 */
#ifndef LIMPET_REASON_H
#define LIMPET_REASON_H

#define LIMPET_REASONS(X)                                                                                   \
    X(NONE, "none", "no reason")                                                                            \
    /* data path: packets that were handled */                                                              \
    X(FORWARDED_XDP, "forwarded_xdp", "packet of an active flow forwarded by the XDP program")              \
    X(FORWARDED_TC, "forwarded_tc", "packet of an active flow forwarded by the TC program")                 \
    X(PASSED_UP, "passed_up", "XDP left a packet of an active flow to TC, unchanged")                       \
    X(PARKED, "parked", "packet taken off the wire while its flow was in HOLD")                             \
    X(PARK_OVERFLOW, "park_overflow", "packet in HOLD dropped: the ring buffer was full")                   \
    X(HOLD_EXPIRED, "hold_expired", "a flow stayed in HOLD past its deadline and was retired")              \
    X(SYN_ON_ACTIVE, "syn_on_active", "SYN on a live tuple turned into a probe of the old connection")      \
    X(SYN_ON_CLOSING, "syn_on_closing", "SYN on a closing tuple: both entries retired")                     \
    X(RST_SEEN, "rst_seen", "RST forwarded on an active flow")                                              \
    X(FIN_SEEN, "fin_seen", "FIN forwarded on an active flow")                                              \
    /* data path: packets that were dropped */                                                              \
    X(DROP_TTL, "drop_ttl", "packet of an active flow whose TTL or hop limit ran out")                      \
    X(DROP_FRAGMENT, "drop_fragment", "IP fragment of an active flow")                                      \
    X(DROP_IP_OPTIONS, "drop_ip_options", "packet of an active flow with IP options")                       \
    X(DROP_NO_ROUTE, "drop_no_route", "no route to the other end of an active flow")                        \
    X(DROP_MALFORMED, "drop_malformed", "packet of an active flow whose headers do not fit its length")     \
    X(DROP_PAIR_MISSING, "drop_pair_missing", "packet of a flow whose other direction has no entry")        \
    X(GUARD_HOST_PACKET, "guard_host_packet", "the host's own TCP tried to speak on an active flow")        \
    /* connections that are relayed, not spliced */                                                         \
    X(RELAY_CONFIGURED, "relay_configured", "the mode is relay")                                            \
    X(RELAY_NO_DATAPLANE, "relay_no_dataplane", "no data path could be loaded or attached")                 \
    X(RELAY_MIXED_FAMILIES, "relay_mixed_families", "client and broker speak different IP versions")        \
    X(RELAY_LOCAL_PEER, "relay_local_peer", "client or broker is on the gateway itself")                    \
    X(RELAY_PARITY_TIMESTAMPS, "relay_parity_timestamps", "only one leg uses TCP timestamps")               \
    X(RELAY_PARITY_SACK, "relay_parity_sack", "only one leg uses selective acknowledgements")               \
    X(RELAY_PARITY_WINDOW_SCALE, "relay_parity_window_scale", "only one leg scales its window")             \
    X(RELAY_PARITY_MSS, "relay_parity_mss", "one leg sends larger segments than the other accepts")         \
    X(RELAY_FLOW_MAP_FULL, "relay_flow_map_full", "max_flows is reached")                                   \
    X(RELAY_NOT_SEEN, "relay_not_seen", "the data path did not see the connection's packets")               \
    X(RELAY_NOT_DRAINED, "relay_not_drained", "the legs did not come to rest within the tries")             \
    X(RELAY_NO_SOURCE_PORT, "relay_no_source_port", "no free source port towards the broker")               \
    X(RELAY_SOCKET_STATE, "relay_socket_state", "a socket was in a state that cannot be moved")             \
    X(RELAY_LISTENER, "relay_listener", "the listener's protocol is relayed in userspace")                  \
    /* connections that were refused or closed by us */                                                     \
    X(CLOSE_NOT_MQTT, "close_not_mqtt", "the first bytes are no MQTT CONNECT")                              \
    X(CLOSE_TLS, "close_tls_client_hello", "a TLS ClientHello on a plain listener")                         \
    X(CLOSE_HTTP, "close_http", "an HTTP request on an MQTT listener")                                      \
    X(CLOSE_PROXY_V1, "close_proxy_v1", "a PROXY v1 header that was not asked for")                         \
    X(CLOSE_PROXY_V2, "close_proxy_v2", "a PROXY v2 header that was not asked for")                         \
    X(CLOSE_SSH, "close_ssh", "an SSH greeting on an MQTT listener")                                        \
    X(CLOSE_SMTP, "close_smtp", "an SMTP command on an MQTT listener")                                      \
    X(CLOSE_MALFORMED, "close_malformed_connect", "a CONNECT that breaks the MQTT specification")           \
    X(CLOSE_VERSION, "close_unsupported_version", "a protocol name or level that is not MQTT's")            \
    X(CLOSE_EMPTY_ID, "close_client_id_rejected", "an empty client id without clean session (3.1.1)")       \
    X(CLOSE_TOO_LARGE, "close_connect_too_large", "a CONNECT above max_connect_size")                       \
    X(CLOSE_CONNECT_TIMEOUT, "close_connect_timeout", "no complete CONNECT within connect_timeout")         \
    X(CLOSE_CLIENT_GONE, "close_client_gone", "the client left before its CONNECT was complete")            \
    X(CLOSE_NO_BROKER, "close_no_broker", "no broker of the pool accepted the connection")                  \
    X(CLOSE_BROKER_GONE, "close_broker_gone", "the broker closed before CONNACK")                           \
    X(CLOSE_SHUTDOWN, "close_shutdown", "the daemon stopped")                                               \
    X(CLOSE_RESOURCES, "close_resources", "descriptors or memory ran out")                                  \
    /* brokers that were left for the next one */                                                           \
    X(BROKER_CONNECT_FAILED, "broker_connect_failed", "a broker refused or did not answer the connect")     \
    X(BROKER_CONNACK_TIMEOUT, "broker_connack_timeout", "a broker did not answer CONNECT in time")          \
    X(BROKER_CLOSED_EARLY, "broker_closed_early", "a broker closed the connection before CONNACK")          \
    X(BROKER_PROTOCOL, "broker_protocol", "a broker answered CONNECT with something else")                  \
    /* flows that ended */                                                                                  \
    X(END_FIN, "end_fin", "both ends closed")                                                               \
    X(END_RST, "end_rst", "one end reset the connection")                                                   \
    X(END_IDLE, "end_idle", "nothing was heard for longer than the keep-alive allows")                      \
    X(END_KILLED, "end_killed", "the operator ended the flow")                                              \
    X(END_ORPHAN, "end_orphan", "an entry without its other direction, or left over by a dead daemon")      \
    X(END_SYN, "end_syn", "the client began a new connection on the same tuple")                            \
    /* operation */                                                                                         \
    X(ACCEPT_PAUSED, "accept_paused", "accepting stopped for a while: descriptors were running out")        \
    X(HANDOFF_RETRIED, "handoff_retried", "a handoff was put off and tried again")                          \
    X(PARKED_SENT, "parked_sent", "a parked packet was sent on after its flow became active")               \
    X(PARKED_LEFT, "parked_left", "a parked packet was left to its sender's retransmission")                \
    X(PASSED_PENDING, "passed_pending", "packet of a flow that userspace still holds, passed to the host")  \
    X(GUARD_GRACE_PACKET, "guard_grace_packet", "a frozen socket answered what had reached it in HOLD")     \
    X(DOUBTED, "doubted", "RST or FIN that its receiver may not have believed: both ends are asked")        \
    X(PROBED, "probed", "an end of an active flow was asked whether it is still there")                     \
    X(END_UNANSWERED, "end_unanswered", "a flow without keep-alive whose end does not answer probes")       \
    X(ICMP_TRANSLATED, "icmp_translated", "ICMP error about an active flow passed on to the end it is for") \
    X(ICMP_SENT, "icmp_sent", "ICMP error of our own: too big, hops used up, no route")                     \
    X(ICMP_PACED, "icmp_paced", "ICMP error of our own not sent: too many at once")                         \
    X(DROP_TOO_BIG, "drop_too_big", "packet of an active flow larger than the outgoing link")               \
    X(DROP_ICMP, "drop_icmp", "ICMP error about an active flow that could not be passed on")                \
    X(SYN_EDITED, "syn_edited", "a client's SYN without the options that a broker does not do")             \
    X(END_DRAINED, "end_drained", "the operator drained its broker")                                        \
    X(END_REBALANCED, "end_rebalanced", "the operator moved its client to a broker with fewer")             \
    X(END_BROKER_DOWN, "end_broker_down", "its broker was found dead")                                      \
    X(CLOSE_TUPLE_IN_USE, "close_tuple_in_use", "transparent: the client's tuple is in use at the broker")  \
    X(CLOSE_PROXY_UNTRUSTED, "close_proxy_untrusted", "a PROXY header from an address not in proxy_from")   \
    X(CLOSE_PROXY_HEADER, "close_proxy_header", "no valid PROXY header from an address in proxy_from")      \
    X(CLOSE_NOT_TLS, "close_not_tls", "the first bytes are no TLS, on a listener for it")                   \
    X(CLOSE_CLIENT_HELLO, "close_client_hello", "a TLS ClientHello that is broken or too large")            \
    X(CLOSE_NO_ROUTE, "close_no_route", "no route of the listener fits, and it has no pool")                \
    X(CLOSE_IDENTITY, "close_identity", "a client without what its identity is to be made of")              \
    X(CLOSE_CLIENT_ID_NOT_OWN, "close_client_id_not_own", "a client id other than require_client_id wants") \
    X(CLOSE_POOL_FULL, "close_pool_full", "the pool has as many connections as it may have")                \
    X(CLOSE_BROKERS_FULL, "close_brokers_full", "every broker that takes clients has its maximum")          \
    X(CLOSE_LISTENER_RATE, "close_listener_rate", "more clients came to the listener than may in a time")   \
    X(CLOSE_SOURCE_RATE, "close_source_rate", "more clients came from one address than may in a time")      \
    X(CLOSE_CLIENT_RATE, "close_client_rate", "a client id came too often and is held off for a while")     \
    X(CLOSE_DENIED, "close_denied", "an access rule denied the client")                                     \
    X(PROBE_PASSED, "probe_passed", "a health check had a good answer")                                     \
    X(PROBE_FAILED, "probe_failed", "a health check had a bad answer, or none")                             \
    X(BROKER_DOWN, "broker_down", "health checks found a broker dead")                                      \
    X(BROKER_REFUSED, "broker_refused", "a broker was busy or unavailable by its CONNACK")                  \
    X(CLOSE_ATTEMPTS, "close_broker_attempts", "broker_attempts brokers did not take the client")           \
    X(DISCOVERY_FAILED, "discovery_failed", "a DNS name or a file of brokers could not be read")            \
    X(DISCOVERY_CHANGED, "discovery_changed", "a DNS name or a file has other brokers than before")         \
    X(RELAY_TLS, "relay_tls", "TLS ends at Limpet on one of the legs")                                      \
    X(CLOSE_TLS_VERSION, "close_tls_version", "a client without a TLS version that the listener speaks")    \
    X(CLOSE_TLS_CIPHER, "close_tls_cipher", "a client without a cipher, group or signature in common")      \
    X(CLOSE_TLS_NAME, "close_tls_unknown_name", "a client that asked for a name without a certificate")     \
    X(CLOSE_TLS_PROTOCOL, "close_tls_alpn", "a client without an application protocol in common (ALPN)")    \
    X(CLOSE_TLS_NO_CERTIFICATE, "close_tls_no_certificate", "no client certificate where one is required")  \
    X(CLOSE_TLS_CERTIFICATE, "close_tls_certificate", "a client certificate that does not pass")            \
    X(CLOSE_TLS_ALERT, "close_tls_alert", "the client gave the handshake up with an alert")                 \
    X(CLOSE_TLS_HANDSHAKE, "close_tls_handshake", "a TLS handshake that breaks the protocol")               \
    X(CLOSE_TLS_TIMEOUT, "close_tls_timeout", "no complete TLS handshake within connect_timeout")           \
    X(CLOSE_TLS_BUSY, "close_tls_busy", "more TLS handshakes at once than max_handshakes")                  \
    X(TLS_BROKEN, "tls_broken", "an established TLS connection sent what cannot be read")                   \
    X(BROKER_TLS, "broker_tls", "the TLS handshake with a broker failed")                                   \
    X(FIN_DENIED, "fin_denied", "an end spoke on behind a FIN that had come in its name: the flow goes on") \
    X(FIN_UNCONFIRMED, "fin_unconfirmed", "an end gave no answer about its FIN: the flow is open again")    \
    X(CLOSE_NOT_WEBSOCKET, "close_not_websocket", "no HTTP request that opens a WebSocket here")            \
    X(CLOSE_FRAME, "close_websocket_frame", "a WebSocket frame that breaks RFC 6455, or is text")

enum limpet_reason {
#define LIMPET_REASON_ENTRY(identifier, name, sentence) LIMPET_REASON_##identifier,
    LIMPET_REASONS(LIMPET_REASON_ENTRY)
#undef LIMPET_REASON_ENTRY
        LIMPET_REASON_COUNT
};

/* The counter map has room for reasons that a later version adds, so that its pin stays usable. */
#define LIMPET_REASON_SLOTS 128

#endif
