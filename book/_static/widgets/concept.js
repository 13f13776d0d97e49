// The concept: as a block grows, its halves share more nats than a fixed history state can hold; a state that grows keeps up.
L2M.part("concept", function (data, home) {
  "use strict";
  var add = L2M.add, number = L2M.number, longest = 13;  // 2^13 tokens
  function demand(L) { return data.prefactor * Math.pow(L, data.exponent); }
  var length = L2M.slider(L2M.controls(home), "length of the block, L", {
    name: "length", min: 5, max: longest, step: 0.25, value: 12,
    value_of: function (e) { return Math.round(Math.pow(2, e)); },
    text: function (n) { return number(n) + " tokens"; }
  }, function () { again(); });

  // Two states as vessels on one axis of nats: outline = what it can hold, fill = what it holds, above the rim = what is lost.
  var again = L2M.figure(home, "What two halves of a text share, poured into a fixed state and into one that grows", 330, function (svg, width, height) {
    var L = length.read(), shared = demand(L), most = 1.1 * demand(Math.pow(2, longest)), tick;
    var area = { left: 48, right: width - 10, top: 30, bottom: height - 44 }, wide = area.right - area.left;
    function y(nats) { return area.bottom - Math.min(nats / most, 1) * (area.bottom - area.top); }
    for (tick = 0; tick <= most; tick += 500) {
      add(svg, "line", { "class": "w-grid", x1: area.left, x2: area.right, y1: y(tick), y2: y(tick) });
      add(svg, "text", { "class": "w-tick", x: area.left - 6, y: y(tick) + 4, "text-anchor": "end" }, number(tick));
    }
    add(svg, "text", { "class": "w-label", x: area.left, y: area.top - 12 }, "nats (an entry holds one)");
    [["a fixed state", data.state], ["a state that grows", L]].forEach(function (state, i) {
      var x = area.left + wide * (0.09 + 0.47 * i), w = wide * 0.36, room = state[1], held = Math.min(shared, room);
      add(svg, "rect", { "class": "w-fill w-blue", x: x, width: w, y: y(held), height: area.bottom - y(held) });
      if (shared > room) {
        add(svg, "rect", { "class": "w-fill w-red l2m-overflow", x: x, width: w, y: y(shared), height: y(room) - y(shared) });
        add(svg, "text", { "class": "w-label w-strong w-halo", x: x + w / 2, y: y(shared) - 8, "text-anchor": "middle" }, number(shared - room) + " nats lost");
      }
      add(svg, "path", { "class": "w-line w-thick w-ink", d: "M" + x + "," + y(room) + "V" + area.bottom + "H" + (x + w) + "V" + y(room) });
      add(svg, "text", { "class": "w-label", x: x + w / 2, y: area.bottom + 18, "text-anchor": "middle" }, state[0]);
      add(svg, "text", { "class": "w-tick", x: x + w / 2, y: area.bottom + 34, "text-anchor": "middle" }, number(room) + " entries");
    });
    add(svg, "line", { "class": "w-line w-ink w-dashed", x1: area.left, x2: area.right, y1: y(shared), y2: y(shared) });
    var lost = shared - data.state;
    return "At L = " + number(L) + " tokens the halves share " + number(shared) + " nats by the published law. The fixed state of " + number(data.state) + " entries " +
      (lost > 0 ? "overflows: " + number(lost) + " nats are lost, since it is full at " + number(data.crossing) + " tokens. " : "still has room. ") +
      "The state with an entry a token " + (L >= shared ? "has room for all." : "is too small as well.");
  });
  again();
});
