// asc transform: keeps the one function that contains `memory.atomic.wait` out of every caller.
//
// Node 20's baseline compiler (Liftoff of V8 11.3) can corrupt a local that is live across the instruction; alone
// in a function, with nothing live after it, the instruction is right. docs/decisions/0004-wait-alone.md has the
// case, test/unit/wait.test.ts repeats it, and scripts/check-module.mjs proves that the built module obeys.
import binaryen from "binaryen";

export default class KeepWaitAlone {
  afterCompile(module) {
    for (let i = 0; i < module.getNumFunctions(); i++) {
      const { name } = binaryen.getFunctionInfo(module.getFunctionByIndex(i));
      if (!name.endsWith("/parkOnce")) continue;
      binaryen.setPassArgument("no-inline", name);
      module.runPasses(["no-inline"]);
      binaryen.setPassArgument("no-inline", null);
    }
  }
}
