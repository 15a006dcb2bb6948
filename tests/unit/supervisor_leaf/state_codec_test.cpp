#include "supervisor/state_codec.h"

#include <gtest/gtest.h>

#include <boost/crc.hpp>

namespace muster::supervisor {
namespace {

PersistentState sample() {
  PersistentState state;
  PersistentApp& web = state.apps["web"];
  web.revision = 4294967295U;
  web.revision_hash = 0xfedcba9876543210U;
  web.held = true;
  web.paused = true;
  web.scale = ScaleHold{6, 4};
  web.held_ordinals = {0, 3};
  web.drained_ordinals = {2};
  web.failures = {{0, 7}, {1000, 2147483647}};
  web.file_revision = 4294967294U;
  web.undone = true;
  web.autoscaled = 5;
  spec::App before;
  before.name = "web";
  before.run = {spec::Template("./web")};
  web.history = {PastRevision{.number = Revision{7},
                              .app = std::make_shared<const spec::App>(before),
                              .since = WallTime{} + Millis{1'767'000'000'000},
                              .was_ready = true,
                              .failure = "not ready within 10m",
                              .admitted = false}};
  state.apps["db"];
  PersistentJob& nightly = state.jobs["nightly"];
  nightly.schedule = "30 2 * * *";
  nightly.timezone = "Europe/Berlin";
  nightly.next = WallTime{} + Millis{1'767'225'600'000};
  nightly.last = JobEnd{.exit = {.status = {.code = 3, .signal = std::nullopt},
                                 .reason = "exited with status 3",
                                 .at = WallTime{} + Millis{1'767'000'000'000}},
                        .ok = false};
  state.jobs["init"];
  return state;
}

bool equal(const PersistentState& a, const PersistentState& b) {
  return encode_state(a) == encode_state(b);
}

// A file as somebody could make it whose checksum is right.
std::string sealed(const std::string& body, int version = state_version) {
  boost::crc_32_type crc;
  crc.process_bytes(body.data(), body.size());
  char header[100];
  snprintf(header, sizeof header, "{\"muster_state\":%d,\"crc32\":\"%08x\",\"bytes\":%zu}\n", version,
           static_cast<unsigned>(crc.checksum()), body.size());
  return header + body;
}

TEST(StateCodec, ComesBackAsItWas) {
  for (const PersistentState& state : {PersistentState{}, sample()}) {
    const auto decoded = decode_state(encode_state(state));
    ASSERT_TRUE(decoded.ok()) << decoded.error().message;
    EXPECT_TRUE(equal(decoded.value(), state));
  }
  const PersistentApp web = decode_state(encode_state(sample())).value().apps.at("web");
  EXPECT_EQ(web.revision, 4294967295U);
  EXPECT_EQ(web.revision_hash, 0xfedcba9876543210U);
  EXPECT_TRUE(web.held);
  EXPECT_TRUE(web.paused);
  ASSERT_TRUE(web.scale.has_value());
  EXPECT_EQ(web.scale->replicas, 6);
  EXPECT_EQ(web.scale->file_replicas, 4);
  EXPECT_EQ(web.held_ordinals, (std::set<int>{0, 3}));
  EXPECT_EQ(web.drained_ordinals, (std::set<int>{2}));
  EXPECT_EQ(web.failures, (std::map<int, int>{{0, 7}, {1000, 2147483647}}));
  const auto jobs = decode_state(encode_state(sample())).value().jobs;
  ASSERT_EQ(jobs.size(), 2U);
  EXPECT_EQ(jobs.at("nightly").next, sample().jobs.at("nightly").next);
  EXPECT_EQ(jobs.at("nightly").last, sample().jobs.at("nightly").last);
  EXPECT_EQ(jobs.at("nightly").timezone, "Europe/Berlin");
  EXPECT_FALSE(jobs.at("init").next);
  EXPECT_FALSE(jobs.at("init").last);
}

TEST(StateCodec, CutAtAnyByteItIsRefused) {
  const std::string text = encode_state(sample());
  for (std::size_t size = 0; size < text.size(); ++size)
    EXPECT_FALSE(decode_state(std::string_view(text).substr(0, size)).ok()) << size;
  EXPECT_FALSE(decode_state(text + "x").ok());
  EXPECT_FALSE(decode_state(text + "\n").ok());
  EXPECT_FALSE(decode_state("x" + text).ok());
}

TEST(StateCodec, WithAnyBitFlippedItIsRefused) {
  const std::string text = encode_state(sample());
  for (std::size_t byte = 0; byte < text.size(); ++byte) {
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string damaged = text;
      damaged[byte] = static_cast<char>(static_cast<unsigned char>(damaged[byte]) ^ (1U << bit));
      EXPECT_FALSE(decode_state(damaged).ok()) << byte << " bit " << bit;
    }
  }
}

TEST(StateCodec, SaysWhatIsWrong) {
  struct Case {
    std::string text;
    const char* says;
  };
  const std::string good =
      R"("revision":1,"revision_hash":"0000000000000000","held":false,"held_ordinals":[],"drained_ordinals":[],"failures":{})";
  const auto app = [](const std::string& body) { return sealed("{\"apps\":{\"web\":{" + body + "}}}\n"); };
  const auto replaced = [&](const std::string& what, const std::string& with) {
    std::string body = good;
    body.replace(body.find(what), what.size(), with);
    return app(body);
  };
  ASSERT_TRUE(decode_state(app(good)).ok());
  for (const Case& c : {
           Case{"", "is empty"},
           Case{"hello\n", "does not begin as a state"},
           Case{sealed("{\"apps\":{}}\n", state_version + 1), "newer muster (version 2; this one knows 1)"},
           Case{sealed("nonsense"), "has no 'apps'"},
           Case{sealed("{\"apps\":[]}\n"), "has no 'apps'"},
           Case{sealed("{\"apps\":{\"web\":3}}\n"), "app 'web'"},
           Case{sealed("{\"apps\":{},\"jobs\":[]}\n"), "'jobs' is not an object"},
           Case{sealed("{\"apps\":{},\"jobs\":{\"a\":1}}\n"), "job 'a': it is no object"},
           Case{sealed("{\"apps\":{},\"jobs\":{\"a\":{\"schedule\":1,\"timezone\":\"\"}}}\n"),
                "'schedule' is no text"},
           Case{sealed(
                    "{\"apps\":{},\"jobs\":{\"a\":{\"schedule\":\"\",\"timezone\":\"\",\"next_ms\":-1}}}\n"),
                "'next_ms' is not a number"},
           Case{sealed("{\"apps\":{},\"jobs\":{\"a\":{\"schedule\":\"\",\"timezone\":\"\",\"last\":{\"ok\":1,"
                       "\"reason\":\"\",\"at_ms\":0}}}}\n"),
                "the last end: 'ok' is not true or false"},
           Case{replaced("\"revision\":1", "\"revision\":0"),
                "'revision' is not a number from 1 to 4294967295"},
           Case{replaced("\"revision\":1", "\"revision\":1.5"), "'revision'"},
           Case{replaced("\"revision\":1", "\"revision\":4294967296"), "'revision'"},
           Case{replaced("0000000000000000", "000000000000000"), "'revision_hash'"},
           Case{replaced("0000000000000000", "000000000000000g"), "'revision_hash'"},
           Case{replaced("false", "0"), "'held' is not true or false"},
           Case{replaced("\"held_ordinals\":[]", "\"held_ordinals\":[-1]"), "'held_ordinals'"},
           Case{replaced("\"held_ordinals\":[]", "\"held_ordinals\":{}"), "'held_ordinals' is no list"},
           Case{replaced("\"failures\":{}", "\"failures\":{\"x\":1}"), "'failures'"},
           Case{replaced("\"failures\":{}", "\"failures\":{\"1\":\"x\"}"), "'failures'"},
           Case{replaced("\"failures\":{}", "\"failures\":{},\"scale\":1"), "'scale'"},
           Case{replaced("\"failures\":{}", "\"failures\":{},\"scale\":{\"replicas\":1}"), "'file_replicas'"},
       }) {
    const auto decoded = decode_state(c.text);
    ASSERT_FALSE(decoded.ok()) << c.text;
    EXPECT_NE(decoded.error().message.find(c.says), std::string::npos) << decoded.error().message;
  }
}

TEST(StateCodec, DeepNestingIsRefused) {
  const std::string deep = "{\"apps\":" + std::string(100000, '[') + std::string(100000, ']') + "}\n";
  EXPECT_FALSE(decode_state(sealed(deep)).ok());
}

}  // namespace
}  // namespace muster::supervisor
