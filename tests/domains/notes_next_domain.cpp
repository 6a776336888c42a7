// The notes example after a breaking change: the body of a note is gone, and a title is new.
#include <string>

#include <nizhal/domain.hpp>

namespace notes_next {

struct Note {
  std::string id, owner_id, title;
};
inline const auto notes = nizhal::table<Note>("notes")
                              .key("id", &Note::id)
                              .column("owner_id", &Note::owner_id)
                              .column("title", &Note::title, nizhal::default_value("untitled"));

inline nizhal::Domain domain() {
  nizhal::Domain d("notes", {.version = "2.0.0"});
  d.add(notes);
  d.rule("myNotes").parameter("ownerId", nizhal::actor::owner_id).data(notes, nizhal::eq("owner_id", "ownerId"));
  return d;
}

}  // namespace notes_next

NIZHAL_DOMAIN(notes_next::domain)
