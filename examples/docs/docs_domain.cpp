#include "docs.hpp"

NIZHAL_DOMAIN(docs::domain)
