// Formulas first, then the slides: what reveal.js measures, for a screen or for print, has its final size.
// On a phone there are no slides: without reveal.js they are one page, which the width of the phone sets.
(function () {
  "use strict";

  var Deck = window.Reveal;
  var root = document.documentElement;
  var main = document.querySelector("main");
  var phone = window.matchMedia("(max-width: 600px)");

  function turn() {
    var dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = (root.dataset.theme || (dark ? "dark" : "light")) === "dark" ? "light" : "dark";
  }

  function ready() {
    root.dataset.ready = "yes";
  }

  function show() {
    if (phone.matches) {
      window.Reveal = undefined;
      return ready();
    }
    main.classList.add("reveal");
    window.Reveal = new Deck(main, {
      width: 1280,
      height: 720,
      margin: 0.05,
      center: false,
      display: "flex",
      hash: true,
      transition: "none",
      backgroundTransition: "none",
      pdfSeparateFragments: false,
      scrollActivationWidth: null,
      keyboard: { 84: turn },
      plugins: [window.RevealNotes],
    });
    return window.Reveal.initialize().then(function () {
      window.Reveal.registerKeyboardShortcut("T", "Light or dark");
      ready();
    });
  }

  function change() {
    if (window.Reveal) {
      window.Reveal.toggleScrollView(false);
      window.Reveal.destroy();
      main.classList.remove("reveal");
    }
    show();
  }

  window.MathJax.startup.promise
    .then(function () {
      return window.MathJax.typesetPromise(Array.from(document.querySelectorAll("section .math")));
    })
    .then(function () {
      // Equations are numbered through each theorem: ids of these numbers would stand several times in the page.
      document.querySelectorAll("mjx-container [id]").forEach(function (element) {
        element.removeAttribute("id");
      });
    })
    .then(show, show)
    .then(function () {
      phone.addEventListener("change", change);
    });
})();
