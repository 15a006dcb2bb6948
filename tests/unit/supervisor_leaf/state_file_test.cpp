#include "supervisor/state_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "leaf_rig.h"
#include "supervisor/state_codec.h"

namespace muster::supervisor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

PersistentState state_of(std::uint32_t revision) {
  PersistentState state;
  state.apps["web"].revision = revision;
  return state;
}

std::uint32_t revision_of(const LoadedState& loaded) {
  const auto web = loaded.state.apps.find("web");
  return web == loaded.state.apps.end() ? 0 : web->second.revision;
}

class StateFileTest : public testing::Test {
 protected:
  Loop loop;
  TempFolder folder;
  std::string path = folder / "state.json";
};

TEST_F(StateFileTest, AFirstStartHasNothingToSay) {
  const LoadedState loaded = load_state(path);
  EXPECT_EQ(loaded.from, LoadedState::From::nothing);
  EXPECT_THAT(loaded.warnings, IsEmpty());
  EXPECT_TRUE(load_state(folder / "no/folder").warnings.empty());
}

TEST_F(StateFileTest, IsLoadedAsItWasSaved) {
  ASSERT_TRUE(save_state(path, state_of(1)).ok());
  ASSERT_TRUE(save_state(path, state_of(2)).ok());
  const LoadedState loaded = load_state(path);
  EXPECT_EQ(loaded.from, LoadedState::From::current);
  EXPECT_EQ(revision_of(loaded), 2U);
  EXPECT_THAT(loaded.warnings, IsEmpty());
  struct stat info {};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
}

TEST_F(StateFileTest, ADamagedFileFallsBackToThePrevious) {
  ASSERT_TRUE(save_state(path, state_of(1)).ok());
  ASSERT_TRUE(save_state(path, state_of(2)).ok());
  const std::string whole = read_file(path);
  for (const std::string& damaged :
       {std::string(), whole.substr(0, whole.size() / 2), "x" + whole, std::string(1000, '\0')}) {
    write_file(path, damaged);
    const LoadedState loaded = load_state(path);
    EXPECT_EQ(loaded.from, LoadedState::From::previous);
    EXPECT_EQ(revision_of(loaded), 1U);
    ASSERT_EQ(loaded.warnings.size(), 1U);
    EXPECT_THAT(loaded.warnings[0], HasSubstr("starting from"));
    EXPECT_EQ(read_file(path + ".refused"), damaged);
  }
}

// As much as a daemon with all that can be remembered writes.
PersistentState rich_state() {
  PersistentState state = state_of(9);
  PersistentApp& web = state.apps["web"];
  web.held_ordinals = {0, 3};
  web.drained_ordinals = {2};
  web.scale = ScaleHold{6, 4};
  web.paused = true;
  web.failures = {{0, 7}};
  web.file_revision = 8;
  web.history = {PastRevision{.number = Revision{8},
                              .app = std::make_shared<const spec::App>(),
                              .since = WallTime{} + Millis{1'767'000'000'000},
                              .was_ready = true,
                              .failure = "not ready within 10m"}};
  PersistentJob& nightly = state.jobs["nightly"];
  nightly.schedule = "30 2 * * *";
  nightly.next = WallTime{} + Millis{1'767'225'600'000};
  nightly.last = JobEnd{.exit = {.status = {.code = 3, .signal = std::nullopt},
                                 .reason = "exited with status 3",
                                 .at = WallTime{} + Millis{1'767'000'000'000}},
                        .ok = false};
  return state;
}

// Damage of any kind: the state before, or none, and a word about it; never a third one.
class DamagedState : public StateFileTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(save_state(path, before_).ok());
    ASSERT_TRUE(save_state(path, rich_state()).ok());
    whole_ = read_file(path);
    previous_ = read_file(path + ".prev");
  }
  void expect_previous(const std::string& damaged, const std::string& what) {
    write_file(path, damaged);
    const LoadedState loaded = load_state(path);
    EXPECT_EQ(loaded.from, LoadedState::From::previous) << what;
    EXPECT_EQ(encode_state(loaded.state), encode_state(before_)) << what;
    EXPECT_EQ(loaded.warnings.size(), 1U) << what;
  }
  // Of the only one that is there.
  void expect_nothing_of_previous(const std::string& damaged, const std::string& what) {
    write_file(path + ".prev", damaged);
    const LoadedState loaded = load_state(path);
    EXPECT_EQ(loaded.from, LoadedState::From::nothing) << what;
    EXPECT_EQ(encode_state(loaded.state), encode_state(PersistentState{})) << what;
    EXPECT_EQ(loaded.warnings.size(), 2U) << what;
  }
  void expect_nothing(const std::string& damaged, const std::string& what) {
    write_file(path, damaged);
    write_file(path + ".prev", damaged);
    const LoadedState loaded = load_state(path);
    EXPECT_EQ(loaded.from, LoadedState::From::nothing) << what;
    EXPECT_EQ(encode_state(loaded.state), encode_state(PersistentState{})) << what;
    EXPECT_EQ(loaded.warnings.size(), 2U) << what;
  }
  static std::string flipped(std::string text, std::size_t byte, unsigned bit) {
    text[byte] = static_cast<char>(static_cast<unsigned char>(text[byte]) ^ (1U << bit));
    return text;
  }
  std::string whole_;
  std::string previous_;
  PersistentState before_ = state_of(1);
};

