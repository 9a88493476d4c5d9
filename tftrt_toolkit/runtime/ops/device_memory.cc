#include "device_memory.h"

extern "C" {

void* tftrt_device_allocate(int32_t device, int64_t bytes) {
  return tftrt::AllocateOnDevice(device, static_cast<size_t>(bytes));
}

void tftrt_device_free(int32_t device, void* address) { tftrt::FreeOnDevice(device, address); }

// change: 1 before another stream than TensorFlow's is used on the device, -1 after.
void tftrt_device_foreign_streams(int32_t device, int32_t change) {
  if (device >= 0 && device < tftrt::kMaxDevices) {
    tftrt::device_memory(device).foreign_streams.fetch_add(change);
  }
}
}
