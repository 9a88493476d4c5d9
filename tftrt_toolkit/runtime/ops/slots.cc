#include "slots.h"

#include <algorithm>
#include <cstdio>

#include "janitor.h"

namespace tftrt {
namespace {

// Models with many shapes in turn would otherwise keep a plan for each for ever.
constexpr size_t kMaxPlans = 64;

struct Table {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<Slot>> slots;
};

// Never destroyed: threads may still run kernels while static destructors do.
Table& table() {
  static Table* table = new Table;
  return *table;
}
TftrtCallbacks& mutable_callbacks() {
  static TftrtCallbacks* callbacks = new TftrtCallbacks();
  return *callbacks;
}
std::atomic<bool> strict_mode{false};

}  // namespace

Plan::~Plan() {
  PythonCall python;
  if (python) executor.forget(token);
}

Binding::~Binding() {
  plans_.clear();
  if (mode != kTftrtExecutor) return;
  PythonCall python;
  if (python) executor.release(executor.id);
}

void Binding::Trim() {
  if (mode != kTftrtExecutor) return;
  std::lock_guard<std::mutex> lock(mutex_);
  plans_.clear();
  PythonCall python;
  if (python) executor.trim(executor.id);
}

TftrtStatus Binding::Prepare(PlanKey key, TftrtCall* call, std::shared_ptr<const Plan>* plan) {
  // Held while the executor prepares: threads that meet a new shape together prepare it once.
  std::lock_guard<std::mutex> lock(mutex_);
  auto found = plans_.find(key);
  if (found == plans_.end()) {
    auto made = Ask(call);
    if (made == nullptr) return kTftrtFailed;
    if (plans_.size() >= kMaxPlans) plans_.clear();
    found = plans_.emplace(std::move(key), std::move(made)).first;
  }
  *plan = found->second;
  if ((*plan)->refusal.empty()) return kTftrtOk;
  std::snprintf(call->message, call->message_bytes, "%s", (*plan)->refusal.c_str());
  return kTftrtDeclined;
}

std::shared_ptr<const Plan> Binding::Ask(TftrtCall* call) {
  std::vector<int32_t> ranks(call->num_outputs, -1);
  std::vector<int64_t> dims(static_cast<size_t>(call->num_outputs) * kTftrtMaxRank, 0);
  TftrtPlan answer{kTftrtExecutor, ranks.data(), dims.data(), 0, 0};
  const auto status = static_cast<TftrtStatus>(executor.prepare(executor.id, call, &answer));
  if (status == kTftrtFailed) return nullptr;
  auto made = std::make_shared<Plan>(executor);
  if (status == kTftrtDeclined) made->refusal = *call->message ? call->message : "declined";
  made->mode = static_cast<TftrtMode>(answer.mode);
  made->token = answer.token;
  made->scratch_bytes = answer.scratch_bytes;
  made->outputs.resize(call->num_outputs);
  for (int i = 0; i < call->num_outputs; ++i) {
    if (ranks[i] < 0 || ranks[i] > kTftrtMaxRank) continue;
    const int64_t* first = dims.data() + static_cast<size_t>(i) * kTftrtMaxRank;
    made->outputs[i].known = true;
    made->outputs[i].dims.assign(first, first + ranks[i]);
  }
  return made;
}

std::shared_ptr<Binding> Slot::binding() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return binding_;
}

void Slot::Bind(std::shared_ptr<Binding> binding, bool hold) {
  std::lock_guard<std::mutex> lock(mutex_);
  binding_.swap(binding);  // the old one dies below, outside the lock
  held_ = hold;
  reason_.clear();
}

void Slot::Retire(const std::shared_ptr<Binding>& binding) {
  std::shared_ptr<Binding> old;
  std::lock_guard<std::mutex> lock(mutex_);
  if (binding_ == binding) old.swap(binding_);
}

void Slot::Unbind() {
  std::shared_ptr<Binding> old;
  std::lock_guard<std::mutex> lock(mutex_);
  old.swap(binding_);
  held_ = false;
}

void Slot::AddKernel() {
  std::lock_guard<std::mutex> lock(mutex_);
  ++kernels_;
}

bool Slot::DropKernel() {
  std::lock_guard<std::mutex> lock(mutex_);
  return --kernels_ == 0 && !held_;
}

void Slot::TrimUnused() {
  std::shared_ptr<Binding> unused;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (kernels_ == 0 && !held_) unused = binding_;
  }
  if (unused != nullptr) unused->Trim();
}

bool Slot::idle() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return binding_ == nullptr && kernels_ == 0 && observers.load() == 0;
}

