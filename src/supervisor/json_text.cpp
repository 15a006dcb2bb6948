#include "supervisor/json_text.h"

#include "boost/json.hpp"
#include "fmt/core.h"
#include "supervisor/text.h"

namespace muster::supervisor {

namespace json = boost::json;

namespace {

void append_double(std::string& to, double number) {
  std::string text = fmt::format("{:.3f}", number);
  while (text.back() == '0') text.pop_back();
  if (text.back() == '.') text += '0';
  to += text;
}

void append(std::string& to,
            const json::value& value) {  // NOLINT(misc-no-recursion): as deep as our own pages
  switch (value.kind()) {
    case json::kind::array: {
      to += '[';
      bool first = true;
      for (const json::value& element : value.get_array()) {
        if (!first) to += ',';
        first = false;
        append(to, element);
      }
      to += ']';
      break;
    }
    case json::kind::object: {
      to += '{';
      bool first = true;
      for (const auto& field : value.get_object()) {
        if (!first) to += ',';
        first = false;
        append_json_string(to, field.key());
        to += ':';
        append(to, field.value());
      }
      to += '}';
      break;
    }
    case json::kind::string:
      append_json_string(to, value.get_string());
      break;
    case json::kind::double_:
      append_double(to, value.get_double());
      break;
    case json::kind::null:
    case json::kind::bool_:
    case json::kind::int64:
    case json::kind::uint64:
      to += json::serialize(value);
      break;
  }
}

}  // namespace

std::string json_text(const json::value& value) {
  std::string text;
  append(text, value);
  return text;
}

}  // namespace muster::supervisor
