// SPDX-License-Identifier: Apache-2.0
#include "mqtt/packet.h"
#include "mqtt/wire.h"

namespace limpet::mqtt {

Frame parse_frame(Bytes bytes) {
    Frame frame;
    if (bytes.empty()) return frame;
    frame.type = bytes[0] >> 4;
    if (frame.type == 0) {  // forbidden (MQTT-5.0 2.1.2)
        frame.status = Status::invalid;
        return frame;
    }
    const VariableInteger remaining = read_variable_integer(bytes.subspan(1));
    frame.status = remaining.status;
    if (remaining.status == Status::complete) frame.length = 1 + remaining.length + remaining.value;
    return frame;
}

}  // namespace limpet::mqtt
