#include "supervisor/volumes_json.h"

#include <chrono>

#include "boost/json.hpp"
#include "supervisor/json_text.h"
#include "supervisor/text.h"

namespace muster::supervisor {

namespace json = boost::json;

namespace {

json::value text_or_null(const std::string& text) {
  return text.empty() ? json::value(nullptr) : json::value(escape_for_terminal(text));
}

template <typename Number>
json::value number_or_null(const std::optional<Number>& number) {
  return number ? json::value(*number) : json::value(nullptr);
}

}  // namespace

std::string volumes_json(const std::vector<VolumeRow>& rows) {
  json::array volumes;
  for (const VolumeRow& row : rows) {
    const VolumeCandidate& of = row.of;
    json::object made{{"app", of.replica.app},
                      {"ordinal", of.replica.ordinal},
                      {"name", of.key},
                      {"path", escape_for_terminal(of.path)},
                      {"state", row.state},
                      {"reason", text_or_null(row.reason)},
                      {"registered", of.record.has_value()}};
    made["made"] = nullptr;
    if (of.record) made["made"] = rfc3339_s(WallTime(std::chrono::milliseconds(of.record->made_ms)));
    made["owner"] = text_or_null(row.owner);
    made["size_bytes"] = number_or_null(of.size);
    made["size_enforced"] = of.enforced;
    made["size_note"] = text_or_null(of.why_not);
    made["used_bytes"] = number_or_null(row.used_bytes);
    made["used_complete"] = row.used_complete;
    volumes.push_back(std::move(made));
  }
  return json_text(json::object{{"schema", 1}, {"volumes", std::move(volumes)}});
}

}  // namespace muster::supervisor
