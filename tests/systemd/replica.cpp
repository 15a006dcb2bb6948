// A replica for the tests under systemd: an HTTP server of one thread that answers "APP/ORDINAL TEXT PID".
//
//   systemd_replica PORT TEXT [--leave-behind]
//
// TERM prints "stopping" and ends it. --leave-behind first makes what a supervisor must not lose: a
// grandchild in a session of its own that ignores TERM and whose parent is gone.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
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

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 64;
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
