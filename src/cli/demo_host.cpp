#include "cli/demo_host.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "cli/client.h"
#include "cli/json_view.h"
#include "fmt/core.h"

namespace muster::cli {

namespace fs = std::filesystem;

namespace {

constexpr int ports_from = 10000;  // below the kernel's own range for outgoing connections
constexpr int ports_to = 30000;
constexpr std::size_t log_tail_bytes = 8000;

// A listening socket: the port is free, and ours as long as it is open.
Fd hold_port(std::uint16_t port) {
  Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool held = fd &&
                    ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
                    ::listen(fd.get(), 1) == 0;
  return held ? std::move(fd) : Fd();
}

// Blocks are tried from a random one on, so that demos side by side rarely meet; the claim settles it when they do.
Result<std::pair<DemoPorts, Fd>> find_ports() {
  constexpr int blocks = (ports_to - ports_from) / DemoPorts::count;
  const int start = static_cast<int>(std::random_device{}() % blocks);
  for (int i = 0; i < blocks; ++i) {
    const DemoPorts ports{
        .first = static_cast<std::uint16_t>(ports_from + (start + i) % blocks * DemoPorts::count)};
    Fd claim = hold_port(ports.claim());
    bool all_free = claim.valid();
    for (int port = ports.first; all_free && port <= ports.range_last(); ++port) {
      if (port != ports.claim()) all_free = hold_port(static_cast<std::uint16_t>(port)).valid();
    }
    if (all_free) return std::pair(ports, std::move(claim));
  }
  return Error{.message = "no free ports on 127.0.0.1"};
}

Result<std::string> make_folder() {
  const char* wanted = std::getenv("TMPDIR");
  std::string base = wanted != nullptr && *wanted == '/' ? wanted : "/tmp";
  if (base.size() > 60) base = "/tmp";  // a unix socket has to fit below it
  std::string pattern = base + "/muster-demo-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) return system_error(pattern, errno);
  return pattern;
}

Status write_file(const std::string& path, const std::string& text) {
  // Renamed into place: who watches the file sees a whole one.
  const std::string fresh = path + ".new";
  std::ofstream file(fresh, std::ios::binary);
  file << text;
  file.close();
  if (!file) return Error{.message = fmt::format("{} cannot be written", fresh)};
  if (::rename(fresh.c_str(), path.c_str()) != 0) return system_error(path, errno);
  return Unit{};
}

// The child's environment: ours without what would lead `muster up` elsewhere.
std::vector<std::string> child_environment(const std::vector<std::string>& ours) {
  std::vector<std::string> kept;
  for (const std::string& entry : ours) {
    const bool leads_away = entry.starts_with("MUSTER_") && !entry.starts_with("MUSTER_THREADS=");
    const bool service =
        entry.starts_with("NOTIFY_SOCKET=") || entry.starts_with("WATCHDOG_") || entry.starts_with("LISTEN_");
    if (!leads_away && !service) kept.push_back(entry);
  }
  kept.emplace_back("NO_COLOR=1");
  return kept;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> made;
  made.reserve(words.size() + 1);
  for (std::string& word : words) made.push_back(word.data());
  made.push_back(nullptr);
  return made;
}

}  // namespace

const DemoReplica* DemoStatus::find(const std::string& id) const {
  const auto at = std::ranges::find(replicas, id, &DemoReplica::id);
  return at == replicas.end() ? nullptr : &*at;
}

const DemoApp* DemoStatus::find_app(const std::string& name) const {
  const auto at = std::ranges::find(apps, name, &DemoApp::name);
  return at == apps.end() ? nullptr : &*at;
}

std::vector<std::pair<std::string, int>> DemoStatus::pids_of(const std::string& app) const {
  std::vector<std::pair<std::string, int>> found;
  for (const DemoReplica& replica : replicas) {
    if (replica.app == app && replica.pid > 0) found.emplace_back(replica.id, replica.pid);
  }
  return found;
}

bool DemoStatus::all_ready() const {
  constexpr std::size_t wanted = demo_api_replicas + demo_storage_replicas + 1;
  return apps.size() == 3 && replicas.size() == wanted &&
         std::ranges::all_of(apps, [](const DemoApp& app) { return app.state == "ready"; }) &&
         std::ranges::all_of(replicas, [](const DemoReplica& replica) { return replica.state == "ready"; });
}

bool DemoStatus::port_taken() const {
  return std::ranges::any_of(replicas, [](const DemoReplica& replica) {
    return replica.reason.find(" is held by ") != std::string::npos;
  });
}

Result<DemoStatus> parse_demo_status(const std::string& body) {
  const auto parsed = parse_object(body);
  if (!parsed) return parsed.error();
  const JsonView view(&parsed.value());
  DemoStatus made;
  made.spec_revision = view["daemon"]["spec"]["revision"].whole().value_or(0);
  made.spec_error = view["daemon"]["spec"]["error"].text();
  view["apps"].each([&](JsonView app) {
    made.apps.push_back({.name = app["name"].text(),
                         .state = app["state"].text(),
                         .revision = app["revision"].whole().value_or(0)});
    app["replicas"].each([&](JsonView row) {
      made.replicas.push_back({.app = app["name"].text(),
                               .id = row["id"].text(),
                               .state = row["state"].text(),
                               .pid = static_cast<int>(row["pid"].whole().value_or(0)),
                               .reason = row["reason"].text()});
    });
  });
  return made;
}

Result<std::unique_ptr<DemoHost>> DemoHost::create(const std::vector<std::string>& environment) {
  auto ports = find_ports();
  if (!ports) return ports.error();
  auto folder = make_folder();
  if (!folder) return folder.error();
  std::unique_ptr<DemoHost> host(new DemoHost);
  host->environment_ = child_environment(environment);
  host->folder_ = std::move(folder).value();
  host->ports_ = ports.value().first;
  host->claim_ = std::move(ports.value().second);
  for (const auto& [name, text] : demo_programs()) {
    if (Status written = write_file(host->folder_ + "/" + name, text); !written) return written.error();
  }
  if (Status written = host->write_spec("hello from"); !written) return written.error();
  return host;
}

DemoHost::~DemoHost() {
  end_child();
  std::error_code ignored;
  if (!folder_.empty()) fs::remove_all(folder_, ignored);
}

Status DemoHost::write_spec(const std::string& greeting) const {
  return write_file(folder_ + "/muster.toml", demo_spec(ports_, greeting));
}

Status DemoHost::start() {
  const Fd log(::open((folder_ + "/up.log").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!log || !null) return system_error(folder_ + "/up.log", errno);
  std::vector<std::string> words{"muster",      "up",
                                 "-f",          folder_ + "/muster.toml",
                                 "--socket",    folder_ + "/muster.sock",
                                 "--state-dir", folder_ + "/state"};
  const std::vector<char*> argv = pointers(words);
  const std::vector<char*> envp = pointers(environment_);
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) return system_error("fork", errno);
  if (pid_ == 0) {
    // A session of its own: Ctrl-C reaches the demo alone, which then stops the stack. When the demo is killed, the
    // stack stops as well.
    ::setsid();
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (::getppid() != parent) ::_exit(1);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    const bool ready = ::dup2(null.get(), 0) == 0 && ::dup2(log.get(), 1) == 1 && ::dup2(log.get(), 2) == 2 &&
                       ::chdir(folder_.c_str()) == 0;
    if (ready) ::execve("/proc/self/exe", argv.data(), envp.data());
    ::_exit(127);
  }
  pidfd_ = Fd(static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0)));
  if (!pidfd_) return system_error("pidfd_open", errno);
  return Unit{};
}

