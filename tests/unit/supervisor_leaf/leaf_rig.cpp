#include "leaf_rig.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace muster::supervisor {
namespace {

// As the daemon does: a client that goes away is an error code.
const auto no_sigpipe = std::signal(SIGPIPE, SIG_IGN);

}  // namespace

Loop::Loop() {
  EXPECT_EQ(uv_loop_init(&loop_), 0);
}

Loop::~Loop() {
  uv_run(&loop_, UV_RUN_DEFAULT);
  EXPECT_EQ(uv_loop_close(&loop_), 0) << "a handle was left open";
}

bool Loop::until(const std::function<bool()>& done, std::chrono::milliseconds deadline) {
  uv_timer_t timer{};
  bool late = false;
  uv_timer_init(&loop_, &timer);
  timer.data = &late;
  uv_timer_start(
      &timer, [](uv_timer_t* fired) { *static_cast<bool*>(fired->data) = true; },
      static_cast<std::uint64_t>(deadline.count()), 0);
  while (!done() && !late) uv_run(&loop_, UV_RUN_ONCE);
  bool closed = false;
  timer.data = &closed;
  uv_close(reinterpret_cast<uv_handle_t*>(&timer),
           [](uv_handle_t* handle) { *static_cast<bool*>(handle->data) = true; });
  while (!closed) uv_run(&loop_, UV_RUN_NOWAIT);
  return done();
}

void Loop::turn() {
  uv_run(&loop_, UV_RUN_NOWAIT);
  uv_run(&loop_, UV_RUN_NOWAIT);
}

TempFolder::TempFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "muster-leaf-XXXXXX").string();
  EXPECT_NE(mkdtemp(name.data()), nullptr);
  path_ = std::filesystem::canonical(name).string();
}

TempFolder::~TempFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

void append_file(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::app) << text;
}

std::string read_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

bool exists(const std::string& path) {
  struct stat info {};
  return lstat(path.c_str(), &info) == 0;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TestPipe::TestPipe() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(pipe2(ends, O_CLOEXEC), 0);
  read_end.reset(ends[0]);
  write_end.reset(ends[1]);
}

void put(const Fd& pipe, const std::string& text) {
  ASSERT_EQ(write(pipe.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

}  // namespace muster::supervisor
