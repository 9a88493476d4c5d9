#include "kept_variables.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"

namespace tftrt {
namespace {

struct KeptEntry {
  int holders = 0;
  Handles handles;  // of another dtype until they are kept
  std::shared_ptr<const Handles> complete;
};

struct KeptTable {
  std::mutex mutex;
  std::map<std::string, KeptEntry> entries;
};

// Never destroyed: threads may still run kernels while static destructors do.
KeptTable& kept() {
  static KeptTable* table = new KeptTable;
  return *table;
}

bool IsKept(const tensorflow::Tensor& handle) {
  return handle.dtype() == tensorflow::DT_RESOURCE;
}

}  // namespace

KeptVariables::KeptVariables(std::string function) : function_(std::move(function)) {
  KeptTable& t = kept();
  std::lock_guard<std::mutex> lock(t.mutex);
  ++t.entries[function_].holders;
}

KeptVariables::~KeptVariables() {
  KeptEntry last;  // dies outside the lock, and perhaps the variables with it
  KeptTable& t = kept();
  std::lock_guard<std::mutex> lock(t.mutex);
  const auto found = t.entries.find(function_);
  if (--found->second.holders > 0) return;
  last = std::move(found->second);
  t.entries.erase(found);
}

absl::Status KeepVariable(const std::string& function, int index, int count,
                          const tensorflow::Tensor& handle) {
  KeptTable& t = kept();
  std::lock_guard<std::mutex> lock(t.mutex);
  const auto found = t.entries.find(function);
  if (found == t.entries.end()) {
    return absl::FailedPreconditionError(
        absl::StrCat("no engine's resource keeps the variables of ", function));
  }
  if (index < 0 || index >= count) {
    return absl::InvalidArgumentError(
        absl::StrCat(function, " has ", count, " variables, none of index ", index));
  }
  KeptEntry& entry = found->second;
  entry.handles.resize(count);
  entry.handles[index] = handle;
  if (std::all_of(entry.handles.begin(), entry.handles.end(), IsKept)) {
    entry.complete = std::make_shared<const Handles>(entry.handles);
  }
  return absl::OkStatus();
}

std::shared_ptr<const Handles> VariablesOf(const std::string& function) {
  KeptTable& t = kept();
  std::lock_guard<std::mutex> lock(t.mutex);
  const auto found = t.entries.find(function);
  return found == t.entries.end() ? nullptr : found->second.complete;
}

}  // namespace tftrt
