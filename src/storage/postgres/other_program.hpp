// For tests only: another program on a PostgreSQL database, with nothing of ours but the wire.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "postgres/connection.hpp"
#include "tests/postgres_server/postgres_server.hpp"

namespace nizhal::storage {

class OtherProgram {
 public:
  explicit OtherProgram(const std::string& url) {
    auto connection = postgres::Connection::connect(
        {.url = url, .statement_timeout = std::chrono::minutes(5), .lock_timeout = std::chrono::minutes(1)});
    EXPECT_TRUE(connection.has_value()) << (connection ? "" : connection.error().message);
    if (connection) connection_ = *std::move(connection);
  }

  /// The SQLSTATE, or nothing when it worked. A failed script leaves no transaction open.
  std::string try_run(const std::string& sql) {
    if (connection_->execute(sql)) return {};
    error_ = connection_->error_text();
    std::string state = connection_->sqlstate();
    if (state.empty()) state = "broken";
    if (connection_->is_open() && connection_->in_transaction()) static_cast<void>(connection_->execute("ROLLBACK"));
    return state;
  }
  void run(const std::string& sql) { EXPECT_EQ(try_run(sql), "") << error_ << "\n" << sql; }
  const std::string& error() const { return error_; }
  /// All rows, columns joined with "|", null as "-".
  std::vector<std::string> query(const std::string& sql) {
    std::vector<std::string> lines;
    const auto rows = connection_->query(sql);
    EXPECT_TRUE(rows.has_value()) << connection_->error_text() << "\n" << sql;
    for (int row = 0; rows && row < rows->size(); ++row) {
      std::string line;
      for (int column = 0; column < rows->columns(); ++column) {
        if (column > 0) line += '|';
        line += rows->is_null(row, column) ? "-" : std::string(rows->text(row, column));
      }
      lines.push_back(std::move(line));
    }
    return lines;
  }
  std::string value(const std::string& sql) {
    const auto rows = query(sql);
    return rows.empty() ? std::string("nothing") : rows.front();
  }
  int pid() const { return connection_->backend_pid(); }
  postgres::Connection& connection() { return *connection_; }

 private:
  std::unique_ptr<postgres::Connection> connection_;
  std::string error_;
};

/// True once the backend waits for a lock; false when it does not within ten seconds.
inline bool waits_for_lock(OtherProgram& observer, int pid) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (std::chrono::steady_clock::now() < until)
    if (observer.value("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid = " +
                       std::to_string(pid)) == "1")
      return true;
  return false;
}

}  // namespace nizhal::storage
