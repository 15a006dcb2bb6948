// Runs a fuzz target without libFuzzer: every file of a folder, then mutations of them under a seed.
//
//   X_fuzz_run [--runs N] [--seconds S] [--seed N] FOLDER_OR_FILE…
//
// Ends with 0 when nothing crashed; a crash is the sanitizer's or the kernel's to report. The input that is being
// tried stands in the file named by MUSTER_FUZZ_INPUT when that is set, so that it is there after a crash.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

constexpr std::size_t input_bytes_max = 16U << 10U;

struct Arguments {
  std::uint64_t runs = 20000;
  std::uint64_t seconds = 10;
  std::uint64_t seed = 1;
  std::vector<std::string> paths;
};

class Mutator {
 public:
  Mutator(const std::vector<std::string>& corpus, std::uint64_t seed) : corpus_(corpus), random_(seed) {}

  std::string next() {
    std::string input = pick();
    const std::uint64_t steps = 1 + below(6);
    for (std::uint64_t i = 0; i < steps; ++i) mutate(input);
    if (input.size() > input_bytes_max) input.resize(input_bytes_max);
    return input;
  }

 private:
  std::uint64_t below(std::uint64_t end) { return end == 0 ? 0 : random_() % end; }
  const std::string& pick() { return corpus_[below(corpus_.size())]; }

  // A piece of some input: lines and words that mean something come along with it.
  std::string piece() {
    const std::string& from = pick();
    const std::uint64_t begin = below(from.size() + 1);
    return from.substr(begin, 1 + below(40));
  }

  void mutate(std::string& input) {
    const std::uint64_t at = below(input.size() + 1);
    static const std::string telling = "[]{}=,.\"'\\#\n\r\t \0\x7f\xef\xac\xa6${}:-/0129";
    switch (below(7)) {
      case 0:
        input.insert(at, 1, static_cast<char>(below(256)));
        break;
      case 1:
        input.insert(at, 1, telling[below(telling.size())]);
        break;
      case 2:
        if (at < input.size()) input.erase(at, 1 + below(30));
        break;
      case 3:
        if (at < input.size())
          input[at] = static_cast<char>(static_cast<unsigned char>(input[at]) ^ (1U << below(8)));
        break;
      case 4:
        input.insert(at, piece());
        break;
      case 5:
        input.resize(at);
        break;
      default:
        for (std::uint64_t i = below(20); i > 0; --i) input.insert(at, piece());
        break;
    }
  }

  const std::vector<std::string>& corpus_;
  std::mt19937_64 random_;
};

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> read_corpus(const std::vector<std::string>& paths) {
  std::vector<std::filesystem::path> files;
  for (const std::string& path : paths) {
    if (!std::filesystem::is_directory(path)) {
      files.emplace_back(path);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(path))
      if (entry.is_regular_file()) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<std::string> corpus;
  for (const auto& file : files) corpus.push_back(read(file));
  return corpus;
}

void try_one(const std::string& input) {
  if (const char* kept = std::getenv("MUSTER_FUZZ_INPUT"); kept != nullptr)
    std::ofstream(kept, std::ios::binary | std::ios::trunc) << input;
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
}

Arguments parse(int count, char** values) {
  Arguments arguments;
  for (int i = 1; i < count; ++i) {
    const std::string word = values[i];
    const auto number = [&] { return i + 1 < count ? std::strtoull(values[++i], nullptr, 10) : 0; };
    if (word == "--runs") {
      arguments.runs = number();
    } else if (word == "--seconds") {
      arguments.seconds = number();
    } else if (word == "--seed") {
      arguments.seed = number();
    } else {
      arguments.paths.push_back(word);
    }
  }
  return arguments;
}

}  // namespace

int main(int count, char** values) {
  const Arguments arguments = parse(count, values);
  const std::vector<std::string> corpus = read_corpus(arguments.paths);
  if (corpus.empty()) {
    std::cerr << "no inputs: the run proves nothing\n";
    return 64;
  }
  for (const std::string& input : corpus) try_one(input);
  Mutator mutator(corpus, arguments.seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(arguments.seconds);
  std::uint64_t runs = 0;
  while (runs < arguments.runs && std::chrono::steady_clock::now() < end) {
    try_one(mutator.next());
    ++runs;
  }
  std::cout << corpus.size() << " inputs, " << runs << " mutations, seed " << arguments.seed << "\n";
  return 0;
}
