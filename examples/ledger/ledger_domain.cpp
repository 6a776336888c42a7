#include "ledger.hpp"

NIZHAL_DOMAIN(ledger::domain)
