// What a request pays in the pure parts of the balancer: time and, where perf_event_open(2) is allowed, instructions
// (--benchmark_perf_counters=INSTRUCTIONS).
#include <benchmark/benchmark.h>

#include <string_view>

#include "lb/http_head.h"
#include "lb/http_write.h"
#include "lb/shared_state.h"
#include "lb/wheel.h"

namespace {

using namespace muster::lb;

constexpr std::string_view small_request =
    "GET /64 HTTP/1.1\r\nHost: bench.local\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n";
constexpr std::string_view browser_request =
    "GET /assets/app-7f3c9e.js?v=20 HTTP/1.1\r\nHost: www.example.org\r\n"
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n"
    "Accept: */*\r\nAccept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n"
    "Referer: https://www.example.org/\r\nConnection: keep-alive\r\n"
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nSec-Fetch-Dest: script\r\n"
    "Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Site: same-origin\r\nPriority: u=2\r\n\r\n";
constexpr std::string_view small_answer =
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Backend: 41350\r\nContent-Length: 64\r\n\r\n";

void parse_request_head(benchmark::State& state, std::string_view bytes) {
  RequestHead head;
  for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(parse_request(bytes, head));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}
BENCHMARK_CAPTURE(parse_request_head, small, small_request);
BENCHMARK_CAPTURE(parse_request_head, browser, browser_request);

void parse_answer_head(benchmark::State& state, std::string_view bytes) {
  ResponseHead head;
  for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(parse_response(bytes, head));
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(bytes.size()));
}
BENCHMARK_CAPTURE(parse_answer_head, small, small_answer);

void write_request(benchmark::State& state, std::string_view bytes) {
  RequestHead head;
  parse_request(bytes, head);
  const Origin origin{.address = "192.0.2.7", .request_id = "0123456789abcdef0123456789abcdef"};
  Buffer out;
  for ([[maybe_unused]] auto _ : state) {
    out.clear();
    write_request_head(out, head, origin);
    benchmark::DoNotOptimize(out.view().data());
  }
}
BENCHMARK_CAPTURE(write_request, small, small_request);
BENCHMARK_CAPTURE(write_request, browser, browser_request);

void write_answer(benchmark::State& state, std::string_view bytes) {
  ResponseHead head;
  parse_response(bytes, head);
  Buffer out;
  for ([[maybe_unused]] auto _ : state) {
    out.clear();
    write_response_head(out, head, {.body = BodyKind::sized});
    benchmark::DoNotOptimize(out.view().data());
  }
}
BENCHMARK_CAPTURE(write_answer, small, small_answer);

void take_turn(benchmark::State& state) {
  static RoundRobin turns;
  for ([[maybe_unused]] auto _ : state) benchmark::DoNotOptimize(turns.next(7));
}
BENCHMARK(take_turn)->ThreadRange(1, 2);

// Among as many other deadlines as connections wait for.
void arm_and_disarm(benchmark::State& state) {
  const muster::Instant start{};
  Wheel wheel(start);
  std::vector<WheelNode> others(static_cast<std::size_t>(state.range(0)));
  for (std::size_t i = 0; i < others.size(); ++i)
    wheel.arm(others[i], start + muster::Millis{1000 + i % 60000});
  WheelNode node;
  for ([[maybe_unused]] auto _ : state) {
    wheel.arm(node, start + muster::Millis{30000});
    wheel.disarm(node);
  }
  for (WheelNode& other : others) wheel.disarm(other);
}
BENCHMARK(arm_and_disarm)->Arg(1)->Arg(10000);

}  // namespace

BENCHMARK_MAIN();
