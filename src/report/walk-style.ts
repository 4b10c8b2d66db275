/** Style of the walk page: plain text that never holds anything of a walk. Contrast is held by the browser test. */

import { Markup } from "./html.js";

const LIGHT = `--bg:#f6f6f2;--panel:#fff;--nested:#eef1f4;--ink:#1b1f24;--dim:#565e68;--line:#d3d7dc;--on:#fff;--accent:#0b5cb8;
--bad:#b5121f;--bad-bg:#fde9ea;--good:#14692d;--good-bg:#e4f3e7;
--l5:#5d6100;--l4:#1456b8;--l3:#0b6a63;--l2:#7a34b0;--l1:#a8440a;--l0:#4a545f`;

const DARK = `--bg:#13161a;--panel:#1b2026;--nested:#222932;--ink:#e4e8ed;--dim:#a0aab5;--line:#38414c;--on:#10141a;--accent:#78b6ff;
--bad:#ff8d92;--bad-bg:#3b1b20;--good:#7fd698;--good-bg:#16301f;
--l5:#c9cf60;--l4:#82b8ff;--l3:#5fd0c4;--l2:#d3a7f7;--l1:#f4ab72;--l0:#aeb8c3`;

export const STYLE = new Markup(`
:root{color-scheme:light;${LIGHT};--mono:ui-monospace,"SF Mono","Cascadia Mono","DejaVu Sans Mono",Menlo,monospace}
@media screen and (prefers-color-scheme:dark){:root{color-scheme:dark;${DARK}}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1360px;padding:0 28px 40px;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,"Segoe UI","DejaVu Sans",sans-serif;overflow-wrap:anywhere}
html{background:var(--bg);scroll-padding-top:16px}
@media (prefers-reduced-motion:no-preference){html{scroll-behavior:smooth}}
header{padding:26px 0 4px}
h1{font-size:22px;line-height:1.3;margin:0 0 12px;font-weight:650;letter-spacing:-.01em}
h2{font-size:18px;line-height:1.3;margin:34px 0 6px;font-weight:650}
h3{font-size:15px;margin:26px 0 6px;font-weight:650}
h3 span{font-weight:400;color:var(--dim)}
h4{font-size:14px;line-height:1.5;margin:0;font-weight:650}
small{font-size:12px;font-weight:400;color:var(--dim)}
p{margin:0 0 10px}
section>p{color:var(--dim);max-width:80em}
code{font-family:var(--mono);font-size:.92em}
section>p code,h3 code{color:var(--ink)}
.from{color:var(--dim);margin:0 0 2px}
.verdict{padding:11px 15px;border-left:5px solid var(--tone);background:var(--tone-bg);border-radius:0 7px 7px 0;max-width:100em}
.verdict strong{display:block;color:var(--tone)}
.bad{--tone:var(--bad);--tone-bg:var(--bad-bg)}.good{--tone:var(--good);--tone-bg:var(--good-bg)}
.l5{--tone:var(--l5)}.l4{--tone:var(--l4)}.l3{--tone:var(--l3)}.l2{--tone:var(--l2)}.l1{--tone:var(--l1)}.l0,.high{--tone:var(--l0)}.wrong{--tone:var(--bad)}
ol,ul{list-style:none;margin:0;padding:0}

.address{display:flex;flex-wrap:wrap;gap:8px 3px;margin:4px 0 0}
.address>li{flex:var(--bits) 1 auto;min-width:64px;display:grid;grid-template-rows:subgrid;align-content:start;text-align:center;border-top:4px solid var(--tone);
background:var(--panel);border-radius:4px;padding:3px 7px 5px;font-size:13px}
.address .range{font:11.5px/1.5 var(--mono);color:var(--dim)}
.address .bits{font:13px/1.6 var(--mono);letter-spacing:.02em}
.address .hex{font:600 13px/1.5 var(--mono);color:var(--tone)}
.address .wrong{background:var(--bad-bg)}.address .wrong .says{color:var(--bad);font-weight:650}
.address .high .hex,.address .high .bits{color:var(--dim)}
.compact{margin:0 0 10px}
.compact>li{flex:1 1 auto;min-width:76px;border-top:none;border-bottom:3px solid var(--tone);border-radius:0;padding:0 6px 3px;font-size:12.5px;background:none;display:block}
.compact span+span{margin-left:.6em}

@media screen and (min-width:1000px){.chain,.compact{display:grid!important;grid-template-columns:repeat(var(--n),minmax(0,1fr))!important;column-gap:24px!important}}
.chain{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,232px),1fr));gap:14px 24px}
.card{container-type:inline-size;position:relative;display:flex;flex-direction:column;gap:8px;min-width:0;background:var(--panel);border:1px solid var(--line);border-top:5px solid var(--tone);border-radius:7px;padding:9px 12px 12px}
.card.nested{background:var(--nested)}
.card:not(:last-child)::after{content:"\\2192";position:absolute;left:100%;top:84px;width:24px;text-align:center;font-size:18px;line-height:1;color:var(--dim)}
.card:target{outline:3px solid var(--accent);outline-offset:2px}
.card.end{border-color:var(--bad);box-shadow:0 0 0 1px var(--bad)}
.card.end::after,.card.ghost::after{content:none}
.card.ghost{align-self:start;background:none;border-style:dashed;border-top-style:dashed;color:var(--dim)}
.card.ghost.end{background:var(--bad-bg);color:var(--ink)}
.card p{margin:0;font-size:13px}
.order{display:inline-block;min-width:1.75em;padding:0 .35em;border-radius:1em;background:var(--tone);color:var(--on);font:600 12px/1.65 var(--mono);text-align:center}
.place{display:flex;gap:11px}
.table{flex:0 0 54px;height:108px;display:flex;flex-direction:column;border:1px solid var(--tone);border-radius:3px;overflow:hidden;font:10.5px/1.25 var(--mono);text-align:center;
background:repeating-linear-gradient(var(--panel) 0 5px,var(--line) 5px 6px)}
.table span{background:var(--panel);color:var(--dim)}
.table b{background:var(--tone);color:var(--on);font-weight:600;line-height:1.5}
dl{margin:0}
dt{color:var(--dim)}dd{margin:0}
.place dl{flex:1;min-width:0;display:grid;grid-template-columns:max-content minmax(0,1fr);gap:3px 7px;align-content:center;font-size:13px;line-height:1.45}
.place dt{font-size:12px}
.word{display:flex;flex-wrap:wrap;gap:0 8px;font-size:13px;line-height:1.45}.word dt{font-size:12px;line-height:1.57}
dd code{font-size:12.5px}
.value span,.value b{display:inline-block}
.value span+b{margin:0 3px;font-weight:600;color:var(--tone)}
.value span:first-child{color:var(--dim)}
@container (max-width:215px){.place{gap:9px}.table{flex-basis:46px}.place dl{grid-template-columns:1fr;gap:0;line-height:1.3}.place dt{margin-top:2px}}
.flags{font-size:12.5px;line-height:1.4;display:grid;gap:2px;flex:1;align-content:start}
.flags li{display:flex;gap:7px;padding:1px 4px;margin:0 -4px;border-radius:3px}
.flags b{font:12px/1.5 var(--mono);flex:0 0 2.9em}
.flags i{font:600 12px/1.5 var(--mono);flex:0 0 .9em}
.flags .decides{background:var(--bad-bg);box-shadow:inset 3px 0 var(--bad)}
.flags em{font-style:normal;font-weight:650;color:var(--bad)}
.leads{padding-top:7px;border-top:1px solid var(--line)}
.leads::before{content:"\\2192\\a0";color:var(--tone)}
.leads.ends{color:var(--bad);font-weight:650}.leads.ends::before{content:"\\2715\\a0";color:var(--bad)}
.final{font-weight:650}
.rights{display:grid;grid-auto-flow:column;grid-auto-columns:minmax(0,1fr);gap:3px;font-size:12px;line-height:1.3;text-align:center}
.rights li{border-radius:4px;padding:2px 1px 3px;border:1px solid transparent}
.rights b,.rights span{display:block}
.rights b{font-weight:650}.rights span{font-size:11px}
.rights .kept{background:var(--good-bg);color:var(--good)}
.rights .lost{background:var(--bad-bg);color:var(--bad);border-color:var(--bad)}
.rights .gone{color:var(--dim);border:1px dashed var(--line)}
.rights .lost b,.rights .gone b{text-decoration:line-through}

table{border-collapse:separate;border-spacing:4px;width:100%}
th{text-align:left;font-size:13px;font-weight:600;vertical-align:bottom}
.grid{table-layout:fixed;margin:6px -4px 0;width:calc(100% + 8px)}
.grid thead th{color:var(--dim);font-weight:400;padding:0 8px}
.grid thead span{font-weight:650;color:var(--ink)}
.grid tbody th{vertical-align:middle;padding-right:6px}
.grid tbody th code{display:block;font-weight:400;color:var(--dim);font-size:12px}
.grid td{height:60px;border-radius:6px;border:1px solid var(--line);font-size:12.5px;line-height:1.4;padding:0;vertical-align:middle}
.grid td>span,.grid td>strong{display:block;padding:0 8px}
.grid a{display:block;padding:7px 9px;color:inherit;text-decoration:none;border-radius:5px}
.grid a:hover{text-decoration:underline}
a:focus-visible{outline:3px solid var(--accent);outline-offset:1px}
.grid code{display:block;font-size:12px}
.grid .ref{background:var(--nested);border-color:color-mix(in srgb,var(--tone) 45%,var(--line))}
.grid .guest{background:var(--panel);border:2px solid var(--tone)}
.grid .name{font-weight:600}.grid .index{font:12px var(--mono);color:var(--dim)}
.grid .page{background:var(--good-bg);border-color:var(--good);padding:0 8px}.grid .page .name{padding:0;color:var(--good)}
.grid .none,.grid .skip{color:var(--dim);border-style:dashed}.grid .skip{background:none;border-color:transparent}
.grid .end{background:var(--bad-bg);border:2px solid var(--bad)}.grid .end strong{color:var(--bad);display:block}
.others{width:auto;border-spacing:0;font-size:13.5px}
.others th,.others td{padding:5px 22px 5px 0;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
.controls{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,290px),1fr));gap:0 24px;font-size:13.5px}
.controls>div{border-bottom:1px solid var(--line);padding:5px 0}
.controls dt{color:var(--ink);font-weight:600}.controls dd{color:var(--dim)}
.yes{color:var(--good)}.no{color:var(--bad)}
.others small{display:block}
footer{margin-top:34px;color:var(--dim)}

@media screen and (max-width:760px){
body{padding:0 14px 30px}h1{font-size:19px}
.chain{grid-template-columns:1fr;gap:26px}
.card:not(:last-child)::after{content:"\\2193";left:0;right:0;top:100%;width:auto;padding-top:4px}
.grid{border-spacing:2px}
.grid td code,.grid .name{display:none}.grid th .name,.grid .page .name{display:inline}
.grid .page code{display:block;font-size:11px}
.grid thead th{font-size:11px;padding:0 2px}.grid thead span{display:block}
.grid tbody th{font-size:11px}.grid tbody th code{font-size:10.5px}
.grid td{height:46px;text-align:center;font-size:11px}.grid a{padding:4px 1px}.grid td>span,.grid td>strong{padding:0 2px}
.grid .index{display:block;font-size:11px}
}
@media print{
@page{margin:12mm}
:root{--bg:#fff}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
body{max-width:none;padding:0;font-size:10.5pt}
.chain{grid-template-columns:repeat(3,minmax(0,1fr));gap:12px 22px}
.grid{margin:6px 0 0;width:100%}.grid td{font-size:11px;height:auto}.grid code,.grid .index{font-size:10.5px}.grid a,.grid .page{padding:3px 5px}
.card,.grid tr,.address,table.others,.verdict{break-inside:avoid}
h2,h3{break-after:avoid}
}
`);
