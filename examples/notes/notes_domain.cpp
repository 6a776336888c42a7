#include "notes.hpp"

NIZHAL_DOMAIN(notes::domain)
