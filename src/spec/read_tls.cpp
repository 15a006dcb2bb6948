// `tls` of a listener: its files are read and proven to serve while a mistake can still be pointed at.
#include <algorithm>

#include "fmt/chrono.h"
#include "fmt/core.h"
#include "spec/draft.h"

namespace muster::spec {

namespace {

class TlsReader {
 public:
  TlsReader(const Reader& reader, const std::string& listener) : reader_(reader), listener_(listener) {}

  std::shared_ptr<const Tls> read(const Node& node) {
    if (!reader_.table(node, "a table { cert, key }")) return nullptr;
    reader_.each_key(Section::tls, node, [this](std::string_view key, const Node& value) {
      if (key == "cert") paths(value, certs_);
      if (key == "key") paths(value, keys_);
      if (key == "min") min(value);
      if (key == "client_ca") client_ca(value);
    });
    if (!certs_ || !keys_) {
      missing(node.at);
    } else if (reader_.options().certificates) {
      pairs();
    }
    if (!good_) return nullptr;
    return std::make_shared<const Tls>(std::move(tls_));
  }

 private:
  struct File {
    std::string path;
    Mark at;
  };
  struct Files {
    Mark at;
    std::vector<File> list;
  };

  void error(Mark at, const std::string& what, std::string hint = {}) {
    good_ = false;
    reader_.report().error(at, fmt::format("listener '{}': {}", listener_, what), std::move(hint), listener_);
  }
  void warning(Mark at, const std::string& what, std::string hint = {}) const {
    reader_.report().warning(at, fmt::format("listener '{}': {}", listener_, what), std::move(hint));
  }

  void missing(Mark at) {
    good_ = false;
    if (!certs_) reader_.missing(at, fmt::format("listener '{}': `tls` has no `cert`", listener_));
    if (!keys_) reader_.missing(at, fmt::format("listener '{}': `tls` has no `key`", listener_));
  }

  void paths(const Node& value, std::optional<Files>& into) {
    into.emplace(Files{.at = value.at, .list = {}});
    if (!reader_.few_enough(value.items.size(), value.at, "files")) {
      good_ = false;
      return;
    }
    for (const Node* item : Reader::listed(value)) {
      auto path = reader_.path(*item);
      good_ = good_ && path;
      if (path) into->list.push_back({std::move(*path), item->at});
    }
    if (value.is(Node::Kind::list) && value.items.empty()) error(value.at, "no file is named here");
  }

  void min(const Node& value) {
    const auto version = reader_.word(value, {"1.2", "1.3"});
    good_ = good_ && version;
    if (version) tls_.min = static_cast<TlsVersion>(*version);
  }

  void client_ca(const Node& value) {
    auto path = reader_.path(value);
    good_ = good_ && path;
    if (!path || !reader_.options().certificates) return;
    if (auto found = certificates_of({std::move(*path), value.at})) tls_.client_ca = std::move(*found);
  }

  std::optional<std::string> text_of(const File& file) {
    tls_.files.push_back(file.path);
    auto text = reader_.world().read_file(file.path);
    if (text) return std::move(text).value();
    error(file.at, text.error().message);
    return std::nullopt;
  }

  // The file's content, taken for what it should be.
  template <typename Parse>
  auto parsed(const File& file, Parse parse) -> std::optional<std::decay_t<decltype(parse("").value())>> {
    const auto text = text_of(file);
    if (!text) return std::nullopt;
    auto found = parse(*text);
    if (found) return std::move(found).value();
    error(file.at, fmt::format("{}: {}", file.path, found.error().message));
    return std::nullopt;
  }

  std::optional<std::vector<CertificatePtr>> certificates_of(const File& file) {
    return parsed(file, parse_certificates);
  }

  void pairs() {
    const std::size_t count = certs_->list.size();
    if (good_ && keys_->list.size() != count)
      return error(keys_->at, fmt::format("{} `cert` and {} `key`: they are paired by position", count,
                                          keys_->list.size()));
    for (std::size_t i = 0; i < std::min(count, keys_->list.size()); ++i)
      pair(certs_->list[i], keys_->list[i]);
  }

  void pair(const File& cert, const File& key) {
    auto chain = certificates_of(cert);
    auto secret = parsed(key, parse_private_key);
    if (secret && reader_.world().world_readable(key.path))
      warning(key.at, fmt::format("every user of this host may read the private key {}", key.path),
              "chmod o-r " + key.path);
    if (!chain || !secret) return;
    auto joined = Certificate::join(std::move(*chain), std::move(*secret));
    if (!joined)
      return error(key.at, fmt::format("{} with {}: {}", key.path, cert.path, joined.error().message));
    check_dates(*joined.value(), cert);
    check_names(*joined.value(), cert);
    tls_.certificates.push_back(std::move(joined).value());
  }

  void check_dates(const Certificate& certificate, const File& file) const {
    const WallTime now = reader_.world().now();
    const auto day = [](WallTime time) {
      return fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
    };
    if (now > certificate.not_after())
      warning(file.at, fmt::format("{} has expired on {}", file.path, day(certificate.not_after())));
    if (now < certificate.not_before())
      warning(file.at, fmt::format("{} is not valid before {}", file.path, day(certificate.not_before())));
  }

  // A later one of the same kind is never chosen for a name that an earlier one has.
  void check_names(const Certificate& certificate, const File& file) const {
    const auto taken = [&](const std::string& name) {
      return std::ranges::any_of(tls_.certificates, [&](const auto& earlier) {
        return earlier->key_type() == certificate.key_type() &&
               std::ranges::find(earlier->names(), name) != earlier->names().end();
      });
    };
    const auto& names = certificate.names();
    if (const auto found = std::ranges::find_if(names, taken); found != names.end())
      warning(file.at, fmt::format("an earlier `cert` has the name '{}' already, and serves it", *found));
  }

  const Reader& reader_;
  const std::string& listener_;
  std::optional<Files> certs_;
  std::optional<Files> keys_;
  Tls tls_;
  bool good_ = true;
};

}  // namespace

std::shared_ptr<const Tls> read_tls(const Reader& reader, const Node& node, const std::string& listener) {
  return TlsReader(reader, listener).read(node);
}

}  // namespace muster::spec
