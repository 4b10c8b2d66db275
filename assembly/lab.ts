// Entry of the lab module: the whole ABI, and the parts of the protocol one by one.
export * from "./index";
export * from "./abi/lab";
