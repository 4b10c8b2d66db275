// The page's script: one walker over one Uint8Array.
import { PageWalker, describeFault } from "guestmmu/walker";

const P = 1n;
const RW = 2n;
const US = 4n;
const PS = 0x80n;
const XD = 1n << 63n;

/** 64 KiB of memory with tables at 0x1000: two user pages, and a large kernel page. */
function exampleMemory() {
  const words = new BigUint64Array(0x10000 / 8);
  const set = (table, index, entry) => (words[table / 8 + index] = entry);
  set(0x1000, 254, 0x2000n | P | RW | US); // 0x7f00_0000_0000
  set(0x2000, 0, 0x3000n | P | RW | US);
  set(0x3000, 0, 0x4000n | P | RW | US);
  set(0x4000, 0, 0x8000n | P | US);
  set(0x4000, 1, 0x9000n | P | RW | US | XD);
  set(0x1000, 273, 0x5000n | P | RW); // 0xffff_8880_0000_0000
  set(0x5000, 0, 0x6000n | P | RW);
  set(0x6000, 0, P | RW | PS | XD);
  return new Uint8Array(words.buffer);
}

const hex = (value) => `0x${value.toString(16)}`;
const show = (id, rows) =>
  document.querySelector(`#${id} tbody`).replaceChildren(
    ...rows.map((cells) => {
      const row = document.createElement("tr");
      row.append(
        ...cells.map((text) => Object.assign(document.createElement("td"), { textContent: String(text) })),
      );
      return row;
    }),
  );
const report = (text) => (document.querySelector("#result").textContent = text);

// `open` fetches the module of the package; nothing here needs shared memory.
const walker = await PageWalker.open(exampleMemory(), { cr3: 0x1000n });
let current = walker;

async function list() {
  const rows = [];
  for await (const { gva, gpa, length, writable, user, executable } of current.mappings({
    fold: "physical",
    maxRows: 1000,
  })) {
    const rights = `${user ? "u" : "-"}r${writable ? "w" : "-"}${executable ? "x" : "-"}`;
    rows.push([hex(gva), hex(gva + length - 1n), hex(gpa), rights]);
  }
  show("mappings", rows);
}

/** Runs what a form asks for; errors of the library are sentences for its reader. */
function onSubmit(id, action) {
  document.querySelector(`#${id}`).addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      await action(new FormData(event.target));
    } catch (error) {
      report(`${error.message} ${error.hint ?? ""}`);
    }
  });
}

onSubmit("source", async (form) => {
  const cr3 = BigInt(form.get("cr3"));
  const file = form.get("file");
  if (file.size > 0) {
    if (current !== walker) current.close();
    current = await PageWalker.open(new Uint8Array(await file.arrayBuffer()), { cr3 });
  } else {
    current.setRegisters({ cr3 });
  }
  await list();
});

onSubmit("query", (form) => {
  const options = { access: form.get("access"), cpl: Number(form.get("cpl")) };
  const { result, steps } = current.walk(BigInt(form.get("gva")), options);
  report(result.kind === "ok" ? `physical address ${hex(result.hpa)}` : describeFault(result));
  show(
    "steps",
    steps.map(({ level, table, index, entry, flags }) => [
      level,
      hex(table),
      index,
      hex(entry),
      flags.join(" "),
    ]),
  );
});

await list();
document.documentElement.dataset.ready = "yes";
