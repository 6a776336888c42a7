#include "stock.hpp"

NIZHAL_DOMAIN(stock::domain)
