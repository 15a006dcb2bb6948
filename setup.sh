#!/usr/bin/env bash
# Sets muster up on Debian 12 (or a system with its packages): as root, or as a user with sudo.
#
#   ./setup.sh                install what is missing, build build/release/muster, run `muster demo`
#   ./setup.sh test           the same for the tests, then run them all (CI runs this)
#   ./setup.sh test --long    also: check, asan, tsan and the tests labelled long
#   ./setup.sh check          clang-format and clang-tidy over the tree
#   ./setup.sh asan | tsan    the suite under AddressSanitizer + UBSan, or under ThreadSanitizer
#   ./setup.sh build          only packages and build
#
# Nothing is asked of the package manager when nothing is missing.
set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"

BUILD_PACKAGES=(
  g++ cmake ninja-build            # the tool chain
  libboost1.81-dev                 # Beast: HTTP of the control API (headers only)
  libboost-json1.81-dev            # JSON of the control API and of `-o json`
  libuv1-dev                       # the control loop
  libssl-dev                       # TLS on listeners
  libtomlplusplus-dev              # the spec's syntax
  libspdlog-dev libfmt-dev         # the daemon's log, all text formatting
  libcli11-dev                     # the command line
  python3                          # apps of `muster demo`
)
TEST_PACKAGES=(
  libgtest-dev libgmock-dev        # unit tests and the simulator
  libbenchmark-dev                 # benchmarks of the pure parts
  nodejs node-ws redis-server      # real programs that the end-to-end tests supervise
  wrk nghttp2-client               # load generators (the second for h2load)
  curl procps                      # clients and process listings of the end-to-end tests
  openssl                          # certificates and TLS clients of the end-to-end tests
  systemd                          # systemd-analyze: verify and security of the units
  mmdebstrap systemd-container     # boot a real systemd for tests/systemd (root only)
)
CHECK_PACKAGES=(clang clang-tidy clang-format)
SANITIZER_PACKAGES=(clang libclang-rt-14-dev)

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

TIMES=()
timed() {  # timed NAME COMMAND…: runs it and notes its seconds
  local name=$1 begin=$SECONDS
  shift
  "$@"
  TIMES+=("$name $((SECONDS - begin)) s")
}

say_times() {
  local line
  line=$(printf '%s, ' "${TIMES[@]}")
  say "${line%, }; $SECONDS s in all so far"
}

missing_packages() {
  local package
  for package in "$@"; do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || echo "$package"
  done
}

as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  else
    sudo "$@"
  fi
}

install_packages() {
  command -v dpkg-query >/dev/null || die "this is not a Debian system; install by hand what the head of setup.sh lists"
  local missing
  mapfile -t missing < <(missing_packages "$@")
  if [[ ${#missing[@]} == 0 ]]; then
    say "all ${#} packages are there"
    return
  fi
  say "installing ${missing[*]}"
  if [[ $(id -u) != 0 ]] && ! command -v sudo >/dev/null; then
    die "not root and no sudo; as root: apt-get install ${missing[*]}"
  fi
  as_root apt-get update -q
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" </dev/null
}

configure() {  # configure PRESET TESTING(ON/OFF) CMAKE_ARGUMENT…
  local launcher=""
  if command -v ccache >/dev/null; then launcher=ccache; fi
  # Precompiled headers are cached under these two conditions only.
  if [[ $launcher == ccache ]]; then export CCACHE_SLOPPINESS=pch_defines,time_macros; fi
  cmake --preset "$1" -DBUILD_TESTING="$2" "${@:3}" \
    -DCMAKE_C_COMPILER_LAUNCHER="$launcher" -DCMAKE_CXX_COMPILER_LAUNCHER="$launcher"
}

build() {  # build PRESET TESTING
  timed "configure $1" configure "$1" "$2"
  timed "build $1" cmake --build --preset "$1"
}

# Kernels since 6.5 give addresses more random bits than the sanitizers of this tool chain can map.
run_suite() {  # run_suite PRESET CTEST_ARGUMENT…: the last thing it prints is ctest's summary
  local preset=$1 wrap=()
  shift
  if [[ $preset == asan || $preset == tsan ]]; then wrap=(setarch "$(uname -m)" --addr-no-randomize); fi
  if [[ -x tests/systemd/run ]]; then tests/systemd/run --preflight || true; fi
  say_times
  "${wrap[@]}" ctest --preset "$preset" --parallel "$(nproc)" --no-tests=error "$@"
}

check_sources() {
  configure dev ON -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON >/dev/null
  mapfile -t sources < <(find src tests -name '*.cpp' -o -name '*.h' | sort)
  say "clang-format over ${#sources[@]} files"
  clang-format --dry-run --Werror "${sources[@]}"
  mapfile -t units < <(find src -name '*.cpp' | sort)
  say "clang-tidy over ${#units[@]} files"
  # What it prints on stderr is only the count of warnings in system headers.
  printf '%s\0' "${units[@]}" | xargs -0 -n 1 -P "$(nproc)" clang-tidy --quiet \
    --extra-arg=-Wno-unknown-warning-option -p build/dev 2>/dev/null
}

main() {
  local what=${1:-all} long=0
  case "$what ${2:-}" in
    "test --long") long=1 ;;
    "all " | "build " | "test " | "check " | "asan " | "tsan ") ;;
    "-h " | "--help ") sed -n '2,/^set -e/{/^set -e/d;s/^# \{0,1\}//;p}' "$0"; exit 0 ;;
    *) printf 'setup: "%s" is not a way to call this; ./setup.sh --help lists them\n' "$*" >&2; exit 64 ;;
  esac

  local packages=("${BUILD_PACKAGES[@]}")
  if [[ $what =~ ^(test|check|asan|tsan)$ ]]; then packages+=("${TEST_PACKAGES[@]}" clang-format); fi
  if [[ $what == check || $long == 1 ]]; then packages+=("${CHECK_PACKAGES[@]}"); fi
  if [[ $what =~ ^[at]san$ || $long == 1 ]]; then packages+=("${SANITIZER_PACKAGES[@]}"); fi
  timed packages install_packages "${packages[@]}"

  case $what in
    all)
      build release OFF
      timed demo build/release/muster demo
      say_times
      ;;
    build)
      build release OFF
      say_times
      ;;
    test)
      if [[ $long == 1 ]]; then
        timed check check_sources
        build asan ON
        run_suite asan --label-exclude 'long|release-only'
        build tsan ON
        run_suite tsan --label-exclude 'long|release-only'
      fi
      build release ON
      if [[ $long == 1 ]]; then run_suite release; else run_suite release --label-exclude long; fi
      ;;
    check)
      timed check check_sources
      say_times
      ;;
    asan | tsan)
      build "$what" ON
      run_suite "$what" --label-exclude 'long|release-only'
      ;;
  esac
}

main "$@"
