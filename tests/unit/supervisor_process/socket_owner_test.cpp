// Who listens: /proc/net/tcp as text, and real sockets of this process.
#include "supervisor/socket_owner.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host_rig.h"
#include "supervisor/sock_diag.h"

namespace muster::supervisor {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr char head[] =
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";

TEST(ProcNetTcp, ReadsListenersOnly) {
  const std::string text =
      std::string(head) +
      "   0: 0100007F:18EB 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 "
      "12345 1 0000000000000000 100 0 0 10 0\n"
      "   1: 0100007F:18EB 0100007F:C350 01 00000000:00000000 00:00000000 00000000     0        0 "
      "777 1 0000000000000000 20 4 30 10 -1\n"
      "   2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 "
      "99 1 0000000000000000 100 0 0 10 0\n";
  const auto sockets = parse_proc_net_tcp(text, false);
  ASSERT_THAT(sockets, SizeIs(2));
  EXPECT_EQ(sockets[0].address, "127.0.0.1");
  EXPECT_EQ(sockets[0].port, 6379);
  EXPECT_EQ(sockets[0].inode, 12345U);
  EXPECT_FALSE(sockets[0].any_address());
  EXPECT_EQ(sockets[1].address, "0.0.0.0");
  EXPECT_TRUE(sockets[1].any_address());
}

TEST(ProcNetTcp, ReadsV6) {
  const std::string rest =
      " 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 5 1\n";
  const auto sockets = parse_proc_net_tcp(
      "0: 00000000000000000000000001000000:0050" + rest + "1: 00000000000000000000000000000000:0051" + rest,
      true);
  ASSERT_THAT(sockets, SizeIs(2));
  EXPECT_EQ(sockets[0].address, "::1");
  EXPECT_EQ(sockets[1].address, "::");
  EXPECT_TRUE(sockets[1].any_address());
}

TEST(ProcNetTcp, SkipsWhatItCannotRead) {
  for (const char* row :
       {"", "\n\n", "0: 0100007F:18EB\n", "0: 0100007:18EB 0:0 0A 0:0 0:0 0 0 0 1 1\n",
        "0: 0100007F:18EBF 0:0 0A 0:0 0:0 0 0 0 1 1\n", "0: 0100007F 0:0 0A 0:0 0:0 0 0 0 1 1\n",
        "0: 0100007F:18EB 0:0 0A 0:0 0:0 0 0 0 x 1\n"}) {
    EXPECT_THAT(parse_proc_net_tcp(row, false), IsEmpty()) << row;
  }
}

struct Listener {
  Fd fd;
  std::uint16_t port = 0;
};

Listener listener(std::uint32_t address) {
  Listener made{Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), 0};
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(address);
  socklen_t size = sizeof where;
  EXPECT_EQ(bind(made.fd.get(), reinterpret_cast<sockaddr*>(&where), size), 0);
  EXPECT_EQ(listen(made.fd.get(), 1), 0);
  EXPECT_EQ(getsockname(made.fd.get(), reinterpret_cast<sockaddr*>(&where), &size), 0);
  made.port = ntohs(where.sin_port);
  return made;
}

std::uint64_t inode_of_port(std::uint16_t port) {
  for (const ListeningSocket& socket : listening_sockets()) {
    if (socket.port == port) return socket.inode;
  }
  return 0;
}

TEST(SocketOwner, FindsTheHolder) {
  const Listener mine = listener(INADDR_LOOPBACK);
  const std::uint64_t inode = inode_of_port(mine.port);
  ASSERT_NE(inode, 0U);
  for (const std::vector<int>& first :
       {std::vector<int>{}, std::vector<int>{getpid()}, std::vector<int>{1, -4}}) {
    const auto holder = holder_of(inode, first);
    ASSERT_TRUE(holder);
    EXPECT_EQ(holder->pid, getpid());
    EXPECT_EQ(holder->name + "\n", text_of("/proc/self/comm"));
  }
  EXPECT_FALSE(holder_of(0));
  EXPECT_FALSE(holder_of(~std::uint64_t{0}));
}

TEST(SocketOwner, ListsTheSocketsOfProcesses) {
  const Listener loopback = listener(INADDR_LOOPBACK);
  const Listener any = listener(INADDR_ANY);
  std::vector<std::uint16_t> ports;
  for (const ListeningSocket& socket : listening_sockets_of({getpid()})) ports.push_back(socket.port);
  EXPECT_THAT(ports, testing::IsSupersetOf({loopback.port, any.port}));
  EXPECT_THAT(listening_sockets_of({}), IsEmpty());
  HostRig rig;
  const InstanceId id = rig.start(order_of({"sleep", "1000"}));
  ASSERT_TRUE(rig.until(id, "started"));
  EXPECT_THAT(listening_sockets_of({rig.seen(id).pid}), IsEmpty());
}

TEST(SocketOwner, SockDiagAndProcAgree) {
  const Listener mine = listener(INADDR_LOOPBACK);
  const auto asked = listening_by_sock_diag();
  ASSERT_TRUE(asked) << "this kernel has no sock_diag";
  const auto with_port = [&](const std::vector<ListeningSocket>& sockets) {
    for (const ListeningSocket& socket : sockets) {
      if (socket.port == mine.port) return socket.address + " " + std::to_string(socket.inode);
    }
    return std::string("not found");
  };
  EXPECT_NE(with_port(*asked), "not found");
  EXPECT_EQ(with_port(*asked), with_port(parse_proc_net_tcp(text_of("/proc/net/tcp"), false)));
}

TEST(SocketOwner, SaysWhoIsInTheWay) {
  Listener mine = listener(INADDR_ANY);
  const auto busy = port_busy_sentence(mine.port);
  ASSERT_TRUE(busy);
  EXPECT_THAT(*busy,
              HasSubstr("port " + std::to_string(mine.port) + " is held by pid " + std::to_string(getpid())));
  const Listener elsewhere = listener(0x7f000002);  // 127.0.0.2 is in nobody's way
  EXPECT_FALSE(port_busy_sentence(elsewhere.port));
  mine.fd.reset();
  EXPECT_FALSE(port_busy_sentence(mine.port));
}

}  // namespace
}  // namespace muster::supervisor