TEST_F(DamagedState, CutAtAnyByte) {
  for (std::size_t size = 0; size < whole_.size(); ++size)
    expect_previous(whole_.substr(0, size), "cut at " + std::to_string(size));
  for (std::size_t size = 0; size < whole_.size(); size += 13)
    expect_nothing(whole_.substr(0, size), "both cut at " + std::to_string(size));
}

TEST_F(DamagedState, WithAnyBitFlipped) {
  for (std::size_t byte = 0; byte < whole_.size(); ++byte) {
    for (unsigned bit = 0; bit < 8; ++bit)
      expect_previous(flipped(whole_, byte, bit),
                      "byte " + std::to_string(byte) + " bit " + std::to_string(bit));
  }
  for (std::size_t byte = 0; byte < whole_.size(); byte += 13)
    expect_nothing(flipped(whole_, byte, byte % 8), "both, byte " + std::to_string(byte));
}

TEST_F(DamagedState, ThePreviousOneOnlyWhereItIsNeeded) {
  for (std::size_t size = 0; size < previous_.size(); ++size) {
    write_file(path + ".prev", previous_.substr(0, size));
    const LoadedState loaded = load_state(path);
    EXPECT_EQ(loaded.from, LoadedState::From::current) << size;
    EXPECT_EQ(encode_state(loaded.state), encode_state(rich_state())) << size;
    EXPECT_THAT(loaded.warnings, IsEmpty()) << size;
  }
  unlink(path.c_str());
  for (std::size_t size = 0; size < previous_.size(); ++size)
    expect_nothing_of_previous(previous_.substr(0, size), "cut at " + std::to_string(size));
  for (std::size_t byte = 0; byte < previous_.size(); ++byte) {
    for (unsigned bit = 0; bit < 8; ++bit)
      expect_nothing_of_previous(flipped(previous_, byte, bit),
                                 "byte " + std::to_string(byte) + " bit " + std::to_string(bit));
  }
}

TEST_F(StateFileTest, AMissingFileFallsBackToThePrevious) {
  ASSERT_TRUE(save_state(path, state_of(1)).ok());
  ASSERT_TRUE(save_state(path, state_of(2)).ok());
  unlink(path.c_str());
  EXPECT_EQ(load_state(path).from, LoadedState::From::previous);
}

TEST_F(StateFileTest, StartsWhateverTheDiskHolds) {
  write_file(path, "nonsense");
  write_file(path + ".prev", "nonsense too");
  LoadedState loaded = load_state(path);
  EXPECT_EQ(loaded.from, LoadedState::From::nothing);
  EXPECT_EQ(loaded.warnings.size(), 2U);
  EXPECT_THAT(loaded.warnings.back(), HasSubstr("starting without"));
  std::filesystem::create_directory(path);
  EXPECT_EQ(load_state(path).from, LoadedState::From::nothing);
  unlink((path + ".prev").c_str());
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_EQ(load_state(path).from, LoadedState::From::nothing);
}

TEST_F(StateFileTest, AFailedSaveLeavesTheOldFile) {
  ASSERT_TRUE(save_state(path, state_of(1)).ok());
  std::filesystem::create_directory(path + ".tmp");
  EXPECT_FALSE(save_state(path, state_of(2)).ok());
  EXPECT_EQ(revision_of(load_state(path)), 1U);
  EXPECT_FALSE(save_state(folder / "no/folder", state_of(2)).ok());
}

TEST_F(StateFileTest, ALeftoverOfAnEarlierCrashIsInNobodysWay) {
  write_file(path + ".tmp", "half");
  write_file(path + ".prev.tmp", "half");
  ASSERT_TRUE(save_state(path, state_of(1)).ok());
  EXPECT_TRUE(save_state(path, state_of(2)).ok());
  EXPECT_EQ(revision_of(load_state(path)), 2U);
  unlink(path.c_str());
  EXPECT_EQ(revision_of(load_state(path)), 1U);
}

