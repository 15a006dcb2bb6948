#include "supervisor/sealed_text.h"

#include <gtest/gtest.h>

namespace muster::supervisor {
namespace {

constexpr Seal kind{.kind = "muster_thing", .what = "a thing of muster", .version = 3, .bytes_max = 200};

Seal version(int number) {
  Seal other = kind;
  other.version = number;
  return other;
}

std::string refusal(std::string_view text) {
  const auto body = unseal(kind, text);
  return body ? "taken: " + std::string(body.value()) : body.error().message;
}

TEST(SealedText, ComesBackAsItWas) {
  for (const std::string& body :
       {std::string(), std::string("x"), std::string("a\nb\n"), std::string("\0\xff\n", 3)})
    EXPECT_EQ(refusal(seal(kind, body)), "taken: " + body);
  EXPECT_EQ(seal(kind, "a\n"), "{\"muster_thing\":3,\"crc32\":\"ddeaa107\",\"bytes\":2}\na\n");
}

TEST(SealedText, CutOrFlippedAnywhereItIsRefused) {
  const std::string text = seal(kind, "{\"a\":1}\n{}\n");
  for (std::size_t size = 0; size < text.size(); ++size)
    EXPECT_FALSE(unseal(kind, std::string_view(text).substr(0, size)).ok()) << size;
  for (std::size_t byte = 0; byte < text.size(); ++byte) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string damaged = text;
      damaged[byte] = static_cast<char>(static_cast<unsigned char>(damaged[byte]) ^ (1U << bit));
      EXPECT_FALSE(unseal(kind, damaged).ok()) << byte << " bit " << bit;
    }
  }
  EXPECT_FALSE(unseal(kind, text + "x").ok());
  EXPECT_FALSE(unseal(kind, text + text).ok());
}

TEST(SealedText, SaysWhyItIsRefused) {
  EXPECT_EQ(refusal(""), "is empty");
  EXPECT_EQ(refusal("{\"muster_thing\":3"), "is damaged: it is cut off");
  EXPECT_EQ(refusal("{\"muster_other\":3,\"crc32\":\"00000000\",\"bytes\":0}\n"),
            "is damaged: it does not begin as a thing of muster");
  for (const char* number : {"", "x", "3x", "-", "99999999999"})
    EXPECT_EQ(refusal("{\"muster_thing\":" + std::string(number) + ",\"crc32\":\"00000000\",\"bytes\":0}\n"),
              "is damaged: it does not begin as a thing of muster")
        << number;
  EXPECT_EQ(refusal(seal(version(4), "a")), "was written by a newer muster (version 4; this one knows 3)");
  EXPECT_EQ(refusal(seal(version(2), "a")), "was written by an older muster (version 2; this one knows 3)");
  EXPECT_EQ(refusal(seal(version(-1), "a")), "was written by an older muster (version -1; this one knows 3)");
  EXPECT_EQ(refusal(seal(kind, "a") + "b"), "is damaged: the checksum does not match");
  EXPECT_EQ(refusal(seal(kind, std::string(200, 'x'))), "is damaged: it is too large");
}

}  // namespace
}  // namespace muster::supervisor
