#include "supervisor/shim_order.h"

#include <cerrno>
#include <concepts>
#include <cstring>
#include <type_traits>

#include "base/error.h"
#include "fmt/core.h"
#include "supervisor/version.h"

namespace muster::supervisor {
namespace {

class Writer {
 public:
  template <std::integral T>
  void number(T value) {
    auto bits = static_cast<std::uint64_t>(static_cast<std::make_unsigned_t<T>>(value));
    for (std::size_t i = 0; i < sizeof(T); ++i, bits >>= 8U)
      bytes_.push_back(static_cast<char>(bits & 0xffU));
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
  [[nodiscard]] bool ok() const { return ok_; }
  [[nodiscard]] std::string_view rest() const { return rest_; }

 private:
  void fail() {
    ok_ = false;
    rest_ = {};
  }
  std::string_view rest_;
  bool ok_ = true;
};

// The strings and arrays behind the header of an image.
class ImageWriter {
 public:
  std::uint32_t text(std::string_view value) {
    const std::uint32_t offset = here();
    bytes_.append(value);
    bytes_.push_back(0);
    return offset;
  }
  std::uint32_t optional_text(std::string_view value) { return value.empty() ? 0 : text(value); }
  std::uint32_t texts(const std::vector<std::string>& values) {
    align(sizeof(std::uint64_t));
    const std::uint32_t offset = here();
    bytes_.resize(bytes_.size() + (values.size() + 1) * sizeof(std::uint64_t));  // the last one stays 0
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::uint64_t slot = text(values[i]);
      std::memcpy(bytes_.data() + offset + i * sizeof slot, &slot, sizeof slot);
    }
    return offset;
  }
  std::uint32_t numbers(const std::vector<std::uint32_t>& values) {
    align(sizeof(std::uint32_t));
    const std::uint32_t offset = here();
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(std::uint32_t));
    return offset;
  }
  std::string take(ShimImage& image) {
    bytes_.push_back(0);  // whatever is cut or wrong before it, every string ends
    image.bytes = here();
    std::memcpy(bytes_.data(), &image, sizeof image);
    return std::move(bytes_);
  }

 private:
  [[nodiscard]] std::uint32_t here() const { return static_cast<std::uint32_t>(bytes_.size()); }
  void align(std::size_t to) { bytes_.resize((bytes_.size() + to - 1) / to * to); }
  std::string bytes_ = std::string(sizeof(ShimImage), 0);
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
  ImageWriter out;
  ShimImage image{};
  image.magic = shim_magic(version_text);
  image.argv = out.texts(order.argv);
  image.argc = static_cast<std::uint32_t>(order.argv.size());
  image.envp = out.texts(order.environment);
  image.envc = static_cast<std::uint32_t>(order.environment.size());
  for (const std::string_view variable : order.environment) {
    if (variable.starts_with("PATH=") && image.search_path == 0)
      image.search_path = out.text(variable.substr(5));
  }
  image.dir = out.optional_text(order.dir);
  image.user = out.optional_text(order.user);
  image.group = out.optional_text(order.group);
  if (order.credentials) {
    const Credentials& ids = *order.credentials;
    image.has_credentials = 1;
    image.has_uid = ids.uid ? 1 : 0;
    image.uid = ids.uid.value_or(0);
    image.has_gid = ids.gid ? 1 : 0;
    image.gid = ids.gid.value_or(0);
    image.groups = out.numbers(ids.groups);
    image.group_count = static_cast<std::uint32_t>(ids.groups.size());
  }
  image.umask = order.umask;
  image.nice = order.nice;
  image.files_soft = order.files_soft;
  if (order.not_before) image.not_before_ns = Nanos(order.not_before->time_since_epoch()).count();
  image.has_files_max = order.files_max ? 1 : 0;
  image.files_max = order.files_max.value_or(0);
  image.has_core_bytes_max = order.core_bytes_max ? 1 : 0;
  image.core_bytes_max = order.core_bytes_max.value_or(0);
  image.has_processes_max = order.processes_max ? 1 : 0;
  image.processes_max = order.processes_max.value_or(0);
  image.no_new_privs = order.no_new_privs ? 1 : 0;
  image.end_with_parent = order.end_with_parent ? 1 : 0;
  image.parent_pid = order.parent_pid;
  image.report_fd = order.report_fd;
  image.out_fd = order.out_fd;
  image.err_fd = order.err_fd;
  image.cgroup_procs_fd = order.cgroup_procs_fd;
  image.kept = out.numbers({order.kept.begin(), order.kept.end()});
  image.kept_count = static_cast<std::uint32_t>(order.kept.size());
  return out.take(image);
}

bool needs_look_up(const ShimOrder& order) {
  return !order.credentials && !(order.user.empty() && order.group.empty());
}

std::string encode(const Credentials& found) {
  Writer out;
  out.number(static_cast<std::uint8_t>('C'));
  write_credentials(out, found);
  return out.take();
}

std::string encode(const ShimFailure& failure) {
  Writer out;
  out.number(static_cast<std::uint8_t>(shim_failed));
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
  if (bytes.size() != shim_failure_bytes || bytes[0] != shim_failed) return report;
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
    case ShimStep::processes_max:
      return fmt::format("limit of processes: {}", why);
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

bool is_shortage_errno(int error) {
  return error == EAGAIN || error == ENOMEM || error == EMFILE || error == ENFILE;
}

bool is_shortage(const ShimFailure& failure) {
  return is_shortage_errno(failure.error) || failure.step == ShimStep::shim ||
         failure.step == ShimStep::order;
}

}  // namespace muster::supervisor
