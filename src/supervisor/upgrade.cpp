#include "supervisor/upgrade.h"

#include <unistd.h>

namespace muster::supervisor {

namespace {
constexpr Millis answer_limit{5000};  // of the binary that is asked
constexpr Millis patience{10};        // in which a moment without a request in flight is waited for
constexpr Millis between_tries{50};   // in which all goes on as always
constexpr Millis between_looks{2};    // at starts under way
}  // namespace

Upgrade::Upgrade(uv_loop_s* loop, Traffic& traffic, std::string binary, UpgradeHooks hooks)
    : traffic_(traffic),
      binary_(std::move(binary)),
      hooks_(std::move(hooks)),
      next_try_(loop, [this] { try_pause(); }) {}

void Upgrade::begin(UpgradeRequest request, Done done) {
  request_ = std::move(request);
  done_ = std::move(done);
  const auto question = hooks_.write_question();
  if (!question) return fail(question.error());
  hooks_.run(question_words(binary_, question.value()), answer_limit,
             [this, file = question.value().file](const CommandResult& answer) {
               ::unlink(file.c_str());
               on_answer(answer);
             });
}

void Upgrade::on_answer(const CommandResult& answer) {
  const auto version = verdict_of(binary_, answer);
  if (!version) return fail(version.error());
  if (const Status opened = hooks_.open_listeners(); !opened) return fail(opened.error());
  hooks_.on_agreed(version.value());
  deadline_ = std::chrono::steady_clock::now() + request_.grace;
  try_pause();
}

void Upgrade::try_pause() {
  if (must_wait()) return next_try_.start(between_looks);
  paused_since_ = std::chrono::steady_clock::now();
  traffic_.quiesce(patience, [this](std::uint64_t in_flight) { on_quiesced(in_flight); });
}

bool Upgrade::must_wait() const {
  return std::chrono::steady_clock::now() < deadline_ && hooks_.is_starting();
}

// One slow request must not hold up all others: they go on until the next try.
void Upgrade::on_quiesced(std::uint64_t in_flight) {
  if ((in_flight == 0 && !must_wait()) || std::chrono::steady_clock::now() >= deadline_) return go();
  traffic_.resume();
  next_try_.start(between_tries);
}

void Upgrade::go() {
  lb::Handover handover = traffic_.give_up();
  const Error error = hooks_.become(request_, paused_since_, handover);
  // This image is still there.
  if (const Status back = traffic_.take_back(std::move(handover)); !back) {
    return fail(
        Error{.message = error.message + "; and traffic cannot be taken up again: " + back.error().message});
  }
  fail(error);
}

void Upgrade::fail(const Error& error) {
  traffic_.forget_prepared();
  if (const Done done = std::exchange(done_, nullptr)) done(error);
}

}  // namespace muster::supervisor
