// What the interactive parts share: finding their place and data, sliders, charts with logarithmic axes, numbers in words.
// A part calls L2M.part(name, start); start gets the data and a home, and its place keeps the static fallback when anything fails.
window.L2M = (function () {
  "use strict";
  var SVG = "http://www.w3.org/2000/svg";
  var count = 0;

  function add(parent, name, attributes, text) {
    var node = parent.namespaceURI === SVG || name === "svg" ? document.createElementNS(SVG, name) : document.createElement(name);
    Object.keys(attributes || {}).forEach(function (key) { node.setAttribute(key, attributes[key]); });
    if (text !== undefined) node.textContent = text;
    parent.appendChild(node);
    return node;
  }

  function part(name, start) {
    document.querySelectorAll('.l2m-widget[data-widget="' + name + '"]').forEach(function (place) {
      var source = place.dataset.from ? document.getElementById(place.dataset.from) : place;
      var home = document.createElement("div");
      home.className = "l2m-widget-live";
      place.appendChild(home);
      try {
        start(JSON.parse(source.dataset.values), home);
        place.classList.add("l2m-widget-runs");
      } catch (error) {  // the fallback stays, and the console says why
        home.remove();
        throw error;
      }
    });
  }

  // --- numbers ---------------------------------------------------------------------------------------------------
  function power(exponent) {
    return "10" + String(exponent).split("").map(function (sign) { return sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[+sign]; }).join("");
  }
  function number(value, digits) {
    digits = digits || 3;
    if (value === Infinity) return "∞";
    if (value > 1e15) return "beyond " + power(15);
    if (value === 0) return "0";
    if (Math.abs(value) < 1e-3) {
      var exponent = Math.floor(Math.log10(Math.abs(value)));
      return (value / Math.pow(10, exponent)).toFixed(1) + " · " + power(exponent);
    }
    if (Math.abs(value) >= 1e7) {
      var step = Math.min(Math.floor(Math.log10(Math.abs(value)) / 3), 5);
      return (value / Math.pow(1000, step)).toPrecision(3).replace(/\.?0+$/, "") + ["", "", " million", " billion", " trillion", " quadrillion"][step];
    }
    if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en-US");
    return String(+value.toPrecision(digits));
  }

  // --- controls --------------------------------------------------------------------------------------------------
  function controls(home) { return add(home, "div", { "class": "l2m-widget-controls" }); }

  // A range input with its label, its value in words, and what happens when it moves; read() gives the number.
  function slider(bar, label, options, changed) {
    var identity = "l2m-slider-" + (count += 1);
    var box = add(bar, "div", { "class": "l2m-widget-slider" });
    add(box, "label", { "for": identity }, label);
    var input = add(box, "input", { id: identity, type: "range", min: options.min, max: options.max, step: options.step });
    var shown = add(box, "output", { "for": identity });
    input.value = options.value;
    var first = input.value;  // a range rounds to its steps: where it has not been moved, the value is the exact one
    if (options.name) input.dataset.knob = options.name;
    function read() {
      var at = input.value === first ? +options.value : +input.value, value = options.value_of ? options.value_of(at) : at;
      shown.textContent = options.text(value);
      input.setAttribute("aria-valuetext", options.text(value));
      return value;
    }
    input.addEventListener("input", function () { changed(input); });
    return { read: read, input: input };
  }

  // A figure that is drawn anew at the width it has: draw(svg, width, height) each time; returns a function that draws and says the state.
  function figure(home, title, height, draw) {
    var box = add(home, "div", { "class": "l2m-widget-figure" });
    var words = add(home, "p", { "class": "l2m-widget-words", "aria-live": "polite", id: "l2m-words-" + (count += 1) });
    var width = 0, name = "l2m-title-" + (count += 1);
    function again() {
      width = Math.max(280, Math.min(box.clientWidth || 640, 900));
      box.textContent = "";
      var tall = typeof height === "function" ? height(width) : height;
      var svg = add(box, "svg", { viewBox: "0 0 " + width + " " + tall, width: width, height: tall, role: "img", "aria-labelledby": name, "aria-describedby": words.id });
      add(svg, "title", { id: name }, title);
      var said = draw(svg, width, tall);
      if (words.textContent !== said) words.textContent = said;
    }
    if (window.ResizeObserver) new ResizeObserver(function () { if (Math.abs(box.clientWidth - width) > 4 && box.clientWidth >= 280) again(); }).observe(box);
    return again;
  }

  // --- charts ----------------------------------------------------------------------------------------------------
  // Logarithmic axes: x and y are [least, greatest]; base is that of the ticks.  Gives functions from values to places.
  function axes(svg, area, x, y, labels, base) {
    var bx = base && base.x || 10, by = base && base.y || 10;
    function px(value) { return area.left + Math.log(value / x[0]) / Math.log(x[1] / x[0]) * (area.right - area.left); }
    function py(value) { return area.bottom - Math.log(value / y[0]) / Math.log(y[1] / y[0]) * (area.bottom - area.top); }
    function ticks(low, high, step, room, least) {
      var found = [], first = Math.ceil(Math.log(low) / Math.log(step) - 1e-9), last = Math.floor(Math.log(high) / Math.log(step) + 1e-9), e;
      var every = Math.max(1, Math.ceil((last - first + 1) / Math.max(1, Math.floor(room / least))));
      for (e = first; e <= last; e += 1) if ((e - first) % every === 0) found.push([Math.pow(step, e), e]);
      return found;
    }
    function text(value, exponent, step) { return step === 10 ? (exponent >= 0 && exponent <= 3 ? String(Math.round(value)) : power(exponent)) : number(value); }
    ticks(x[0], x[1], bx, area.right - area.left, 48).forEach(function (tick) {
      add(svg, "line", { "class": "w-grid", x1: px(tick[0]), x2: px(tick[0]), y1: area.top, y2: area.bottom });
      add(svg, "text", { "class": "w-tick", x: px(tick[0]), y: area.bottom + 16, "text-anchor": "middle" }, text(tick[0], tick[1], bx));
    });
    ticks(y[0], y[1], by, area.bottom - area.top, 26).forEach(function (tick) {
      add(svg, "line", { "class": "w-grid", x1: area.left, x2: area.right, y1: py(tick[0]), y2: py(tick[0]) });
      add(svg, "text", { "class": "w-tick", x: area.left - 6, y: py(tick[0]) + 4, "text-anchor": "end" }, text(tick[0], tick[1], by));
    });
    add(svg, "text", { "class": "w-label", x: (area.left + area.right) / 2, y: area.bottom + 34, "text-anchor": "middle" }, labels[0]);
    add(svg, "text", { "class": "w-label", x: area.left, y: area.top - 8, "text-anchor": "start" }, labels[1]);
    return { x: px, y: py };
  }

  function line(svg, at, xs, ys, kind) {
    var points = [];
    xs.forEach(function (value, i) { if (ys[i] > 0) points.push(at.x(value).toFixed(1) + "," + at.y(ys[i]).toFixed(1)); });
    return add(svg, "polyline", { "class": "w-line " + kind, points: points.join(" ") });
  }

  return { add: add, part: part, number: number, power: power, controls: controls, slider: slider, figure: figure, axes: axes, line: line };
})();