bool DemoHost::running() const {
  if (!pidfd_ || exit_code_) return false;
  pollfd ended{.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
  return ::poll(&ended, 1, 0) == 0;
}

Result<DemoStatus> DemoHost::status() const {
  if (!running()) return Error{.message = "the daemon has ended by itself"};
  const auto client = Client::at(folder_ + "/muster.sock");
  if (!client) return client.error();
  const auto answer = client.value().get("/v1/status", std::chrono::seconds(10));
  if (!answer) return answer.error();
  if (answer.value().status != 200) return refusal(answer.value());
  return parse_demo_status(answer.value().body);
}

Status DemoHost::ask_to_stop() const {
  const auto client = Client::at(folder_ + "/muster.sock");
  if (!client) return client.error();
  const auto answer =
      client.value().post("/v1/down", R"({"now":false,"wait":false})", std::chrono::seconds(10));
  if (!answer) return answer.error();
  return answer.value().status == 200 ? Status(Unit{}) : Status(refusal(answer.value()));
}

std::optional<int> DemoHost::wait_end(Millis limit) {
  if (exit_code_ || pid_ <= 0) return exit_code_;
  pollfd ended{.fd = pidfd_.get(), .events = POLLIN, .revents = 0};
  if (::poll(&ended, 1, static_cast<int>(limit.count())) != 1) return std::nullopt;
  int status = 0;
  if (::waitpid(pid_, &status, 0) != pid_) return std::nullopt;
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_code_;
}

void DemoHost::end_child() {
  if (pid_ <= 0 || exit_code_) return;
  // TERM twice: in order, then at once. The last resort is for a daemon that does not answer signals.
  for (const int signal : {SIGTERM, SIGTERM, SIGKILL}) {
    ::kill(pid_, signal);
    if (wait_end(std::chrono::seconds(10))) return;
  }
}

std::string DemoHost::log_tail() const {
  std::ifstream file(folder_ + "/up.log", std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  const std::string whole = text.str();
  return whole.size() <= log_tail_bytes ? whole : "…" + whole.substr(whole.size() - log_tail_bytes);
}

std::string DemoHost::volume(int ordinal) const {
  return fmt::format("{}/state/volumes/storage/{}/data", folder_, ordinal);
}

}  // namespace muster::cli
