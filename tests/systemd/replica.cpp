// A replica for the tests under systemd: an HTTP server of one thread that answers "APP/ORDINAL TEXT PID".
//
//   systemd_replica PORT TEXT [--leave-behind]
//   systemd_replica tenant VOLUME RECEIPTS
//
// TERM prints "stopping" and ends it. --leave-behind first makes what a supervisor must not lose: a
// grandchild in a session of its own that ignores TERM and whose parent is gone.
//
// tenant: prints "NAME line N" a hundred times a second, and has counted the line in RECEIPTS/NAME before it does. Who
// finds another one in VOLUME appends a line to RECEIPTS/clashes.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <string_view>

namespace {

void leave_a_stray_behind() {
  if (::fork() != 0) return;
  ::setsid();
  if (::fork() != 0) ::_exit(0);
  std::signal(SIGTERM, SIG_IGN);
  for (;;) ::pause();
}

void on_term(int /*signal*/) {
  constexpr std::string_view text = "stopping\n";
  (void)!::write(STDOUT_FILENO, text.data(), text.size());
  ::_exit(0);
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "-";
}

int listen_on(in_port_t port) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener, 64) != 0) {
    std::perror("systemd_replica: listen");
    std::exit(1);
  }
  return listener;
}

void answer(int client, const std::string& body) {
  char head[4096];
  if (::recv(client, head, sizeof head, 0) > 0) {
    const std::string text =
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) +
        "\r\n\r\n" + body;
    (void)!::send(client, text.data(), text.size(), MSG_NOSIGNAL);
  }
  ::close(client);
}

volatile std::sig_atomic_t asked_to_end = 0;

int open_at(const std::string& path, int flags) {
  const int fd = ::open(path.c_str(), flags | O_CREAT | O_CLOEXEC, 0600);
  if (fd >= 0) return fd;
  std::perror(path.c_str());
  std::exit(1);
}

int be_a_tenant(const std::string& volume, const std::string& receipts) {
  const int lock = open_at(volume + "/tenant", O_RDWR);
  if (::flock(lock, LOCK_EX | LOCK_NB) != 0) {
    const std::string line = volume + "\n";
    (void)!::write(open_at(receipts + "/clashes", O_WRONLY | O_APPEND), line.data(), line.size());
    return 3;
  }
  std::signal(SIGTERM, [](int) { asked_to_end = 1; });
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  const std::string name =
      std::to_string(::getpid()) + "-" + std::to_string(now.tv_sec) + "-" + std::to_string(now.tv_nsec);
  const int receipt = open_at(receipts + "/" + name, O_WRONLY);
  for (long number = 1; asked_to_end == 0; ++number) {
    const std::string count = std::to_string(number);
    (void)!::pwrite(receipt, count.data(), count.size(), 0);
    const std::string line = name + " line " + count + "\n";
    (void)!::write(STDOUT_FILENO, line.data(), line.size());
    constexpr timespec pause{.tv_sec = 0, .tv_nsec = 10'000'000};
    ::nanosleep(&pause, nullptr);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 64;
  if (argc == 4 && std::string_view(argv[1]) == "tenant") return be_a_tenant(argv[2], argv[3]);
  if (argc > 3 && std::string_view(argv[3]) == "--leave-behind") leave_a_stray_behind();
  std::signal(SIGTERM, on_term);
  const int listener = listen_on(static_cast<in_port_t>(std::atoi(argv[1])));
  const std::string body = environment("MUSTER_APP") + "/" + environment("MUSTER_ORDINAL") + " " + argv[2] +
                           " " + std::to_string(::getpid()) + "\n";
  std::printf("serving\n");
  std::fflush(stdout);
  for (;;) {
    const int client = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (client >= 0) answer(client, body);
  }
}
