// The app of the end-to-end tests: an HTTP/1.1 server with a thread for each connection that starts in a millisecond
// and does on request what real apps do at the worst moment.
//
//   e2e_replica PORT [WORD…]       PORT may be the path of a unix socket
//     text=T        the second word of the answer to GET /, which is "APP/ORDINAL T PID"
//     addr=A        listens on this address instead of 127.0.0.1
//     start=MS      opens its port only after this long
//     life=MS       exits by itself after this long
//     code=N        … with this status (1)
//     ignore-term   TERM is ignored
//     strays        leaves a double-forked grandchild in a session of its own, which ignores TERM
//     notify=MS     sends READY=1 after this long
//     answer=STATUS the status of the answer to GET /
//     ping          sends WATCHDOG=1 four times per period of WATCHDOG_USEC
//
//   GET /           "APP/ORDINAL TEXT PID", X-Replica: APP/ORDINAL
//   GET /healthz    200, or 503 after GET /sick until GET /well
//   GET /sleep/MS   the answer to /, late
//   GET /burn/MS    the answer to /, after so much work of a processor
//   GET /eat/MIB    the answer to /, after so much memory was taken for good
//   GET /fork/N     the answer to /, after so many children were forked that do nothing
//   GET /mute       no watchdog ping from now on
//   GET /say/WORD   prints WORD to its output
//   POST            "LENGTH" of the body
//   Upgrade: echo   a tunnel that gives back what it gets
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

namespace {

std::atomic<bool> sick{false};
std::atomic<bool> mute{false};
std::string name;
std::string text = "-";
int answer_status = 200;

std::string environment(const char* key) {
  const char* value = std::getenv(key);
  return value != nullptr ? value : "";
}

void pause_ms(long count) {
  std::this_thread::sleep_for(std::chrono::milliseconds(count));
}

// What others take of the processors does not count.
std::chrono::nanoseconds worked() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

void burn_ms(long count) {
  const auto end = worked() + std::chrono::milliseconds(count);
  while (worked() < end) {
  }
}

void eat_mib(long count) {
  const std::size_t bytes = static_cast<std::size_t>(count) << 20U;
  auto* const memory = static_cast<volatile char*>(std::malloc(bytes));
  for (std::size_t at = 0; memory != nullptr && at < bytes; at += 1024) memory[at] = 1;
}

void fork_idle(long count) {
  for (long i = 0; i < count; ++i) {
    if (::fork() != 0) continue;
    for (;;) ::pause();
  }
}

void leave_a_stray_behind() {
  if (::fork() != 0) return;
  ::setsid();
  if (::fork() != 0) ::_exit(0);
  std::signal(SIGTERM, SIG_IGN);
  for (;;) ::pause();
}

void tell_manager(std::string_view message) {
  const std::string path = environment("NOTIFY_SOCKET");
  sockaddr_un to{};
  if (path.empty() || path.size() >= sizeof to.sun_path) return;
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, path.data(), path.size());
  if (path.front() == '@') to.sun_path[0] = '\0';
  const int socket = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  (void)!::sendto(socket, message.data(), message.size(), MSG_NOSIGNAL,
                  reinterpret_cast<const sockaddr*>(&to), length);
  ::close(socket);
}

void ping_for_ever() {
  const long period_us = std::atol(environment("WATCHDOG_USEC").c_str());
  if (period_us == 0) return;
  for (;;) {
    if (!mute) tell_manager("WATCHDOG=1");
    pause_ms(period_us / 4000);
  }
}

