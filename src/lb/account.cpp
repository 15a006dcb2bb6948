// What is counted of a request at its end, and its line in the access log.
#include "lb/exchange.h"

namespace muster::lb {

// Before any suspension: the head lies in the scratch.
void Exchange::remember(std::string_view input, std::string_view request_id) {
  const RequestHead& head = worker_.request_head();
  std::string_view user_agent;
  std::string_view referer;
  for (const Field& field : head.fields.all()) {
    if (field.kind != FieldKind::other) continue;
    if (equals_ignoring_case(field.name, "user-agent")) user_agent = field.value;
    if (equals_ignoring_case(field.name, "referer")) referer = field.value;
  }
  entry_ = frontend_->access_log->begin(frontend_->listener.access_log);
  entry_->remember(first_line(input), head.authority, request_id_of(head, request_id), user_agent, referer);
}

// It takes no more: because it closed, or because it did not read for so long.
void Exchange::client_gone(Instant since, Millis limit) {
  const bool waited = worker_.loop().now() - since >= limit;
  end_ = waited ? AccessEnd::client_timeout : AccessEnd::client_closed;
}

void Exchange::account() {
  if (carried_) return;
  if (end_ != AccessEnd::complete && worker_.loop().shut()) end_ = AccessEnd::stopped;
  if (end_ == AccessEnd::stopped && worker_.giving_up()) ++worker_.losses().requests;
  ListenerCounters& listener = *frontend_->counters;
  if (end_ == AccessEnd::muster_refused) listener.refused.add();
  const bool answered = status_ != 0;
  // One that ended in the round in which its head was sent ended then; else the clock is read once more.
  const bool same_round = answered && worker_.loop().now() <= first_byte_;
  const Nanos first_byte = first_byte_ - begun_;
  const Nanos total = same_round ? first_byte : std::chrono::steady_clock::now() - begun_;
  if (answered) {
    const PlacedLength until_first_byte(first_byte);
    const PlacedLength counted = same_round || status_ == 101 ? until_first_byte : PlacedLength(total);
    listener.responses.add(status_);
    listener.first_byte.add(until_first_byte);
    listener.total.add(counted);
    if (replica_answered_) {
      InstanceCounters& replica = replica_->counters();
      replica.responses.add(status_);
      replica.first_byte.add(until_first_byte);
      replica.total.add(counted);
    }
  }
  if (entry_) write_line(first_byte, total);
}

void Exchange::write_line(Nanos first_byte, Nanos total) {
  AccessRecord record;
  record.client = client_.address.text;
  record.status = status_ == 0 && end_ == AccessEnd::client_closed ? status_client_closed : status_;
  record.bytes_in = body_bytes_;
  record.bytes_out = answer_bytes_ - std::min<std::uint64_t>(answer_bytes_, blocked_.size());
  if (replica_) record.replica = replica_->label();
  if (status_ != 0) record.first_byte = first_byte;
  record.total = total;
  record.end = end_;
  entry_->fill(record);
  entry_->log->write(entry_->format, record);
}

}  // namespace muster::lb
