// Tensors as executors see them.
#ifndef TFTRT_TOOLKIT_RUNTIME_OPS_TENSOR_VIEWS_H_
#define TFTRT_TOOLKIT_RUNTIME_OPS_TENSOR_VIEWS_H_

#include "absl/container/inlined_vector.h"
#include "executor.h"
#include "tensorflow/core/framework/tensor.h"

namespace tftrt {

// Shares the tensors' buffers and holds the dims that the views point to.
class TensorViews {
 public:
  void Add(const tensorflow::Tensor& tensor) {
    tensors_.push_back(tensor);
    const auto sizes = tensor.shape().dim_sizes();
    offsets_.push_back(dims_.size());
    dims_.insert(dims_.end(), sizes.begin(), sizes.end());
  }

  // Valid until the next Add().
  TftrtTensor* Finish() {
    views_.resize(tensors_.size());
    for (size_t i = 0; i < tensors_.size(); ++i) {
      views_[i] = {tensors_[i].data(), dims_.data() + offsets_[i],
                   static_cast<int64_t>(tensors_[i].TotalBytes()), tensors_[i].dims(),
                   static_cast<int32_t>(tensors_[i].dtype())};
    }
    return views_.data();
  }

  int32_t size() const { return static_cast<int32_t>(tensors_.size()); }

 private:
  absl::InlinedVector<tensorflow::Tensor, 4> tensors_;
  absl::InlinedVector<size_t, 4> offsets_;
  absl::InlinedVector<int64_t, 16> dims_;
  absl::InlinedVector<TftrtTensor, 4> views_;
};

}  // namespace tftrt

#endif  // TFTRT_TOOLKIT_RUNTIME_OPS_TENSOR_VIEWS_H_