bool send_all(int client, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

struct Request {
  std::string method;
  std::string target;
  std::size_t length = 0;
  bool close = false;
  bool upgrade = false;
};

Request parse(const std::string& head) {
  Request request;
  const auto space = head.find(' ');
  const auto second = head.find(' ', space + 1);
  request.method = head.substr(0, space);
  request.target = head.substr(space + 1, second - space - 1);
  std::string lower = head;
  for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (const auto at = lower.find("\r\ncontent-length:"); at != std::string::npos)
    request.length = std::strtoul(lower.c_str() + at + 17, nullptr, 10);
  request.close = lower.find("\r\nconnection: close") != std::string::npos;
  request.upgrade = lower.find("\r\nupgrade: echo") != std::string::npos;
  return request;
}

// The next request; its body is read and forgotten.
std::optional<Request> read_request(int client, std::string& rest) {
  char piece[16384];
  std::size_t end = 0;
  while ((end = rest.find("\r\n\r\n")) == std::string::npos) {
    const ssize_t got = ::recv(client, piece, sizeof piece, 0);
    if (got <= 0) return std::nullopt;
    rest.append(piece, static_cast<std::size_t>(got));
  }
  Request request = parse(rest.substr(0, end + 2));
  rest.erase(0, end + 4);
  std::size_t missing = request.length - std::min(request.length, rest.size());
  rest.erase(0, std::min(request.length, rest.size()));
  while (missing > 0) {
    const ssize_t got = ::recv(client, piece, std::min(missing, sizeof piece), 0);
    if (got <= 0) return std::nullopt;
    missing -= static_cast<std::size_t>(got);
  }
  return request;
}

bool answer(int client, const Request& request) {
  int status = 200;
  std::string body = name + " " + text + " " + std::to_string(::getpid()) + "\n";
  const std::string& target = request.target;
  if (target == "/sick") sick = true;
  if (target == "/well") sick = false;
  if (target == "/mute") mute = true;
  if (target == "/") status = answer_status;
  if (target == "/healthz" && sick) status = 503;
  if (target.starts_with("/sleep/")) pause_ms(std::atol(target.c_str() + 7));
  if (target.starts_with("/burn/")) burn_ms(std::atol(target.c_str() + 6));
  if (target.starts_with("/eat/")) eat_mib(std::atol(target.c_str() + 5));
  if (target.starts_with("/fork/")) fork_idle(std::atol(target.c_str() + 6));
  if (target.starts_with("/say/")) std::printf("%s\n", target.c_str() + 5);
  if (request.method == "POST") body = std::to_string(request.length) + "\n";
  std::string message = "HTTP/1.1 " + std::to_string(status) +
                        (status == 200 ? " OK" : " Service Unavailable") + "\r\nX-Replica: " + name +
                        "\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  if (request.close) message += "Connection: close\r\n";
  message += "\r\n";
  if (request.method != "HEAD") message += body;
  return send_all(client, message) && !request.close;
}

void echo(int client, std::string rest) {
  if (!send_all(client,
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Replica: " +
                    name + "\r\n\r\n"))
    return;
  char piece[16384];
  while (send_all(client, rest)) {
    const ssize_t got = ::recv(client, piece, sizeof piece, 0);
    if (got <= 0) return;
    rest.assign(piece, static_cast<std::size_t>(got));
  }
}

void serve(int client) {
  const int on = 1;
  ::setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  std::string rest;
  for (;;) {
    const auto request = read_request(client, rest);
    if (!request) break;
    if (request->upgrade) {
      echo(client, rest);
      break;
    }
    if (!answer(client, *request)) break;
  }
  ::close(client);
}

int listen_on(const std::string& address, in_port_t port) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_port = htons(port);
  ::inet_pton(AF_INET, address.c_str(), &at.sin_addr);
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
      ::listen(listener, 1024) != 0) {
    std::perror("e2e_replica: listen");
    std::exit(1);
  }
  return listener;
}

int listen_at(const std::string& path) {
  const int listener = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  path.copy(static_cast<char*>(at.sun_path), sizeof at.sun_path - 1);
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0 ||
      ::listen(listener, 1024) != 0) {
    std::perror("e2e_replica: listen");
    std::exit(1);
  }
  return listener;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 64;
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::signal(SIGPIPE, SIG_IGN);
  name = environment("MUSTER_APP") + "/" + environment("MUSTER_ORDINAL");
  std::string address = "127.0.0.1";
  long start = 0;
  long life = -1;
  long notify = -1;
  int code = 1;
  bool ping = false;
  for (int i = 2; i < argc; ++i) {
    const std::string word = argv[i];
    const std::string value = word.substr(word.find('=') + 1);
    if (word.starts_with("text=")) text = value;
    if (word.starts_with("addr=")) address = value;
    if (word.starts_with("start=")) start = std::atol(value.c_str());
    if (word.starts_with("life=")) life = std::atol(value.c_str());
    if (word.starts_with("notify=")) notify = std::atol(value.c_str());
    if (word.starts_with("answer=")) answer_status = std::atoi(value.c_str());
    if (word.starts_with("code=")) code = std::atoi(value.c_str());
    if (word == "ignore-term") std::signal(SIGTERM, SIG_IGN);
    if (word == "strays") leave_a_stray_behind();
    if (word == "ping") ping = true;
  }
  std::printf("starting %s\n", text.c_str());
  pause_ms(start);
  const int listener =
      argv[1][0] == '/' ? listen_at(argv[1]) : listen_on(address, static_cast<in_port_t>(std::atoi(argv[1])));
  std::printf("listening\n");
  if (life >= 0) std::thread([life, code] { pause_ms(life), std::_Exit(code); }).detach();
  if (notify >= 0) std::thread([notify] { pause_ms(notify), tell_manager("READY=1"); }).detach();
  if (ping) std::thread(ping_for_ever).detach();
  for (;;) {
    const int client = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (client >= 0) std::thread(serve, client).detach();
  }
}
