// The atlas: dim z against length for every architecture, the demand of text as a line that three sliders move, and L*, the length up to
// which the cap  bits·log 2·dim z + log M  meets the demand  A·L^β.
L2M.part("atlas", function (data, home) {
  "use strict";
  var add = L2M.add, number = L2M.number, xs = data.lengths, last = xs.length - 1, bottom = 1e2, top = 1e15;
  function ten(value) { return Math.pow(10, value); }
  function three(value) { return number(value); }

  var bar = L2M.controls(home);
  var beta = L2M.slider(bar, "exponent β", { name: "beta", min: 0.3, max: 0.98, step: 0.01, value: data.beta, text: function (b) { return b.toFixed(2); } }, draw);
  var prefactor = L2M.slider(bar, "prefactor A", { name: "prefactor", min: -1, max: 2, step: 0.001, value: Math.log10(data.prefactor), value_of: ten, text: function (A) { return three(A) + " nats"; } }, draw);
  var bits = L2M.slider(bar, "held by a number", { name: "bits", min: -2, max: Math.log10(32), step: 0.001, value: Math.log10(data.bits), value_of: ten, text: function (b) { return three(b) + " bits"; } }, draw);
  // One tab stop for all lines: a list.  Pointing at a line or tapping it chooses, too.
  var pick = add(bar, "div", { "class": "l2m-widget-slider" });
  add(pick, "label", { "for": "l2m-atlas-pick" }, "architecture");
  var list = add(pick, "select", { id: "l2m-atlas-pick" });
  add(list, "option", { value: "" }, "choose one");
  data.models.forEach(function (model, i) { add(list, "option", { value: i }, model.name); });
  list.addEventListener("change", draw);

  // --- the verdict -----------------------------------------------------------------------------------------------
  var now = {};
  function need(length) { return Math.max(now.A * Math.pow(length, now.b) - data.logM, 0) / (now.bits * Math.LN2); }
  function reach(model) {  // between two grid lengths dim z is interpolated in log–log
    var i;
    for (i = 0; i <= last; i += 1) if (model.z[i] < need(xs[i])) break;
    if (i > last) {
      if (model.exponent >= now.b) return Infinity;
      if (model.growth === "log L") return NaN;  // out somewhere beyond the figure
      var end = model.z[last] / Math.pow(xs[last], model.exponent);
      return Math.pow((end * now.bits * Math.LN2 + data.logM) / now.A, 1 / (now.b - model.exponent));
    }
    if (i === 0) return 0;
    var low = Math.log(xs[i - 1]), high = Math.log(xs[i]), a = Math.log(model.z[i - 1]), slope = (Math.log(model.z[i]) - a) / (high - low), step, middle;
    for (step = 0; step < 50; step += 1) {
      middle = (low + high) / 2;
      if (a + slope * (middle - Math.log(xs[i - 1])) >= Math.log(need(Math.exp(middle)) + 1e-300)) low = middle; else high = middle;
    }
    return Math.exp(low);
  }
  function lasts(model) {
    var length = reach(model);
    if (length === 0) return "below the demand from the start";
    if (length === Infinity) return "every length";
    if (isNaN(length)) return number(xs[last]) + " tokens and beyond";
    return number(length) + " tokens";
  }

  // --- the picture -----------------------------------------------------------------------------------------------
  var again = L2M.figure(home, "History state of " + data.models.length + " architectures against length, with what text needs as a dashed line", function (width) { return width < 560 ? 380 : 450; }, function (svg, width, height) {
    var area = { left: 52, right: width - 14, top: 26, bottom: height - 44 };
    var at = L2M.axes(svg, area, [xs[0], xs[last]], [bottom, top], ["length L (tokens)", "history state at L/2 (numbers)"]);
    function clipped(values) { return values.map(function (z) { return Math.min(Math.max(z, bottom), top); }); }
    var chosen = data.models[list.value];
    data.models.forEach(function (model) {
      var thin = L2M.line(svg, at, xs, clipped(model.z), model === chosen ? "w-thick" : "w-faint");
      thin.setAttribute("stroke", data.colours[model.family]);
    });
    if (chosen) L2M.line(svg, at, xs, clipped(chosen.z), "w-thick").setAttribute("stroke", data.colours[chosen.family]);
    var shown = xs.filter(function (length) { return need(length) >= bottom && need(length) <= top; });
    L2M.line(svg, at, shown, shown.map(need), "w-ink w-thick w-dashed").id = "l2m-atlas-demand";
    var mark = shown.filter(function (length, i) { return i <= shown.length * 0.6 && at.x(length) < area.right - 115; }).pop();
    if (mark) add(svg, "text", { "class": "w-label w-strong w-halo", x: at.x(mark), y: at.y(need(mark)) + 22, "text-anchor": "start" }, "what text needs");
    data.models.forEach(function (model, i) {  // on top and wide, so that every line can be met
      var wide = L2M.line(svg, at, xs, clipped(model.z), "w-target");
      wide.addEventListener("click", function () { list.value = i; draw(); });
      add(wide, "title", {}, model.name);
    });
    var million = data.models.filter(function (model) { return !(reach(model) < 1e6); }).length;
    var always = data.models.filter(function (model) { return reach(model) === Infinity; }).length;
    var said = "One million tokens ask for at least " + number(need(1e6)) + " numbers. Of " + data.models.length + " architectures, " + million +
      " hold that much at one million tokens, and " + always + " at every length.";
    return chosen ? said + " " + chosen.name + " (" + chosen.family + "): dim z = " + chosen.formula + "; it meets the demand up to " + lasts(chosen) + "." : said;
  });

  var legend = add(home, "p", { "class": "l2m-widget-legend" });
  Object.keys(data.colours).forEach(function (family) {
    if (!data.models.some(function (model) { return model.family === family; })) return;
    var item = add(legend, "span", {});
    add(item, "span", { "aria-hidden": "true" }, "▬ ").style.color = data.colours[family];
    item.appendChild(document.createTextNode(family));
  });
  var fold = add(home, "details", {});
  add(fold, "summary", {}, "The same as a table, for the sliders as they stand");
  var table = add(add(fold, "div", { "class": "l2m-widget-scroll", tabindex: "0", role: "region", "aria-label": "Table of architectures" }), "table", {});
  fold.addEventListener("toggle", tabulate);
  function tabulate() {
    if (!fold.open) return;
    table.textContent = "";
    add(table, "caption", {}, "Length up to which each architecture meets the demand " + number(now.A) + " · L^" + now.b.toFixed(2) + " nats at " + number(now.bits) + " bits a number");
    var head = add(add(table, "thead", {}), "tr", {}), body = add(table, "tbody", {});
    ["architecture", "family", "dim z", "meets the demand up to"].forEach(function (word) { add(head, "th", { scope: "col" }, word); });
    data.models.forEach(function (model) {
      var row = add(body, "tr", {});
      add(row, "th", { scope: "row" }, model.name);
      [model.family, model.formula, lasts(model)].forEach(function (word) { add(row, "td", {}, word); });
    });
  }
  function draw() {
    now = { b: beta.read(), A: prefactor.read(), bits: bits.read() };
    again();
    tabulate();
  }
  draw();
});
