// See domain_library.hpp.
#include "cli/domain_library.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <exception>
#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

namespace nizhal::cli {

namespace {

std::string last_reason() {
  const char* reason = ::dlerror();
  return reason ? reason : "no reason given";
}

Result<void*> open_library(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error))
    return failure(ErrorCode::io_error,
                   fmt::format("domain library {}: there is no such file; --domain takes the path of a shared library "
                               "such as ./build/release/lib/libledger_domain.so",
                               path));
  // A name without a slash would be looked for in the system's library folders.
  const std::string file = path.find('/') == std::string::npos ? "./" + path : path;
  void* library = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return failure(ErrorCode::io_error, fmt::format("domain library {}: it cannot be loaded ({}); build it as a shared "
                                                    "library against this version's include/nizhal/",
                                                    path, last_reason()));
  return library;
}

}  // namespace

Result<Domain> load_domain(const std::string& path) {
  const auto opened = open_library(path);
  if (!opened) return tl::unexpected(opened.error());
  void* library = *opened;
  void* abi_symbol = ::dlsym(library, "nizhal_domain_abi");
  void* create_symbol = ::dlsym(library, "nizhal_domain_create");
  if (!abi_symbol || !create_symbol)
    return failure(ErrorCode::io_error, fmt::format("domain library {}: it is a library without a domain; add "
                                                    "NIZHAL_DOMAIN(your_namespace::domain) to one of its files",
                                                    path));
  const int abi = reinterpret_cast<int (*)()>(abi_symbol)();
  if (abi != kDomainAbi)
    return failure(ErrorCode::io_error, fmt::format("domain library {}: it was built for domain ABI {} and this nizhal "
                                                    "has ABI {}; build it again with this version's headers",
                                                    path, abi, kDomainAbi));
  try {
    const std::unique_ptr<Domain> domain(static_cast<Domain*>(reinterpret_cast<void* (*)()>(create_symbol)()));
    return std::move(*domain);
  } catch (const std::exception& exception) {
    return failure(ErrorCode::io_error,
                   fmt::format("domain library {}: its domain function threw: {}", path, exception.what()));
  } catch (...) {
    return failure(ErrorCode::io_error, fmt::format("domain library {}: its domain function threw", path));
  }
}

Result<std::vector<chaos::Scenario>> load_scenarios(const std::string& path) {
  const auto library = open_library(path);
  if (!library) return tl::unexpected(library.error());
  void* abi_symbol = ::dlsym(*library, "nizhal_chaos_abi");
  void* create_symbol = ::dlsym(*library, "nizhal_chaos_scenarios");
  if (!abi_symbol || !create_symbol) return std::vector<chaos::Scenario>();
  const int abi = reinterpret_cast<int (*)()>(abi_symbol)();
  if (abi != chaos::kChaosAbi)
    return failure(ErrorCode::io_error, fmt::format("{}: its scenarios were built for chaos ABI {} and this nizhal has "
                                                    "ABI {}; build it again with this version's headers",
                                                    path, abi, chaos::kChaosAbi));
  try {
    const std::unique_ptr<std::vector<chaos::Scenario>> scenarios(
        static_cast<std::vector<chaos::Scenario>*>(reinterpret_cast<void* (*)()>(create_symbol)()));
    return std::move(*scenarios);
  } catch (...) {
    return failure(ErrorCode::io_error, fmt::format("{}: its function of scenarios threw", path));
  }
}

}  // namespace nizhal::cli
