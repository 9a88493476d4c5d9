// One translation unit: parsing TensorFlow's headers is most of what compiling costs.
#include "device_memory.cc"
#include "engine.cc"
#include "engine_kernel.cc"
#include "kept_variables.cc"
#include "op_registry.cc"
#include "python_gate.cc"
#include "resource_kernels.cc"
#include "slots.cc"
