// One translation unit: parsing TensorFlow's headers is most of what compiling costs.
#include "engine_kernel.cc"
#include "op_registry.cc"
#include "resource_kernels.cc"
#include "slots.cc"
