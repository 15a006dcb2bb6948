#include "supervisor/access_logs.h"

#include <algorithm>

#include "fmt/core.h"
#include "supervisor/log_files.h"

namespace muster::supervisor {

namespace {
constexpr std::chrono::seconds tell_every{10};
}

std::map<std::string, spec::LogOptions> access_logs_of(const spec::Spec& spec) {
  std::map<std::string, spec::LogOptions> logs;
  for (const spec::Listener& listener : spec.listeners) {
    if (listener.access_log == spec::AccessLogFormat::off) continue;
    const std::vector<std::string> apps = listener.apps();
    const spec::App* app = apps.empty() ? nullptr : spec.find_app(apps.front());
    logs[listener.name] = app == nullptr ? spec::LogOptions{} : app->log;
  }
  return logs;
}

AccessLogs::File& AccessLogs::file_of(const std::string& listener) {
  const auto known = files_.find(listener);
  if (known != files_.end()) return known->second;
  File file{.writer = LogWriter(*folder_, access_log_stem(listener)), .options = {}};
  return files_.emplace(listener, std::move(file)).first->second;
}

void AccessLogs::set(const std::map<std::string, spec::LogOptions>& listeners) {
  for (auto& [listener, file] : files_) {
    if (listeners.contains(listener)) continue;
    file.listed = false;
    file.writer.close();
  }
  for (const auto& [listener, options] : listeners) {
    File& file = file_of(listener);
    file.options = options;
    file.listed = true;
  }
}

void AccessLogs::write(const std::string& listener, std::string_view lines, std::uint64_t lost, Now now) {
  File& file = file_of(listener);
  batch_.bytes = lines;
  for (std::size_t end = lines.find('\n'); end != std::string_view::npos; end = lines.find('\n', end + 1))
    batch_.ends.push_back(end + 1);
  if (!batch_.empty()) {
    const LogFileNews news = file.writer.write(batch_, file.options, now);
    if (news.failed) note(Severity::error, news.text);
    if (news.recovered || (news.remade && !news.failed)) note(Severity::warning, news.text);
  }
  batch_.clear();
  if (!file.listed) file.writer.close();
  file.lost += lost;
  file.lost_untold += lost;
  tell_lost(listener, file, now);
}

void AccessLogs::tell_lost(const std::string& listener, File& file, Now now) {
  if (file.lost_untold == 0 || now.mono < file.tell_not_before) return;
  file.tell_not_before = now.mono + tell_every;
  const std::uint64_t count = std::exchange(file.lost_untold, 0);
  note(Severity::warning,
       fmt::format("the access log of listener '{}' lost {} {}: they came faster than they could be "
                   "written",
                   listener, count, count == 1 ? "line" : "lines"));
}

void AccessLogs::tell_lost(Now now) {
  for (auto& [listener, file] : files_) tell_lost(listener, file, now);
}

void AccessLogs::reopen() {
  for (auto& [listener, file] : files_) file.writer.reopen();
}

std::set<std::string> AccessLogs::stems() const {
  std::set<std::string> stems;
  for (const auto& [listener, file] : files_) stems.insert(access_log_stem(listener));
  return stems;
}

LogWriter* AccessLogs::find(const std::string& stem) {
  for (auto& [listener, file] : files_) {
    if (access_log_stem(listener) == stem) return &file.writer;
  }
  return nullptr;
}

std::uint64_t AccessLogs::dropped_lines() const {
  std::uint64_t sum = 0;
  for (const auto& [listener, file] : files_) sum += file.lost + file.writer.dropped_lines();
  return sum;
}

void AccessLogs::note(Severity severity, std::string text) const {
  if (on_note_) on_note_(Note{severity, "log", "", std::nullopt, std::nullopt, std::move(text)});
}

}  // namespace muster::supervisor
