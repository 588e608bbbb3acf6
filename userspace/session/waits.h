// SPDX-License-Identifier: Apache-2.0
// What may wake a session: a bit each.
#pragma once

namespace limpet::session::waits {

inline constexpr unsigned client_readable = 0x01;
inline constexpr unsigned client_writable = 0x02;
inline constexpr unsigned client_failed = 0x04;  ///< reset, where nothing is read or written at the moment
inline constexpr unsigned broker_readable = 0x08;
inline constexpr unsigned broker_writable = 0x10;
inline constexpr unsigned broker_failed = 0x20;
inline constexpr unsigned of_broker = broker_readable | broker_writable | broker_failed;
inline constexpr unsigned readable = client_readable | broker_readable;
inline constexpr unsigned writable = client_writable | broker_writable;

}  // namespace limpet::session::waits
