// Sets every local that nobody will look at again to zero before each call that may suspend. Asyncify saves, of each
// function, whatever is needed after *some* call: at the others it would save what happens to lie there, and actors that
// are suspended at the same place and will do the same would look different. For code that is flat (binaryen's `flatten`).
//
// A store that nobody reads would be optimised away: behind each such call stands a use of the zeroes that never happens.
import binaryen from "binaryen";
import { fieldsOf, parentsOf, replaceChild } from "./expressions.mjs";

const bit = (local) => 1n << BigInt(local);

/** Names of the functions that may suspend: the imports named `module.name`, and whoever calls one. */
function suspendingFunctions(module, imports) {
  const callers = new Map();
  const found = [];
  for (let i = 0; i < module.getNumFunctions(); i++) {
    const info = binaryen.getFunctionInfo(module.getFunctionByIndex(i));
    if (info.module !== "") {
      if (imports.includes(`${info.module}.${info.base}`)) found.push(info.name);
      continue;
    }
    for (const target of callsIn(info.body)) {
      if (!callers.has(target)) callers.set(target, new Set());
      callers.get(target).add(info.name);
    }
  }
  const suspending = new Set(found);
  while (found.length) {
    for (const caller of callers.get(found.pop()) ?? []) {
      if (suspending.has(caller)) continue;
      suspending.add(caller);
      found.push(caller);
    }
  }
  return suspending;
}

function* callsIn(expression) {
  const fields = fieldsOf(expression);
  if (fields.length === 0) return;
  const info = binaryen.getExpressionInfo(expression);
  if (info.id === binaryen.CallId) yield info.target;
  for (const child of childrenOf(info, fields)) yield* callsIn(child);
}

function childrenOf(info, fields) {
  return fields.flatMap((field) => info[field]).filter(Boolean);
}

/** What matters of a function for the life of its locals, read once: `analyse` goes over it several times. */
class Liveness {
  /** Calls that may suspend: expression, and the locals that are needed after it. */
  suspensions = [];
  #suspending;
  #targets = new Map();

  constructor(body, suspending) {
    this.#suspending = suspending;
    this.root = this.#read(body);
    this.before(this.root, 0n);
  }

  #read(expression) {
    const id = binaryen.getExpressionId(expression);
    const fields = fieldsOf(expression);
    if (id === binaryen.LocalGetId) return { id, uses: bit(binaryen.getExpressionInfo(expression).index) };
    if (fields.length === 0) return { id };
    const info = binaryen.getExpressionInfo(expression);
    const node = { id, children: childrenOf(info, fields).map((child) => this.#read(child)) };
    if (id === binaryen.BlockId || id === binaryen.LoopId) node.name = info.name;
    if (id === binaryen.IfId) node.hasElse = Boolean(info.ifFalse);
    if (id === binaryen.LocalSetId) {
      node.sets = bit(info.index);
      node.isTee = info.isTee;
    }
    if (id === binaryen.BreakId) {
      node.names = [info.name];
      node.conditional = Boolean(info.condition);
    }
    if (id === binaryen.SwitchId) node.names = [...info.names, info.defaultName];
    if (id === binaryen.CallId && this.#suspending.has(info.target)) {
      this.suspensions.push(node);
      node.expression = expression;
    }
    return node;
  }

  /** Locals that are needed before `node`, where `after` are needed after it. */
  before(node, after) {
    switch (node.id) {
      case binaryen.BlockId:
        if (node.name) this.#targets.set(node.name, after);
        return this.#backwards(node.children, after);
      case binaryen.LoopId: {
        let head = 0n;
        while (true) {
          if (node.name) this.#targets.set(node.name, head);
          const next = this.#backwards(node.children, after) | head;
          if (next === head) return head;
          head = next;
        }
      }
      case binaryen.IfId: {
        const [condition, then, otherwise] = node.children;
        return this.before(
          condition,
          this.before(then, after) | (node.hasElse ? this.before(otherwise, after) : after),
        );
      }
      case binaryen.BreakId:
      case binaryen.SwitchId: {
        let needed = node.conditional ? after : 0n;
        for (const name of node.names) needed |= this.#targets.get(name) ?? 0n;
        return this.#backwards(node.children, needed);
      }
      case binaryen.ReturnId:
      case binaryen.UnreachableId:
        return this.#backwards(node.children ?? [], 0n);
      case binaryen.LocalGetId:
        return after | node.uses;
      case binaryen.LocalSetId:
        return this.#backwards(node.children, after & ~node.sets);
      case binaryen.CallId: {
        const needed = this.#backwards(node.children, after);
        // The operands are looked at again when the call is resumed.
        if (node.expression !== undefined) node.needed = (node.needed ?? 0n) | needed;
        return needed;
      }
      default:
        return this.#backwards(node.children ?? [], after);
    }
  }

  #backwards(nodes, after) {
    let needed = after;
    for (let i = nodes.length - 1; i >= 0; i--) needed = this.before(nodes[i], needed);
    return needed;
  }
}

