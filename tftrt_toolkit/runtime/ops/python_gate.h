// Every call into Python passes here.
#ifndef TFTRT_TOOLKIT_RUNTIME_OPS_PYTHON_GATE_H_
#define TFTRT_TOOLKIT_RUNTIME_OPS_PYTHON_GATE_H_

namespace tftrt {

// No call begins after CloseGate(), which waits for those in flight: a thread that asks for the
// interpreter's lock while Python finalises never returns. False if some were still in flight
// after `seconds`.
bool CloseGate(double seconds);

// Held for the time of a call into Python; false if there may be none any more.
class PythonCall {
 public:
  PythonCall();
  ~PythonCall();
  PythonCall(const PythonCall&) = delete;
  PythonCall& operator=(const PythonCall&) = delete;
  explicit operator bool() const { return open_; }

 private:
  bool open_;
};

}  // namespace tftrt

#endif  // TFTRT_TOOLKIT_RUNTIME_OPS_PYTHON_GATE_H_
