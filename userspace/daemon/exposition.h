// SPDX-License-Identifier: Apache-2.0
// Prometheus' text format, version 0.0.4.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

namespace limpet::daemon {

class Exposition {
  public:
    using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

    /// Begins a family of samples; `type` is counter or gauge.
    void family(std::string_view name, std::string_view type, std::string_view help);
    /// One sample of the family begun last.
    void sample(Labels labels, double value);

    [[nodiscard]] std::string take() { return std::move(text_); }

  private:
    std::string text_;
    std::string name_;
};

}  // namespace limpet::daemon
