// How an operation on the host address space ended.

/** Below any address that can be mapped: calls that return an address return these in its place. From 16: of files. */
export enum HostStatus {
  Ok = 0,
  /** No VMA there: -EFAULT, or SIGSEGV with SEGV_MAPERR. */
  NoVma = 1,
  /** The VMA does not allow the access: SEGV_ACCERR. */
  Access = 2,
  /** No frame to be had. */
  OutOfFrames = 3,
  /** Unaligned, empty or beyond user space: -EINVAL. */
  Invalid = 4,
  /** The VMA table is full: -ENOMEM. Nothing was changed. */
  TooManyVmas = 5,
  /** Something is mapped in the range: -EEXIST. Nothing was changed. */
  Overlap = 6,
  /** No free range of this length: -ENOMEM. */
  NoRange = 7,
  /** The page has as many references as its count may reach: -ENOMEM. */
  RefcountLimit = 8,
  /** Somebody has or holds it, or it is mapped: -EBUSY. Nothing was changed. */
  Busy = 9,
  /** The VMA maps remapped pfns (VM_PFNMAP), on which a lookup takes no reference: follow the entry instead. */
  Pfnmap = 10,
  /** A remapped pfn that is no frame: the access goes to a device, which is the embedder's. */
  Device = 11,
  /** Beyond the end of the file: SIGBUS. */
  BeyondEnd = 16,
  /** No such file: -EBADF; or no such device: -ENODEV. */
  NoFile = 17,
  /** More pages than a file may have: -EFBIG. */
  FileTooLarge = 18,
  /** No row for another file, device or transfer: -ENFILE. */
  TooManyFiles = 19,
  /** The device has no free block: -ENOSPC. */
  NoBlocks = 20,
  /** A pin without a bound on its life is refused on pages of a DAX file: -EOPNOTSUPP. */
  LongtermRefused = 22,
}
