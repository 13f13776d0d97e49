// The exponent fit: choose the range of lengths, see β and its interval.  Every β is one of a published table; the line is that of least squares.
L2M.part("fit", function (data, home) {
  "use strict";
  var add = L2M.add, number = L2M.number, lengths = data.lengths, last = lengths.length - 1;
  var bar = L2M.controls(home);
  function tokens(i) { return number(lengths[i]) + " tokens"; }
  var start = lengths.indexOf(data.first), end = lengths.indexOf(data.last);
  var from = L2M.slider(bar, "shortest length of the fit", { name: "first", min: 0, max: last - data.least + 1, step: 1, value: start, text: tokens }, function () { keep(from); });
  var to = L2M.slider(bar, "longest length of the fit", { name: "last", min: data.least - 1, max: last, step: 1, value: end, text: tokens }, function () { keep(to); });

  // A fit needs some points: the other end gives way.
  function keep(moved) {
    if (to.input.value - from.input.value < data.least - 1) {
      if (moved === from) to.input.value = +from.input.value + data.least - 1;
      else from.input.value = to.input.value - data.least + 1;
    }
    again();
  }
  function fitted(i, j) {
    var row = data.windows.filter(function (one) { return one[0] === lengths[i] && one[1] === lengths[j]; })[0];
    var x = 0, y = 0, k;
    for (k = i; k <= j; k += 1) { x += Math.log(lengths[k]) / (j - i + 1); y += Math.log(data.estimates[k]) / (j - i + 1); }
    return { beta: row[2], low: row[3], high: row[4], prefactor: Math.exp(y - row[2] * x) };  // least squares pass through the mean
  }

  var again = L2M.figure(home, "Measured information against length with the power law through the chosen range, and its exponent beside those of all ranges", function (width) { return width < 560 ? 500 : 330; }, function (svg, width, height) {
    var i = from.read(), j = to.read(), fit = fitted(i, j), narrow = width < 560, k;
    var area = { left: 48, right: narrow ? width - 12 : width * 0.64, top: 26, bottom: narrow ? 270 : height - 44 };
    var at = L2M.axes(svg, area, [lengths[0] * 0.8, lengths[last] * 1.25], [0.5, 1000], ["length L (tokens)", "shared by the halves (nats)"]);
    add(svg, "rect", { "class": "w-range", x: at.x(lengths[i] / 1.15), width: at.x(lengths[j] * 1.15) - at.x(lengths[i] / 1.15), y: area.top, height: area.bottom - area.top });
    var inside = lengths.slice(i, j + 1), ends = [lengths[0], lengths[last]];
    function law(L) { return fit.prefactor * Math.pow(L, fit.beta); }
    L2M.line(svg, at, ends, ends.map(law), "w-orange w-dashed");
    L2M.line(svg, at, inside, inside.map(law), "w-orange");
    for (k = 0; k <= last; k += 1) {
      var kind = k >= i && k <= j ? "w-blue" : "w-pale";
      add(svg, "line", { "class": "w-line " + kind, x1: at.x(lengths[k]), x2: at.x(lengths[k]), y1: at.y(data.low[k]), y2: at.y(data.high[k]) });
      add(svg, "circle", { "class": "w-dot " + kind, cx: at.x(lengths[k]), cy: at.y(data.estimates[k]), r: 4 });
    }
    // The exponents of all ranges, in the order of their β; the chosen one in colour.
    var side = { left: narrow ? 48 : width * 0.74, right: width - 14, top: narrow ? 340 : 26, bottom: height - 44 };
    function sx(beta) { return side.left + (beta - 0.2) / 1.2 * (side.right - side.left); }
    [0.25, 0.5, 0.75, 1, 1.25].forEach(function (tick) {
      add(svg, "line", { "class": "w-grid", x1: sx(tick), x2: sx(tick), y1: side.top, y2: side.bottom });
      if (tick * 2 === Math.round(tick * 2)) add(svg, "text", { "class": "w-tick", x: sx(tick), y: side.bottom + 16, "text-anchor": "middle" }, tick.toFixed(1));
    });
    add(svg, "text", { "class": "w-label", x: (side.left + side.right) / 2, y: side.bottom + 34, "text-anchor": "middle" }, "β of every range");
    add(svg, "line", { "class": "w-line w-ink w-dashed", x1: sx(data.published), x2: sx(data.published), y1: side.top, y2: side.bottom });
    add(svg, "text", { "class": "w-tick", x: sx(data.published), y: side.top - 6, "text-anchor": "middle" }, "paper " + data.published);
    data.windows.slice().sort(function (a, b) { return a[2] - b[2]; }).forEach(function (row, place, all) {
      var chosen = row[0] === lengths[i] && row[1] === lengths[j], y = side.bottom - 6 - place / (all.length - 1) * (side.bottom - side.top - 12);
      add(svg, "line", { "class": "w-line " + (chosen ? "w-orange w-thick" : "w-pale"), x1: sx(row[3]), x2: sx(row[4]), y1: y, y2: y });
      add(svg, "circle", { "class": "w-dot " + (chosen ? "w-orange" : "w-pale"), cx: sx(row[2]), cy: y, r: chosen ? 5 : 2 });
    });
    var all = data.windows.map(function (row) { return row[2]; }), least = Math.min.apply(null, all), most = Math.max.apply(null, all);
    return "Fitted from L = " + number(lengths[i]) + " to " + number(lengths[j]) + ": β = " + fit.beta.toFixed(2) + ", 95 % interval " + fit.low.toFixed(2) + " to " + fit.high.toFixed(2) +
      " (prefactor " + number(fit.prefactor) + " nats). Over all ranges β goes from " + least.toFixed(2) + " to " + most.toFixed(2) + ": a spread of " + (most - least).toFixed(2) +
      ", where this interval is " + (fit.high - fit.low).toFixed(2) + " wide.";
  });
  again();
});
