// The client of the control API: blocking, one connection per request, every wait with a deadline.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"
#include "base/result.h"
#include "base/time.h"
#include "cli/paths.h"

namespace muster::cli {

struct Answer {
  int status = 0;
  std::string body;
};

class Client {
 public:
  // The first candidate that answers a connection. 69 when none does, naming each; 77 when one may not be used.
  static Result<Client> find(const std::vector<SocketCandidate>& candidates, const Surroundings& around);

  // For a path that is known.
  static Result<Client> at(const std::string& socket_path);

  // 75 when the answer is not complete within `limit`.
  Result<Answer> get(const std::string& target, Millis limit = std::chrono::seconds(30)) const;
  Result<Answer> post(const std::string& target, const std::string& body, Millis limit) const;

  // Calls `on_line` for each line of a streaming answer until the stream ends or it returns false. `silence` bounds
  // each wait for more; without it the client waits as long as the daemon goes on.
  Status stream(const std::string& target, std::optional<Millis> silence,
                const std::function<bool(const std::string& line)>& on_line) const;

  [[nodiscard]] const std::string& path() const { return path_; }
  // Of the process that listens (SO_PEERCRED); 0 when it is in another pid namespace.
  [[nodiscard]] int daemon_pid() const { return daemon_pid_; }

 private:
  Client(std::string path, int daemon_pid) : path_(std::move(path)), daemon_pid_(daemon_pid) {}
  std::string path_;
  int daemon_pid_ = 0;
};

// "app=web&ordinal=2": names and values percent-encoded, those without a value left out.
std::string query_text(const std::vector<std::pair<std::string, std::optional<std::string>>>& fields);

// What an answer that is not 200 says, as an Error.
Error refusal(const Answer& answer);

}  // namespace muster::cli
