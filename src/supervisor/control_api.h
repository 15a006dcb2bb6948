// What the paths of the control API do. Clients: src/cli, or `curl --unix-socket`.
//
//   GET  /v1/status                                        the body of `ps -o json`
//   GET  /v1/events?after=SEQ|app=A|ordinal=N|follow=1     NDJSON, one event a line (event_log.h to_json_line);
//                                                          {"lost":N} where a slow client was overtaken
//   GET  /v1/logs?app=A&ordinal=N&tail=N&since=T&follow=1  NDJSON, one line of output a line (append_json_line)
//   GET  /v1/why?app=A&ordinal=N                           {"app":"web","ordinal":2|null,"state":"…","reason":"…",
//                                                           "chain":["sentence", …],"logs":[line, …]}
//   GET  /v1/rollout?app=A                                 {"app":"web","revision":3,"file_revision":4,"failed":"…",
//                                                           "waits_for":"…","revisions":[…],"history":[…], …}
//   GET  /v1/plan                                          what the spec as it is now would change (plan_json): "code" 2,
//                                                          nothing: 0; a bad spec: {"code":65,"message":"…"}
//   GET  /v1/volumes?app=A&ordinal=N&use=0                 what `muster volumes` shows (volumes_json.h); use=0: without
//                                                          looking how much is in them
//   POST /v1/volumes/adopt  /v1/volumes/rm                 {"path":"/…"}: of one that GET shows. What rm has begun ends
//                                                          also when nobody waits for it
//   GET  /v1/version                                       {"version":"0.1.0","pid":1,"containment":"…"}
//   POST /v1/apply                                         {"wait":true,"retry":false,"plan":"ID"}: refused when stale
//   POST /v1/start  /v1/stop                               {"app":"web","ordinal":2|null,"wait":true}
//   POST /v1/restart                                       … and "now":false
//   POST /v1/scale                                         {"app":"web","replicas":4|null,"wait":true}; null: =file
//   POST /v1/drain  /v1/undrain                            {"app":"web","ordinal":0,"wait":true}
//   POST /v1/rollout/undo                                  {"app":"web","wait":true}; /v1/resume ends its hold
//   POST /v1/run                                           {"job":"nightly","wait":true}
//   GET  /v1/upgrade                                       what the last upgrade in place was: {"id":"…","from":"0.1.0",
//                                                          "to":"0.1.0","message":"…","pause_ms":7.5}; none: {}
//   POST /v1/upgrade                                       {"grace_ms":2000,"id":"…"}: answered when it is refused; else
//                                                          the connection ends with this image, and the next one
//                                                          tells about that id
//   POST /v1/down                                          {"now":false}; answered before the daemon ends
//
// Every POST is answered by 200 and {"code":N,"message":"…"}, code by sysexits(3) as in base/error.h: at once for a
// refused request, with "wait":false after validation, else when the apps it touched are settled. A client that goes
// away stops waiting; what it asked for goes on. A bad request: 400, an unknown path: 404, a wrong method: 405, each
// with {"error":"sentence"}.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "supervisor/control_server.h"
#include "supervisor/engine.h"
#include "supervisor/plan_work.h"
#include "supervisor/spec_source.h"
#include "supervisor/upgrade.h"

namespace muster::supervisor {

struct ReloadRequest {
  std::optional<CommandId> command = std::nullopt;
  bool retry = false;                              // revisions that failed are tried again
  std::optional<std::string> plan = std::nullopt;  // only what that plan has shown
};

struct ControlApiHooks {
  // Reads the spec again; the command is answered by CommandDone, or here when the file is refused.
  std::function<Status(const ReloadRequest&)> reload;
  std::function<void(const std::string& why, bool at_once)> shut_down;
  // `failed` is called when this image goes on.
  std::function<void(UpgradeRequest, std::function<void(const Error& error)> failed)> upgrade;
  std::function<std::string()> last_upgrade;  // the body of GET /v1/upgrade
};

class ControlApi {
 public:
  // Both outlive this.
  ControlApi(Engine& engine, const SpecSource& source, ControlApiHooks hooks)
      : engine_(engine), source_(source), hooks_(std::move(hooks)), plan_work_(engine.loop()) {}

  void handle(const ControlRequest& request, const std::shared_ptr<ControlReply>& reply);
  void command_done(const CommandDone& done);
  // The daemon ends: whoever still waits is told.
  void finish(const std::string& message);
  // This image is about to end: those who wait are told that what they asked for goes on.
  void tell_of_upgrade();

 private:
  using Reply = std::shared_ptr<ControlReply>;
  void status(const Reply& reply);
  void events(const ControlRequest& request, const Reply& reply);
  void logs(const ControlRequest& request, const Reply& reply);
  void why(const ControlRequest& request, const Reply& reply);
  void rollout(const ControlRequest& request, const Reply& reply);
  void plan(const Reply& reply);
  void volumes(const ControlRequest& request, const Reply& reply);
  void change_volume(const ControlRequest& request, const Reply& reply);
  void version(const Reply& reply);
  struct AppOrder {
    Target target;
    bool wait = true;
    bool now = false;
    std::optional<int> replicas = std::nullopt;
  };
  void post(const ControlRequest& request, const Reply& reply);
  void post_to_app(const std::string& path, const AppOrder& order, const Reply& reply);
  void apply(const Reply& reply, bool wait, ReloadRequest request);
  void down(const Reply& reply, bool now, bool wait);
  void upgrade(const Reply& reply, UpgradeRequest request);
  // Emits the event that `make` gives for a new command, and answers when it is done (or at once).
  void command(const Reply& reply, bool wait, const std::function<Event(CommandId)>& make);
  void settle(CommandId id, const Reply& reply, bool wait);

  Engine& engine_;
  const SpecSource& source_;
  ControlApiHooks hooks_;
  PlanWork plan_work_;
  std::map<CommandId, Reply> waiting_;
  std::vector<Reply> waiting_for_end_;
};

}  // namespace muster::supervisor
