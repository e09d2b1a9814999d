#pragma once

#include <brimful/result.h>

#include <utility>

/// `BRIMFUL_TRY(auto x, f());` returns f's error to the caller, or binds its value.
#define BRIMFUL_TRY_CONCAT_(a, b) a##b
#define BRIMFUL_TRY_NAME_(line) BRIMFUL_TRY_CONCAT_(brimful_try_, line)
#define BRIMFUL_TRY(decl, expr)                                                                             \
  auto BRIMFUL_TRY_NAME_(__LINE__) = (expr);                                                                \
  if (!BRIMFUL_TRY_NAME_(__LINE__)) return std::unexpected(std::move(BRIMFUL_TRY_NAME_(__LINE__)).error()); \
  decl = std::move(*BRIMFUL_TRY_NAME_(__LINE__))

/// The same for a Status.
#define BRIMFUL_TRY_VOID(expr)                                                              \
  do {                                                                                      \
    auto brimful_try_status = (expr);                                                       \
    if (!brimful_try_status) return std::unexpected(std::move(brimful_try_status).error()); \
  } while (0)
