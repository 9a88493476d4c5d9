// The variables that engines' native functions read.
#ifndef TFTRT_TOOLKIT_RUNTIME_OPS_KEPT_VARIABLES_H_
#define TFTRT_TOOLKIT_RUNTIME_OPS_KEPT_VARIABLES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tensorflow/core/framework/tensor.h"

namespace tftrt {

using Handles = std::vector<tensorflow::Tensor>;

// They are found by the function's name, of which TensorFlow's loader makes another at each load:
// handed from op to op as a resource, they would tie all these ops to one device. (Sessions share
// the name, and handles that mean each session's own variables.)
class KeptVariables {
 public:
  explicit KeptVariables(std::string function);
  // The last one of a function forgets its variables.
  ~KeptVariables();
  KeptVariables(const KeptVariables&) = delete;
  KeptVariables& operator=(const KeptVariables&) = delete;

 private:
  const std::string function_;
};

// Keeps argument `index` of the `count` variables of a function for which there is a KeptVariables.
absl::Status KeepVariable(const std::string& function, int index, int count,
                          const tensorflow::Tensor& handle);

// In the order of the function's arguments; null until all are kept.
std::shared_ptr<const Handles> VariablesOf(const std::string& function);

}  // namespace tftrt

#endif  // TFTRT_TOOLKIT_RUNTIME_OPS_KEPT_VARIABLES_H_
