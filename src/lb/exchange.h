// One request and its answer: pick a replica, send, wait, relay back; try again where that is safe.
//
// What is safe (the contract's promise 3): another try is made only while no byte of an answer came, and only if the
// request is idempotent or no byte of it was written, and only while all of it that was read still lies in the replay
// buffer. A parked connection that turns out to be dead costs no try: the same replica is asked on a new one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "lb/endpoint.h"
#include "lb/http_body.h"
#include "lb/http_write.h"
#include "lb/io.h"
#include "lb/worker.h"

namespace muster::lb {

struct HttpClient : Client {
  using Client::Client;
  [[nodiscard]] const spec::ListenTimeouts& timeouts() const { return listener->frontend->listener.timeout; }

  bool linger = false;        // the connection ends while the client may still be sending
  bool pipelined = false;     // `pending` may be a whole request
  std::uint8_t in_a_row = 0;  // requests since others had their turn
  Buffer pending;             // received and not consumed: a partial head, or the next request
  Instant head_deadline{};    // of the head that is awaited or has begun
};

class Exchange final : WaitsForReplica {
 public:
  // Carries the request whose head is in the worker's request_head() and stands at the beginning of `input`, with what
  // of its body and of later requests is there already. True: the client's connection can carry another request.
  static Task<bool> serve(HttpClient& client, std::string_view input);

  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;
  ~Exchange() override;

 private:
  explicit Exchange(HttpClient& client);
  [[nodiscard]] bool may_go_back() const;
  bool go_back();
  enum class Upload : std::uint8_t {
    going_on,
    replica_failed,  // it takes no more; what it answers decides
    done,
    // All below: the request is over.
    client_failed,
    client_too_slow,
    malformed,
    too_large,
  };
  enum class Heard : std::uint8_t { answer, tunnel, nothing, malformed, too_late, upload_ended };
  struct Refusal {
    int status = 0;  // 0: nothing can be said
    std::string_view text = {};
    int retry_after_seconds = 0;
    std::string_view type = "text/plain";
    std::string_view location = {};
    bool verbatim = false;  // the text is a whole body, not a sentence
    bool allow = false;     // the methods are listed
    AccessEnd end = AccessEnd::muster_refused;
  };

  // exchange.cpp: getting a replica and an answer out of it.
  void begin(std::string_view input);  // before any suspension
  [[nodiscard]] bool reach_at_once();
  Task<std::optional<Refusal>> reach_replica();  // none: upstream_ is there
  bool take_parked();
  Task<std::optional<Refusal>> wait_in_queue();
  bool pick_replica(bool in_turn);
  bool take_replica();
  void count_replica();
  bool is_routed();
  [[nodiscard]] bool must_wait() const;
  Instant queue_deadline();
  void choose(std::string_view authority, std::string_view target);
  [[nodiscard]] std::string_view authority() const { return staged_.view().substr(0, authority_bytes_); }
  [[nodiscard]] std::string_view target() const {
    return staged_.view().substr(authority_bytes_, head_begin_ - authority_bytes_);
  }
  bool has_replica(bool in_turn) override;
  [[nodiscard]] std::shared_ptr<Capacity> capacity() const override;
  [[nodiscard]] Client& client() override { return client_; }
  [[nodiscard]] bool is_over_at_end() const override { return true; }
  [[nodiscard]] Refusal answer_of_route();
  [[nodiscard]] const spec::ListenTimeouts& timeouts() const {
    return choice_.route != nullptr ? choice_.route->timeout : frontend_->listener.timeout;
  }
  void replica_failed(std::string_view what);
  [[nodiscard]] bool may_try_again() const;
  [[nodiscard]] bool parked_is_dead();
  Refusal refusal_of(Heard heard) const;
  Task<bool> refuse(Refusal refusal);
  // Valid until a suspension.
  struct Unread {
    std::string_view bytes = {};
    HeadState state = HeadState::need_more;
  };
  std::optional<Heard> hear_once(Waited waited, Unread& unread);
  Task<Heard> hear(Unread unread);
  [[nodiscard]] std::optional<Heard> unheard(Waited waited) const;
  std::optional<Heard> take_head(std::string_view bytes, HeadState& state);
  Task<bool> forward_interim(std::string_view bytes);
  Millis answer_limit() const;
  bool tries_again_after(Heard heard);
  [[nodiscard]] bool is_relayed() const;
  bool finish();
  [[nodiscard]] bool client_must_close() const;

