// Two Gaussian families: what the ends share is the same in both, what the halves share is not.  All numbers are the library's, exact.
L2M.part("families", function (data, home) {
  "use strict";
  var add = L2M.add, number = L2M.number, colours = ["w-blue", "w-orange"];
  var length = L2M.slider(L2M.controls(home), "length L", {
    name: "length", min: 0, max: data.lengths.length - 1, step: 1, value: data.lengths.length - 1,
    value_of: function (i) { return i; },
    text: function (i) { return number(data.lengths[i]) + " variables"; }
  }, function () { again(); });

  var again = L2M.figure(home, "Information of the two ends and of the two halves of two Gaussian families, against length", function (width) { return width < 560 ? 520 : 300; }, function (svg, width, height) {
    var now = length.read(), narrow = width < 560, halves = data.families.map(function (family) { return family.halves[now]; });
    [["ends", "the two ends share (nats)", [1e-12, 1]], ["halves", "the two halves share (nats)", [0.1, 1e4]]].forEach(function (panel, i) {
      var area = narrow ? { left: 52, right: width - 12, top: 26 + 260 * i, bottom: 216 + 260 * i }
        : { left: 52 + i * width / 2, right: width / 2 - 14 + i * width / 2, top: 26, bottom: height - 44 };
      var at = L2M.axes(svg, area, [data.lengths[0], data.lengths[data.lengths.length - 1] * 1.4], panel[2], ["length L", panel[1]]);
      add(svg, "line", { "class": "w-line w-ink w-dashed", x1: at.x(data.lengths[now]), x2: at.x(data.lengths[now]), y1: area.top, y2: area.bottom });
      data.families.forEach(function (family, f) {
        var values = family[panel[0]];
        L2M.line(svg, at, data.lengths.slice(0, now + 1), values.slice(0, now + 1), colours[f] + (f && panel[0] === "ends" ? " w-dashed" : ""));
        add(svg, "circle", { "class": (f ? "w-ring " : "w-dot ") + colours[f], cx: at.x(data.lengths[now]), cy: at.y(values[now]), r: f ? 6.5 : 4 });
        // Names stand at the left of the points, where the curves have been.
        if (panel[0] === "halves") add(svg, "text", { "class": "w-label " + colours[f], x: area.left + 8, y: area.top + 14 + 17 * f, "text-anchor": "start" }, (f ? "○ " : "● ") + family.name);
      });
    });
    return "At L = " + number(data.lengths[now]) + " the ends of both families share " + number(data.families[0].ends[now]) + " nats, the same to the last digit. The halves share " +
      number(halves[0]) + " nats in the " + data.families[0].name + " family and " + number(halves[1]) + " nats in the " + data.families[1].name + " one" +
      (halves[0] / halves[1] > 1.05 ? ": " + number(halves[0] / halves[1]) + " times as much." : ".");
  });
  again();
});
