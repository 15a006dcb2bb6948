#include "lb/http_scan.h"

#include <gtest/gtest.h>

#include <string>

namespace muster::lb::scan {
namespace {

// Each byte at each place of texts of each length around the 16 that are looked at together.
template <typename Find, typename Stops>
void expect_found_everywhere(char filler, Find find, Stops stops) {
  for (std::size_t size = 1; size <= 40; ++size) {
    for (std::size_t from = 0; from < size; ++from) {
      for (const std::size_t at : {from, from + 1, size - 1}) {
        if (at >= size) continue;
        for (int byte = 0; byte < 256; ++byte) {
          std::string text(size, filler);
          const char c = static_cast<char>(byte);
          text[at] = c;
          const char* const begin = text.data();
          const char* const found = find(begin, begin + from, begin + size);
          EXPECT_EQ(found - begin, static_cast<std::ptrdiff_t>(stops(c) ? at : size))
              << "byte " << byte << " at " << at << " of " << size << ", from " << from;
        }
      }
    }
  }
}

TEST(Scan, PlainNamesAreLettersDigitsAndHyphens) {
  expect_found_everywhere('n', skip_plain, [](char c) { return !is(c, plain); });
}

TEST(Scan, TargetsEndAtTheFirstByteThatNoneHas) {
  expect_found_everywhere('/', skip_target, [](char c) { return !is(c, target); });
}

TEST(Scan, ValuesEndAtTheFirstControlByte) {
  expect_found_everywhere('v', find_control, is_control);
}

TEST(Scan, PlainHostsAreLettersDigitsHyphensAndDots) {
  for (std::size_t size = name_bytes_min; size <= 40; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      for (int byte = 0; byte < 256; ++byte) {
        std::string text(size, 'h');
        const char c = static_cast<char>(byte);
        text[at] = c;
        EXPECT_EQ(is_plain_host(text), is(c, plain_host))
            << "byte " << byte << " at " << at << " of " << size;
      }
    }
  }
}

// What lies before the start is looked at and must not count.
TEST(Scan, BytesBeforeTheStartAreNotFound) {
  const std::string text = ":\r:\r:\r:\r:\r:\r:\rname: v\r\n";
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  EXPECT_EQ(skip_plain(begin, begin + 14, end) - begin, 18);
  EXPECT_EQ(find_control(begin, begin + 14, end) - begin, 21);
}

}  // namespace
}  // namespace muster::lb::scan