  // account.cpp: what is counted of the request, and its line in the access log.
  void remember(std::string_view input, std::string_view request_id);
  void client_gone(Instant since, Millis limit);
  void account();
  void write_line(Nanos first_byte, Nanos total);

  // upload.cpp: the request's body.
  void take_body(std::string_view input);
  void encode_body(std::string_view payload);
  void end_body();
  void sending_failed();
  void start_upload();
  Task<> upload();
  Task<bool> upload_staged();
  Task<> stop_upload();

  // download.cpp: the answer.
  AnswerForm form_of(const ResponseHead& head) const;
  bool begin_answer(std::string_view bytes);
  bool pass_on(std::string_view bytes);
  void end_answer();
  Task<bool> relay_answer();
  Task<bool> run_tunnel();
  [[nodiscard]] TunnelRecord record_of_tunnel() const;

  HttpClient& client_;
  Worker& worker_;
  Busy busy_;
  Ref<Frontend> frontend_;
  Choice choice_;  // of frontend_
  Preference preference_;

  // The request: its authority and target, for another choice when the routing has changed; then what is sent of it:
  // the head, and the body while that fits the replay buffer.
  Buffer staged_;
  Buffer input_;  // as it came, until a replica is sent something of it
  std::size_t authority_bytes_ = 0;
  std::size_t head_begin_ = 0;
  std::size_t head_end_ = 0;
  std::size_t written_ = 0;  // up to here staged_ has gone to this replica
  BodyReader body_;
  std::uint64_t body_bytes_ = 0;
  std::optional<Refusal> refusal_;  // what is said instead of a replica's answer
  std::string location_;
  bool idempotent_ = false;
  bool answers_head_ = false;
  bool minor_1_ = true;
  bool keep_alive_ = false;
  bool wants_upgrade_ = false;
  bool replayable_ = true;

  // The try.
  std::vector<InstanceId> tried_;
  std::optional<InFlight> in_flight_;
  std::unique_ptr<Upstream> upstream_;
  int tries_ = 0;
  int interim_answers_ = 0;
  bool only_new_connection_ = false;
  bool wrote_anything_ = false;
  Instant queue_deadline_{};

  // The upload, beside the wait for the answer.
  Branch uploading_;
  bool ending_upload_ = false;
  Upload upload_ = Upload::done;
  Instant upload_progress_{};

  // The answer.
  BodyReader answer_;
  AnswerForm form_;
  Buffer blocked_;  // for the client
  bool answer_begun_ = false;
  bool interim_sent_ = false;  // the client has seen a 1xx of this request
  bool upstream_keep_alive_ = false;
  bool upstream_clean_ = false;
  bool answer_malformed_ = false;

  // The account.
  AccessEntryRef entry_;        // null: no line is written
  Ref<LocalEndpoint> replica_;  // the last that was asked
  Instant begun_;
  Instant first_byte_{};            // when the answer's head had been sent
  std::uint64_t answer_bytes_ = 0;  // of its body, passed on
  int status_ = 0;                  // 0: there was no answer
  bool replica_answered_ = false;
  AccessEnd end_ = AccessEnd::complete;
  bool carried_ = false;  // under the next balancer: it is accounted for there
};

// What each side sent before the tunnel began; of one that is given up, what is left.
struct EarlyBytes {
  Buffer from_client;
  Buffer from_replica;
  bool client_ended = false;  // its end has been read
  bool replica_ended = false;
};
struct TunnelCounters {
  InstanceCounters& replica;
  ListenerCounters& listener;
};
struct TunnelEnd {
  std::uint64_t bytes_in = 0;  // from the client
  std::uint64_t bytes_out = 0;
  AccessEnd end = AccessEnd::complete;
  bool given_up = false;
};
// Both ways until both sides have ended, or nothing moved for `limit`, or it is given up. Takes what was received too
// early, and gives back what is left.
Task<TunnelEnd> tunnel(Worker& worker, Socket& client, Socket& replica, EarlyBytes& early,
                       TunnelCounters counters, spec::ListenTimeouts timeouts);

}  // namespace muster::lb