bool Slot::SetReason(const std::string& reason) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (reason_ == reason) return false;
  reason_ = reason;
  return true;
}

std::string Slot::reason() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return reason_;
}

void Slot::AddTime(double seconds) {
  std::lock_guard<std::mutex> lock(mutex_);
  times_.push_back(seconds);
}

int64_t Slot::TakeTimes(double* times, int64_t count) {
  std::lock_guard<std::mutex> lock(mutex_);
  const int64_t held = static_cast<int64_t>(times_.size());
  if (times == nullptr) return held;
  count = std::min(count, held);
  std::copy_n(times_.begin(), count, times);
  times_.erase(times_.begin(), times_.begin() + count);
  return count;
}

std::shared_ptr<Slot> GetSlot(const std::string& resource) {
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  std::shared_ptr<Slot>& slot = t.slots[resource];
  if (slot == nullptr) slot = std::make_shared<Slot>(resource);
  return slot;
}

void LeaveSlot(std::shared_ptr<Slot> slot) {
  if (!slot->DropKernel()) return;
  RunLater([slot = std::move(slot)]() mutable {
    slot->TrimUnused();
    SweepSlot(std::move(slot));
  });
}

void SweepSlot(std::shared_ptr<Slot> slot) {
  Table& t = table();
  std::lock_guard<std::mutex> lock(t.mutex);
  auto found = t.slots.find(slot->resource);
  if (found == t.slots.end() || found->second != slot) return;
  // Two holders: the table and the caller. A new one can only come through the table's lock.
  if (slot.use_count() <= 2 && slot->idle()) t.slots.erase(found);
}

const TftrtCallbacks& callbacks() { return mutable_callbacks(); }

bool strict() { return strict_mode.load(std::memory_order_relaxed); }

}  // namespace tftrt

// ---- What Python calls ---------------------------------------------------------------------

extern "C" {

int32_t tftrt_abi() { return kTftrtAbi; }

// Before any resource is initialised, and once: readers take no lock.
void tftrt_set_callbacks(const TftrtCallbacks* callbacks) {
  tftrt::mutable_callbacks() = *callbacks;
}

void tftrt_set_strict(int32_t strict) { tftrt::strict_mode.store(strict != 0); }

// `executor` may be null unless mode is kTftrtExecutor. `hold`: it isn't trimmed when no kernel is
// left.
void tftrt_bind(const char* resource, const char* label, int32_t mode,
                const TftrtExecutor* executor, int32_t hold) {
  tftrt::GetSlot(resource)->Bind(
      std::make_shared<tftrt::Binding>(label, static_cast<TftrtMode>(mode),
                                       executor ? *executor : TftrtExecutor{}),
      hold != 0);
}

void tftrt_unbind(const char* resource) {
  auto slot = tftrt::GetSlot(resource);
  slot->Unbind();
  tftrt::SweepSlot(std::move(slot));
}

// Why a resource has no executor; the strict mode's error and the statistics tell it.
void tftrt_set_reason(const char* resource, const char* reason) {
  auto slot = tftrt::GetSlot(resource);
  slot->SetReason(reason);
}

// change: 1 to add an observer, -1 to remove one.
void tftrt_observe(const char* resource, int32_t change) {
  auto slot = tftrt::GetSlot(resource);
  slot->observers.fetch_add(change);
  tftrt::SweepSlot(std::move(slot));
}

void tftrt_time(const char* resource, int32_t on) { tftrt::GetSlot(resource)->timed = on != 0; }

int64_t tftrt_take_times(const char* resource, double* times, int64_t count) {
  return tftrt::GetSlot(resource)->TakeTimes(times, count);
}

void tftrt_visit_stats(void (*visit)(const TftrtStats*, void*), void* context) {
  std::vector<std::shared_ptr<tftrt::Slot>> slots;
  {
    std::lock_guard<std::mutex> lock(tftrt::table().mutex);
    for (const auto& entry : tftrt::table().slots) slots.push_back(entry.second);
  }
  for (auto& slot : slots) {
    const auto binding = slot->binding();
    const std::string label = binding ? binding->label : "native";
    const std::string reason = slot->reason();
    const tftrt::Counters& c = slot->counters;
    const TftrtStats stats{slot->resource.c_str(), label.c_str(), reason.c_str(),
                           c.calls,        c.nanoseconds, c.native_calls, c.native_nanoseconds,
                           c.declined,     c.failed,      c.observed};
    visit(&stats, context);
    tftrt::SweepSlot(std::move(slot));
  }
}

// No call into Python begins after this; waits for those in flight. 0 if some still are.
int32_t tftrt_close(double seconds) { return tftrt::CloseGate(seconds) ? 1 : 0; }
}