function zero(module, type) {
  return type === binaryen.i32 ? module.i32.const(0) : module.i64.const(0n);
}

/** Local that a statement sets, -1 for none. */
function setBy(statement) {
  if (binaryen.getExpressionId(statement) !== binaryen.LocalSetId) return -1;
  return binaryen.getExpressionInfo(statement).index;
}

const NEVER = "explore_never";
const SINK = "explore_sink";

/** A use of locals that never happens, and that no optimiser knows to. */
function useNever(module, locals, types) {
  const words = locals.map((local) => {
    const value = module.local.get(local, types[local]);
    return types[local] === binaryen.i64 ? module.i32.wrap(value) : value;
  });
  const mixed = words.reduce((a, b) => module.i32.xor(a, b));
  return module.if(module.global.get(NEVER, binaryen.i32), module.global.set(SINK, mixed));
}

/** The expression that stands in a list: a call, or what keeps or drops its result. */
function statementOf(expression, parents) {
  const parent = parents.get(expression);
  const id = parent === undefined ? 0 : binaryen.getExpressionId(parent);
  return id === binaryen.LocalSetId || id === binaryen.DropId ? parent : expression;
}

/**
 * Inserts the zeroes in every function of `module`. `imports` are those that may suspend, as `module.name`. Returns what is
 * wrong, a sentence each.
 */
export function forgetLocals(module, imports) {
  module.addGlobal(NEVER, binaryen.i32, true, module.i32.const(0));
  module.addGlobal(SINK, binaryen.i32, true, module.i32.const(0));
  const suspending = suspendingFunctions(module, imports);
  const problems = [];
  for (let f = 0; f < module.getNumFunctions(); f++) {
    const ref = module.getFunctionByIndex(f);
    const info = binaryen.getFunctionInfo(ref);
    if (info.module !== "" || !suspending.has(info.name)) continue;
    const types = [...binaryen.expandType(info.params), ...info.vars];
    const { suspensions } = new Liveness(info.body, suspending);
    const saved = suspensions.reduce((all, { needed }) => all | (needed ?? 0n), 0n);
    const parents = parentsOf(info.body);
    for (const { expression, needed } of suspensions) {
      if (needed === undefined) continue; // never reached
      const forgotten = types.flatMap((type, local) =>
        (saved & bit(local) & ~needed) !== 0n && (type === binaryen.i32 || type === binaryen.i64)
          ? [local]
          : [],
      );
      if (forgotten.length === 0) continue;
      const statement = statementOf(expression, parents);
      const parent = parents.get(statement);
      const zeroes = forgotten.map((local) => module.local.set(local, zero(module, types[local])));
      // What the statement itself sets is not forgotten any more behind it.
      const unset = forgotten.filter((local) => local !== setBy(statement));
      const uses = unset.length ? [useNever(module, unset, types)] : [];
      const block = module.block(null, [...zeroes, statement, ...uses]);
      if (binaryen.getExpressionType(statement) !== binaryen.none) {
        problems.push(`forget-locals: the code of ${info.name} is not flat`);
        break;
      }
      if (parent === undefined) binaryen.Function.setBody(ref, block);
      else if (!replaceChild(parent, statement, block)) {
        problems.push(`forget-locals: no place before a call in ${info.name}`);
      }
    }
  }
  return problems;
}
