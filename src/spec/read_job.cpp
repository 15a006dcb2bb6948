// One [job.NAME].
#include <algorithm>
#include <iterator>
#include <set>

#include "base/limits.h"
#include "fmt/core.h"
#include "spec/cron_text.h"
#include "spec/draft.h"

namespace muster::spec {

namespace {

constexpr std::string_view zones_folder = "/usr/share/zoneinfo/";
constexpr std::string_view local_zone_file = "/etc/localtime";
constexpr std::size_t zone_name_chars_max = 100;

using Zone = std::shared_ptr<const TimeZone>;

bool is_zone_name(std::string_view name) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_+-/").find(c) != std::string_view::npos;
  };
  return !name.empty() && name.size() <= zone_name_chars_max && name.front() != '/' &&
         std::ranges::all_of(name, fits);
}

// Without folders, tables, and the copies of all zones below posix/ and right/.
std::vector<std::string> zone_names(const Reader& reader) {
  std::set<std::string> names;
  std::set<std::string> folders;
  for (const char* pattern : {"*", "*/*", "*/*/*"}) {
    auto paths = reader.world().glob(std::string(zones_folder) + pattern);
    if (!paths) continue;
    for (const std::string& path : paths.value()) {
      std::string name = path.substr(zones_folder.size());
      if (name.starts_with("posix/") || name.starts_with("right/")) continue;
      if (const auto slash = name.rfind('/'); slash != std::string::npos)
        folders.insert(name.substr(0, slash));
      if (is_zone_name(name)) names.insert(std::move(name));
    }
  }
  std::vector<std::string> zones;
  std::ranges::set_difference(names, folders, std::back_inserter(zones));
  return zones;
}

// Cities count most: who writes "Berlin" means Europe/Berlin.
std::string suggest_zone(const Reader& reader, const std::string& name) {
  if (reader.report().full()) return "";
  const std::vector<std::string> found = zone_names(reader);
  if (found.empty())
    return fmt::format("there are no zones in {}: is the package tzdata installed?", zones_folder);
  const auto city =
      std::ranges::find_if(found, [&](const std::string& zone) { return zone.ends_with("/" + name); });
  if (city != found.end()) return fmt::format("did you mean '{}'?", *city);
  const std::vector<std::string_view> names(found.begin(), found.end());
  std::string close = suggest(name, names);
  return close.empty() ? "zones have names such as Europe/Berlin; `timedatectl list-timezones` lists them"
                       : close;
}

Zone zone_of_file(const Reader& reader, const std::string& path, Mark at) {
  const auto bytes = reader.world().read_file(path);
  if (!bytes) return nullptr;
  auto zone = TimeZone::from_tzif(bytes.value());
  if (zone) return std::make_shared<const TimeZone>(std::move(zone.value()));
  reader.error(at, fmt::format("{} cannot be used: {}", path, zone.error().message));
  return std::make_shared<const TimeZone>();
}

Zone named_zone(const Reader& reader, const std::string& name, Mark at) {
  if (Zone zone = is_zone_name(name) ? zone_of_file(reader, std::string(zones_folder) + name, at) : nullptr)
    return zone;
  reader.error(at, fmt::format("there is no time zone '{}'", name), suggest_zone(reader, name));
  return nullptr;
}

// As tzset(3) has it: TZ of the daemon's environment, else /etc/localtime, else UTC.
Zone local_zone(const Reader& reader, Mark at) {
  std::string name = reader.world().env("TZ").value_or("");
  if (name.starts_with(':')) name.erase(0, 1);
  Zone zone;
  if (name.empty()) {
    zone = zone_of_file(reader, std::string(local_zone_file), at);
  } else if (name.starts_with('/')) {
    zone = zone_of_file(reader, name, at);
  } else if (is_zone_name(name)) {
    zone = zone_of_file(reader, std::string(zones_folder) + name, at);
  }
  if (!zone && !name.empty()) {
    if (auto rule = TimeZone::from_posix(name)) zone = std::make_shared<const TimeZone>(std::move(*rule));
  }
  return zone ? zone : std::make_shared<const TimeZone>();
}

class JobReader {
 public:
  JobReader(const Reader& reader, const Member& member) : reader_(reader), member_(member) {}

  JobDraft read() {
    draft_.task =
        read_task(reader_, member_, [this](std::string_view key, const Node& value) { set(key, value); });
    App& task = draft_.task.app;
    task.health.always = true;  // it runs as soon as it is started
    read_zone();
    return std::move(draft_);
  }

 private:
  void set(std::string_view key, const Node& value) {
    Job& job = draft_.job;
    if (key == "schedule") {
      draft_.schedule_at = value.at;
      if (const auto text = reader_.text_not_empty(value)) {
        if (auto cron = reader_.checked(parse_cron(*text), value.at)) job.schedule = std::move(*cron);
      }
    } else if (key == "timezone") {
      timezone_at_ = value.at;
      job.timezone = reader_.text_not_empty(value).value_or("");
    } else if (key == "timeout") {
      job.timeout = reader_.duration(value, Millis(1));
    } else if (key == "overlap") {
      if (const auto word = reader_.word(value, {"forbid", "allow", "replace"}))
        job.overlap = static_cast<Overlap>(*word);
    } else if (key == "retries") {
      job.retries = static_cast<int>(reader_.integer(value, 0, limits::job_retries_max).value_or(0));
    } else if (key == "before") {
      before(value);
    } else {
      MUSTER_CHECK(false);  // each built key of the table has its reader
    }
  }

  void before(const Node& value) {
    if (!reader_.few_enough(value.items.size(), value.at, "apps in `before`")) return;
    for (const Node* item : Reader::listed(value)) {
      const auto name = reader_.text(*item);
      if (!name) continue;
      if (std::ranges::find(draft_.job.before, *name) != draft_.job.before.end()) {
        reader_.error(item->at, fmt::format("'{}' is named twice", *name));
        continue;
      }
      draft_.job.before.push_back(*name);
      draft_.before_at.push_back(item->at);
    }
  }

  void read_zone() {
    Job& job = draft_.job;
    if (timezone_at_.line != 0 && draft_.schedule_at.line == 0)
      return reader_.error(timezone_at_, "a `timezone` belongs to a `schedule`, and there is none");
    if (timezone_at_.line != 0) {
      if (!job.timezone.empty()) job.zone = named_zone(reader_, job.timezone, timezone_at_);
    } else if (job.schedule) {
      job.zone = local_zone(reader_, draft_.schedule_at);
    }
  }

  const Reader& reader_;
  const Member& member_;
  Mark timezone_at_;
  JobDraft draft_;
};

}  // namespace

JobDraft read_job(const Reader& reader, const Member& member) {
  return JobReader(reader, member).read();
}

}  // namespace muster::spec
