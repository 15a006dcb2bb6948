#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rig.h"
#include "support/certificates.h"

namespace muster::spec {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing_support::CertificateOptions;
using testing_support::CertificateText;
using testing_support::make_certificate;

struct TlsWorld : FakeWorld {
  // Files NAME.crt and NAME.key beside the spec.
  const CertificateText& add(const std::string& name, const CertificateOptions& options = {}) {
    made[name] = make_certificate(options);
    files["/spec/" + name + ".crt"] = made[name].cert;
    files["/spec/" + name + ".key"] = made[name].key;
    return made[name];
  }
  std::map<std::string, CertificateText> made;
};

std::string spec_with(const std::string& tls) {
  return "[app.web]\nrun='x'\n[listen.front]\nbind='127.0.0.1:443'\nto='web'\ntls = " + tls + "\n";
}

std::vector<std::string> complaints_of(const std::string& tls, const FakeWorld& world) {
  return complaints(spec_with(tls), {}, world);
}

const Tls& tls_of(const Spec& spec) {
  static const Tls none;
  EXPECT_TRUE(!spec.listeners.empty() && spec.listeners[0].tls);
  return spec.listeners.empty() || !spec.listeners[0].tls ? none : *spec.listeners[0].tls;
}

TEST(TlsKeys, OnePairAndItsDefaults) {
  TlsWorld world;
  world.add("a", {.names = {"A.Example", "*.a.example"}});
  const Spec spec = good(spec_with("{ cert = 'a.crt', key = '/spec/a.key' }"), {}, world);
  const Tls& tls = tls_of(spec);
  ASSERT_EQ(tls.certificates.size(), 1U);
  EXPECT_THAT(tls.certificates[0]->names(), ElementsAre("a.example", "*.a.example"));
  EXPECT_EQ(tls.min, TlsVersion::tls1_2);
  EXPECT_THAT(tls.client_ca, IsEmpty());
  EXPECT_THAT(spec.tls_files, ElementsAre("/spec/a.crt", "/spec/a.key"));
}

TEST(TlsKeys, PairsByPositionMinAndClientCa) {
  TlsWorld world;
  world.add("a", {.names = {"a.example"}, .rsa_bits = 2048});
  world.add("b", {.names = {"a.example"}});
  world.add("ca", {.authority = true});
  world.files["/spec/two.crt"] = "bundle\n" + world.made["ca"].cert + world.made["b"].cert;
  const Spec spec =
      good(spec_with(
               "{ cert = ['a.crt', 'b.crt'], key = ['a.key', 'b.key'], min = '1.3', client_ca = 'two.crt' }"),
           {}, world);
  const Tls& tls = tls_of(spec);
  ASSERT_EQ(tls.certificates.size(), 2U);
  EXPECT_NE(tls.certificates[0]->key_type(), tls.certificates[1]->key_type());
  EXPECT_EQ(tls.min, TlsVersion::tls1_3);
  EXPECT_EQ(tls.client_ca.size(), 2U);
}

TEST(TlsKeys, ForTcpToo) {
  TlsWorld world;
  world.add("a");
  const Spec spec = good(spec_with("{ cert = 'a.crt', key = 'a.key' }\nmode = 'tcp'"), {}, world);
  EXPECT_EQ(tls_of(spec).certificates.size(), 1U);
}

TEST(TlsKeys, TheCommonNameCountsOnlyWithoutAlternatives) {
  TlsWorld world;
  world.add("cn", {.common_name = "Old.Example"});
  world.add("san", {.names = {"new.example"}, .common_name = "old.example"});
  const Spec spec =
      good(spec_with("{ cert = ['cn.crt', 'san.crt'], key = ['cn.key', 'san.key'] }"), {}, world);
  EXPECT_THAT(tls_of(spec).certificates[0]->names(), ElementsAre("old.example"));
  EXPECT_THAT(tls_of(spec).certificates[1]->names(), ElementsAre("new.example"));
}

TEST(TlsKeys, AChainIsReadWhole) {
  TlsWorld world;
  const CertificateText ca = world.add("ca", {.common_name = "ca", .authority = true});
  world.add("a", {.names = {"a.example"}, .issuer = &ca});
  world.files["/spec/chain.crt"] = world.made["a"].cert + "\nsome text\n" + world.made["a"].key + ca.cert;
  const Spec spec = good(spec_with("{ cert = 'chain.crt', key = 'chain.crt' }"), {}, world);
  EXPECT_EQ(tls_of(spec).certificates[0]->chain().size(), 2U);
}

TEST(TlsKeys, WhatIsWrongIsSaidWhereItStands) {
  TlsWorld world;
  world.add("a");
  world.add("b");
  const CertificateText ca = world.add("ca", {.authority = true});
  world.add("leaf", {.issuer = &ca});
  world.add("short", {.rsa_bits = 1024});
  world.files["/spec/turned.crt"] = ca.cert + world.made["leaf"].cert;
  world.files["/spec/text"] = "no PEM\n";
  world.files["/spec/torn.crt"] = world.made["a"].cert.substr(0, 200);
  world.files["/spec/odd.crt"] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  world.files["/spec/locked.key"] = testing_support::make_encrypted_key("secret");
  world.files["/spec/torn.key"] = world.made["a"].key.substr(0, 100);
  struct Case {
    const char* tls;
    const char* complaint;
  };
  for (const auto& [tls, complaint] : {
           Case{"'a.crt'", "6:7 "},
           Case{"{ key = 'a.key' }", "6:7 listener 'front': `tls` has no `cert`"},
           Case{"{ cert = 'a.crt' }", "6:7 listener 'front': `tls` has no `key`"},
           Case{"{ cert = [], key = [] }", "6:16 listener 'front': no file is named here"},
           Case{"{ cert = '', key = 'a.key' }", "6:16 "},
           Case{"{ cert = 'none.crt', key = 'a.key' }",
                "6:16 listener 'front': cannot read /spec/none.crt: No such file or directory"},
           Case{"{ cert = 'a.crt', key = 'none.key' }",
                "6:31 listener 'front': cannot read /spec/none.key: No such file or directory"},
           Case{"{ cert = 'text', key = 'a.key' }",
                "6:16 listener 'front': /spec/text: it holds no certificate in PEM form"},
           Case{"{ cert = 'torn.crt', key = 'a.key' }",
                "6:16 listener 'front': /spec/torn.crt: certificate 1 cannot"},
           Case{"{ cert = 'odd.crt', key = 'a.key' }",
                "6:16 listener 'front': /spec/odd.crt: certificate 1 cannot"},
           Case{"{ cert = 'a.crt', key = 'text' }",
                "6:31 listener 'front': /spec/text: it holds no private key in PEM form"},
           Case{"{ cert = 'a.crt', key = 'a.crt' }", "it holds no private key in PEM form"},
           Case{"{ cert = 'a.crt', key = 'locked.key' }",
                "6:31 listener 'front': /spec/locked.key: the key is encrypted"},
           Case{"{ cert = 'a.crt', key = 'torn.key' }",
                "6:31 listener 'front': /spec/torn.key: the private key cannot be"},
           Case{"{ cert = 'a.crt', key = 'b.key' }",
                "6:31 listener 'front': /spec/b.key with /spec/a.crt: the key does not belong to the "
                "certificate"},
           Case{"{ cert = 'turned.crt', key = 'leaf.key' }", "the server's own comes first"},
           Case{"{ cert = 'short.crt', key = 'short.key' }",
                "6:35 listener 'front': /spec/short.key with /spec/short.crt: TLS cannot use the "
                "certificate: ee key too"},
           Case{"{ cert = ['a.crt', 'b.crt'], key = 'a.key' }",
                "6:42 listener 'front': 2 `cert` and 1 `key`: they are paired by position"},
           Case{"{ cert = 'a.crt', key = 'a.key', min = '1.1' }",
                "6:46 '1.1' is not one of \"1.2\", \"1.3\""},
           Case{"{ cert = 'a.crt', key = 'a.key', client_ca = 'text' }",
                "6:52 listener 'front': /spec/text: it holds no certificate in PEM form"},
           Case{"{ cert = 'a.crt', key = 'a.key', certs = 'b' }", "unknown key 'certs'"},
       }) {
    const auto said = complaints_of(tls, world);
    ASSERT_THAT(said, testing::Not(IsEmpty())) << tls;
    EXPECT_THAT(said.front(), HasSubstr(complaint)) << tls;
  }
}

TEST(TlsKeys, EachPairIsCheckedBeforeTheFirstMistakeIsMended) {
  TlsWorld world;
  world.add("a");
  world.add("b");
  EXPECT_EQ(complaints_of("{ cert = ['a.crt', 'b.crt'], key = ['b.key', 'a.key'] }", world).size(), 2U);
}

TEST(TlsKeys, WhatIsOnlyUnwiseIsAWarning) {
  TlsWorld world;
  world.add("a", {.names = {"a.example"}});
  world.add("again", {.names = {"other.example", "a.example"}});
  world.add("old", {.names = {"old.example"}, .valid_from_s = -1000000, .valid_until_s = -500000});
  world.add("early", {.names = {"early.example"}, .valid_from_s = 500000});
  world.open_files.insert("/spec/a.key");
  EXPECT_THAT(
      complaints_of("{ cert = 'a.crt', key = 'a.key' }", world),
      ElementsAre(
          "warning 6:31 listener 'front': every user of this host may read the private key /spec/a.key "
          "| chmod o-r /spec/a.key"));
  EXPECT_THAT(complaints_of("{ cert = 'old.crt', key = 'old.key' }", world),
              ElementsAre(HasSubstr("warning 6:16 listener 'front': /spec/old.crt has expired on ")));
  EXPECT_THAT(complaints_of("{ cert = 'early.crt', key = 'early.key' }", world),
              ElementsAre(HasSubstr("warning 6:16 listener 'front': /spec/early.crt is not valid before ")));
  world.open_files.clear();
  EXPECT_THAT(
      complaints_of("{ cert = ['a.crt', 'again.crt'], key = ['a.key', 'again.key'] }", world),
      ElementsAre(HasSubstr("warning 6:26 listener 'front': an earlier `cert` has the name 'a.example'")));
  EXPECT_TRUE(good(spec_with("{ cert = 'old.crt', key = 'old.key' }"), {}, world).listeners[0].tls);
}

// The files count, not their names: a reload that finds them as they were changes nothing.
TEST(TlsKeys, ListenersAreEqualWhenTheirFilesHoldTheSame) {
  TlsWorld world;
  world.add("a");
  world.add("b");
  const std::string text = spec_with("{ cert = 'a.crt', key = 'a.key', client_ca = 'b.crt' }");
  const Spec before = good(text, {}, world);
  EXPECT_EQ(before.listeners, good(text, {}, world).listeners);
  TlsWorld renewed = world;
  renewed.add("a");
  EXPECT_NE(before.listeners, good(text, {}, renewed).listeners);
  TlsWorld other_ca = world;
  other_ca.add("b");
  EXPECT_NE(before.listeners, good(text, {}, other_ca).listeners);
  EXPECT_NE(before.listeners, good(spec_with("{ cert = 'a.crt', key = 'a.key' }"), {}, world).listeners);
  EXPECT_NE(before.listeners,
            good("[app.web]\nrun='x'\n[listen.front]\nbind='127.0.0.1:443'\nto='web'\n").listeners);
}

}  // namespace
}  // namespace muster::spec
