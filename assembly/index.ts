// The exported ABI and nothing else: one file a group, documented there and in docs/abi.md. The acting vCPU or host
// thread is the first argument of every export that acts, as an index (vCPUs first). Addresses and 64-bit values are
// u64; the version is `ABI_VERSION` in layout/header.ts.
export * from "./abi/machine";
export * from "./abi/cpu";
export * from "./abi/walk";
export * from "./abi/case";
export * from "./abi/host";
export * from "./abi/file";
export * from "./abi/maps";
export * from "./abi/kvm";
export * from "./abi/vcpu";
export * from "./abi/users";
export * from "./abi/drive";
