#include "cli/volume_names.h"

#include "cli/arguments.h"
#include "fmt/core.h"
#include "supervisor/text.h"

namespace muster::cli {

Result<VolumeName> parse_volume_name(const std::string& word) {
  VolumeName made;
  if (word.starts_with('/')) {
    made.path = word;
    return made;
  }
  const std::size_t first = word.find('/');
  const std::size_t second = first == std::string::npos ? first : word.find('/', first + 1);
  auto target = parse_target(word.substr(0, second), Operand::app_or_replica);
  if (!target) return target.error();
  made.app = std::move(target.value().app);
  made.ordinal = target.value().ordinal;
  if (second == std::string::npos) return made;
  made.name = word.substr(second + 1);
  if (!parse_target(made.name, Operand::app))  // volumes are named by the rules of apps
    return Error{.message = fmt::format("\"{}\" is no name of a volume, like db/0/data",
                                        supervisor::escape_for_terminal(word)),
                 .code = ExitCode::usage};
  return made;
}

std::string volume_name_of(JsonView row) {
  return supervisor::escape_for_terminal(
      fmt::format("{}/{}/{}", row["app"].text(), row["ordinal"].whole().value_or(0), row["name"].text()));
}

std::vector<std::size_t> rows_named(JsonView volumes, const VolumeName& name) {
  std::vector<std::size_t> found;
  std::size_t at = 0;
  volumes.each([&](JsonView row) {
    const bool meant = name.path.empty() ? row["app"].text() == name.app &&
                                               (!name.ordinal || row["ordinal"].whole() == *name.ordinal) &&
                                               (name.name.empty() || row["name"].text() == name.name)
                                         : row["path"].text() == name.path;
    if (meant) found.push_back(at);
    ++at;
  });
  return found;
}

}  // namespace muster::cli
