#include "lb/pick.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "lb/ejection.h"
#include "lb/preference.h"

namespace muster::lb {
namespace {

using namespace std::chrono_literals;

const auto all = [](std::size_t) { return true; };
auto but(std::size_t one) {
  return [one](std::size_t i) { return i != one; };
}
const auto none = [](std::size_t) { return false; };

struct Loads {
  std::vector<std::uint64_t> values;
  std::uint64_t operator()(std::size_t i) const { return values[i]; }
};

TEST(PickLeast, TakesTheLeastLoadedUsableOne) {
  const Loads loads{{4, 1, 2}};
  EXPECT_EQ(pick_least(3, 0, all, loads), 1U);
  EXPECT_EQ(pick_least(3, 0, but(1), loads), 2U);
  EXPECT_EQ(pick_least(3, 0, none, loads), std::nullopt);
}

TEST(PickLeast, GoesAroundAmongEquals) {
  const Loads loads{{1, 1, 1}};
  for (std::size_t turn = 0; turn < 6; ++turn) EXPECT_EQ(pick_least(3, turn, all, loads), turn % 3);
}

TEST(PickOfTwo, NeverTakesTheMoreLoadedOfItsTwo) {
  const Loads loads{{9, 0, 9, 9, 9}};
  std::map<std::size_t, int> counts;
  for (std::uint64_t i = 0; i < 10000; ++i) ++counts[*pick_of_two(5, mix(i), all, loads)];
  // Drawn in 2 of 5 pairs of places, and then it wins.
  EXPECT_NEAR(counts[1], 4000, 300);
  for (const std::size_t other : {0U, 2U, 3U, 4U}) EXPECT_NEAR(counts[other], 1500, 250) << other;
}

TEST(PickOfTwo, KeepsToTheUsableOnes) {
  const Loads loads{{0, 5}};
  for (std::uint64_t i = 0; i < 100; ++i) EXPECT_EQ(pick_of_two(2, mix(i), but(0), loads), 1U);
  EXPECT_EQ(pick_of_two(2, 7, none, loads), std::nullopt);
}

std::uint64_t seed_of(std::size_t i) {
  return hash_of("web/" + std::to_string(i));
}

std::vector<std::size_t> owners(std::size_t replicas, std::size_t keys) {
  std::vector<std::size_t> owner;
  for (std::size_t key = 0; key < keys; ++key)
    owner.push_back(*pick_by_hash(replicas, hash_of("user" + std::to_string(key)), all, seed_of));
  return owner;
}

TEST(PickByHash, SharesKeysEvenly) {
  std::map<std::size_t, int> counts;
  for (const std::size_t owner : owners(10, 20000)) ++counts[owner];
  for (const auto& [replica, count] : counts) EXPECT_NEAR(count, 2000, 200) << replica;
}

TEST(PickByHash, MovesOnlyTheKeysOfTheOneThatGoes) {
  const auto before = owners(5, 5000);
  const auto after = owners(4, 5000);
  std::map<std::size_t, int> taken_over;
  for (std::size_t key = 0; key < before.size(); ++key) {
    if (before[key] < 4) {
      EXPECT_EQ(after[key], before[key]);
    } else {
      ++taken_over[after[key]];
    }
  }
  for (const auto& [replica, count] : taken_over) EXPECT_NEAR(count, 250, 75) << replica;
  EXPECT_EQ(taken_over.size(), 4U);
}

TEST(PickByHash, HasAFixedSecondChoice) {
  const std::uint64_t key = hash_of("user");
  const std::size_t first = *pick_by_hash(5, key, all, seed_of);
  const std::size_t second = *pick_by_hash(5, key, but(first), seed_of);
  EXPECT_NE(first, second);
  EXPECT_EQ(*pick_by_hash(5, key, but(first), seed_of), second);
}

// Who is whose replica must not change from one version to the next.
TEST(Hash, IsWhatItWas) {
  EXPECT_EQ(hash_of(""), 0xf52a15e9a9b5e89bU);
  EXPECT_EQ(hash_of("web/0"), 13414313889874777481U);
}

TEST(Ejection, AfterSoManyFailuresInARow) {
  const spec::Eject rule{.fails = 3, .time = 10s};
  const Instant start{};
  Ejection ejection;
  EXPECT_FALSE(ejection.fail(rule, start));
  EXPECT_FALSE(ejection.fail(rule, start));
  ejection.succeed();
  EXPECT_FALSE(ejection.fail(rule, start));
  EXPECT_FALSE(ejection.fail(rule, start));
  EXPECT_FALSE(ejection.is_out(start));
  EXPECT_TRUE(ejection.fail(rule, start));
  EXPECT_TRUE(ejection.is_out(start + 9999ms));
  EXPECT_FALSE(ejection.fail(rule, start + 5s));  // one that was under way: neither longer nor again
  EXPECT_FALSE(ejection.is_out(start + 10s));
  EXPECT_FALSE(ejection.fail(rule, start + 10s));  // counted anew
}

struct Request {
  explicit Request(std::string text)
      : bytes("GET /a/b?c HTTP/1.1\r\nHost: h\r\n" + std::move(text) + "\r\n") {
    EXPECT_EQ(parse_request(bytes, head).state, HeadState::complete);
  }
  std::string bytes;
  RequestHead head;
};

TEST(Cookies, AreFoundByTheirExactName) {
  const Request request("Cookie: a=1; id=x=y ;idd=3\r\ncookie: late=4\r\n");
  EXPECT_EQ(find_cookie(request.head.fields, "a"), "1");
  EXPECT_EQ(find_cookie(request.head.fields, "id"), "x=y");
  EXPECT_EQ(find_cookie(request.head.fields, "late"), "4");
  EXPECT_EQ(find_cookie(request.head.fields, "ID"), std::nullopt);
  EXPECT_EQ(find_cookie(request.head.fields, "i"), std::nullopt);
}

spec::Listener hashing(spec::Balance::Key key, std::string name = {}) {
  spec::Listener listener;
  listener.balance = {.kind = spec::Balance::Kind::hash, .key = key, .name = std::move(name)};
  return listener;
}

std::optional<std::uint64_t> key_of(const spec::Listener& listener, const std::string& fields,
                                    bool trusted = false) {
  const Request request(fields);
  Peer peer;
  peer.bytes[15] = 7;
  return preference_of(listener, request.head, peer, trusted).key;
}

TEST(Preference, HashesWhatTheListenerSays) {
  using Key = spec::Balance::Key;
  EXPECT_EQ(key_of(hashing(Key::path), ""), hash_of("/a/b"));
  EXPECT_EQ(key_of(hashing(Key::header, "X-User"), "x-user: me\r\n"), hash_of("me"));
  EXPECT_EQ(key_of(hashing(Key::header, "X-User"), ""), std::nullopt);
  EXPECT_EQ(key_of(hashing(Key::cookie, "id"), "Cookie: id=9\r\n"), hash_of("9"));
  EXPECT_EQ(key_of(hashing(Key::cookie, "id"), "Cookie: other=9\r\n"), std::nullopt);
  const auto by_address = key_of(hashing(Key::client), "X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\n");
  EXPECT_NE(by_address, hash_of("2.2.2.2"));
  EXPECT_EQ(by_address, key_of(hashing(Key::client), ""));
  EXPECT_EQ(key_of(hashing(Key::client), "X-Forwarded-For: 1.1.1.1, 2.2.2.2\r\n", true), hash_of("2.2.2.2"));
  EXPECT_EQ(key_of(hashing(Key::client), "", true), by_address);
}

TEST(Preference, ReadsBackItsOwnCookie) {
  spec::Listener listener;
  listener.sticky_cookie = "id";
  const std::uint64_t replica = hash_of("web/0");
  const std::string line = sticky_cookie_line("id", replica);
  EXPECT_TRUE(line.starts_with("Set-Cookie: id="));
  EXPECT_TRUE(line.ends_with("; Path=/; HttpOnly; SameSite=Lax\r\n"));
  const std::string value = line.substr(15, line.find(';') - 15);
  const auto stuck = [&listener](const std::string& cookie) {
    const Request request("Cookie: id=" + cookie + "\r\n");
    return preference_of(listener, request.head, Peer{}, false).stuck;
  };
  EXPECT_EQ(stuck(value), replica);
  for (const char* wrong : {"", "-1", "0x1", "1ffffffffffffffff", "12 3", "z"})
    EXPECT_EQ(stuck(wrong), std::nullopt) << wrong;
}

}  // namespace
}  // namespace muster::lb
