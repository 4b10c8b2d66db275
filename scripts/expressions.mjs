// What binaryen's expressions are made of: their operands by kind, and how to put one in the place of another.
import binaryen from "binaryen";

const EXPRESSION_FIELDS = new Map([
  [binaryen.BlockId, ["children"]],
  [binaryen.IfId, ["condition", "ifTrue", "ifFalse"]],
  [binaryen.LoopId, ["body"]],
  [binaryen.BreakId, ["value", "condition"]],
  [binaryen.SwitchId, ["value", "condition"]],
  [binaryen.CallId, ["operands"]],
  [binaryen.LocalSetId, ["value"]],
  [binaryen.GlobalSetId, ["value"]],
  [binaryen.LoadId, ["ptr"]],
  [binaryen.StoreId, ["ptr", "value"]],
  [binaryen.UnaryId, ["value"]],
  [binaryen.BinaryId, ["left", "right"]],
  [binaryen.SelectId, ["ifTrue", "ifFalse", "condition"]],
  [binaryen.DropId, ["value"]],
  [binaryen.ReturnId, ["value"]],
  [binaryen.MemoryGrowId, ["delta"]],
  [binaryen.AtomicRMWId, ["ptr", "value"]],
  [binaryen.AtomicCmpxchgId, ["ptr", "expected", "replacement"]],
  [binaryen.AtomicWaitId, ["ptr", "expected", "timeout"]],
  [binaryen.AtomicNotifyId, ["ptr", "notifyCount"]],
  [binaryen.MemoryCopyId, ["dest", "source", "size"]],
  [binaryen.MemoryFillId, ["dest", "value", "size"]],
  [binaryen.LocalGetId, []],
  [binaryen.GlobalGetId, []],
  [binaryen.ConstId, []],
  [binaryen.NopId, []],
  [binaryen.UnreachableId, []],
  [binaryen.MemorySizeId, []],
  [binaryen.AtomicFenceId, []],
]);

/** Names of the operands of an expression. */
export function fieldsOf(expression) {
  const id = binaryen.getExpressionId(expression);
  const fields = EXPRESSION_FIELDS.get(id);
  if (!fields) throw new Error(`instrument: an expression of kind ${id} is not known`);
  return fields;
}

/** Replaces child `from` of `parent` by `to`; true if it was one. */
export function replaceChild(parent, from, to) {
  const info = binaryen.getExpressionInfo(parent);
  switch (info.id) {
    case binaryen.BlockId: {
      const index = info.children.indexOf(from);
      if (index < 0) return false;
      binaryen.Block.setChildAt(parent, index, to);
      return true;
    }
    case binaryen.LocalSetId:
      if (info.value !== from) return false;
      binaryen.LocalSet.setValue(parent, to);
      return true;
    case binaryen.DropId:
      if (info.value !== from) return false;
      binaryen.Drop.setValue(parent, to);
      return true;
    case binaryen.IfId:
      if (info.ifTrue === from) binaryen.If.setIfTrue(parent, to);
      else if (info.ifFalse === from) binaryen.If.setIfFalse(parent, to);
      else return false;
      return true;
    case binaryen.LoopId:
      if (info.body !== from) return false;
      binaryen.Loop.setBody(parent, to);
      return true;
    default:
      return false;
  }
}

/** Parent of every expression below `root`. */
export function parentsOf(root) {
  const parents = new Map();
  const visit = (expression) => {
    const fields = fieldsOf(expression);
    if (fields.length === 0) return;
    const info = binaryen.getExpressionInfo(expression);
    for (const field of fields) {
      const child = info[field];
      for (const one of Array.isArray(child) ? child : [child]) {
        if (!one) continue;
        parents.set(one, expression);
        visit(one);
      }
    }
  };
  visit(root);
  return parents;
}
