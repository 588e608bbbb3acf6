// SPDX-License-Identifier: Apache-2.0
// As long as a packet is incomplete, a call must cost the same however much of it has come: a client that
// sends 64 KiB byte by byte must not make us read them 64 Ki times. Not by the clock, but by what is touched:
// the middle of the packet lies on pages that cannot be read, and nothing may be allocated.
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <new>

#include "bytes.h"

namespace {
std::atomic<std::size_t> allocations{0};
}

void* operator new(std::size_t size) {
    ++allocations;
    if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
    throw std::bad_alloc();
}
void operator delete(void* memory) noexcept {
    std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
    std::free(memory);
}

namespace limpet::mqtt::test {
namespace {

/// A packet at the start of a page, of which all but the first page cannot be read.
class Sealed {
  public:
    explicit Sealed(const Buffer& bytes) : page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))) {
        size_ = (bytes.size() / page_ + 1) * page_;
        void* memory = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) std::abort();
        memory_ = static_cast<std::uint8_t*>(memory);
        std::memcpy(memory_, bytes.data(), bytes.size());
        if (mprotect(memory_ + page_, size_ - page_, PROT_NONE) != 0) std::abort();
    }
    Sealed(const Sealed&) = delete;
    Sealed& operator=(const Sealed&) = delete;
    ~Sealed() { munmap(memory_, size_); }

    [[nodiscard]] Bytes first(std::size_t length) const { return {memory_, length}; }

  private:
    std::size_t page_;
    std::size_t size_ = 0;
    std::uint8_t* memory_ = nullptr;
};

void expect_untouched(const Buffer& bytes, std::string_view sentence) {
    ASSERT_EQ(read_connect(bytes).status, Status::complete) << sentence;
    const Sealed sealed(bytes);
    const std::size_t before = allocations;
    std::size_t incomplete = 0;
    for (std::size_t length = 0; length < bytes.size(); ++length)
        incomplete += parse_connect(sealed.first(length), 1 << 20).status == Status::incomplete;
    EXPECT_EQ(allocations, before) << sentence << ": an incomplete packet allocates nothing";
    EXPECT_EQ(incomplete, bytes.size()) << sentence << ": and no byte of its middle is looked at";
}

TEST(Cost, no_prefix_of_a_64_kib_connect_is_read_beyond_its_head) {
    for (const Version version : versions) {
        Sketch drawn = sketch(version);
        drawn.id = field(std::string(65'500, 'i'));
        expect_untouched(drawn.bytes(), "a long client id in " + version_name(version));
    }
    Sketch drawn = sketch(Version::v5);
    Buffer properties;
    while (properties.size() < 65'000) properties = properties + Buffer{0x26} + field("key") + field("value");
    drawn.properties = section(properties);
    // The client id lies on the last page, so this stops right before it.
    const Buffer bytes = drawn.bytes();
    const Sealed sealed(bytes);
    const std::size_t before = allocations;
    const std::size_t up_to_id = bytes.size() - drawn.id.size();
    for (std::size_t length = 0; length <= up_to_id; ++length)
        ASSERT_EQ(parse_connect(sealed.first(length), 1 << 20).status, Status::incomplete);
    EXPECT_EQ(allocations, before) << "no property is looked at before the packet is whole";
}

TEST(Cost, no_prefix_of_a_long_connack_is_read_beyond_its_head) {
    Buffer properties = Buffer{0x1F} + field(std::string(60'000, 'r'));
    const Buffer bytes = packet(0x20, Buffer{0, 0x88} + section(properties));
    ASSERT_EQ(parse_connack(bytes, Version::v5).status, Status::complete);
    const Sealed sealed(bytes);
    const std::size_t before = allocations;
    for (std::size_t length = 0; length < bytes.size(); ++length)
        ASSERT_EQ(parse_connack(sealed.first(length), Version::v5).status, Status::incomplete);
    EXPECT_EQ(allocations, before);
}

}  // namespace
}  // namespace limpet::mqtt::test
