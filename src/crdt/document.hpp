// Documents, texts and maps as <nizhal/crdt.hpp> promises them.
#pragma once

#include <nizhal/crdt.hpp>
