#include "supervisor/shim_order.h"

#include <cerrno>
#include <concepts>
#include <type_traits>

#include "base/error.h"
#include "fmt/core.h"
#include "supervisor/version.h"

namespace muster::supervisor {
namespace {

// Both sides are of the same build, or the order is refused.
constexpr std::uint32_t magic = [] {
  std::uint32_t hash = 0x811c9dc5;  // FNV-1a
  for (const char* at = version_text; *at != 0; ++at)
    hash = (hash ^ static_cast<unsigned char>(*at)) * 0x01000193;
  return hash;
}();

class Writer {
 public:
  template <std::integral T>
  void number(T value) {
    auto bits = static_cast<std::uint64_t>(static_cast<std::make_unsigned_t<T>>(value));
    for (std::size_t i = 0; i < sizeof(T); ++i, bits >>= 8U)
      bytes_.push_back(static_cast<char>(bits & 0xffU));
  }
  void text(std::string_view value) {
    number(static_cast<std::uint32_t>(value.size()));
    bytes_.append(value);
  }
  void texts(const std::vector<std::string>& values) {
    number(static_cast<std::uint32_t>(values.size()));
    for (const std::string& value : values) text(value);
  }
  void maybe(const std::optional<std::uint64_t>& value) {
    number(static_cast<std::uint8_t>(value.has_value()));
    number(value.value_or(0));
  }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  template <std::integral T>
  void number(T& value) {
    if (rest_.size() < sizeof(T)) return fail();
    std::uint64_t bits = 0;
    for (std::size_t i = sizeof(T); i-- > 0;) bits = (bits << 8U) | static_cast<unsigned char>(rest_[i]);
    value = static_cast<T>(bits);
    rest_.remove_prefix(sizeof(T));
  }
  void flag(bool& value) {
    std::uint8_t byte = 0;
    number(byte);
    value = byte != 0;
  }
  void text(std::string& value) {
    std::uint32_t size = 0;
    number(size);
    if (size > rest_.size()) return fail();
    value.assign(rest_.substr(0, size));
    rest_.remove_prefix(size);
  }
  void texts(std::vector<std::string>& values) {
    std::uint32_t count = 0;
    number(count);
    for (std::uint32_t i = 0; i < count && ok_; ++i) text(values.emplace_back());
  }
  void maybe(std::optional<std::uint64_t>& value) {
    bool set = false;
    std::uint64_t number_read = 0;
    flag(set);
    number(number_read);
    if (set) value = number_read;
  }
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] bool complete() const { return ok_ && rest_.empty(); }
  [[nodiscard]] std::string_view rest() const { return rest_; }

 private:
  void fail() {
    ok_ = false;
    rest_ = {};
  }
  std::string_view rest_;
  bool ok_ = true;
};

void write_id(Writer& out, const std::optional<std::uint32_t>& id) {
  out.number(static_cast<std::uint8_t>(id.has_value()));
  out.number(id.value_or(0));
}

void write_credentials(Writer& out, const Credentials& credentials) {
  write_id(out, credentials.uid);
  write_id(out, credentials.gid);
  out.number(static_cast<std::uint32_t>(credentials.groups.size()));
  for (const std::uint32_t group : credentials.groups) out.number(group);
}

void read_id(Reader& in, std::optional<std::uint32_t>& id) {
  bool set = false;
  std::uint32_t number = 0;
  in.flag(set);
  in.number(number);
  if (set) id = number;
}

void read_credentials(Reader& in, Credentials& credentials) {
  read_id(in, credentials.uid);
  read_id(in, credentials.gid);
  std::uint32_t count = 0;
  in.number(count);
  for (std::uint32_t i = 0; i < count && in.ok(); ++i) in.number(credentials.groups.emplace_back());
}

}  // namespace

std::string encode(const ShimOrder& order) {
  Writer out;
  out.number(magic);
  out.texts(order.argv);
  out.texts(order.environment);
  out.text(order.dir);
  out.text(order.user);
  out.text(order.group);
  out.number(static_cast<std::uint8_t>(order.credentials.has_value()));
  if (order.credentials) write_credentials(out, *order.credentials);
  out.number(order.umask);
  out.number(order.nice);
  out.number(static_cast<std::uint8_t>(order.no_new_privs));
  out.number(static_cast<std::uint8_t>(order.end_with_parent));
  out.number(order.parent_pid);
  out.number(order.files_soft);
  out.maybe(order.files_max);
  out.maybe(order.core_bytes_max);
  for (const std::int32_t fd : {order.report_fd, order.out_fd, order.err_fd, order.cgroup_procs_fd})
    out.number(fd);
  return out.take();
}

bool needs_look_up(const ShimOrder& order) {
  return !order.credentials && !(order.user.empty() && order.group.empty());
}

