// What a replica's process is started with: arguments, environment, folder. Pure: everything it may see comes in.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "spec/spec.h"
#include "supervisor/process_order.h"

namespace muster::supervisor {

struct AccountInfo {  // passwd(5) of the user that the app runs as
  std::string name;
  std::string home;
  std::string shell;
};

// What is known of one tenancy of a slot.
struct LaunchContext {
  ReplicaId replica;
  int replicas = 1;
  std::vector<std::pair<std::string, std::uint16_t>> ports;    // "" = {port}
  std::string socket;                                          // {port} where it is a path; empty: it is none
  std::vector<std::pair<std::string, std::string>> volumes;    // key -> absolute path
  std::vector<std::pair<std::string, std::string>> addresses;  // app -> "addr:port[,…]"
  std::string folder;                                          // the spec's
  std::vector<std::string> daemon_environment;                 // "NAME=value", as muster was started with
  AccountInfo account;
  bool other_user = false;         // the account is not the daemon's own
  bool own_user = false;           // … and no other process of muster's has it: LimitOrder
  std::string notify_socket;       // empty: none
  bool unbuffered_python = false;  // `up`
};

// The text of a template variable; "" for one that a checked spec cannot have.
std::string value_of(const spec::TemplateVariable& variable, const LaunchContext& context);

// `{…}` expanded as one word of sh(1): a value with other characters than letters, digits and %+,-./:=@_ is quoted.
std::string shell_quoted(std::string_view value);

LimitOrder bounds_of(const spec::App& app, const LaunchContext& context);

ProcessOrder main_order(const spec::App& app, const LaunchContext& context);

// Probe commands and stop.exec: the same environment, user and folder, without the sd_notify variables.
ProcessOrder command_order(const spec::App& app, const std::vector<spec::Template>& command,
                           const LaunchContext& context);

}  // namespace muster::supervisor
