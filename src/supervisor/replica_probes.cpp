#include "supervisor/replica_probes.h"

#include "base/check.h"
#include "supervisor/port_verdict.h"
#include "supervisor/socket_owner.h"

namespace muster::supervisor {

namespace {
health::Outcome outcome_of(const CommandResult& result) {
  health::Outcome outcome;
  outcome.output = result.output;
  if (!result.started) {
    outcome.code = health::ProbeCode::cmd_error;
    outcome.sentence = "the probe command could not be started: " + result.sentence;
  } else if (result.timed_out) {
    outcome.code = health::ProbeCode::timeout;
    outcome.sentence = "the probe command: " + result.sentence;
  } else if (result.status && result.status->code == 0) {
    outcome.sentence = "the probe command exited with status 0";
  } else {
    outcome.code = health::ProbeCode::cmd_failed;
    outcome.sentence = "the probe command " + result.sentence;
  }
  return outcome;
}
}  // namespace

// A connection stands: whose is it? Nothing has been sent yet.
std::optional<health::Outcome> ReplicaProbes::judge(const ReplicaProbe& probe, const std::string& address) {
  const std::vector<int> pids = host_.pids_of(probe.instance);
  PortQuestion question;
  question.port = probe.port;
  question.address = address;
  question.all = listening_sockets();
  std::erase_if(question.all, [&](const ListeningSocket& socket) { return socket.port != probe.port; });
  question.own = held_by(pids, question.all);
  question.holder = [&pids](std::uint64_t inode) { return holder_of(inode, pids); };
  return judge_open_port(question);
}

void ReplicaProbes::start(ReplicaProbe probe, std::function<void(health::Outcome)> done) {
  const Key key{probe.instance, probe.kind};
  MUSTER_CHECK(!runs_.contains(key));
  Run& run = runs_[key];
  run.probe = std::move(probe);
  run.done = std::move(done);
  if (run.probe.port == 0 && run.probe.socket.empty()) return network_done(key, health::Outcome{});
  health::NetworkProbe network;
  network.port = run.probe.port;
  network.socket = run.probe.socket;
  network.first_address = run.probe.first_address;
  network.http_path = run.probe.http_path;
  network.preface = run.probe.preface;
  network.expect = run.probe.expect;
  network.timeout = run.probe.timeout;
  // A socket lies in a folder of the process's own: there is no doubt whose it is.
  if (run.probe.socket.empty())
    network.veto = [this, key](const std::string& address) -> std::optional<health::Outcome> {
      Run& judged = runs_.at(key);
      auto outcome = judge(judged.probe, address);
      if (!outcome || !outcome->healthy()) return outcome;
      judged.wide = std::move(outcome);  // healthy with a warning: what it answers still counts
      return std::nullopt;
    };
  run.network = prober_.start(std::move(network), [this, key](health::Outcome outcome) {
    runs_.at(key).network.reset();
    network_done(key, std::move(outcome));
  });
}

void ReplicaProbes::network_done(const Key& key, health::Outcome outcome) {
  Run& run = runs_.at(key);
  if (outcome.code == health::ProbeCode::refused && run.probe.look_elsewhere) {
    const auto own = listening_sockets_of(host_.pids_of(run.probe.instance));
    auto elsewhere = run.probe.socket.empty() ? judge_closed_port(run.probe.port, own)
                                              : judge_missing_socket(run.probe.socket, own);
    if (elsewhere) outcome = std::move(*elsewhere);
  }
  if (outcome.healthy() && run.wide) {
    run.wide->address = outcome.address;
    run.wide->output = std::move(outcome.output);
    outcome = std::move(*run.wide);
  }
  if (!outcome.healthy() || !run.probe.command) return finish(key, std::move(outcome));
  run.network_outcome = std::move(outcome);
  host_.run_command(run.probe.instance, *run.probe.command, run.probe.timeout,
                    [this, key](CommandResult result) {
                      const auto at = runs_.find(key);
                      if (at == runs_.end()) return;
                      health::Outcome of_command = outcome_of(result);
                      if (of_command.healthy()) {
                        health::Outcome whole = std::move(*at->second.network_outcome);
                        if (whole.sentence.empty()) whole.sentence = of_command.sentence;
                        if (whole.output.empty()) whole.output = of_command.output;
                        return finish(key, std::move(whole));
                      }
                      finish(key, std::move(of_command));
                    });
}

void ReplicaProbes::finish(const Key& key, health::Outcome outcome) {
  const auto done = std::move(runs_.at(key).done);
  runs_.erase(key);
  done(std::move(outcome));
}

void ReplicaProbes::cancel(InstanceId instance) {
  for (const auto kind : {health::ProbeKind::readiness, health::ProbeKind::liveness}) {
    const auto at = runs_.find({instance, kind});
    if (at == runs_.end()) continue;
    if (at->second.network) prober_.cancel(*at->second.network);
    runs_.erase(at);
  }
}

}  // namespace muster::supervisor
