// The Santa Fe process: a text that restates facts.  A fact that stands in both halves is one bit, log 2 nats, that they share.
L2M.santaFe = (function () {
  "use strict";
  // The terms of a sum over facts 1 … K, then its rest as an integral over log k by Simpson's rule.
  function sum(term, K) {
    var total = 0, k, n = 4000, low = Math.log(K + 0.5), high = low + 60, step = (high - low) / n, rest = 0;
    for (k = 1; k <= K; k += 1) total += term(k);
    for (k = 0; k <= n; k += 1) rest += (k === 0 || k === n ? 1 : k % 2 ? 4 : 2) * term(Math.exp(low + k * step)) * Math.exp(low + k * step);
    return total + rest * step / 3;
  }
  function zeta(a) {
    var K = 2000, total = 0, k;
    for (k = 1; k <= K; k += 1) total += Math.pow(k, -a);
    return total + Math.pow(K + 0.5, 1 - a) / (a - 1);
  }
  // I(n; 2n) = log 2 · Σ_k [1 − (1 − p_k)^n]²,  p_k = k^−a / ζ(a),  a = 1/β: the expected number of facts in both halves.
  function law(beta, lengths) {
    var a = 1 / beta, norm = zeta(a);
    return lengths.map(function (length) {
      var n = length / 2;
      return Math.LN2 * sum(function (k) {
        var p = Math.min(Math.pow(k, -a) / norm, 1), seen = p === 1 ? 1 : -Math.expm1(n * Math.log1p(-p));
        return seen * seen;
      }, 2000);
    });
  }
  function generator(seed) {  // mulberry32
    return function () {
      seed = seed + 0x6D2B79F5 | 0;
      var t = Math.imul(seed ^ seed >>> 15, 1 | seed);
      t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
      return ((t ^ t >>> 14) >>> 0) / 4294967296;
    };
  }
  // Fact numbers of a text by inversion; the rest of the law beyond the table as a power.
  function text(beta, count, seed) {
    var a = 1 / beta, norm = zeta(a), random = generator(seed), facts = [];
    while (facts.length < count) {
      var u = random(), k = 0, left = u;
      while (left >= 0 && k < 5000) { k += 1; left -= Math.pow(k, -a) / norm; }
      facts.push(left < 0 ? k : Math.floor(Math.pow((1 - u) * norm * (a - 1), 1 / (1 - a))));
    }
    return facts;
  }
  return { law: law, text: text, zeta: zeta };
})();

L2M.part("santa-fe", function (data, home) {
  "use strict";
  var add = L2M.add, number = L2M.number, half = data.half, seed = 1;
  var lengths = [], e;
  for (e = 2; e <= 16; e += 1) lengths.push(Math.pow(2, e));
  var bar = L2M.controls(home);
  var beta = L2M.slider(bar, "exponent β", { name: "beta", min: 0.2, max: 0.9, step: 0.01, value: data.beta, text: function (b) { return b.toFixed(2); } }, function () { again(); });
  var other = add(bar, "button", { type: "button" }, "Another text");
  other.addEventListener("click", function () { seed += 1; again(); });
  add(home, "p", { "class": "l2m-widget-note" }, "A token names a fact by its number and says whether it is true. Facts that stand in both halves, X and Y, are marked.");
  var shown = add(home, "div", { "class": "l2m-facts" });

  // The same knowledge for all texts of one seed: fact k is true or not.
  function truth(fact) { return (Math.imul(fact, 2654435761) ^ Math.imul(seed, 40503)) >>> 16 & 1; }
  function write() {
    var facts = L2M.santaFe.text(beta.read(), 2 * half, seed), first = facts.slice(0, half), second = facts.slice(half), both = {};
    first.forEach(function (fact) { if (second.indexOf(fact) >= 0) both[fact] = true; });
    shown.textContent = "";
    [["X", first], ["Y", second]].forEach(function (part) {
      var box = add(shown, "p", {});
      add(box, "strong", {}, part[0] + " ");
      part[1].forEach(function (fact) {
        add(box, both[fact] ? "mark" : "span", {}, (fact < 1e4 ? number(fact) : "rare") + (truth(fact) ? "✓" : "✗"));
        box.appendChild(document.createTextNode(" "));
      });
    });
    return Object.keys(both).length;
  }

  var again = L2M.figure(home, "Information that the halves of a Santa Fe text share, against length", 300, function (svg, width, height) {
    var b = beta.read(), shared = write(), curve = L2M.santaFe.law(b, lengths), here = L2M.santaFe.law(b, [2 * half])[0], last = lengths.length - 1;
    var area = { left: 52, right: width - 14, top: 26, bottom: height - 44 };
    var at = L2M.axes(svg, area, [3, 1e5], [0.1, 1e5], ["length L (tokens)", "shared by the halves (nats)"]);
    var guide = lengths.map(function (L) { return curve[last] * Math.pow(L / lengths[last], b); });
    L2M.line(svg, at, lengths, guide, "w-ink w-dashed");
    L2M.line(svg, at, lengths, curve, "w-blue w-thick");
    if (shared) add(svg, "circle", { "class": "w-dot w-orange", cx: at.x(2 * half), cy: at.y(shared * Math.LN2), r: 6 });
    [["w-blue", "mean over all texts, exact"], ["w-ink", "slope β = " + b.toFixed(2)], ["w-orange", "the text above"]].forEach(function (entry, i) {
      add(svg, "line", { "class": "w-line w-thick " + entry[0] + (i === 1 ? " w-dashed" : ""), x1: area.left + 8, x2: area.left + 30, y1: area.top + 10 + 17 * i, y2: area.top + 10 + 17 * i });
      add(svg, "text", { "class": "w-label", x: area.left + 36, y: area.top + 14 + 17 * i }, entry[1]);
    });
    return "At β = " + b.toFixed(2) + " this text of " + 2 * half + " tokens states " + shared + (shared === 1 ? " fact" : " facts") + " in both halves: " + number(shared * Math.LN2) + " nats; all such texts share " +
      number(here) + " nats in the mean, and texts of " + number(lengths[last]) + " tokens " + number(curve[last]) + " nats.";
  });
  again();
});
