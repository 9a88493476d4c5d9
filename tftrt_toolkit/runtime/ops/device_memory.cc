#include "device_memory.h"

extern "C" {

void* tftrt_device_allocate(int32_t device, int64_t bytes) {
  return tftrt::AllocateOnDevice(device, static_cast<size_t>(bytes));
}

void tftrt_device_free(int32_t device, void* address) { tftrt::FreeOnDevice(device, address); }

// 0 if the device is out of range.
int32_t tftrt_device_functions(int32_t device, void** allocate, void** free) {
  if (device < 0 || device >= tftrt::kMaxDevices) return 0;
  const auto functions = tftrt::FunctionsOf(
      device, std::make_integer_sequence<int, tftrt::kMaxDevices>());
  *allocate = reinterpret_cast<void*>(functions.allocate);
  *free = reinterpret_cast<void*>(functions.free);
  return 1;
}

// change: 1 before another stream than TensorFlow's is used on the device, -1 after.
void tftrt_device_foreign_streams(int32_t device, int32_t change) {
  tftrt::device_memory(device).foreign_streams.fetch_add(change);
}
}
