export function invalidateStart(actor: usize, start: u64, end: u64, event: i32): void {}
export function invalidateEnd(actor: usize, start: u64, end: u64, event: i32): void {}
