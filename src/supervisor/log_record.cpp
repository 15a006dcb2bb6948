#include "supervisor/log_record.h"

#include <algorithm>
#include <cstring>

#include "base/limits.h"

namespace muster::supervisor {

bool put_owner(LogSlotRecord& slot, const LogOwner& owner) {
  const std::string& app = owner.replica.app;
  if (app.empty() || app.size() >= slot.app.size()) return false;
  slot.active = 0;
  slot.rest_bytes = {};
  slot.instance = raw(owner.instance);
  slot.stream = static_cast<std::uint32_t>(owner.stream);
  slot.ordinal = owner.replica.ordinal;
  slot.app.fill(0);
  std::memcpy(slot.app.data(), app.data(), app.size());
  put_options(slot, owner.options);
  return true;
}

void put_options(LogSlotRecord& slot, const spec::LogOptions& options) {
  slot.format = static_cast<std::uint32_t>(options.format);
  slot.rotate_bytes = options.rotate_bytes;
  slot.keep = options.keep;
}

std::optional<LogOwner> owner_of(const LogSlotRecord& slot) {
  const auto app_end = std::find(slot.app.begin(), slot.app.end(), '\0');
  const bool named = app_end != slot.app.begin() && app_end != slot.app.end() &&
                     std::find(slot.app.begin(), app_end, '/') == app_end;
  const bool known = slot.stream <= static_cast<std::uint32_t>(Stream::err) &&
                     slot.format <= static_cast<std::uint32_t>(spec::LogFormat::raw) && slot.active <= 1 &&
                     std::all_of(slot.rest_bytes.begin(), slot.rest_bytes.end(),
                                 [](std::uint32_t bytes) { return bytes <= limits::log_line_bytes_max; });
  if (slot.used != 1 || !named || !known || slot.ordinal < 0 || slot.keep < 0) return std::nullopt;
  LogOwner owner;
  owner.instance = InstanceId{slot.instance};
  owner.stream = static_cast<Stream>(slot.stream);
  owner.replica = ReplicaId{std::string(slot.app.begin(), app_end), slot.ordinal};
  owner.options.format = static_cast<spec::LogFormat>(slot.format);
  owner.options.rotate_bytes = slot.rotate_bytes;
  owner.options.keep = slot.keep;
  return owner;
}

LogPattern make_log_pattern(std::uint64_t random) {
  LogPattern pattern{};
  for (unsigned char& byte : pattern) {
    byte = static_cast<unsigned char>(0xF8U | (random & 7U));
    random >>= 3U;
  }
  return pattern;
}

LogRecovery recovery_of(const LogRecord& record, std::string_view buffer, std::size_t slots,
                        std::size_t buffer_bytes) {
  using Work = LogRecovery::Work;
  const bool sound = record.slot < slots && record.bytes <= buffer_bytes && record.begin <= record.end &&
                     record.format <= static_cast<std::uint32_t>(spec::LogFormat::raw);
  if (!sound || record.step > static_cast<std::uint32_t>(LogStep::written)) return {};
  switch (static_cast<LogStep>(record.step)) {
    case LogStep::idle:
      return {};
    case LogStep::reading: {
      const std::size_t marked = std::min<std::size_t>({record.bytes, log_pattern_bytes, buffer.size()});
      const bool untouched = std::memcmp(buffer.data(), record.pattern.data(), marked) == 0;
      return untouched ? LogRecovery{} : LogRecovery{Work::finish, false};
    }
    case LogStep::taken:
      return {Work::finish, false};
    case LogStep::writing:
      return {Work::finish, true};
    case LogStep::written:
      return {Work::areas, false};
  }
  return {};
}

std::uint64_t written_before(const LogRecord& record, std::uint64_t size) {
  if (size <= record.offset) return 0;  // less than before: somebody emptied it, the write with it
  return std::min(size - record.offset, record.end - record.begin);
}

}  // namespace muster::supervisor
