// A page walk in words and as a picture: a guest writes to a page that its tables make read-only.
//
//   npm run build && node examples/walk-page.mjs walk.html
import { writeFileSync } from "node:fs";
import { Machine, registersOf } from "guestmmu";
import { accumulatedRights, explainWalk, shortRights, walkPage } from "guestmmu/report";

const MiB = 1 << 20;
const machine = Machine.create({ hostMemory: 16 * MiB, vcpus: 1 });
machine.memslots.add({ gpa: 0, hva: machine.mm.mmap(64 * MiB), length: 64 * MiB });
const tables = machine.guestTables({ at: 1 * MiB });
tables.map({ gva: 0x7f12_3456_7000, gpa: 2 * MiB, length: 4096 });
tables.map({ gva: 0x7f12_3456_8000, gpa: 3 * MiB, length: 4096, writable: false });
const vcpu = machine.vcpu(0);
vcpu.enterLongMode(tables);

for (const gva of [0x7f12_3456_7000n, 0x7f12_3456_8000n]) {
  // With side effects KVM maps what the access needs first: a walk without shows where it would have to.
  const translation = vcpu.translate(gva, { access: "write", sideEffects: true });
  const context = { gva, access: "write", registers: registersOf(machine) };
  console.log(explainWalk(translation, context));
  const rights = accumulatedRights(translation, context);
  for (const [i, { dimension, level, entry }] of translation.steps.entries())
    if (dimension === "guest")
      console.log(`  level ${level}  0x${entry.toString(16)}  ${shortRights(rights[i])}`);
  const [, , path] = process.argv;
  if (path) writeFileSync(path, walkPage(translation, context, { title: "examples/walk-page.mjs" }));
}
machine.dispose();
