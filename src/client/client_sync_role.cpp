// Who syncs: of all handles of one file exactly one pushes and pulls, the others stand by, see what it does through
// the file, and take over when it ends, goes offline or is killed (S8).
//
// The fact that must not break: without the role no request leaves and no socket is opened.
#include <utility>

#include "client/client_sync_state.hpp"

namespace nizhal::client {

bool ClientSync::State::has_role() {
  StoreLocks* locks = store.locks();
  if (!locks || holds_role) return true;
  auto taken = locks->try_take_role();
  if (!taken) {
    role_failed(taken.error());
    return false;
  }
  if (!*taken) {
    stand_by();
    return false;
  }
  took_role();
  return true;
}

void ClientSync::State::took_role() {
  holds_role = true;
  look_error.clear();
  // What the holder before this one learned is in the file; what it left undone is done now, also what it was asked
  // for and did not answer.
  notice_others();
  asked_holder.reset();
  request_noticed = true;
  push_wanted = pull_wanted = true;
  set_status([](StoreStatus& now) {
    now.standby = false;
    now.connection = StoreStatus::Connection::offline;  // until an answer says otherwise
    now.last_error.clear();
  });
  log.debug("sync", "this handle syncs the file from now on");
}

void ClientSync::State::stand_by() {
  if (!status.standby) {
    set_status([](StoreStatus& now) {
      now.standby = true;
      now.syncing = false;
    });
    follow_holder();
    log.debug("sync", "another handle of the file syncs it; standing by");
  }
  if (!sync_active || asked_holder) return;
  auto asked = store.ask_for_sync();
  if (!asked) return finish_sync(asked.error());
  asked_holder = *asked;
}

void ClientSync::State::role_failed(const Error& error) {
  if (std::exchange(look_error, error.message) != error.message) {
    log.error("sync", error.message);
    set_status([&](StoreStatus& now) { now.last_error = error.message; });
  }
  finish_sync(error);
}

void ClientSync::State::leave_role() {
  if (std::exchange(holds_role, false)) store.locks()->give_up_role();
  told_status.reset();
  if (!status.standby) return;
  set_status([](StoreStatus& now) {
    now.standby = false;
    now.connection = StoreStatus::Connection::offline;
  });
}

void ClientSync::State::tell_standbys() {
  if (!holds_role || !store.locks() || !store.locks()->has_others()) {
    told_status.reset();
    return;
  }
  const LocalStore::HolderStatus now{.is_online = status.connection == StoreStatus::Connection::online,
                                     .last_error = status.last_error};
  if (told_status == now) return;
  // A file that cannot be written is told where it matters more; the next tick tries again.
  if (store.tell_holder_status(now)) told_status = now;
}

void ClientSync::State::follow_holder() {
  const LocalStore::HolderStatus holder = store.holder_status();
  set_status([&](StoreStatus& now) {
    now.connection = holder.is_online ? StoreStatus::Connection::online : StoreStatus::Connection::offline;
    now.last_error = holder.last_error;
  });
}

void ClientSync::State::notice_others() {
  auto noticed = store.notice_others();
  if (!noticed) {
    if (std::exchange(look_error, noticed.error().message) != noticed.error().message)
      log.error("storage", noticed.error().message);
    return;
  }
  if (std::exchange(others_wrote, *noticed) == *noticed) return;
  notify();
  push_wanted = true;
  pull_wanted = pull_wanted || is_coverage_new();
  request_noticed = true;
  if (status.standby) follow_holder();
  if (!asked_holder) return;
  if (auto answer = store.answer_to_sync_request(*asked_holder)) end_sync(std::move(*answer));
}

bool ClientSync::State::begin_next_sync() {
  if (stopped || sync_active) return false;
  if (std::exchange(sync_again, false)) {
    begin_sync();
    return true;
  }
  if (!holds_role || !std::exchange(request_noticed, false)) return false;
  serving = store.outstanding_sync_request();
  if (serving) begin_sync();
  return serving.has_value();
}

void ClientSync::State::on(const Ticked&) {
  notice_others();
  tell_standbys();
}

void ClientSync::State::on(const SyncAbandoned&) {
  if (asked_holder) finish_sync(Error{ErrorCode::busy, "the handle that syncs this file did not answer"});
}

}  // namespace nizhal::client
