#include "sim/device.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "base/json.hpp"
#include "domain/value_json.hpp"
#include "sim/disk/simulation_folder.hpp"

namespace nizhal::sim {

namespace {

constexpr Micros kReopenAfter{3'000'000};

template <class... Parts>
struct Overloaded : Parts... {
  using Parts::operator()...;
};
template <class... Parts>
Overloaded(Parts...) -> Overloaded<Parts...>;

QuerySpec all_of(const TableDef& table) {
  QuerySpec all;
  all.table = &table;
  return all;
}

std::optional<std::string> bucket_key(const CompiledDomain& domain, const std::string& rule,
                                      const RuleParameters& parameters) {
  for (std::size_t i = 0; i < domain.definitions().size(); ++i) {
    const BucketDefinition& definition = domain.definitions()[i];
    if (std::find(definition.rules.begin(), definition.rules.end(), rule) == definition.rules.end()) continue;
    std::vector<std::string> values;
    for (const ParameterDef& parameter : definition.parameters) {
      const auto value = parameters.find(parameter.name);
      values.push_back(value == parameters.end() ? "" : value->second);
    }
    const auto bucket = domain.make_bucket(i, std::move(values));
    return bucket ? std::optional(bucket->key) : std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

/// Live queries over each table, and the rows that they delivered last.
struct Device::Live {
  explicit Live(client::LocalStore& store) : queries(store, [this] { is_woken = true; }) {}
  client::LiveQueries queries;
  bool is_woken = false;
  std::map<const TableDef*, std::vector<Row>> delivered;
  std::vector<std::string> failures;

  void process() {
    while (std::exchange(is_woken, false)) queries.process();
  }
};

Device::Device(Setup setup, EventQueue& queue, History& history, DeviceNetwork& network)
    : setup_(std::move(setup)),
      name_(fmt::format("device {}", setup_.number)),
      queue_(queue),
      history_(history),
      network_(network),
      clock_(queue, setup_.start),
      disk_(setup_.path),
      random_(setup_.seed) {
  disk_.keep_medium(setup_.keeps_medium);
}

Device::~Device() { kill(); }

void Device::start() {
  if (store_) return;
  ++run_;
  auto opened = open_store(OtherActor::Refuse);
  // Its app asks the new user, who wants a file of their own.
  if (!opened && is_switching_) opened = open_store(OtherActor::Archive);
  if (!opened) {
    history_.note(fmt::format("{} cannot open its store: {}", name_, to_string(opened.error().code)));
    queue_.after(kReopenAfter, [this, run = run_] {
      if (run == run_) start();
    });
    return;
  }
  is_switching_ = is_told_offline_ = false;
  store_ = std::move(*opened);
  sync_ = std::make_unique<client::ClientSync>(*store_, clock_, random_, Log{},
                                               client::SyncOptions{.server = "http://sim", .has_token = true});
  watch();
  if (setup_.chooses) subscribe_to_all();
  handle(client::Started{});
}

Result<std::unique_ptr<client::LocalStore>> Device::open_store(OtherActor other_actor) {
  client::LocalStoreOptions options;
  options.path = setup_.path;
  options.domain = setup_.domain;
  options.actor = setup_.actor;
  options.server = "http://sim";
  // Full: what the app was told is kept survives a power cut, too.
  options.durability = setup_.keeps_medium ? Durability::Full : Durability::Process;
  options.other_actor = other_actor;
  if (setup_.chooses) options.coverage = Coverage::subscribed;
  return client::LocalStore::open(std::move(options), clock_, random_, Log{});
}

void Device::watch() {
  live_ = std::make_unique<Live>(*store_);
  for (const auto& table : setup_.domain->tables()) {
    const TableDef* def = table.get();
    QuerySpec query = all_of(*def);
    const auto added = live_->queries.add(
        query, {.deliver =
                    [live = live_.get(), def](const RowSequence& rows, const RawDelta&, std::uint64_t) {
                      std::vector<Row>& copy = live->delivered[def];
                      copy.clear();
                      for (std::size_t i = 0; i < rows.size(); ++i) copy.push_back(rows.row(i));
                    },
                .fail = [live = live_.get()](const Error& error) { live->failures.push_back(error.message); }});
    if (!added) live_->failures.push_back(added.error().message);
  }
  live_->is_woken = true;
  live_->process();
}

void Device::kill() {
  ++run_;
  timers_.clear();
  sync_.reset();
  if (live_) live_->queries.close();
  live_.reset();
  store_.reset();
}

void Device::cut_power(Disk::Unsynced unsynced, Random& random) {
  disk_.switch_off();
  kill();
  disk_.cut_power(unsynced, [&random](std::uint64_t bound) { return random.below(bound); });
}

void Device::switch_actor(Actor actor) {
  kill();
  setup_.actor = std::move(actor);
  is_switching_ = true;
  start();
}

Result<void> Device::copy_file_to(const std::string& path) { return copy_database(setup_.path, path); }
Result<void> Device::take_file_from(const std::string& path) {
  // It comes past the disk, and is on the medium when it is here.
  disk_.keep_medium(false);
  auto copied = copy_database(path, setup_.path);
  disk_.keep_medium(setup_.keeps_medium);
  return copied;
}

Result<Ticket> Device::mutate(std::string_view mutator, const MutatorDef::Values& values,
                              const MutateOptions& options) {
  return was_made(store_->mutate(mutator, values, options));
}
Result<Ticket> Device::undo(std::string_view client_mutation_id) {
  return was_made(store_->undo(client_mutation_id, {}));
}
Result<Ticket> Device::retry(std::int64_t dead_letter) { return was_made(store_->retry(dead_letter, std::nullopt)); }
Result<void> Device::discard(std::int64_t dead_letter) {
  auto done = store_->discard(dead_letter);
  live_->process();
  return done;
}

Result<void> Device::subscribe(std::string_view rule, const RuleParameters& parameters) {
  return has_chosen(store_->subscribe(rule, parameters));
}
Result<void> Device::unsubscribe(std::string_view rule, const RuleParameters& parameters, std::chrono::seconds keep) {
  return has_chosen(store_->unsubscribe(rule, parameters, keep));
}
Result<std::optional<ChosenBuckets>> Device::chosen() {
  if (!setup_.chooses) return std::optional<ChosenBuckets>();
  const auto all = store_->subscriptions();
  if (!all) return tl::unexpected(all.error());
  ChosenBuckets chosen;
  for (const BucketSubscription& one : *all) {
    if (one.until && *one.until <= clock_.now()) continue;
    if (one.parameters.empty())
      chosen.rules.insert(one.rule);
    else if (const auto key = bucket_key(*setup_.domain, one.rule, one.parameters))
      chosen.keys.insert(*key);
  }
  return chosen;
}

Result<void> Device::has_chosen(Result<void> done) {
  if (done) handle(client::CoverageChanged{});
  return done;
}

/// A new file begins with everything.
void Device::subscribe_to_all() {
  const auto chosen = store_->subscriptions();
  if (!chosen || !chosen->empty()) return;
  for (const auto& rule : setup_.domain->domain().rules())
    if (!store_->subscribe(rule->name, {})) return;  // its disk fails; people go on choosing
}

Result<Ticket> Device::was_made(Result<Ticket> ticket) {
  live_->process();
  if (ticket) handle(client::Mutated{});
  return ticket;
}

void Device::handle(const client::Event& event) {
  if (!sync_) return;
  if (std::holds_alternative<client::WentOffline>(event)) is_told_offline_ = true;
  if (std::holds_alternative<client::WentOnline>(event)) is_told_offline_ = false;
  const std::uint64_t run = run_;
  for (const client::Effect& effect : sync_->handle(event)) {
    if (run != run_) return;  // an effect ended this run
    carry_out(effect);
  }
  if (run == run_ && live_) live_->process();
}

void Device::carry_out(const client::Effect& effect) {
  std::visit(Overloaded{
                 [this](const client::SendRequest& wanted) { network_.send(*this, wanted); },
                 [this](const client::FetchToken& wanted) {
                   queue_.after(Micros(1'000), [this, run = run_, after_refusal = wanted.after_refusal] {
                     if (run == run_) handle(client::TokenFetched{network_.fetch_token(*this, after_refusal)});
                   });
                 },
                 [this](const client::OpenSocket& wanted) { network_.open_socket(*this, wanted); },
                 [this](const client::CloseSocket&) { network_.close_socket(*this); },
                 [this](const client::SendFrame& wanted) { network_.send_frame(*this, wanted.text); },
                 [this](const client::SetTimer& wanted) {
                   const std::uint64_t setting = timers_[wanted.timer] = ++timers_set_;
                   queue_.after(wanted.delay, [this, run = run_, timer = wanted.timer, setting] {
                     const auto it = timers_.find(timer);
                     if (run != run_ || it == timers_.end() || it->second != setting) return;
                     timers_.erase(it);
                     handle(client::TimerFired{timer});
                   });
                 },
                 [this](const client::CancelTimer& wanted) { timers_.erase(wanted.timer); },
                 [](const client::Notify&) {},
                 [](const client::PresenceChanged&) {},
                 [this](const client::SyncFinished& finished) {
                   ++syncs_finished_;
                   last_sync_held_ = finished.report.has_value();
                 },
             },
             effect);
}

Result<RowTexts> Device::visible() {
  RowTexts rows;
  for (const auto& table : setup_.domain->tables()) {
    const auto all = store_->query(all_of(*table));
    if (!all) return tl::unexpected(all.error());
    for (const Row& row : *all) rows[row_name(*table, key_text(row[table->key_index()]))] = row_text(*table, row);
  }
  return rows;
}

Result<RowTexts> Device::base() {
  auto rows = visible();
  if (!rows) return rows;
  const auto undo = store_->sql("SELECT table_name, key, before FROM nizhal_undo ORDER BY ordinal DESC");
  if (!undo) return tl::unexpected(undo.error());
  for (const auto& values : undo->rows) {
    const TableDef* table = setup_.domain->domain().find_table(std::get<std::string>(values[0]));
    if (!table) return failure(ErrorCode::corrupt, "the undo names a table that there is not");
    const std::string name = row_name(*table, std::get<std::string>(values[1]));
    const auto* before = std::get_if<std::string>(&values[2]);
    if (!before) {
      rows->erase(name);
      continue;
    }
    const auto json = parse_json(*before);
    if (!json) return tl::unexpected(json.error());
    const auto row = row_from_json(*table, *json);
    if (!row) return tl::unexpected(row.error());
    (*rows)[name] = row_text(*table, *row);
  }
  return rows;
}

std::string Device::live_difference() {
  live_->process();
  if (!live_->failures.empty()) return {};  // it reads from a disk that fails; the next commit tries again
  for (const auto& [table, rows] : live_->delivered) {
    const auto fresh = store_->query(all_of(*table));
    if (!fresh) return {};
    if (*fresh != rows)
      return fmt::format("{}: the live query over {} has {} rows that are not the {} of a fresh run", name_,
                         table->name, rows.size(), fresh->size());
  }
  return {};
}

}  // namespace nizhal::sim
