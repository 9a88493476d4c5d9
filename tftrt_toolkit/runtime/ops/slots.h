// What is bound to each resource name. Knows nothing of TensorFlow.
#ifndef TFTRT_TOOLKIT_RUNTIME_OPS_SLOTS_H_
#define TFTRT_TOOLKIT_RUNTIME_OPS_SLOTS_H_

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "executor.h"
#include "python_gate.h"

namespace tftrt {

// Shapes, device and stream of a call, flattened.
using PlanKey = std::vector<int64_t>;

struct OutputShape {
  bool known = false;
  std::vector<int64_t> dims;
};

// An executor's answer for one PlanKey; the executor hears of it when the last user is gone.
struct Plan {
  explicit Plan(const TftrtExecutor& executor) : executor(executor) {}
  ~Plan();
  const TftrtExecutor executor;
  std::string refusal;  // why these shapes are declined; empty if they aren't
  TftrtMode mode = kTftrtExecutor;
  int64_t token = 0;
  int64_t scratch_bytes = 0;
  std::vector<OutputShape> outputs;
};

// One executor bound to one resource. Calls in flight share it, so unbinding never pulls it from
// under them; the last one releases it.
class Binding {
 public:
  Binding(std::string label, TftrtMode mode, const TftrtExecutor& executor)
      : label(std::move(label)), mode(mode), executor(executor) {}
  ~Binding();

  // The plan for these shapes; asks the executor the first time. Fills call->message on failure.
  TftrtStatus Prepare(PlanKey key, TftrtCall* call, std::shared_ptr<const Plan>* plan);

  // Frees what the executor holds, until it is called again.
  void Trim();

  const std::string label;
  const TftrtMode mode;
  const TftrtExecutor executor;

 private:
  // Asks the executor; null if it is broken.
  std::shared_ptr<const Plan> Ask(TftrtCall* call);

  std::mutex mutex_;
  std::map<PlanKey, std::shared_ptr<const Plan>> plans_;
};

struct Counters {
  std::atomic<int64_t> calls{0}, nanoseconds{0}, native_calls{0}, native_nanoseconds{0},
      declined{0}, failed{0}, observed{0};
};

class Slot {
 public:
  explicit Slot(std::string resource) : resource(std::move(resource)) {}

  std::shared_ptr<Binding> binding() const;
  void Bind(std::shared_ptr<Binding> binding, bool hold);
  // Removes `binding` if it is still the bound one.
  void Retire(const std::shared_ptr<Binding>& binding);
  void Unbind();
  void AddKernel();
  // Whether it was the last one, so that an unheld binding may be trimmed.
  bool DropKernel();
  // Trims the binding if there is no kernel and it isn't held. It stays bound: a function outlives
  // its model, and its kernel is made only when it is called.
  void TrimUnused();
  bool idle() const;

  // True if it is another than before.
  bool SetReason(const std::string& reason);
  std::string reason() const;

  void AddTime(double seconds);
  // Moves out at most `count` times; with null, only counts them.
  int64_t TakeTimes(double* times, int64_t count);

  const std::string resource;
  std::atomic<int> observers{0};
  std::atomic<bool> timed{false};
  Counters counters;

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<Binding> binding_;
  std::string reason_;
  std::vector<double> times_;
  int kernels_ = 0;
  bool held_ = false;
};

// The slot of a name, made on first use.
std::shared_ptr<Slot> GetSlot(const std::string& resource);
// A kernel of the slot is being destroyed: what that frees is freed soon, in another thread.
void LeaveSlot(std::shared_ptr<Slot> slot);
// Forgets the slot if nobody but the table holds it and nothing is bound.
void SweepSlot(std::shared_ptr<Slot> slot);

const TftrtCallbacks& callbacks();
bool strict();

}  // namespace tftrt

#endif  // TFTRT_TOOLKIT_RUNTIME_OPS_SLOTS_H_
