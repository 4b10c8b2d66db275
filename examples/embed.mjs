// A guest with one page of code and one of data, set up from outside and driven access by access.
//
//   npm run build && node examples/embed.mjs
import { Machine, describeFault, valueOf } from "guestmmu";

const MiB = 1 << 20;
const machine = Machine.create({ hostMemory: 16 * MiB, vcpus: 1 });

// Host: 64 MiB for the guest, of which only what is touched takes a frame.
const backing = machine.mm.mmap(64 * MiB);
machine.memslots.add({ gpa: 0, hva: backing, length: 64 * MiB });

// Guest: page tables at 1 MiB; one writable page at 0x400000, one read-only at 0x401000.
const tables = machine.guestTables({ at: 1 * MiB });
tables.map({ gva: 0x400000, gpa: 2 * MiB, length: 4096, executable: false });
tables.map({ gva: 0x401000, gpa: 2 * MiB + 4096, length: 4096, writable: false });

const vcpu = machine.vcpu(0);
vcpu.enterLongMode(tables);
vcpu.onMmio({
  read: (gpa, size) => (console.log(`  device read   ${size} bytes at gpa 0x${gpa.toString(16)}`), 0x5a),
  write: (gpa, size, value) =>
    console.log(`  device write  ${size} bytes at gpa 0x${gpa.toString(16)}: ${value}`),
});

valueOf(vcpu.write(0x400000, 41));
valueOf(vcpu.add(0x400000, 1));
console.log("read", valueOf(vcpu.read(0x400000)));

// Faults are values: error codes are those that a processor would push.
for (const result of [
  vcpu.write(0x401000, 1),
  vcpu.fetch(0x400000),
  vcpu.read(0x500000),
  vcpu.read(1n << 63n),
]) {
  console.log("fault", describeFault(result));
}

// An address without memory behind it goes to the device.
tables.map({ gva: 0x600000, gpa: 0xfee00000, length: 4096 });
valueOf(vcpu.write(0x600000, 7, 32));
console.log("device", valueOf(vcpu.read(0x600010, 32)));

console.log("walk of 0x400000");
for (const { dimension, level, index, entry, flags } of vcpu.translate(0x400000).steps) {
  const place = `${dimension.padEnd(6)} level ${level} entry ${String(index).padStart(3)}`;
  console.log(`  ${place}  0x${entry.toString(16).padStart(16, "0")}  ${flags.join(" ")}`);
}

// The host takes the page away; the guest's next access finds a new, zeroed one.
machine.mm.madviseDontneed(machine.guestMemory.hvaOf(2 * MiB), 4096);
console.log("after MADV_DONTNEED", valueOf(vcpu.read(0x400000)));
const { faults, faultsFixed, walks, tlbHits } = vcpu.statistics();
console.log({ faults, faultsFixed, walks, tlbHits });
machine.dispose();
