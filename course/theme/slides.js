// Formulas first, then the slides: what reveal.js measures, for a screen or for print, has its final size.
(function () {
  "use strict";

  function turn() {
    var root = document.documentElement;
    var dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = (root.dataset.theme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
  }

  function show() {
    Reveal.initialize({
      width: 1280,
      height: 720,
      margin: 0.05,
      center: false,
      display: "flex",
      hash: true,
      slideNumber: "c/t",
      transition: "none",
      backgroundTransition: "none",
      pdfSeparateFragments: false,
      keyboard: { 84: turn },
      plugins: [RevealNotes],
    }).then(function () {
      Reveal.registerKeyboardShortcut("T", "Light or dark");
      document.documentElement.dataset.ready = "yes";
    });
  }

  MathJax.startup.promise
    .then(function () {
      return MathJax.typesetPromise(Array.from(document.querySelectorAll("section .math")));
    })
    .then(show, show);
})();
