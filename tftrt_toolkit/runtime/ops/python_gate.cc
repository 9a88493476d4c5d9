#include "python_gate.h"

#include <dlfcn.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>

namespace tftrt {
namespace {

struct Gate {
  std::mutex mutex;
  std::condition_variable left;
  std::atomic<int> inside{0};
  std::atomic<bool> closed{false};
};

// Never destroyed: threads may still run kernels while static destructors do.
Gate& gate() {
  static Gate* gate = new Gate;
  return *gate;
}

bool Enter() {
  Gate& g = gate();
  g.inside.fetch_add(1);
  return !g.closed.load();
}

void Leave() {
  Gate& g = gate();
  if (g.inside.fetch_sub(1) == 1 && g.closed.load()) {
    std::lock_guard<std::mutex> lock(g.mutex);
    g.left.notify_all();
  }
}

// Of Python's stable ABI, found in the process instead of in headers.
struct PythonApi {
  void* (*thread_state)() = nullptr;
  int (*ensure)() = nullptr;
  void (*release)(int) = nullptr;
  void* (*save_thread)() = nullptr;
  void (*restore_thread)(void*) = nullptr;
  bool complete = false;

  PythonApi() {
    complete = Find("PyGILState_GetThisThreadState", &thread_state) &&
               Find("PyGILState_Ensure", &ensure) && Find("PyGILState_Release", &release) &&
               Find("PyEval_SaveThread", &save_thread) &&
               Find("PyEval_RestoreThread", &restore_thread);
  }
  template <typename Function>
  static bool Find(const char* name, Function* function) {
    *function = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
    return *function != nullptr;
  }
};

const PythonApi& python() {
  static const PythonApi* api = new PythonApi;
  return *api;
}

// A callback from a thread that Python doesn't know makes a thread state and drops it again, which
// costs more than the call. This keeps one for as long as the thread lives.
class ThreadState {
 public:
  void Keep() {
    if (kept_) return;
    kept_ = true;
    if (!python().complete || python().thread_state() != nullptr) return;
    ensured_ = python().ensure();
    state_ = python().save_thread();
  }
  ~ThreadState() {
    if (state_ == nullptr) return;
    // Once Python finalises, it frees the states itself.
    if (Enter()) {
      python().restore_thread(state_);
      python().release(ensured_);
    }
    Leave();
  }

 private:
  bool kept_ = false;
  int ensured_ = 0;
  void* state_ = nullptr;
};

}  // namespace

bool CloseGate(double seconds) {
  Gate& g = gate();
  std::unique_lock<std::mutex> lock(g.mutex);
  g.closed.store(true);
  return g.left.wait_for(lock, std::chrono::duration<double>(seconds),
                         [&] { return g.inside.load() == 0; });
}

PythonCall::PythonCall() : open_(Enter()) {
  thread_local ThreadState state;
  if (open_) {
    state.Keep();
  } else {
    Leave();
  }
}

PythonCall::~PythonCall() {
  if (open_) Leave();
}

}  // namespace tftrt
