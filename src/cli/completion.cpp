#include "cli/completion.h"

#include <algorithm>

#include "cli/commands.h"
#include "cli/commands_run.h"
#include "cli/json_view.h"
#include "cli/output.h"
#include "cli/volume_names.h"
#include "fmt/core.h"
#include "supervisor/text.h"

namespace muster::cli {

namespace {

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::vector<std::string> command_names() {
  std::vector<std::string> names;
  for (const CommandRow& row : all_commands()) names.emplace_back(row.name);
  return names;
}

// Long and short words of the flags that are not refused.
std::vector<std::string> flag_names(std::span<const FlagKey> keys) {
  std::vector<std::string> names;
  for (const FlagKey key : keys) {
    const Flag& flag = flag_row(key);
    if (flag.later) continue;
    names.emplace_back(flag.long_name);
    if (!flag.short_name.empty()) names.emplace_back(flag.short_name);
  }
  return names;
}

// What the hidden words "apps", "replicas", "jobs" and "volumes" of `muster completion` print.
std::string_view source_of(Operand operand) {
  switch (operand) {
    case Operand::app:
    case Operand::app_count:
    case Operand::rollout:
      return "apps";
    case Operand::app_or_replica:
    case Operand::replica:
      return "replicas";
    case Operand::job:
      return "jobs";
    case Operand::volumes:
      return "volumes";
    case Operand::none:
    case Operand::shell:
      return "";
  }
  return "";
}

std::string bash_script() {
  std::string cases;
  for (const CommandRow& row : all_commands()) {
    std::string words;
    if (const auto source = source_of(row.operand); !source.empty())
      words = fmt::format("$(muster completion {} 2>/dev/null)", source);
    if (row.operand == Operand::shell) words = "bash zsh fish";
    if (row.operand == Operand::rollout) words.insert(0, "status undo history ");
    if (row.operand == Operand::volumes) words.insert(0, "adopt rm ");
    cases +=
        fmt::format("    {}) flags=\"{}\" words=\"{}\" ;;\n", row.name, joined(flag_names(row.flags)), words);
  }
  return fmt::format(R"sh(# bash completion of muster: source <(muster completion bash)
_muster() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} command="" word flags="" words=""
  local all="{all}"
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    if [[ " $all " == *" $word "* ]]; then command=$word; break; fi
  done
  case $prev in
    -o|--output) COMPREPLY=($(compgen -W "table wide json" -- "$cur")); return ;;
    -f|--file|--socket)
      if [[ $prev != -f || ( $command != logs && $command != events ) ]]; then
        COMPREPLY=($(compgen -f -- "$cur")); return
      fi ;;
    --state-dir) COMPREPLY=($(compgen -d -- "$cur")); return ;;
  esac
  case $command in
{cases}    *) words="$all" ;;
  esac
  if [[ $cur == -* ]]; then words="$flags {global}"; fi
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}}
complete -F _muster muster
)sh",
                     fmt::arg("all", joined(command_names())), fmt::arg("cases", cases),
                     fmt::arg("global", joined(flag_names(global_flags()))));
}

// Inside '…' of zsh and fish, and before a ':' of zsh's _describe.
std::string quoted(std::string_view text, bool colons) {
  std::string made;
  for (const char c : text) {
    if (c == '\'') {
      made += "'\\''";
    } else if (c == ':' && colons) {
      made += "\\:";
    } else {
      made += c;
    }
  }
  return made;
}

std::string zsh_script() {
  std::string commands;
  std::string cases;
  for (const CommandRow& row : all_commands()) {
    commands += fmt::format("    '{}:{}'\n", row.name, quoted(row.does, true));
    std::string words;
    if (const auto source = source_of(row.operand); !source.empty())
      words = fmt::format("${{(f)\"$(muster completion {} 2>/dev/null)\"}}", source);
    if (row.operand == Operand::shell) words = "bash zsh fish";
    if (row.operand == Operand::rollout) words.insert(0, "status undo history ");
    if (row.operand == Operand::volumes) words.insert(0, "adopt rm ");
    cases += fmt::format("    {}) flags=({}) words_here=({}) ;;\n", row.name, joined(flag_names(row.flags)),
                         words);
  }
  return fmt::format(R"sh(#compdef muster
# zsh completion of muster: muster completion zsh > "${{fpath[1]}}/_muster"
_muster() {{
  local -a commands flags words_here
  local command="" word
  commands=(
{commands}  )
  for word in ${{words[2,CURRENT-1]}}; do
    if [[ -n ${{(M)commands:#$word:*}} ]]; then command=$word; break; fi
  done
  case ${{words[CURRENT-1]}} in
    -o|--output) compadd table wide json; return ;;
    -f) if [[ $command != logs && $command != events ]]; then _files; return; fi ;;
    --file|--socket) _files; return ;;
    --state-dir) _files -/; return ;;
  esac
  case $command in
{cases}    *) if [[ $PREFIX != -* ]]; then _describe command commands; return; fi ;;
  esac
  if [[ $PREFIX == -* ]]; then compadd -- $flags {global}; else compadd -- $words_here; fi
}}
if [[ $funcstack[1] == _muster ]]; then _muster "$@"; else compdef _muster muster; fi
)sh",
                     fmt::arg("commands", commands), fmt::arg("cases", cases),
                     fmt::arg("global", joined(flag_names(global_flags()))));
}

