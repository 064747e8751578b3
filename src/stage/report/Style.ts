/** The page's only style sheet: light or dark as the reader has it, one column on a phone, fonts of the system. */
export const style = `
:root {
  color-scheme: light dark;
  --paper: #fff; --ink: #1b1f24; --soft: #57606a; --line: #d0d7de; --card: #f6f8fa;
  --blue: #0072b2; --orange: #e69f00; --green: #009e73; --purple: #cc79a7; --red: #d55e00; --sky: #56b4e9; --grey: #8c959f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #0d1117; --ink: #e6edf3; --soft: #9198a1; --line: #30363d; --card: #161b22;
    --blue: #4aa8e0; --orange: #f0b429; --green: #2fc99a; --purple: #e09cc4; --red: #ff8a4c; --sky: #8fd0f5; --grey: #9198a1;
  }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 900px; padding: 20px 16px 48px; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; -webkit-text-size-adjust: 100%; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 40px 0 4px; }
p { margin: 4px 0 12px; }
.soft { color: var(--soft); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 150px), 1fr)); gap: 8px; margin: 20px 0; }
.facts div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px 12px; }
.facts dt { color: var(--soft); font-size: .85rem; }
.facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere; }
.facts small { display: block; font-weight: 400; color: var(--soft); font-size: .85rem; }
.warnings { list-style: none; padding: 0; }
.warnings li { border-left: 4px solid var(--orange); padding-left: 12px; margin: 8px 0; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; list-style: none; padding: 0; margin: 0 0 4px; font-size: .9rem; }
.legend svg { vertical-align: -2px; margin-right: 6px; }
.figure { margin: 0; }
.plot { display: block; max-width: 100%; height: auto; overflow: visible; font-size: 12px; }
@media (min-width: 700px) { .facts { grid-template-columns: repeat(3, 1fr); } }
.wide { display: none; }
@media (min-width: 900px) { .wide { display: block; } .narrow { display: none; } }
.definitions { position: absolute; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: 4px 12px 4px 0; border-bottom: 1px solid var(--line); }
th { font-weight: 600; white-space: nowrap; }
@media (max-width: 499px) { table { font-size: .74rem; } th, td { padding-right: 5px; } }
th:last-child, td:last-child { padding-right: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.options td:first-child { white-space: nowrap; }
.options td:last-child { overflow-wrap: anywhere; }
code { font: .85em ui-monospace, monospace; overflow-wrap: anywhere; word-break: break-all; }
details { margin: 12px 0; border-top: 1px solid var(--line); padding-top: 10px; }
summary { cursor: pointer; font-weight: 600; padding: 4px 0; }
.artifact { display: grid; grid-template-columns: 1fr auto; gap: 0 12px; padding: 6px 0; border-bottom: 1px solid var(--line); }
.artifact bdi { overflow-wrap: anywhere; }
.artifact span { font-variant-numeric: tabular-nums; }
.artifact code { grid-column: 1 / -1; color: var(--soft); }
`.trim()