std::optional<ShimOrder> decode_shim_order(std::string_view bytes) {
  Reader in(bytes);
  ShimOrder order;
  std::uint32_t found = 0;
  in.number(found);
  if (found != magic) return std::nullopt;
  in.texts(order.argv);
  in.texts(order.environment);
  in.text(order.dir);
  in.text(order.user);
  in.text(order.group);
  bool has_credentials = false;
  in.flag(has_credentials);
  if (has_credentials) read_credentials(in, order.credentials.emplace());
  in.number(order.umask);
  in.number(order.nice);
  in.flag(order.no_new_privs);
  in.flag(order.end_with_parent);
  in.number(order.parent_pid);
  in.number(order.files_soft);
  in.maybe(order.files_max);
  in.maybe(order.core_bytes_max);
  for (std::int32_t* fd : {&order.report_fd, &order.out_fd, &order.err_fd, &order.cgroup_procs_fd})
    in.number(*fd);
  if (!in.complete() || order.argv.empty()) return std::nullopt;
  return order;
}

std::string encode(const Credentials& found) {
  Writer out;
  out.number(static_cast<std::uint8_t>('C'));
  write_credentials(out, found);
  return out.take();
}

std::string encode(const ShimFailure& failure) {
  Writer out;
  out.number(static_cast<std::uint8_t>('F'));
  out.number(static_cast<std::uint8_t>(failure.step));
  out.number(static_cast<std::int32_t>(failure.error));
  return out.take();
}

ShimReport decode_shim_report(std::string_view bytes) {
  ShimReport report;
  if (bytes.starts_with('C')) {
    Reader in(bytes.substr(1));
    Credentials found;
    read_credentials(in, found);
    if (!in.ok()) return report;
    report.credentials = std::move(found);
    bytes = in.rest();
  }
  if (bytes.starts_with(shim_ready)) {
    report.reached_exec = true;
    bytes.remove_prefix(1);
  }
  if (bytes.size() != shim_failure_bytes || bytes[0] != 'F') return report;
  Reader in(bytes.substr(1));
  std::uint8_t step = 0;
  std::int32_t error = 0;
  in.number(step);
  in.number(error);
  report.failure = ShimFailure{static_cast<ShimStep>(step), error};
  return report;
}

std::string describe(const ShimFailure& failure, const ShimNames& names) {
  const std::string why = errno_text(failure.error);
  switch (failure.step) {
    case ShimStep::shim:
      return fmt::format("exec of muster's own start helper: {}", why);
    case ShimStep::order:
      return fmt::format("muster's start helper could not read its order: {}", why);
    case ShimStep::streams:
      return fmt::format("standard streams: {}", why);
    case ShimStep::session:
      return fmt::format("setsid: {}", why);
    case ShimStep::cgroup:
      return fmt::format("joining its cgroup: {}", why);
    case ShimStep::files_max:
      return fmt::format("limit of open files: {}", why);
    case ShimStep::core_max:
      return fmt::format("limit of core size: {}", why);
    case ShimStep::nice:
      return fmt::format("nice: {}", why);
    case ShimStep::user:
      if (failure.error == 0) return fmt::format("user \"{}\": no such user", names.user);
      return fmt::format("user \"{}\": {}", names.user, why);
    case ShimStep::group:
      if (failure.error == 0) return fmt::format("group \"{}\": no such group", names.group);
      return fmt::format("group \"{}\": {}", names.group, why);
    case ShimStep::groups:
      return fmt::format("groups of user \"{}\": {}", names.user, why);
    case ShimStep::gid:
      return fmt::format("changing to the group of user \"{}\": {}", names.user, why);
    case ShimStep::uid:
      return fmt::format("changing to user \"{}\": {}", names.user, why);
    case ShimStep::ids_kept:
      return fmt::format("changing to user \"{}\": the kernel kept the old ids", names.user);
    case ShimStep::capabilities:
      return fmt::format("dropping ambient capabilities: {}", why);
    case ShimStep::no_new_privs:
      return fmt::format("no_new_privs: {}", why);
    case ShimStep::end_with_parent:
      return fmt::format("PR_SET_PDEATHSIG: {}", why);
    case ShimStep::dir:
      return fmt::format("chdir {}: {}", names.dir, why);
    case ShimStep::descriptors:
      return fmt::format("close_range: {}", why);
    case ShimStep::exec:
      if (failure.error == ENOEXEC) {
        return fmt::format("exec {}: {} (neither a program of this machine nor a script with #!)",
                           names.program, why);
      }
      return fmt::format("exec {}: {}", names.program, why);
    case ShimStep::interpreter:
      return fmt::format("exec {}: its interpreter: {}", names.program, why);
  }
  return fmt::format("step {} of muster's start helper: {}", static_cast<int>(failure.step), why);
}

bool is_shortage(const ShimFailure& failure) {
  switch (failure.error) {
    case EAGAIN:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return true;
    default:
      return failure.step == ShimStep::shim || failure.step == ShimStep::order;
  }
}

}  // namespace muster::supervisor
