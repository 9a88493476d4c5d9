// Copies host tensors to TensorFlow's GPU in the order of its stream, without waiting for it.
#ifndef TFTRT_TOOLKIT_RUNTIME_OPS_DEVICE_COPY_H_
#define TFTRT_TOOLKIT_RUNTIME_OPS_DEVICE_COPY_H_

#include <dlfcn.h>

#include <cstdint>
#include <vector>

#include "tensorflow/core/framework/device.h"
#include "tensorflow/core/framework/op_kernel.h"

namespace tftrt {

// CUDA's, of the driver that TensorFlow has loaded; null without one.
using CopyToDeviceAsync = int (*)(uintptr_t target, const void* source, size_t bytes, void* stream);

inline CopyToDeviceAsync copy_to_device_async() {
  static const CopyToDeviceAsync function = [] {
    void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    void* symbol = driver != nullptr ? dlsym(driver, "cuMemcpyHtoDAsync_v2") : nullptr;
    return reinterpret_cast<CopyToDeviceAsync>(symbol);
  }();
  return function;
}

// TensorFlow's own copy would wait until the GPU is done with everything before.
inline absl::Status CopyToDevice(tensorflow::OpKernelContext* context,
                                 const tensorflow::Tensor& host, tensorflow::Tensor* device) {
  TF_RETURN_IF_ERROR(context->allocate_temp(host.dtype(), host.shape(), device));
  const size_t bytes = host.TotalBytes();
  if (bytes == 0) return absl::OkStatus();
  auto* device_context = context->op_device_context();
  if (const CopyToDeviceAsync copy = copy_to_device_async(); copy != nullptr) {
    // The driver has read pageable memory when the call returns; TensorFlow's may be pinned, and
    // others' before the GPU gets to it.
    const auto* first = static_cast<const char*>(host.data());
    const std::vector<char> pageable(first, first + bytes);
    void* stream = device_context->stream()->platform_specific_handle().stream;
    const auto target = reinterpret_cast<uintptr_t>(device->data());
    if (copy(target, pageable.data(), bytes, stream) == 0) return absl::OkStatus();
  }
  return device_context->CopyCPUTensorToDeviceSync(
      &host, static_cast<tensorflow::Device*>(context->device()), device);
}

}  // namespace tftrt

#endif  // TFTRT_TOOLKIT_RUNTIME_OPS_DEVICE_COPY_H_
