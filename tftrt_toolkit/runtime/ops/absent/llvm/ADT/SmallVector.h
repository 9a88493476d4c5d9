// See ArrayRef.h beside it.
#ifndef TFTRT_TOOLKIT_ABSENT_LLVM_ADT_SMALLVECTOR_H_
#define TFTRT_TOOLKIT_ABSENT_LLVM_ADT_SMALLVECTOR_H_

#include <vector>

namespace llvm {

template <typename T, unsigned N = 0>
class SmallVector : public std::vector<T> {};

}  // namespace llvm

#endif  // TFTRT_TOOLKIT_ABSENT_LLVM_ADT_SMALLVECTOR_H_
