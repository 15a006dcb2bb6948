#include "cli/http_answer.h"

#include <algorithm>
#include <cctype>
#include <charconv>

namespace muster::cli {

namespace {

constexpr std::size_t head_bytes_max = 16U << 10U;
constexpr std::size_t line_bytes_max = 4U << 10U;

Error not_http(const char* what) {
  return Error{
      .message = std::string("the control socket answers with something else than muster's HTTP: ") + what,
      .code = ExitCode::unreachable};
}

bool same_word(std::string_view left, std::string_view right) {
  return std::ranges::equal(left, right, [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
  });
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool parse_whole(std::string_view text, int base, std::uint64_t& value) {
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  return problem == std::errc() && !text.empty() && end == text.data() + text.size();
}

}  // namespace

Status HttpAnswer::feed(std::string_view bytes) {
  input_ += bytes;
  bool moved = true;
  while (moved && state_ != State::done) {
    moved = false;
    if (Status stepped = step(moved); !stepped) return stepped;
  }
  return Unit{};
}

Status HttpAnswer::end() {
  if (state_ == State::until_end) state_ = State::done;
  if (state_ == State::done) return Unit{};
  return Error{.message = "the daemon closed the connection before its answer was complete",
               .code = ExitCode::unreachable};
}

std::string HttpAnswer::take_body() {
  std::string taken;
  taken.swap(body_);
  return taken;
}

Status HttpAnswer::step(bool& moved) {
  std::string line;
  switch (state_) {
    case State::head:
      return read_head(moved);
    case State::length:
      read_counted(State::done, moved);
      return Unit{};
    case State::until_end:
      body_ += input_;
      input_.clear();
      return Unit{};
    case State::chunk_size:
      return read_chunk_size(moved);
    case State::chunk:
      read_counted(State::chunk_end, moved);
      return Unit{};
    case State::chunk_end:
      if (input_.size() < 2) return Unit{};
      if (!input_.starts_with("\r\n")) return not_http("a chunk without its end");
      input_.erase(0, 2);
      state_ = State::chunk_size;
      moved = true;
      return Unit{};
    case State::trailer:
      moved = take_line(line);
      if (moved && line.empty()) state_ = State::done;
      if (!moved && input_.size() > line_bytes_max) return not_http("a trailer without an end");
      return Unit{};
    case State::done:
      return Unit{};
  }
  return Unit{};
}

bool HttpAnswer::take_line(std::string& line) {
  const std::size_t at = input_.find("\r\n");
  if (at == std::string::npos) return false;
  line = input_.substr(0, at);
  input_.erase(0, at + 2);
  return true;
}

void HttpAnswer::read_counted(State after, bool& moved) {
  const std::size_t count = static_cast<std::size_t>(std::min<std::uint64_t>(left_, input_.size()));
  body_.append(input_, 0, count);
  input_.erase(0, count);
  left_ -= count;
  if (left_ > 0) return;
  state_ = after;
  moved = true;
}

Status HttpAnswer::read_chunk_size(bool& moved) {
  std::string line;
  if (!take_line(line)) {
    return input_.size() > line_bytes_max ? Status(not_http("a chunk without a size")) : Status(Unit{});
  }
  const std::string_view digits = trimmed(std::string_view(line).substr(0, line.find(';')));
  if (!parse_whole(digits, 16, left_)) return not_http("a chunk without a size");
  state_ = left_ == 0 ? State::trailer : State::chunk;
  moved = true;
  return Unit{};
}

Status HttpAnswer::read_head(bool& moved) {
  const std::size_t end = input_.find("\r\n\r\n");
  if (end == std::string::npos) {
    // What cannot become a head any more is not waited for.
    const std::string_view start = std::string_view(input_).substr(0, 7);
    if (!std::string_view("HTTP/1.").starts_with(start)) return not_http("no status line");
    return input_.size() > head_bytes_max ? Status(not_http("a head without an end")) : Status(Unit{});
  }
  std::string head = input_.substr(0, end + 2);
  input_.erase(0, end + 4);
  std::uint64_t code = 0;
  const bool shaped = head.size() > 12 && head.starts_with("HTTP/1.") && head[8] == ' ';
  if (!shaped || !parse_whole(std::string_view(head).substr(9, 3), 10, code))
    return not_http("no status line");
  status_ = static_cast<int>(code);
  state_ = State::until_end;
  std::string_view rest = std::string_view(head).substr(head.find("\r\n") + 2);
  while (!rest.empty()) {
    const std::size_t line_end = rest.find("\r\n");
    const std::string_view line = rest.substr(0, line_end);
    rest.remove_prefix(line_end + 2);
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return not_http("a field without a colon");
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (same_word(line.substr(0, colon), "transfer-encoding")) {
      if (!same_word(value, "chunked")) return not_http("an unknown transfer coding");
      state_ = State::chunk_size;
    } else if (same_word(line.substr(0, colon), "content-length") && state_ == State::until_end) {
      if (!parse_whole(value, 10, left_)) return not_http("a bad length");
      state_ = State::length;
    }
  }
  moved = true;
  return Unit{};
}

bool Lines::next(std::string& line) {
  const std::size_t end = rest_.find('\n', at_);
  if (end == std::string::npos) {
    rest_.erase(0, at_);
    at_ = 0;
    return false;
  }
  line = rest_.substr(at_, end - at_);
  at_ = end + 1;
  return true;
}

}  // namespace muster::cli
