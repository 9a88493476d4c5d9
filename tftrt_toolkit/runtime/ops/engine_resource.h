// What a handle of CreateTRTResourceHandle stands for.
#ifndef TFTRT_TOOLKIT_RUNTIME_OPS_ENGINE_RESOURCE_H_
#define TFTRT_TOOLKIT_RUNTIME_OPS_ENGINE_RESOURCE_H_

#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "tensorflow/core/framework/resource_base.h"
#include "tensorflow/core/framework/tensor.h"

namespace tftrt {

using Handles = std::vector<tensorflow::Tensor>;

// A segment of one loaded model: the name under which its engines are found, which all loads of a
// model share, and the variables of this load that its native function reads. Whether an executor
// is still needed is not told by handles, for TensorFlow's loader keeps some for ever and stock
// TF-TRT's models keep none, but by kernels.
class EngineResource : public tensorflow::ResourceBase {
 public:
  explicit EngineResource(std::string name) : name(std::move(name)) {}
  std::string DebugString() const override { return "TRTEngineOp resource " + name; }

  // Null until they are set.
  std::shared_ptr<const Handles> variables() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return variables_;
  }
  void set_variables(Handles variables) {
    auto held = std::make_shared<const Handles>(std::move(variables));
    std::lock_guard<std::mutex> lock(mutex_);
    variables_.swap(held);
  }

  const std::string name;

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const Handles> variables_;
};

}  // namespace tftrt

#endif  // TFTRT_TOOLKIT_RUNTIME_OPS_ENGINE_RESOURCE_H_
