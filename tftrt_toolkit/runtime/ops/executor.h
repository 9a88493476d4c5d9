// The contract between the TRTEngineOp kernel and whatever runs a segment. Plain C, so that Python
// can fill it through ctypes; `bridge.py` mirrors every struct, and kTftrtAbi ties the two.
#ifndef TFTRT_TOOLKIT_RUNTIME_OPS_EXECUTOR_H_
#define TFTRT_TOOLKIT_RUNTIME_OPS_EXECUTOR_H_

#include <stdint.h>

extern "C" {

// Raised with every change of a struct or of a function's arguments.
enum { kTftrtAbi = 1 };

// The greatest rank of an output whose shape an executor gives before it runs.
enum { kTftrtMaxRank = 16 };

enum TftrtStatus {
  kTftrtOk = 0,
  // This call isn't for this executor (a shape outside every profile): it runs natively.
  kTftrtDeclined = 1,
  // The executor is broken: the segment runs natively from now on.
  kTftrtFailed = 2,
};

enum TftrtMode { kTftrtNative = 0, kTftrtXla = 1, kTftrtExecutor = 2 };

// A dense row-major tensor. `dtype` is TensorFlow's DataType. `data` is a device pointer where the
// call's `device` is not -1, and may be null if the tensor is empty.
struct TftrtTensor {
  void* data;
  const int64_t* dims;
  int64_t bytes;
  int32_t rank;
  int32_t dtype;
};

// One call of one segment. What only its weights are read from is left out of the inputs.
struct TftrtCall {
  const TftrtTensor* inputs;
  TftrtTensor* outputs;  // `data` is null where the shape wasn't known beforehand
  int32_t num_inputs;
  int32_t num_outputs;
  int32_t device;  // CUDA ordinal, or -1 on the CPU
  int32_t allow_build;  // the node allows engines to be built while the model runs
  void* stream;    // TensorFlow's CUstream; all work must be enqueued there
  void* scratch;   // freed, in stream order, when the call returns
  int64_t scratch_bytes;
  char* message;  // why, if the answer isn't kTftrtOk
  int32_t message_bytes;
  // Memory for an output whose shape is known only now; null if there is none.
  void* (*allocate)(TftrtCall* call, int32_t index, int32_t rank, const int64_t* dims);
  void* context;  // the kernel's own
};

// What an executor needs to run inputs of given shapes on a given device.
struct TftrtPlan {
  int32_t mode;    // kTftrtExecutor unless these shapes are better run natively or by XLA
  int32_t* ranks;  // of each output; -1: known only when it has run
  int64_t* dims;   // kTftrtMaxRank for each output
  int64_t scratch_bytes;
  int64_t token;  // handed to enqueue() and forget()
};

struct TftrtExecutor {
  int64_t id;
  // Called once for each set of input shapes, device and stream; the answer is kept.
  int32_t (*prepare)(int64_t id, TftrtCall* call, TftrtPlan* plan);
  // Thread safe: calls with one token may overlap.
  int32_t (*enqueue)(int64_t token, TftrtCall* call);
  // No call with this token is in flight, and none will come.
  void (*forget)(int64_t token);
  // No kernel that uses the executor is left: free what it takes long to come by again,
  // and come by it again if a call arrives all the same.
  void (*trim)(int64_t id);
  // No call is in flight, and none will come.
  void (*release)(int64_t id);
};

// What the library asks of Python. Each is null until Python sets it.
struct TftrtCallbacks {
  // InitializeTRTResource: choose an executor for the resource from its asset.
  int32_t (*initialize)(const char* resource, const char* filename, int64_t max_cached_engines,
                        char* message, int32_t message_bytes);
  // SerializeTRTResource: write the resource's asset.
  int32_t (*serialize)(const char* resource, const char* filename, char* message,
                       int32_t message_bytes);
  // A segment ran natively though an executor was bound.
  void (*fell_back)(const char* resource, const char* executor, int32_t status,
                    const char* message);
  // An observed segment ran natively; its tensors are on the host.
  void (*observed)(const char* resource, const TftrtCall* call);
};

struct TftrtStats {
  const char* resource;
  const char* executor;  // bound now: "native" if there is none
  const char* reason;    // why the last call fell back; empty if none did
  int64_t calls;         // that the executor ran
  int64_t nanoseconds;   // the host spent in them
  int64_t native_calls;
  int64_t native_nanoseconds;
  int64_t declined;
  int64_t failed;
  int64_t observed;
};
}

#endif  // TFTRT_TOOLKIT_RUNTIME_OPS_EXECUTOR_H_
