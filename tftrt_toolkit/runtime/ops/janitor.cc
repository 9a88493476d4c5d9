#include "janitor.h"

#include <unistd.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

namespace tftrt {
namespace {

struct Janitor {
  std::mutex mutex;
  std::condition_variable more;
  std::deque<std::function<void()>> waiting;
  pid_t process = 0;  // that the thread is in: a fork leaves it behind

  void Run() {
    while (true) {
      std::function<void()> work;
      {
        std::unique_lock<std::mutex> lock(mutex);
        more.wait(lock, [this] { return !waiting.empty(); });
        work = std::move(waiting.front());
        waiting.pop_front();
      }
      work();
    }
  }
};

// Never destroyed: its thread may outlive static destructors.
Janitor& janitor() {
  static Janitor* janitor = new Janitor;
  return *janitor;
}

}  // namespace

void RunLater(std::function<void()> work) {
  Janitor& j = janitor();
  std::lock_guard<std::mutex> lock(j.mutex);
  j.waiting.push_back(std::move(work));
  if (j.process != getpid()) {
    j.process = getpid();
    std::thread([&j] { j.Run(); }).detach();
  }
  j.more.notify_one();
}

}  // namespace tftrt