TEST_F(StateFileTest, TheSaverWritesTheNewest) {
  StateSaver saver(loop.get(), path, [](const std::string& error) { ADD_FAILURE() << error; });
  for (std::uint32_t i = 1; i <= 100; ++i) saver.save(state_of(i));
  ASSERT_TRUE(loop.until([&] { return exists(path) && revision_of(load_state(path)) == 100; }));
}

TEST_F(StateFileTest, FlushWritesAtOnceAndNothingOlderComesAfter) {
  {
    StateSaver saver(loop.get(), path, [](const std::string&) {});
    EXPECT_TRUE(saver.flush().ok());
    EXPECT_FALSE(exists(path)) << "there was nothing to write";
    saver.save(state_of(1));  // under way in a worker
    saver.save(state_of(2));
    EXPECT_TRUE(saver.flush().ok());
    EXPECT_EQ(revision_of(load_state(path)), 2U);
  }
  uv_run(loop.get(), UV_RUN_DEFAULT);
  EXPECT_EQ(revision_of(load_state(path)), 2U);
}

TEST_F(StateFileTest, TellsWhenWhatWasSavedIsOnDisk) {
  StateSaver saver(loop.get(), path, [](const std::string& error) { ADD_FAILURE() << error; });
  int at_once = 0;
  saver.after_next_save([&] { ++at_once; });
  EXPECT_EQ(at_once, 1) << "nothing is outstanding";
  std::vector<std::uint32_t> seen;
  const auto look = [&] { seen.push_back(revision_of(load_state(path))); };
  saver.save(state_of(1));  // under way
  saver.save(state_of(2));
  saver.after_next_save(look);
  saver.save(state_of(3));
  EXPECT_TRUE(seen.empty());
  ASSERT_TRUE(loop.until([&] { return seen.size() == 1; }));
  EXPECT_EQ(seen[0], 3U);
  saver.save(state_of(4));
  saver.after_next_save(look);
  saver.when_written(look);  // in haste: it takes the other along
  ASSERT_TRUE(loop.until([&] { return seen.size() == 3; }));
  EXPECT_EQ(seen[1], 4U);
}

// Who must not go on before it is on disk waits for as many saves as it takes; a command is told that it was tried.
TEST_F(StateFileTest, ASaveThatFailsIsNoSave) {
  std::filesystem::create_directory(path + ".tmp");
  StateSaver saver(loop.get(), path, [](const std::string&) {});
  int tried = 0;
  std::vector<std::uint32_t> seen;
  const auto look = [&] { seen.push_back(revision_of(load_state(path))); };
  saver.save(state_of(1));
  saver.after_next_save(look);
  saver.when_written([&] { ++tried; });
  ASSERT_TRUE(loop.until([&] { return tried == 1; }));
  saver.after_next_save(look);
  EXPECT_FALSE(saver.flush().ok());
  EXPECT_THAT(seen, IsEmpty());
  std::filesystem::remove(path + ".tmp");
  ASSERT_TRUE(loop.until([&] { return seen.size() == 2; }));
  EXPECT_THAT(seen, ElementsAre(1U, 1U));
}

TEST_F(StateFileTest, NoTemporaryFileIsLeftAfterASaveThatFailedHalfway) {
  ASSERT_TRUE(save_state(path, state_of(1)).ok());
  std::filesystem::create_hard_link(path, path + ".prev");  // as one leaves it whose last rename failed
  ASSERT_TRUE(save_state(path, state_of(2)).ok());
  EXPECT_FALSE(exists(path + ".prev.tmp"));
  EXPECT_EQ(revision_of(load_state(path)), 2U);
  EXPECT_EQ(revision_of(load_state(path + ".prev")), 1U);
}

TEST_F(StateFileTest, TroubleIsSaidOnceAndTriedAgain) {
  std::vector<std::string> said;
  std::filesystem::create_directory(path + ".tmp");
  StateSaver saver(loop.get(), path, [&](const std::string& error) { said.push_back(error); });
  saver.save(state_of(1));
  ASSERT_TRUE(loop.until([&] { return said.size() == 1; }));
  EXPECT_THAT(said[0], HasSubstr("cannot be saved"));
  EXPECT_FALSE(saver.flush().ok());
  EXPECT_EQ(said.size(), 1U);
  std::filesystem::remove(path + ".tmp");
  ASSERT_TRUE(loop.until([&] { return said.size() == 2; }));  // without another save()
  EXPECT_EQ(said[1], "");
  EXPECT_EQ(revision_of(load_state(path)), 1U);
}

}  // namespace
}  // namespace muster::supervisor
