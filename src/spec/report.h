// Collects what is wrong with a spec, in whatever order it is found, and hands it out in the order of the files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "spec/load.h"
#include "spec/tree.h"

namespace muster::spec {

class Report {
 public:
  // Files are numbered from 0 in the order of their adding; the text is kept for the lines of errors.
  std::uint32_t add_file(std::string path, std::string text);
  [[nodiscard]] const std::string& path(std::uint32_t file) const { return files_.at(file).path; }

  void error(Mark at, std::string message, std::string hint = {}, std::string listener = {});
  void warning(Mark at, std::string message, std::string hint = {});
  // Further errors are only counted: nobody need look for a hint.
  [[nodiscard]] bool full() const;
  [[nodiscard]] bool failed() const { return errors_ > 0; }

  [[nodiscard]] Position position(Mark at) const;
  [[nodiscard]] std::string place(Mark at) const;  // "FILE:3:1", for errors that name a second place

  // Sorted, each said once. At most limits::spec_errors_max and a last one that counts the rest.
  [[nodiscard]] std::vector<Diagnostic> finish();

 private:
  struct File {
    std::string path;
    std::string text;
    std::vector<std::size_t> lines;  // where each starts; filled when first needed
  };
  struct Entry {
    Mark at;
    Diagnostic::Severity severity = Diagnostic::Severity::error;
    std::string message;
    std::string hint;
    std::string listener = {};
  };
  void add(Entry entry);
  void fill_line(Diagnostic& diagnostic, Mark at);

  std::vector<File> files_;
  std::vector<Entry> entries_;
  std::set<std::tuple<Mark, std::string>> said_;  // [defaults] is read once for each app
  std::size_t errors_ = 0;
  std::size_t left_out_ = 0;
};

}  // namespace muster::spec
