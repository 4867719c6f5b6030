"""The style sheet of the pages."""

STYLE = """
:root {
  --s0: #2563a8; --s1: #c2571a;
  --ink: #22252b; --faint: #6b7078; --line: #e3e5e9; --paper: #fafafb;
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", sans-serif;
}
main { max-width: 1120px; margin: 0 auto; padding: 36px 24px 64px; }
h1 { font-size: 26px; margin: 0 0 6px; }
h2 { font-size: 19px; margin: 42px 0 10px; }
h3 { font-size: 15px; margin: 18px 0 6px; }
p { margin: 6px 0; max-width: 78ch; }
.faint, figcaption { color: var(--faint); font-size: 13px; }
.cards {
  display: grid; gap: 12px; margin: 22px 0;
  grid-template-columns: repeat(auto-fit, minmax(165px, 1fr));
}
.card, .scroll, .chart { background: #fff; border: 1px solid var(--line); border-radius: 10px; }
.card { padding: 12px 14px; }
.card b { display: block; font-size: 25px; font-weight: 600; line-height: 1.25; }
.scroll { overflow-x: auto; margin: 10px 0; }
table {
  border-collapse: collapse; width: 100%;
  font-size: 13px; font-variant-numeric: tabular-nums;
}
th, td { padding: 7px 10px; text-align: right; white-space: nowrap; }
th { white-space: normal; color: var(--faint); font-weight: 500; }
th:first-child, td:first-child { text-align: left; }
tr + tr td { border-top: 1px solid var(--line); }
td i { color: var(--faint); font-style: normal; font-size: 12px; display: block; }
.pair {
  display: grid; gap: 16px;
  grid-template-columns: repeat(auto-fill, minmax(420px, 1fr));
}
figure { margin: 14px 0; }
figure img { width: 100%; border-radius: 8px; border: 1px solid var(--line); display: block; }
.chart { padding: 12px; margin: 0; }
svg { width: 100%; height: auto; font-size: 12px; fill: var(--ink); }
svg .faint { fill: var(--faint); font-size: 11px; }
svg .grid { stroke: var(--line); }
svg .legend { font-weight: 600; }
.line { fill: none; stroke-width: 2; }
.area { opacity: .5; }
.median { stroke-width: 1.5; stroke-dasharray: 4 3; }
.whisker { stroke-width: 2; opacity: .45; }
.area.s0, .dot.s0, svg .legend.s0 { fill: var(--s0); }
.area.s1, .dot.s1, svg .legend.s1 { fill: var(--s1); }
.line.s0, .median.s0, .whisker.s0 { stroke: var(--s0); }
.line.s1, .median.s1, .whisker.s1 { stroke: var(--s1); }
"""
