// Clients of the demo's stack: single requests, and a steady load that counts what fails.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "base/time.h"

namespace muster::cli {

// GET / on 127.0.0.1:port, on a connection of its own. The body of a 200; anything else is an error.
Result<std::string> http_get(std::uint16_t port, Millis limit = std::chrono::seconds(10));

// One line to 127.0.0.1:port, one line back.
Result<std::string> ask_line(std::uint16_t port, const std::string& line,
                             Millis limit = std::chrono::seconds(10));

// Threads that send one GET after the other until stop().
class Load {
 public:
  Load(std::uint16_t port, int clients);
  ~Load();
  Load(const Load&) = delete;
  Load& operator=(const Load&) = delete;

  struct Counts {
    std::uint64_t requests = 0;
    std::uint64_t failed = 0;
    std::string first_error;
  };
  [[nodiscard]] std::uint64_t requests() const { return requests_; }
  Counts stop();

 private:
  void run(std::uint16_t port);
  std::atomic<bool> ending_ = false;
  std::atomic<std::uint64_t> requests_ = 0;
  std::atomic<std::uint64_t> failed_ = 0;
  std::mutex mutex_;
  std::string first_error_;
  std::vector<std::thread> threads_;
};

}  // namespace muster::cli
