// Work that may not be done where it comes up.
#ifndef TFTRT_TOOLKIT_RUNTIME_OPS_JANITOR_H_
#define TFTRT_TOOLKIT_RUNTIME_OPS_JANITOR_H_

#include <functional>

namespace tftrt {

// Runs `work` soon in a thread of its own, one after the other.
//
// TensorFlow destroys kernels under a lock that it takes for each eager call. A kernel's end that
// called Python would wait with it for Python's own lock, whose holder may be waiting for
// TensorFlow's.
void RunLater(std::function<void()> work);

}  // namespace tftrt

#endif  // TFTRT_TOOLKIT_RUNTIME_OPS_JANITOR_H_
