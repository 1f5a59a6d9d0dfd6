// The explorer: it draws curves from the knots that curves.py wrote, and computes no function.
//
// The view is one object. Every change makes a new one by `update`, which shows it and writes it
// to the address; `read` and `write` are the two directions between a view and an address.

"use strict";

const explorer = (() => {
  const MAX_CURVES = 6;
  const LIMIT = 1000; // of x, as in curves.py
  const DEFAULT = "f=gelu&f=silu&f=relu";
  const ERROR = 2e-6; // of values between knots
  const STEEP = 1.4, TOO_STEEP = 100; // as in curves.py
  const MARGINS = { left: 64, right: 12 };

  const $ = (id) => document.getElementById(`ex-${id}`);
  const element = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };

  const functions = new Map(); // what is known of each, by name
  const names = new Map(); // the name for each name and alias
  let colours = [];
  let dashes = [];
  let view;

  // Curves, which a script for each function brings

  const loading = new Map();
  const waiting = new Map();

  function load(name) {
    if (!loading.has(name)) {
      loading.set(name, new Promise((resolve, reject) => {
        waiting.set(name, resolve);
        const onerror = () => reject(new Error(`The numbers of ${name} cannot be loaded.`));
        document.head.append(element("script", { src: `curves/${name}.js`, onerror }));
      }));
    }
    return loading.get(name);
  }

  const receive = (name, curves) => {
    functions.get(name).curves = curves;
    waiting.get(name)();
  };

  function knotsOf({ name, given }) {
    const { grids, curves } = functions.get(name);
    const index = Object.entries(grids).reduce(
      (sum, [parameter, values]) => sum * values.length + values.indexOf(given[parameter]), 0);
    return curves[index];
  }

  // Values between knots

  function between(x, x0, x1, y0, m0, y1, m1) {
    const rise = Math.log(y1 / y0); // NaN where the sign changes
    if (Math.abs(rise) > STEEP && Math.abs(rise) < TOO_STEEP) {
      return y0 * Math.exp(cubic(x, x0, x1, 0, m0 / y0, rise, m1 / y1));
    }
    return cubic(x, x0, x1, y0, m0, y1, m1);
  }

  function cubic(x, x0, x1, y0, m0, y1, m1) {
    const width = x1 - x0, t = (x - x0) / width, u = 1 - t;
    return u * u * ((1 + 2 * t) * y0 + t * width * m0)
      + t * t * ((1 + 2 * u) * y1 - u * width * m1);
  }

  /** Return f(x), or f′(x) for order 1, of a curve; NaN where it is not defined. */
  function valueAt(curve, x, order = 0) {
    const { knots } = curve;
    const [xs] = knots;
    let i = -1, end = xs.length; // the last knot that is not right of x
    while (end - i > 1) {
      const middle = (i + end) >> 1;
      if (xs[middle] <= x) i = middle; else end = middle;
    }
    if (i < 0 || x > xs[xs.length - 1]) return NaN;
    const [y, m] = [knots[1 + order], knots[2 + order]];
    if (xs[i] === x) return y[xs[i - 1] === x ? i - 1 : i] ?? NaN;
    return between(x, xs[i], xs[i + 1], y[i], m[i], y[i + 1], m[i + 1]);
  }

  /** Return the difference of two values, 0 where it is less than what their digits tell. */
  function differenceAt(a, b, x, order = 0) {
    const [y, z] = [valueAt(a, x, order), valueAt(b, x, order)];
    return Math.abs(y - z) < ERROR * Math.max(Math.abs(y), Math.abs(z)) ? 0 : y - z;
  }

  const breaksOf = ({ knots: [xs] }) => xs.filter((x, i) => x === xs[i - 1] && x === xs[i + 1]);

  // The view and its address

  function read(address) {
    const parameters = new URLSearchParams(address || DEFAULT);
    const pair = (key, fallback) => {
      const found = (parameters.get(key) ?? "").split(",").map(Number);
      const isPair = parameters.has(key) && found.length === 2 && found.every(Number.isFinite);
      return isPair && found[0] < found[1] ? found : fallback;
    };
    const curves = [];
    for (const text of parameters.getAll("f").slice(0, MAX_CURVES)) {
      const [name, ...settings] = text.split(",");
      if (!names.has(name)) continue;
      const made = curve(names.get(name), curves);
      for (const setting of settings) {
        const [parameter, value] = setting.split(":");
        const values = functions.get(made.name).grids[parameter];
        if (values) made.given[parameter] = nearest(values, value);
      }
      curves.push(made);
    }
    const at = Number(parameters.get("at") ?? 1);
    return {
      curves,
      x: pair("x", [-6, 6]).map((x) => Math.max(-LIMIT, Math.min(LIMIT, x))),
      y: pair("y", null),
      at: Number.isFinite(at) ? at : 1,
      derivative: parameters.get("derivative") !== "0",
      difference: parameters.get("difference") !== "0",
      xlog: parameters.get("xlog") === "1",
      ylog: parameters.get("ylog") === "1",
      pair: (parameters.get("pair") ?? "0,1").split(",").map(Number),
    };
  }

  function write() {
    const parts = view.curves.map((c) =>
      `f=${[c.name, ...told(c).map(([key, value]) => `${key}:${value}`)].join(",")}`);
    parts.push(`x=${view.x.map(short)}`);
    if (view.y) parts.push(`y=${view.y.map(short)}`);
    parts.push(`at=${view.at}`);
    if (`${view.pair}` !== "0,1") parts.push(`pair=${view.pair}`);
    for (const key of ["derivative", "difference"]) if (!view[key]) parts.push(`${key}=0`);
    for (const key of ["xlog", "ylog"]) if (view[key]) parts.push(`${key}=1`);
    return parts.join("&");
  }

  /** Return a new curve with the first colour that the others do not have. */
  function curve(name, others) {
    const slot = [...Array(MAX_CURVES).keys()].find((i) => others.every((c) => c.slot !== i));
    return { name, slot, given: { ...functions.get(name).start } };
  }

  function nearest(values, text) {
    const same = values.find((value) => String(value) === text);
    if (same !== undefined) return same;
    const distance = (value) => (typeof value === "number" ? Math.abs(value - text) : Infinity);
    return values.reduce((best, value) => (distance(value) < distance(best) ? value : best));
  }

  async function update(changes) {
    const next = view = { ...view, ...changes };
    try {
      await Promise.all(next.curves.map(({ name }) => load(name)));
    } catch (error) {
      say(error.message);
      next.curves = next.curves.filter(({ name }) => functions.get(name).curves);
    }
    if (next !== view) return; // a later one is shown
    for (const shown of view.curves) shown.knots = knotsOf(shown);
    remember();
    show();
  }

  let remembering;

  /** Write the view to the address, some time after the last change. */
  function remember() {
    clearTimeout(remembering);
    remembering = setTimeout(() => history.replaceState(null, "", `#${write()}`), 250);
  }

  const short = (x) => Number(x.toPrecision(6));
  function digits(y) {
    if (!Number.isFinite(y)) return "–";
    const isSmall = y !== 0 && Math.abs(y) < 1e-3;
    return (isSmall ? short(y).toExponential() : String(short(y))).replaceAll("-", "−");
  }

  /** Return the parameters that are not at their defaults. */
  function told({ name, given }) {
    const { start, required } = functions.get(name);
    return Object.entries(given).filter(
      ([key, value]) => value !== start[key] || required.includes(key));
  }

  const labelOf = (c) =>
    [c.name, ...told(c).map(([key, value]) => `${key}=${text(value)}`)].join(", ");

  const text = (value) => (typeof value === "number" ? short(value) : value ?? "None");

  // Drawing

  const xOptions = () => ({ type: view.xlog ? "symlog" : "linear", domain: view.x });

  const axis = (width) => Plot.scale({
    x: { ...xOptions(), range: [MARGINS.left, width - MARGINS.right] },
  });

  /** Return what is drawn: the title and the lines of each panel. */
  function panels() {
    const lines = (order) => view.curves.map((c) => ({ c, g: (x) => valueAt(c, x, order) }));
    const found = [{ title: "f(x)", lines: lines(0), domain: view.y }];
    if (view.derivative) found.push({ title: "f′(x)", lines: lines(1) });
    const [a, b] = pair();
    if (view.difference && b) {
      const g = (x) => differenceAt(a, b, x);
      found.push({ title: `${labelOf(a)} − ${labelOf(b)}`, lines: [{ g }] });
    }
    return found;
  }

  const pair = () => view.pair.map((i) => view.curves[i]).filter(Boolean);

  /** Return the points of a line: as many as there are pixels, with a gap at a jump. */
  function points(g, xs, breaks) {
    const found = xs.map((x) => [x, g(x)]);
    for (const x of breaks) {
      const near = 1e-9 * Math.max(1, Math.abs(x));
      const [left, right] = [g(x - near), g(x + near)];
      const jumps = Math.abs(right - left) > 1e-5 * (1 + Math.abs(left));
      found.push([x - near, left], [x, jumps ? NaN : g(x)], [x + near, right]);
    }
    return found.sort(([x], [y]) => x - y)
      .map(([x, y]) => [x, view.ylog ? Math.abs(y) || NaN : y]);
  }

  /** Return the range of values, without the few largest of a pole. */
  function fit(values) {
    const sizes = view.ylog ? values.map(Math.abs).filter((y) => y > 0) : values;
    const sorted = sizes.filter(Number.isFinite).sort((a, b) => a - b);
    if (!sorted.length) return view.ylog ? [0.1, 10] : [-1, 1];
    let [low, high] = [sorted[0], sorted.at(-1)];
    if (view.ylog) return low < high ? [low, high] : [low / 10, high * 10];
    const at = (share) => sorted[Math.round(share * (sorted.length - 1))];
    const middle = at(0.95) - at(0.05);
    if (middle > 0) {
      low = Math.max(low, at(0.05) - 3 * middle);
      high = Math.min(high, at(0.95) + 3 * middle);
    }
    const space = (high - low || Math.abs(high) || 1) * 0.06;
    return [low - space, high + space];
  }

  function draw({ title, lines, domain }, width, height) {
    const scale = axis(width);
    const breaks = view.curves.flatMap(breaksOf).filter((x) => view.x[0] <= x && x <= view.x[1]);
    const xs = Array.from({ length: width - MARGINS.left - MARGINS.right + 1 },
      (_, i) => scale.invert(MARGINS.left + i));
    const isSet = domain && !(view.ylog && domain[0] <= 0);
    const y = isSet ? domain : fit(lines.flatMap(({ g }) => xs.map(g)));
    const graph = Plot.plot({
      width,
      height,
      marginLeft: MARGINS.left,
      marginRight: MARGINS.right,
      marginTop: 26,
      ariaLabel: [title, ...lines.map(({ c }) => (c ? labelOf(c) : "")).filter(Boolean)].join(", "),
      style: { background: "none", color: "inherit", fontSize: "13px", overflow: "hidden" },
      x: { ...xOptions(), label: null, grid: true, ticks: ticks(width) },
      y: {
        domain: y,
        type: view.ylog ? "log" : "linear",
        label: view.ylog ? `|${title}|` : title,
        grid: true,
        ticks: Math.round(height / 50),
        tickFormat: (value) => digits(value),
      },
      marks: [
        Plot.ruleX([0].filter(() => view.x[0] <= 0 && 0 <= view.x[1]), { strokeOpacity: 0.4 }),
        Plot.ruleY([0].filter(() => !view.ylog && y[0] <= 0 && 0 <= y[1]), { strokeOpacity: 0.4 }),
        ...lines.map(({ c, g }) => Plot.line(points(g, xs, [...new Set(breaks)]), {
          stroke: c ? colours[c.slot] : "currentColor",
          strokeDasharray: c ? dashes[c.slot] : "",
          strokeWidth: 2.2,
          title: () => (c ? labelOf(c) : title),
          clip: true,
        })),
      ],
    });
    graph.setAttribute("role", "img");
    for (const part of graph.querySelectorAll("g[aria-label]")) part.removeAttribute("aria-label");
    return graph;
  }

  /** Return the ticks of a symmetric logarithmic axis: 0 and powers of ten, if it shows some. */
  function ticks(width) {
    const powers = [-1000, -100, -10, -1, 0, 1, 10, 100, 1000];
    const seen = powers.filter((x) => view.x[0] <= x && x <= view.x[1]);
    return view.xlog && seen.length > 3 ? seen : Math.min(8, Math.round(width / 80));
  }

  function pictures(width) {
    const [first, ...others] = panels();
    const height = Math.max(220, Math.min(380, width / 2));
    return [draw(first, width, height), ...others.map((panel) => draw(panel, width, 190))];
  }

  // The page

  let cursor;

  function show() {
    const chart = $("chart");
    const width = Math.max(280, Math.floor(chart.clientWidth));
    cursor = element("div", { className: "ex-cursor" });
    chart.replaceChildren(...pictures(width), cursor);
    for (const key of ["derivative", "difference", "xlog", "ylog"]) $(key).checked = view[key];
    [$("x0").value, $("x1").value] = view.x.map(short);
    [$("y0").value, $("y1").value] = view.y ? view.y.map(short) : ["", ""];
    showPair();
    showTable();
    $("python").querySelector("code").textContent = python();
    showReading();
    startGesture();
  }

  function showReading() {
    const width = $("chart").clientWidth;
    const scale = axis(width);
    const { at } = view;
    const left = scale.apply(at);
    cursor.style.left = `${left}px`;
    cursor.hidden = !(MARGINS.left <= left && left <= width - MARGINS.right);
    const rows = view.curves.map((c) => [labelOf(c), valueAt(c, at), valueAt(c, at, 1), c.slot]);
    const [a, b] = pair();
    if (view.difference && b) {
      const [f, d] = [0, 1].map((order) => differenceAt(a, b, at, order));
      rows.push([`${labelOf(a)} − ${labelOf(b)}`, f, d]);
    }
    $("reading").caption.textContent = `At x = ${digits(at)}`;
    $("reading").tBodies[0].replaceChildren(...rows.map(([label, f, d, slot]) => element("tr", {},
      element("th", { scope: "row" }, swatch(slot), label),
      element("td", { textContent: digits(f) }), element("td", { textContent: digits(d) }))));
    const spoken = rows.map(([label, f, d]) => `${label}: ${digits(f)}, slope ${digits(d)}`);
    const share = (left - MARGINS.left) / (width - MARGINS.left - MARGINS.right);
    $("at").value = Math.round(share * 1000);
    $("at").setAttribute("aria-valuetext", `x = ${digits(at)}; ${spoken.join("; ")}`);
  }

  function swatch(slot) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("class", "ex-swatch");
    svg.setAttribute("aria-hidden", "true");
    svg.innerHTML = `<line x2="30" y1="6" y2="6" stroke="${colours[slot] ?? "currentColor"}"
      stroke-width="2.5" stroke-dasharray="${dashes[slot] ?? ""}"/>`;
    return svg;
  }

  function showPair() {
    const options = view.curves.map(labelOf);
    for (const [i, select] of [$("first"), $("second")].entries()) {
      select.replaceChildren(...options.map((label, value) => element("option", { value }, label)));
      select.value = view.pair[i];
    }
  }

  function showTable() {
    if (!$("table").open) return;
    const table = $("table").querySelector("table");
    const width = $("chart").clientWidth, scale = axis(width);
    const xs = Array.from({ length: 21 }, (_, i) =>
      rounded(scale, MARGINS.left + (width - MARGINS.left - MARGINS.right) * i / 20));
    const labels = view.curves.flatMap((c) => [labelOf(c), `${labelOf(c)}, f′`]);
    const head = element("tr", {}, ...["x", ...labels].map((label) =>
      element("th", { scope: "col", textContent: label })));
    const rows = xs.map((x) => element("tr", {},
      element("th", { scope: "row", textContent: digits(x) }),
      ...view.curves.flatMap((c) => [0, 1].map((order) =>
        element("td", { textContent: digits(valueAt(c, x, order)) })))));
    table.replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
  }

  /** Rebuild the cards, which is not done while a slider moves: it would lose the focus. */
  function showChosen() {
    $("chosen").replaceChildren(...view.curves.map(card));
    const button = $("add").querySelector("button");
    button.disabled = view.curves.length >= MAX_CURVES;
    button.textContent = button.disabled ? "Six at most" : "Add";
  }

  function card(chosen) {
    const { summary, grids } = functions.get(chosen.name);
    const remove = element("button", { type: "button", textContent: "×", title: "Remove" });
    remove.setAttribute("aria-label", `Remove ${chosen.name}`);
    remove.onclick = async () => {
      const at = view.curves.indexOf(chosen);
      await update({ curves: view.curves.filter((c) => c !== chosen), pair: [0, 1] });
      showChosen();
      say(`${chosen.name} removed`);
      ($("chosen").querySelectorAll("legend button")[at] ?? $("name")).focus();
    };
    const link = element("a", { href: `../functions/${chosen.name}.html` }, chosen.name);
    const problem = element("p", { className: "ex-problem" });
    const controls = Object.entries(grids).map(([parameter, values]) =>
      control(chosen, parameter, values, () => tell(chosen, problem)));
    tell(chosen, problem);
    return element("fieldset", {},
      element("legend", {}, swatch(chosen.slot), link, remove),
      element("p", { className: "ex-hint", textContent: summary }), ...controls, problem);
  }

  function tell(chosen, problem) {
    const { constraints } = functions.get(chosen.name);
    problem.textContent = knotsOf(chosen)[0].length ? "" : `requires ${constraints.join(", ")}`;
  }

  function control(chosen, parameter, values, done) {
    const output = element("span");
    const isNumber = values.some((value) => typeof value === "number");
    const options = values.map((value, i) => element("option", { value: i }, text(value)));
    const input = isNumber
      ? element("input", { type: "range", min: 0, max: values.length - 1, step: 1 })
      : element("select", {}, ...options);
    input.value = values.indexOf(chosen.given[parameter]);
    const describe = () => {
      output.textContent = isNumber ? text(chosen.given[parameter]) : "";
      if (isNumber) input.setAttribute("aria-valuetext", output.textContent);
    };
    describe();
    input.oninput = async () => {
      chosen.given[parameter] = values[input.value];
      describe();
      await update({});
      done();
    };
    const name = element("span", {}, parameter);
    return element("label", { className: "ex-parameter" }, name, input, output);
  }

  const say = (message) => { $("status").textContent = message; };

  let saying;

  /** Tell those who do not see the page what is read, once it stays. */
  function sayReading() {
    clearTimeout(saying);
    const spoken = $("at").getAttribute("aria-valuetext");
    saying = setTimeout(() => { $("spoken").textContent = spoken; }, 400);
  }

  // Moving

  function move(action) {
    const width = $("chart").clientWidth, scale = axis(width);
    const [low, high] = [MARGINS.left, width - MARGINS.right];
    const ends = {
      "zoom-in": [0.25, 0.75], "zoom-out": [-0.5, 1.5], left: [-0.25, 0.75], right: [0.25, 1.25],
    }[action];
    if (ends) showRange(ends.map((t) => scale.invert(low + t * (high - low))));
    else update({ x: [-6, 6], y: null, xlog: false, ylog: false });
  }

  function showRange(ends) {
    const x = ends.map(clamp);
    if (x[1] - x[0] > 1e-6) update({ x });
  }

  const clamp = (x) => Math.max(-LIMIT, Math.min(LIMIT, x));

  /** Return the x of a pixel, with no more digits than pixels tell apart. */
  function rounded(scale, pixel) {
    const [x, next] = [pixel, pixel + 1].map((p) => scale.invert(p));
    const step = 10 ** Math.floor(Math.log10(Math.abs(next - x)));
    return Number((Math.round(x / step) * step).toPrecision(12));
  }

  function readAt(at) {
    view = { ...view, at: clamp(at) };
    showReading();
    sayReading();
    remember();
  }

  function readPixel(pixel) {
    const width = $("chart").clientWidth;
    const inside = Math.max(MARGINS.left, Math.min(width - MARGINS.right, pixel));
    readAt(rounded(axis(width), inside));
  }

  let base; // the axis before the gesture
  let isMoving = false;

  const zoom = Plot.zoom()
    .filter((event) => event.touches ? event.touches.length > 1
      : event.type === "wheel" ? event.ctrlKey || document.activeElement === $("chart")
        : !event.button)
    .on("start", () => { isMoving = true; })
    .on("zoom", ({ transform, sourceEvent }) => {
      if (!sourceEvent) return;
      const ends = [MARGINS.left, $("chart").clientWidth - MARGINS.right];
      showRange(ends.map((pixel) => base.invert(transform.invertX(pixel))));
    })
    .on("end", () => { isMoving = false; startGesture(); });

  function startGesture() {
    if (isMoving) return;
    base = axis($("chart").clientWidth);
    $("chart").__zoom = Plot.zoomIdentity; // without an event
  }

  // What leaves the page

  const python = () => {
    const words = new Map([[null, "None"], [true, "True"], [false, "False"]]);
    const value = (v) => words.get(v) ?? (Number.isInteger(v) ? v.toFixed(1) : JSON.stringify(v));
    const calls = view.curves.map((c) => {
      const settings = told(c).map(([key, v]) => `, ${key}=${value(v)}`).join("");
      return settings ? `partial(activations_xp.${c.name}${settings})` : `activations_xp.${c.name}`;
    });
    const [low, high] = view.x.map((x) => value(short(x)));
    const isPair = view.difference && pair()[1];
    const [a, b] = view.pair;
    return [
      calls.some((call) => call.startsWith("partial")) && "from functools import partial\n",
      "import matplotlib.pyplot as plt",
      (isPair || view.ylog) && "import numpy as np",
      "\nimport activations_xp\nfrom activations_xp.plotting import plot\n",
      `functions = [\n${calls.map((call) => `    ${call},\n`).join("")}]`,
      isPair ? "figure, (ax, below) = plt.subplots(2, sharex=True)" : "figure, ax = plt.subplots()",
      `plot(*functions, derivative=${value(view.derivative)}, range=(${low}, ${high}), ax=ax)`,
      isPair && `x = np.linspace(${low}, ${high}, 1001)`,
      isPair && `below.plot(x, functions[${a}](x) - functions[${b}](x), label="difference")`,
      isPair && "below.legend()",
      view.ylog && "for part in figure.axes:\n    for line in part.lines:\n"
        + "        line.set_ydata(np.abs(line.get_ydata()))\n    part.set_yscale(\"log\")",
      view.xlog && 'ax.set_xscale("symlog")',
      view.y && `ax.set_ylim(${view.y.map((y) => value(short(y))).join(", ")})`,
      "plt.show()",
    ].filter(Boolean).join("\n");
  };

  async function copy(what, content) {
    try {
      await navigator.clipboard.writeText(content);
      say(`${what} copied`);
    } catch {
      window.prompt(`${what}: copy this`, content);
    }
  }

  function link() {
    const { href } = window.location;
    return `${href.split("#")[0]}#${write()}`;
  }

  /** Return the graphs below each other, with the names of the curves above them. */
  function svg() {
    const width = 900;
    const style = getComputedStyle(document.body);
    const made = (tag, attributes, ...children) => {
      const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
      node.append(...children);
      return node;
    };
    const look = (c) => ({ stroke: colours[c.slot], "stroke-dasharray": dashes[c.slot] });
    const names = view.curves.map((c, i) =>
      made("g", { transform: `translate(${MARGINS.left}, ${12 + 20 * i})` },
        made("line", { x2: 40, "stroke-width": 2.2, ...look(c) }),
        made("text", { x: 50, dy: "0.35em", "font-size": 13, fill: "currentColor" }, labelOf(c))));
    let top = 20 * names.length + 8;
    const graphs = pictures(width);
    for (const graph of graphs) {
      graph.setAttribute("y", top);
      top += Number(graph.getAttribute("height"));
    }
    const whole = made("svg", {
      width, height: top, viewBox: `0 0 ${width} ${top}`, "font-family": "system-ui, sans-serif",
      style: `color: ${style.color}; background: ${style.backgroundColor}`,
    }, made("title", {}, view.curves.map(labelOf).join("; ")), ...names, ...graphs);
    return new XMLSerializer().serializeToString(whole);
  }

  function save() {
    const address = URL.createObjectURL(new Blob([svg()], { type: "image/svg+xml" }));
    const download = `${view.curves.map(({ name }) => name).join("-") || "explorer"}.svg`;
    element("a", { href: address, download }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
    say(`${download} saved`);
  }

  // Events

  async function add(event) {
    event.preventDefault();
    const name = names.get($("name").value.trim().toLowerCase());
    if (!name) {
      say(`There is no function ${$("name").value}`);
    } else if (view.curves.length < MAX_CURVES) {
      await update({ curves: [...view.curves, curve(name, view.curves)] });
      $("name").value = "";
      showChosen();
      say(`${name} added`);
    }
  }

  const KEYS = { "+": "zoom-in", "=": "zoom-in", "-": "zoom-out", 0: "reset" };

  function press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const side = { ArrowLeft: "left", ArrowRight: "right" }[event.key];
    if (KEYS[event.key] || (side && event.shiftKey)) {
      move(KEYS[event.key] ?? side);
    } else if (side) {
      const width = $("chart").clientWidth;
      const step = (width - MARGINS.left - MARGINS.right) / 100;
      readPixel(axis(width).apply(view.at) + (side === "left" ? -step : step));
    } else {
      return;
    }
    event.preventDefault();
  }

  function setRanges() {
    const [x0, x1, y0, y1] = ["x0", "x1", "y0", "y1"].map((id) => $(id).value);
    if (Number(x0) < Number(x1)) showRange([Number(x0), Number(x1)]);
    const isSet = y0 !== "" && y1 !== "" && Number(y0) < Number(y1);
    update({ y: isSet ? [Number(y0), Number(y1)] : null });
  }

  async function restore() {
    await update(read(window.location.hash.slice(1)));
    showChosen();
  }

  function begin(known, theirColours, theirDashes) {
    [colours, dashes] = [theirColours, theirDashes];
    for (const found of known) {
      functions.set(found.name, found);
      for (const name of [found.name, ...found.aliases]) names.set(name.toLowerCase(), found.name);
      for (const value of [found.name, ...found.aliases]) {
        const label = value === found.name ? found.family : `${found.name}, ${found.family}`;
        $("names").append(element("option", { value, label }));
      }
    }
    $("add").onsubmit = add;
    for (const button of document.querySelectorAll("[data-move]")) {
      button.onclick = () => move(button.dataset.move);
    }
    for (const key of ["derivative", "difference", "xlog", "ylog"]) {
      $(key).onchange = () => update({ [key]: $(key).checked });
    }
    for (const id of ["x0", "x1", "y0", "y1"]) $(id).onchange = setRanges;
    const selects = [$("first"), $("second")];
    for (const select of selects) {
      select.onchange = () => update({ pair: selects.map(({ value }) => Number(value)) });
    }
    $("at").oninput = () => {
      const width = $("chart").clientWidth - MARGINS.left - MARGINS.right;
      readPixel(MARGINS.left + $("at").value / 1000 * width);
    };
    $("table").ontoggle = showTable;
    $("chart").onkeydown = press;
    $("chart").onpointermove = (event) => { if (!isMoving) readPixel(event.offsetX); };
    $("copy-link").onclick = () => copy("Link", link());
    $("copy-python").onclick = () => copy("Python", python());
    $("save").onclick = save;
    Plot.select($("chart")).call(zoom).on("dblclick.zoom", null);
    const isLoaded = () => view?.curves.every(({ knots }) => knots);
    new ResizeObserver(() => isLoaded() && show()).observe($("chart"));
    window.onhashchange = restore;
    restore();
  }

  return { begin, receive };
})();
