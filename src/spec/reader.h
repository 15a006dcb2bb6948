// Typed reading of values: each function gives the value, or reports at the value's place why there is none.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "spec/keys.h"
#include "spec/load.h"
#include "spec/report.h"
#include "spec/text.h"

namespace muster::spec {

// A template variable and the value that holds it; whether it exists is known when the whole spec is read.
struct VariableUse {
  Mark at;
  TemplateVariable variable;
};

class Reader {
 public:
  Reader(Report& report, const World& world, const Options& options, std::string folder)
      : report_(report), world_(world), options_(options), folder_(std::move(folder)) {}

  [[nodiscard]] Report& report() const { return report_; }
  [[nodiscard]] const World& world() const { return world_; }
  [[nodiscard]] const Options& options() const { return options_; }
  [[nodiscard]] const std::string& folder() const { return folder_; }
  // Statements were left out for their syntax: what is missing may stand there.
  bool partial = false;

  void missing(Mark at, std::string message) const {
    if (!partial) report_.error(at, std::move(message));
  }
  void error(Mark at, std::string message, std::string hint = {}) const {
    report_.error(at, std::move(message), std::move(hint));
  }

  // Calls `set` for each member that this version knows; refuses the others; skips x-….
  void each_key(Section section, const Node& table,
                const std::function<void(std::string_view key, const Node& value)>& set) const;
  [[nodiscard]] bool table(const Node& node, std::string_view what) const;
  // Calls `set` for each member of a table whose keys are names of the user's; skips x-….
  void each_name(const Node& node, std::string_view what,
                 const std::function<void(const Member& member)>& set) const;
  // At most limits::spec_names_max of what is compared with each other.
  [[nodiscard]] bool few_enough(std::size_t count, Mark at, std::string_view what) const;
  // Adds to what the env_files of all apps hold; false above limits::env_bytes_max.
  [[nodiscard]] bool count_env_bytes(std::size_t bytes, Mark at) const;
  [[nodiscard]] bool valid_name(const std::string& name, Mark at, std::string_view what) const;

  std::optional<std::string> text(const Node& node) const;
  std::optional<std::string> text_not_empty(const Node& node) const;
  std::optional<bool> boolean(const Node& node) const;
  std::optional<std::int64_t> integer(const Node& node, std::int64_t min, std::int64_t max) const;
  std::optional<double> number(const Node& node, double min, double max) const;
  std::optional<Millis> duration(const Node& node, Millis min) const;
  std::optional<std::uint64_t> size(const Node& node) const;
  std::optional<std::uint32_t> octal(const Node& node, std::uint32_t max) const;
  // The index of the word among `words`; words of `later` are refused as not in this version.
  std::optional<std::size_t> word(const Node& node, const std::vector<std::string_view>& words,
                                  const std::vector<std::string_view>& later = {}) const;
  // A list of values; one value stands for a list of one.
  [[nodiscard]] static std::vector<const Node*> listed(const Node& node);

  std::optional<Template> templated(const Node& node, std::vector<VariableUse>& uses) const;
  std::optional<Template> templated(std::string_view raw, Mark at, std::vector<VariableUse>& uses) const;
  // A string is split by sh quoting, a list is taken as it is.
  std::optional<std::vector<Template>> command(const Node& node, std::vector<VariableUse>& uses) const;
  std::optional<std::vector<Template>> command(std::string_view raw, Mark at,
                                               std::vector<VariableUse>& uses) const;
  // Made absolute against the spec's folder.
  std::optional<std::string> path(const Node& node) const;

  // The value of a literal, or its complaint reported.
  template <typename T>
  std::optional<T> checked(Parsed<T> parsed, Mark at) const {
    if (parsed) return std::move(parsed).value();
    error(at, parsed.error().message, parsed.error().hint);
    return std::nullopt;
  }
  void wrong_type(const Node& node, std::string_view wanted, std::string hint = {}) const;

 private:
  [[nodiscard]] bool clean(std::string_view text, Mark at) const;

  Report& report_;
  const World& world_;
  const Options& options_;
  std::string folder_;
  mutable std::size_t env_bytes_ = 0;
};

}  // namespace muster::spec
