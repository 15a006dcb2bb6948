// Parsed once for all tests (precompiled).
#pragma once

#include "../cmake/headers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
