// Every limit of muster, with its unit and its reason. What users can set lives in the spec; these are the
// walls.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace muster::limits {

inline constexpr std::size_t spec_file_bytes_max = 4U << 20U;     // a spec is text by a person; 65 above it
inline constexpr std::size_t spec_files_max = 256;                // files that one `include` may bring
inline constexpr std::size_t socket_path_bytes_max = 107;         // sun_path of unix(7), without its final 0
inline constexpr int replicas_max = 1000;                         // per app
inline constexpr std::size_t name_chars_max = 31;                 // names become cgroup, log and volume names
inline constexpr std::size_t http_head_bytes_max = 32U << 10U;    // 431 above it
inline constexpr std::size_t http_fields_max = 100;               // 431 above it
inline constexpr std::size_t http_target_bytes_max = 16U << 10U;  // 414 above it
inline constexpr std::size_t http_chunk_ext_bytes_max = 256;      // per chunk
inline constexpr std::size_t http_chunk_ext_total_max = 4U << 10U;  // per message
inline constexpr std::size_t http_trailer_bytes_max = 8U << 10U;    // per message
inline constexpr std::size_t replay_buffer_bytes = 64U << 10U;  // a request body up to this can be sent again
inline constexpr std::size_t proxy_header_bytes_max = 4U << 10U;  // what a proxy tells in front of a stream
inline constexpr long tls_sessions_max = 20480;  // kept for clients that take no tickets, per listener
inline constexpr std::size_t log_line_bytes_max = 16U << 10U;        // longer lines are split
inline constexpr std::size_t control_request_bytes_max = 1U << 20U;  // body of one control request
inline constexpr std::size_t control_clients_max = 64;               // connections to the control socket
inline constexpr std::size_t events_kept_max = 1000;                 // ring of events behind `muster events`
inline constexpr std::size_t mailbox_letters_max = 65536;            // traffic threads -> control loop
inline constexpr std::size_t upstream_failures_max = 1024;           // reports of failed tries, per loop turn
inline constexpr std::size_t probe_output_bytes_max = 4U << 10U;     // kept of a probe's answer
// From the order to the app's exec: a user database or a file system may hang.
inline constexpr std::chrono::milliseconds start_max{60'000};
inline constexpr std::chrono::milliseconds listen_check_every{
    1000};  // a busy numbered port is looked at again

inline constexpr std::size_t log_turn_bytes = 256U << 10U;        // of all replicas' output, per loop turn
inline constexpr std::size_t access_lines_bytes_max = 8U << 20U;  // of access logs, not yet written
inline constexpr std::size_t log_match_bytes_max = 1U << 10U;     // of a line that `log:REGEX` looks at
inline constexpr std::size_t log_files_max = 50000;               // looked at in the log folder
inline constexpr std::size_t log_stream_bytes_max = 1U << 20U;    // waiting for one `logs -f` client
inline constexpr std::size_t event_text_bytes_max = 4U << 10U;    // of one event
inline constexpr std::size_t watch_folders_max = 1000;           // per app with `watch`; inotify's are finite
inline constexpr std::size_t state_file_bytes_max = 64U << 20U;  // more was not written by us

inline constexpr std::uint64_t volume_size_bytes_min = 64U << 10U;  // a directory alone takes some blocks
inline constexpr std::size_t volume_stamp_bytes_max = 1U << 10U;    // in the lock file beside a volume
inline constexpr std::size_t volumes_found_max = 100000;    // by a daemon that has lost its list of them
inline constexpr std::size_t volume_links_max = 1U << 20U;  // files with several names, of one volume
// A look at how much is in the volumes may take so long, in all; a size that nothing enforces is looked at so often.
inline constexpr std::chrono::milliseconds volume_look_max{5'000};
inline constexpr std::chrono::milliseconds volume_look_every{300'000};

inline constexpr std::size_t job_runs_max = 100;  // of one job at once, with overlap = "allow"
inline constexpr int job_retries_max = 1000;

inline constexpr std::size_t revisions_kept_max = 10;           // of an app, to go back to
inline constexpr std::size_t revisions_bytes_max = 16U << 20U;  // of all apps in the state file

inline constexpr std::size_t spec_nesting_max = 16;     // tables or lists within each other
inline constexpr std::size_t spec_tables_max = 50000;   // tables, lists and dotted keys of one file
inline constexpr std::size_t spec_values_max = 250000;  // values of one file
inline constexpr std::size_t spec_names_max = 1000;  // ports, volumes, addresses … of one app or listener
inline constexpr std::size_t spec_apps_max = 2000;   // `[defaults]` is merged into each of them
inline constexpr std::size_t spec_jobs_max = 2000;
inline constexpr std::size_t spec_errors_max = 1000;          // reported; the rest is counted
inline constexpr std::size_t spec_syntax_errors_max = 20;     // of one file; it is read anew after each
inline constexpr std::size_t env_bytes_max = 64U << 20U;      // all apps' env_files together
inline constexpr std::size_t env_file_bytes_max = 1U << 20U;  // an environment is far smaller

}  // namespace muster::limits
