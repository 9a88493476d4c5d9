// TensorFlow 2.19's headers include LLVM's, and its wheel lacks them. These stand in where they are
// missing, to be compiled past and never used: no type of XLA that holds one is touched here.
#ifndef TFTRT_TOOLKIT_ABSENT_LLVM_ADT_ARRAYREF_H_
#define TFTRT_TOOLKIT_ABSENT_LLVM_ADT_ARRAYREF_H_

#include <cstddef>

namespace llvm {

template <typename T>
class ArrayRef {
 public:
  ArrayRef() = default;
  template <typename Container>
  ArrayRef(const Container& container) : data_(container.data()), size_(container.size()) {}

 private:
  const T* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace llvm

#endif  // TFTRT_TOOLKIT_ABSENT_LLVM_ADT_ARRAYREF_H_
