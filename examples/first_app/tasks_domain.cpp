// The domain as a library, for `nizhal serve`, `nizhal sim` and `nizhal chaos`.
#include "tasks.hpp"

NIZHAL_DOMAIN(tasks::domain)
