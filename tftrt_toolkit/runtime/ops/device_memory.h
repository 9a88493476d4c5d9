// TensorFlow's GPU memory for those who allocate on their own: engines and sessions that took it
// from the driver would find nothing left, for TensorFlow takes nearly all of it at its start.
#ifndef TFTRT_TOOLKIT_RUNTIME_OPS_DEVICE_MEMORY_H_
#define TFTRT_TOOLKIT_RUNTIME_OPS_DEVICE_MEMORY_H_

#include <array>
#include <atomic>
#include <string>

#include "tensorflow/core/framework/op_kernel.h"
#include "xla/stream_executor/stream.h"
#include "xla/stream_executor/stream_executor.h"

namespace tftrt {

constexpr int kMaxDevices = 16;

struct DeviceMemory {
  std::atomic<tensorflow::Allocator*> allocator{nullptr};
  std::atomic<stream_executor::Stream*> stream{nullptr};
  // While positive, memory is handed out only when TensorFlow's stream is done with what lay there
  // before: whoever asks then writes to it on another stream.
  std::atomic<int> foreign_streams{0};
};

inline DeviceMemory& device_memory(int device) {
  static auto* memory = new std::array<DeviceMemory, kMaxDevices>;
  return (*memory)[device];
}

// Called with each executor call: cheap, and it knows the device's stream and allocator.
inline void RememberDevice(int device, tensorflow::OpKernelContext* context,
                           stream_executor::Stream* stream) {
  if (device < 0 || device >= kMaxDevices) return;
  DeviceMemory& memory = device_memory(device);
  if (memory.allocator.load(std::memory_order_acquire) != nullptr) return;
  memory.stream.store(stream, std::memory_order_release);
  memory.allocator.store(context->device()->GetAllocator(tensorflow::AllocatorAttributes()),
                         std::memory_order_release);
}

inline void* AllocateOnDevice(int device, size_t bytes) {
  if (device < 0 || device >= kMaxDevices) return nullptr;
  DeviceMemory& memory = device_memory(device);
  tensorflow::Allocator* allocator = memory.allocator.load(std::memory_order_acquire);
  if (allocator == nullptr || bytes == 0) return nullptr;
  void* address = allocator->AllocateRaw(tensorflow::Allocator::kAllocatorAlignment, bytes);
  if (address != nullptr && memory.foreign_streams.load() > 0) {
    const absl::Status status = memory.stream.load()->BlockHostUntilDone();
    // One string: TensorFlow 2.18 to 2.20 don't export what prints a number.
    if (!status.ok()) {
      LOG(ERROR) << "waiting for the stream of GPU " + std::to_string(device) + ": " +
                        status.ToString();
    }
  }
  return address;
}

inline void FreeOnDevice(int device, void* address) {
  if (address == nullptr) return;  // so the device is one of ours
  tensorflow::Allocator* allocator = device_memory(device).allocator.load();
  if (allocator != nullptr) allocator->DeallocateRaw(address);
}

}  // namespace tftrt

#endif  // TFTRT_TOOLKIT_RUNTIME_OPS_DEVICE_MEMORY_H_
