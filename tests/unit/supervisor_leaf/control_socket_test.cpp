#include "supervisor/control_socket.h"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>

#include "control_client.h"
#include "leaf_rig.h"
#include "supervisor/control_server.h"

namespace muster::supervisor {
namespace {

constexpr uid_t nobody = 65534;

mode_t mode_of(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(lstat(path.c_str(), &info), 0);
  return info.st_mode & 07777U;
}

// A mode that the umask of the moment does not widen or narrow.
TEST(ControlSocket, IsForItsOwnerOrForAGroup) {
  const TempFolder folder;
  for (const mode_t mask : {0U, 022U, 077U}) {
    const mode_t before = umask(mask);
    const auto own = bind_control_socket(folder / "own", std::nullopt);
    const auto shared = bind_control_socket(folder / "shared", getegid());
    umask(before);
    ASSERT_TRUE(own.ok()) << own.error().message;
    ASSERT_TRUE(shared.ok()) << shared.error().message;
    EXPECT_EQ(mode_of(folder / "own"), 0600U);
    EXPECT_EQ(mode_of(folder / "shared"), 0660U);
    EXPECT_TRUE(is_same_file(folder / "own", own.value()));
    EXPECT_FALSE(is_same_file(folder / "shared", own.value()));
  }
}

TEST(ControlSocket, AStaleFileIsReplaced) {
  const TempFolder folder;
  ASSERT_TRUE(bind_control_socket(folder / "s", std::nullopt).ok());  // closed at once: nobody answers
  ASSERT_TRUE(exists(folder / "s"));
  EXPECT_TRUE(bind_control_socket(folder / "s", std::nullopt).ok());
}

TEST(ControlSocket, ALivingOneIsRefusedByItsPid) {
  const TempFolder folder;
  const auto living = bind_control_socket(folder / "s", std::nullopt);
  ASSERT_TRUE(living.ok());
  ASSERT_EQ(listen(living.value().fd.get(), 0), 0);
  const std::string in_use = (folder / "s") + " is in use";
  const auto refused = bind_control_socket(folder / "s", std::nullopt);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message, in_use + " by pid " + std::to_string(getpid()));
  const auto full = bind_control_socket(folder / "s", std::nullopt);  // its backlog of one is taken
  ASSERT_FALSE(full.ok());
  EXPECT_EQ(full.error().message.find(in_use), 0U);
  EXPECT_TRUE(is_same_file(folder / "s", living.value()));
}

TEST(ControlSocket, WhatIsNoSocketStays) {
  const TempFolder folder;
  write_file(folder / "f", "precious");
  ASSERT_EQ(symlink("f", (folder / "link").c_str()), 0);
  for (const char* name : {"f", "link", "."})
    EXPECT_FALSE(bind_control_socket(folder / name, std::nullopt).ok()) << name;
  EXPECT_EQ(read_file(folder / "f"), "precious");
  EXPECT_FALSE(bind_control_socket(folder / "no/such", std::nullopt).ok());
  EXPECT_FALSE(bind_control_socket("", std::nullopt).ok());
  const std::string longest = folder / std::string(107 - folder.path().size() - 1, 'x');
  EXPECT_TRUE(bind_control_socket(longest, std::nullopt).ok());
  EXPECT_FALSE(bind_control_socket(longest + "x", std::nullopt).ok());
}

TEST(ControlSocket, AGroupThatCannotBeGivenLeavesNoFile) {
  if (geteuid() == 0) GTEST_SKIP() << "root may give any group";
  const TempFolder folder;
  EXPECT_FALSE(bind_control_socket(folder / "s", gid_t{1}).ok());
  EXPECT_FALSE(exists(folder / "s"));
}

TEST(ControlSocket, AllowsRootItselfAndTheGroup) {
  const Peer peer{1, 1000, 1000, {4, 20}};
  EXPECT_TRUE(is_allowed(Peer{1, 0, 0, {}}, 500, std::nullopt));
  EXPECT_TRUE(is_allowed(peer, 1000, std::nullopt));
  EXPECT_FALSE(is_allowed(peer, 500, std::nullopt));
  EXPECT_TRUE(is_allowed(peer, 500, gid_t{1000}));
  EXPECT_TRUE(is_allowed(peer, 500, gid_t{20}));
  EXPECT_FALSE(is_allowed(peer, 500, gid_t{21}));
}

// Another user connects in a child, and exits with the status that it read.
int status_seen_by(const std::string& path, uid_t uid, gid_t gid, const std::vector<gid_t>& groups,
                   Loop& loop) {
  const pid_t child = fork();
  if (child == 0) {
    if (setgroups(groups.size(), groups.data()) != 0 || setresgid(gid, gid, gid) != 0 ||
        setresuid(uid, uid, uid) != 0)
      _exit(99);
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path.data(), path.size());
    if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) _exit(98);
    const char request[] = "GET /a HTTP/1.1\r\n\r\n";
    if (write(fd, request, sizeof request - 1) < 0) _exit(97);
    char answer[13] = {};
    std::size_t size = 0;
    while (size < 12) {
      const ssize_t got = read(fd, answer + size, 12 - size);
      if (got <= 0) _exit(96);
      size += static_cast<std::size_t>(got);
    }
    _exit(std::atoi(answer + 9) / 100 * 10 + std::atoi(answer + 9) % 10);  // 200 -> 20, 403 -> 43
  }
  int status = 0;
  uv_idle_t idle{};  // waitpid is asked at each turn
  uv_idle_init(loop.get(), &idle);
  uv_idle_start(&idle, [](uv_idle_t*) {});
  bool ended = false;  // a child is reaped once, and the question may come again
  loop.until([&] { return ended = ended || waitpid(child, &status, WNOHANG) == child; });
  uv_close(reinterpret_cast<uv_handle_t*>(&idle), nullptr);
  loop.turn();
  return ended && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(ControlSocket, AForeignUserIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  Loop loop;
  const TempFolder folder;
  ASSERT_EQ(chmod(folder.path().c_str(), 0755), 0);
  ControlServerOptions options;
  options.path = folder / "s";
  options.group = gid_t{4242};
  auto server =
      ControlServer::listen(loop.get(), std::move(options),
                            [](const ControlRequest&, const auto& reply) { reply->send(200, "{}"); });
  ASSERT_TRUE(server.ok());
  EXPECT_EQ(status_seen_by(folder / "s", nobody, nobody, {}, loop), 98) << "the file's mode keeps it out";
  EXPECT_EQ(status_seen_by(folder / "s", nobody, nobody, {7, 4242}, loop), 20) << "a supplementary group";
  EXPECT_EQ(status_seen_by(folder / "s", nobody, 4242, {}, loop), 20) << "the primary group";
  ASSERT_EQ(chmod((folder / "s").c_str(), 0666), 0);  // somebody opens the file: then the credentials count
  EXPECT_EQ(status_seen_by(folder / "s", nobody, nobody, {7}, loop), 43);
  EXPECT_EQ(status_seen_by(folder / "s", 0, 0, {}, loop), 20);
  std::vector<gid_t> many;
  for (gid_t group = 5000; group < 5100; ++group) many.push_back(group);
  many.push_back(4242);
  EXPECT_EQ(status_seen_by(folder / "s", nobody, nobody, many, loop), 20);
}

}  // namespace
}  // namespace muster::supervisor
