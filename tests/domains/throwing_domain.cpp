// A domain whose function throws instead of giving a domain.
#include <stdexcept>

#include <nizhal/domain.hpp>

namespace {
nizhal::Domain domain() { throw std::runtime_error("no domain today"); }
}  // namespace

NIZHAL_DOMAIN(domain)
