// A real loop that is waited on with a deadline, and a folder that goes with the test.
#pragma once

#include <uv.h>

#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/fd.h"

namespace muster::supervisor {

class Loop {
 public:
  Loop();
  ~Loop();  // runs what is left; a handle that nobody closed is a failure
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  [[nodiscard]] uv_loop_t* get() { return &loop_; }
  // Runs the loop until `done`; false when that does not come true in time.
  bool until(const std::function<bool()>& done,
             std::chrono::milliseconds deadline = std::chrono::seconds{20});
  // Runs what is ready now, twice, without waiting.
  void turn();

 private:
  uv_loop_t loop_{};
};

class TempFolder {
 public:
  TempFolder();
  ~TempFolder();
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

void write_file(const std::string& path, const std::string& text);
void append_file(const std::string& path, const std::string& text);
std::string read_file(const std::string& path);  // "" when there is none
bool exists(const std::string& path);
std::vector<std::string> lines_of(const std::string& text);

struct TestPipe {
  TestPipe();
  Fd read_end, write_end;
};
void put(const Fd& pipe, const std::string& text);  // blocks

}  // namespace muster::supervisor
