// What Boost calls instead of throwing in modules built without exceptions. Only non-throwing Boost calls are made
// there, so arriving here is a bug: the process names the call and ends.
//
// Modules with exceptions instantiate Boost's own template of the same name, which is another symbol; both may be
// linked into one program.
#include <boost/throw_exception.hpp>

#ifdef BOOST_NO_EXCEPTIONS

#include <cstdio>
#include <cstdlib>

namespace boost {

void throw_exception(const std::exception& exception, const boost::source_location& location) {
  std::fprintf(stderr, "nizhal: bug: a Boost call that must not fail failed: %s (%s:%u)\n", exception.what(),
               location.file_name(), static_cast<unsigned>(location.line()));
  std::abort();
}

void throw_exception(const std::exception& exception) { throw_exception(exception, boost::source_location{}); }

}  // namespace boost

#endif
