/** Options that the commands over images share. */

import { type Command } from "commander";

/** How far a search for page-table roots goes. */
export function addSearchOptions(command: Command): Command {
  return command
    .optionsGroup("Search for roots:")
    .option("--search-limit <size>", "read at most this much of the image (default: 64g)")
    .option("--thorough", "read what seems to be a hole as well (images of 8 GiB and more)");
}

/** Which tables are walked; `otherwise` says which are if none are named. */
export function addTargetOptions(
  command: Command,
  otherwise = "the CR3 of CPU 0, else the best root that a search finds",
): Command {
  command
    .optionsGroup(`Which tables (default: ${otherwise}):`)
    .option("--cr3 <address>", "root: physical address, or a CR3 with its flags")
    .option("--cpu <n>", "root and control registers of this CPU's note")
    .option("--levels <n>", "levels of the tables, 4 or 5 (default: by CR4.LA57, VMCOREINFO, or the tables)")
    .option("--efer <value>", "EFER, which no note has (default: long mode with NXE)")
    .option("--maxphyaddr <bits>", "physical-address bits, 32 to 52: those above are reserved (default: 52)")
    .optionsGroup("Two dimensions, gva -> gpa -> hpa:")
    .option("--nested", "nested tables and guest's CR3 of a VMCB that is found in the image")
    .option("--ncr3 <address>", "root of the nested tables (AMD)")
    .option("--eptp <value>", "EPT pointer, or address of the root of the EPT tables (Intel)");
  return addSearchOptions(command);
}

/** What every such command ends its help with. */
export const IMAGE_HELP = `
IMAGE is a raw image of physical memory, an ELF core (QEMU dump-guest-memory, /proc/vmcore), a kdump-compressed dump or a
LiME file; gzip and zstd are unpacked. Addresses are hexadecimal after 0x, else decimal.`;
