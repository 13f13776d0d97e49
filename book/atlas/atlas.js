// The interactive atlas: draws dim z against length for every architecture, the demand of text as a line that three
// sliders move, and a table of L*, the length up to which the cap  bits·log 2·dim z + log M  meets the demand  A·L^β.
// Written for this book; it needs no library and fetches nothing.
function l2mAtlas(data) {
  "use strict";
  var home = document.getElementById(data.identity);
  if (!home) return;
  home.textContent = "";
  var SVG = "http://www.w3.org/2000/svg";
  var W = 720, H = 460, LEFT = 64, RIGHT = 14, TOP = 14, BOTTOM = 46;
  var xs = data.lengths, x0 = Math.log10(xs[0]), x1 = Math.log10(xs[xs.length - 1]);
  var y0 = 2, y1 = 15;

  function make(name, attributes, parent) {
    var node = document.createElementNS(SVG, name);
    Object.keys(attributes).forEach(function (key) { node.setAttribute(key, attributes[key]); });
    if (parent) parent.appendChild(node);
    return node;
  }
  function html(name, text, parent) {
    var node = document.createElement(name);
    if (text) node.textContent = text;
    if (parent) parent.appendChild(node);
    return node;
  }
  function px(length) { return LEFT + (Math.log10(length) - x0) / (x1 - x0) * (W - LEFT - RIGHT); }
  function py(entries) {
    var clipped = Math.min(Math.max(Math.log10(Math.max(entries, 1e-9)), y0), y1);
    return H - BOTTOM - (clipped - y0) / (y1 - y0) * (H - TOP - BOTTOM);
  }
  function power(exponent) {
    return "10" + String(exponent).split("").map(function (digit) { return "⁰¹²³⁴⁵⁶⁷⁸⁹"[+digit]; }).join("");
  }
  function short(number) {
    if (!isFinite(number)) return "∞";
    var letters = ["", "k", "M", "G", "T", "P"], step = 0;
    while (number >= 999.5 && step < letters.length - 1) { number /= 1000; step += 1; }
    return (number >= 100 ? number.toFixed(0) : number.toPrecision(3).replace(/\.?0+$/, "")) + letters[step];
  }

  // --- sliders -------------------------------------------------------------------------------------------------
  var style = "display:flex;flex-wrap:wrap;gap:0.4em 1.6em;align-items:center;margin:0 0 0.4em 0;font-size:0.9em";
  var bar = html("div", "", home);
  bar.setAttribute("style", style);
  function slider(name, label, low, high, step, value, show) {
    var box = html("label", label + " ", bar);
    var input = html("input", "", box);
    input.type = "range"; input.min = low; input.max = high; input.step = step; input.value = value;
    input.id = data.identity + "-" + name;
    input.style.verticalAlign = "middle";
    var text = html("output", "", box);
    text.setAttribute("for", input.id);
    text.style.cssText = "display:inline-block;min-width:4.2em;font-variant-numeric:tabular-nums";
    input.addEventListener("input", draw);
    return { read: function () { var number = show.value(+input.value); text.textContent = " " + show.text(number); return number; } };
  }
  var same = function (number) { return number; };
  var ten = function (number) { return Math.pow(10, number); };
  var beta = slider("beta", "exponent β", 0.3, 0.98, 0.01, data.beta, { value: same, text: function (n) { return n.toFixed(2); } });
  var prefactor = slider("prefactor", "prefactor A (nats)", -1, 2, 0.001, Math.log10(data.prefactor), { value: ten, text: function (n) { return n.toPrecision(3); } });
  var bits = slider("bits", "bits an entry", -2, Math.log10(32), 0.005, Math.log10(16), { value: ten, text: function (n) { return n.toPrecision(3); } });

  // --- axes and lines ------------------------------------------------------------------------------------------
  var svg = make("svg", { viewBox: "0 0 " + W + " " + H, role: "img", style: "width:100%;height:auto;background:#fff;border-radius:4px" });
  svg.setAttribute("aria-label", "History state in numbers against length in tokens, both logarithmic, with the demand of text as a dashed line");
  home.appendChild(svg);
  var grey = { fill: "#333", "font-size": 12, "font-family": "sans-serif" };
  function label(x, y, text, anchor, more) {
    var node = make("text", Object.assign({ x: x, y: y, "text-anchor": anchor }, grey, more || {}), svg);
    node.textContent = text;
    return node;
  }
  var e;
  for (e = Math.ceil(x0); e <= x1; e += 1) {
    make("line", { x1: px(ten(e)), x2: px(ten(e)), y1: TOP, y2: H - BOTTOM, stroke: "#ddd" }, svg);
    label(px(ten(e)), H - BOTTOM + 16, power(e), "middle");
  }
  for (e = y0; e <= y1; e += 1) {
    make("line", { x1: LEFT, x2: W - RIGHT, y1: py(ten(e)), y2: py(ten(e)), stroke: "#eee" }, svg);
    if (e % 2 === 0) label(LEFT - 6, py(ten(e)) + 4, power(e), "end");
  }
  label((LEFT + W - RIGHT) / 2, H - 8, "length L (tokens)", "middle");
  label(16, (H - BOTTOM + TOP) / 2, "history state at L/2 (numbers)", "middle", { transform: "rotate(-90 16 " + (H - BOTTOM + TOP) / 2 + ")" });

  var lines = data.models.map(function (model) {
    var points = xs.map(function (length, i) { return px(length).toFixed(1) + "," + py(model.z[i]).toFixed(1); }).join(" ");
    var wide = make("polyline", { points: points, fill: "none", stroke: "transparent", "stroke-width": 9, tabindex: 0, style: "cursor:pointer;outline:none" });
    var thin = make("polyline", { points: points, fill: "none", stroke: data.colours[model.family], "stroke-width": 1.3, "stroke-opacity": 0.55 }, svg);
    wide.setAttribute("aria-label", model.name + ": " + model.formula);
    ["mouseenter", "focus", "click"].forEach(function (event) { wide.addEventListener(event, function () { choose(model, thin); }); });
    return { model: model, thin: thin, wide: wide };
  });
  var demand = make("polyline", { fill: "none", stroke: "#000", "stroke-width": 2.4, "stroke-dasharray": "7 4" }, svg);
  var name = label(0, 0, "what text needs", "start", { "font-weight": "bold", "paint-order": "stroke", stroke: "#fff", "stroke-width": 4 });
  lines.forEach(function (line) { svg.appendChild(line.wide); });  // on top, so that every line can be met

  var legend = html("div", "", home);
  legend.setAttribute("style", style);
  Object.keys(data.colours).forEach(function (family) {
    if (!data.models.some(function (model) { return model.family === family; })) return;
    var item = html("span", "", legend);
    html("span", "▬ ", item).style.color = data.colours[family];
    html("span", family, item);
  });
  var card = html("p", "Point at a line (or tab to it) for its formula.", home);
  card.setAttribute("aria-live", "polite");
  card.style.cssText = "min-height:3.2em;font-size:0.92em;margin:0.2em 0";
  var chosen = null;
  function choose(model, thin) {
    lines.forEach(function (line) { line.thin.setAttribute("stroke-width", 1.3); line.thin.setAttribute("stroke-opacity", 0.55); });
    thin.setAttribute("stroke-width", 3.2); thin.setAttribute("stroke-opacity", 1);
    chosen = model;
    describe();
  }

  // --- the verdict ---------------------------------------------------------------------------------------------
  var now = {};
  function need(length) { return Math.max(now.A * Math.pow(length, now.b) - data.logM, 0) / (now.bits * Math.LN2); }
  function reach(model) {  // between two grid lengths dim z is interpolated in log–log
    var i, last;
    for (i = 0; i < xs.length; i += 1) if (model.z[i] < need(xs[i])) break;
    if (i === xs.length) {
      if (model.exponent >= now.b) return Infinity;
      if (model.growth === "log L") return NaN;  // out somewhere beyond the figure
      last = model.z[xs.length - 1] / Math.pow(xs[xs.length - 1], model.exponent);
      return Math.pow((last * now.bits * Math.LN2 + data.logM) / now.A, 1 / (now.b - model.exponent));
    }
    if (i === 0) return 0;
    var low = Math.log(xs[i - 1]), high = Math.log(xs[i]), a = Math.log(model.z[i - 1]), slope = (Math.log(model.z[i]) - a) / (high - low), step, middle;
    for (step = 0; step < 50; step += 1) {
      middle = (low + high) / 2;
      if (a + slope * (middle - Math.log(xs[i - 1])) >= Math.log(need(Math.exp(middle)) + 1e-300)) low = middle; else high = middle;
    }
    return Math.exp(low);
  }
  function words(model) {
    var length = reach(model);
    if (length === 0) return "below the demand from the start";
    if (length === Infinity) return "meets the demand at every length";
    if (isNaN(length)) return "meets the demand up to " + short(xs[xs.length - 1]) + " tokens and beyond";
    return "meets the demand up to L* = " + short(length) + " tokens";
  }
  function describe() {
    if (!chosen) return;
    card.textContent = "";
    html("strong", chosen.name, card);
    card.appendChild(document.createTextNode(" (" + chosen.family + "): dim z = " + chosen.formula + "; " + words(chosen) + "."));
  }
  var count = html("p", "", home);
  count.id = data.identity + "-count";
  count.style.cssText = "font-size:0.92em;margin:0.2em 0";
  function draw() {
    now = { b: beta.read(), A: prefactor.read(), bits: bits.read() };
    demand.setAttribute("points", xs.filter(function (length) { return need(length) >= ten(y0); }).map(function (length) {
      return px(length).toFixed(1) + "," + py(need(length)).toFixed(1);
    }).join(" "));
    var end = xs[Math.floor(xs.length * 0.72)];
    name.setAttribute("x", px(end)); name.setAttribute("y", Math.min(py(need(end)) + 22, H - BOTTOM - 6));
    var reaches = data.models.map(reach);
    var always = reaches.filter(function (length) { return length === Infinity; }).length;
    var million = reaches.filter(function (length) { return isNaN(length) || length >= 1e6; }).length;
    count.textContent = "One million tokens ask for at least " + short(need(1e6)) + " numbers. Of " + data.models.length + " architectures, " + million +
      " hold that much at one million tokens, and " + always + " at every length.";
    describe();
  }
  draw();
}
