// A disk that is full: nothing is lost, nothing is refused for good, and it goes on when there is space again.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "base/test_temp_dir.hpp"
#include "tests/postgres_failures/harness.hpp"

namespace nizhal::testing {
namespace {

/// A disk of its own, small enough to be filled. Only root may mount one.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& path) : path_(path) {
    is_mounted_ = ::mount("tmpfs", path.c_str(), "tmpfs", 0, "size=160m,mode=0755") == 0;
    if (!is_mounted_) why_ = std::strerror(errno);
  }
  ~SmallDisk() {
    if (is_mounted_) ::umount2(path_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool is_mounted() const { return is_mounted_; }

  /// Takes all that is left, but for some bytes.
  void fill() {
    const int file = ::open((path_ + "/filler").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const std::string block(4096, 'x');
    while (::write(file, block.data(), block.size()) > 0) {
    }
    ::close(file);
  }
  void make_space() { ::unlink((path_ + "/filler").c_str()); }

 private:
  std::string path_, why_;
  bool is_mounted_ = false;
};

/// Writes until the database cannot any more, then lets it again, and compares.
template <class Full, class Free>
void run_out_of_space(PostgresServer& server, const std::string& url, Host& host, const Full& full, const Free& free) {
  Sender sender("s");
  Reader reader("s");
  sender.queue("add", 5);
  sender.push_all(host);
  full();
  // Large texts find the end of the space soon, wherever there is some left.
  const std::string large(50'000, 'x');
  bool has_failed = false;
  for (int i = 0; i < 300 && !has_failed; ++i) {
    if (sender.is_done()) sender.queue("addOnly", 10, large + std::to_string(i));
    has_failed = !sender.push(host, 10);
  }
  ASSERT_TRUE(has_failed) << "there was always space left";
  for (int i = 0; i < 3; ++i) sender.push(host, 10);
  free();
  if (!server.is_running()) {
    server.stop();  // it has given up; its end is taken note of
    server.start();
  }
  sender.push_all(host);
  sender.expect_exactly_once(url);
  for (int attempt = 0; attempt < 50 && !reader.pull(host); ++attempt) {
  }
  reader.expect_equal(url);
}

TEST(FullDisk, LosesDoublesAndRefusesNothing) {
  const TempDir folder;
  SmallDisk disk(folder.path());
  if (disk.is_mounted()) {
    PostgresServer server(
        {.data_path = folder.path(), .settings = {{"min_wal_size", "32MB"}, {"max_wal_size", "64MB"}}});
    const std::string url = server.create_database();
    Host host(url);
    run_out_of_space(
        server, url, host, [&] { disk.fill(); }, [&] { disk.make_space(); });
    return;
  }
  // As an ordinary user: a table's file that may not grow beyond what a segment of the log needs fails to be written
  // just as on a full disk, though the system gives another reason.
  PostgresServer server({.file_bytes_max = 16U << 20U});
  const std::string url = server.create_database();
  Host host(url);
  const auto nearly_fill = [&] {
    server.sql(database_of(url),
               "ALTER TABLE entries ALTER body SET STORAGE EXTERNAL;"
               "INSERT INTO entries (id, owner_id, body) SELECT i, 'somebody', repeat('x', 50000) "
               "FROM generate_series(1, 300) i");
  };
  const auto without_limit = [&] {
    server.stop();
    server.set_file_bytes_max(0);
    server.start();
  };
  run_out_of_space(server, url, host, nearly_fill, without_limit);
}

}  // namespace
}  // namespace nizhal::testing