std::string fish_flag(const Flag& flag, std::string_view condition) {
  if (flag.later) return "";
  std::string line = fmt::format("complete -c muster{} -l {}", condition, flag.long_name.substr(2));
  if (!flag.short_name.empty()) line += fmt::format(" -s {}", flag.short_name.substr(1));
  if (!flag.value.empty()) line += flag.key == FlagKey::output ? " -x -a 'table wide json'" : " -r";
  return line + fmt::format(" -d '{}'\n", quoted(flag.does, false));
}

std::string fish_script() {
  const std::string all = joined(command_names());
  std::string text =
      "# fish completion of muster: muster completion fish > ~/.config/fish/completions/muster.fish\n";
  text += "complete -c muster -f\n";
  for (const FlagKey key : global_flags()) text += fish_flag(flag_row(key), "");
  for (const CommandRow& row : all_commands()) {
    text += fmt::format("complete -c muster -n 'not __fish_seen_subcommand_from {}' -a {} -d '{}'\n", all,
                        row.name, quoted(row.does, false));
    const std::string seen = fmt::format(" -n '__fish_seen_subcommand_from {}'", row.name);
    for (const FlagKey key : row.flags) text += fish_flag(flag_row(key), seen);
    if (const auto source = source_of(row.operand); !source.empty())
      text += fmt::format("complete -c muster{} -a '(muster completion {} 2>/dev/null)'\n", seen, source);
    if (row.operand == Operand::rollout)
      text += fmt::format("complete -c muster{} -a 'status undo history'\n", seen);
    if (row.operand == Operand::volumes) text += fmt::format("complete -c muster{} -a 'adopt rm'\n", seen);
    if (row.operand == Operand::shell) text += fmt::format("complete -c muster{} -a 'bash zsh fish'\n", seen);
  }
  return text;
}

// Apps and volumes, as `muster volumes` takes them.
int print_volumes(const Context& context) {
  auto client = find_daemon(context);
  auto answer = client ? client.value().get("/v1/volumes?use=0", std::chrono::seconds(2))
                       : Result<Answer>(client.error());
  if (!answer) return fail(answer.error());
  const auto parsed = parse_object(answer.value().body);
  if (!parsed) return fail(parsed.error());
  std::string last;
  JsonView(&parsed.value())["volumes"].each([&](JsonView row) {
    const std::string app = supervisor::escape_for_terminal(row["app"].text());
    if (app != last) print(app + "\n");
    last = app;
    print(volume_name_of(row) + "\n");
  });
  return 0;
}

// The names of what runs, for the scripts above.
int print_names(const Context& context, const std::string& what) {
  auto client = find_daemon(context);
  auto answer =
      client ? client.value().get("/v1/status", std::chrono::seconds(2)) : Result<Answer>(client.error());
  if (!answer) return fail(answer.error());
  const auto parsed = parse_object(answer.value().body);
  if (!parsed) return fail(parsed.error());
  const JsonView status(&parsed.value());
  const auto print_jobs = [&status] {
    status["jobs"].each(
        [](JsonView job) { print(supervisor::escape_for_terminal(job["name"].text()) + "\n"); });
  };
  if (what == "jobs") {
    print_jobs();
    return 0;
  }
  const bool replicas = what == "replicas";
  status["apps"].each([&](JsonView app) {
    print(supervisor::escape_for_terminal(app["name"].text()) + "\n");
    if (!replicas) return;
    app["replicas"].each(
        [](JsonView row) { print(supervisor::escape_for_terminal(row["id"].text()) + "\n"); });
  });
  if (replicas) print_jobs();  // `logs`, `events` and `why` take them, too
  return 0;
}

}  // namespace

std::optional<std::string> completion_script(const std::string& shell) {
  if (shell == "bash") return bash_script();
  if (shell == "zsh") return zsh_script();
  if (shell == "fish") return fish_script();
  return std::nullopt;
}

int run_completion(const Context& context) {
  const std::string& shell = context.arguments.operands.front();
  if (shell == "volumes") return print_volumes(context);
  if (shell == "apps" || shell == "replicas" || shell == "jobs") return print_names(context, shell);
  const auto script = completion_script(shell);
  if (!script) return fail(Error{.message = "completion is for bash, zsh or fish", .code = ExitCode::usage});
  print(*script);
  return 0;
}

}  // namespace muster::cli
