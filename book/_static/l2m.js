/* Ours; loaded by every page because Jupyter Book links every script of _static.  No inline script, nothing from elsewhere. */
"use strict";

(function () {
  function ready(what) {
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", what);
    else what();
  }

  // A box that scrolls sideways can be reached and scrolled with the keyboard; one that fits is no stop.
  var SCROLLS = "div.math, div.math mjx-container, span.math, div.cell_output .text_html, .output, pre, .pst-scrollable-table-container, .l2m-scroll";

  function markScrollers() {
    document.querySelectorAll(SCROLLS).forEach(function (box) {
      var wide = box.scrollWidth > box.clientWidth + 1 && box.clientWidth > 0;
      if (box.matches("span.math")) {
        // An inline formula becomes a box of its own only where the line cannot hold it.
        box.classList.remove("l2m-wide");
        var formula = box.querySelector("mjx-container") || box;
        wide = Math.max(formula.getBoundingClientRect().width, box.scrollWidth) > box.parentElement.clientWidth + 1 && box.parentElement.clientWidth > 0;
        box.classList.toggle("l2m-wide", wide);
      }
      if (wide) {
        if (box.getAttribute("tabindex") === "0") return;  // a script of the copy buttons gives -1
        box.setAttribute("tabindex", "0");
        box.dataset.l2mScrolls = "";
      } else if ("l2mScrolls" in box.dataset) {
        box.removeAttribute("tabindex");
        delete box.dataset.l2mScrolls;
      }
    });
  }

  var waiting;
  function markSoon() {
    clearTimeout(waiting);
    waiting = setTimeout(markScrollers, 100);
  }

  // The promise of the typesetting is another one while its parts are loaded.
  function typesetting() { return window.MathJax && MathJax.startup && MathJax.startup.promise; }
  function afterFormulas(promise) {
    markSoon();
    if (promise) promise.then(function () { if (typesetting() !== promise) afterFormulas(typesetting()); else markSoon(); });
  }

  // Search results tell what a page says in words: no formulas as they are typed, no code, no text for pictures that are not shown.
  var plain = false;
  function plainResults() {
    if (plain || typeof Search === "undefined" || !Search.htmlToText) return;
    plain = true;
    var toText = Search.htmlToText;
    Search.htmlToText = function (html, anchor) {
      var page = new DOMParser().parseFromString(html, "text/html");
      page.querySelectorAll(".math, .cell_input, .cell_output, pre, figure img, script, style, nav, button").forEach(function (one) {
        one.replaceWith(" … ");
      });
      // The names of modules have dots, which a selector reads as classes.
      var place = anchor ? "#" + CSS.escape(anchor.slice(1)) : anchor;
      var text = toText(page.documentElement.outerHTML, place);
      return text.replace(/(\s*…\s*)+/g, " … ").replace(/[ \t]+/g, " ");
    };
  }

  // A word of the glossary shows its entry when it is pointed at or reached with the keyboard; Escape closes it, and so does leaving both.
  function showTerms() {
    var words = document.querySelectorAll("a.l2m-term");
    if (!words.length) return;
    var box = document.createElement("div"), shown = null, leaving;
    box.id = "l2m-entry";
    box.setAttribute("role", "tooltip");
    box.hidden = true;
    document.body.appendChild(box);

    function close() {
      clearTimeout(leaving);
      if (shown) shown.removeAttribute("aria-describedby");
      shown = null;
      box.hidden = true;
    }
    function open(word) {
      clearTimeout(leaving);
      if (shown === word) return;
      close();
      shown = word;
      word.setAttribute("aria-describedby", box.id);
      box.textContent = word.dataset.term;
      box.hidden = false;
      var place = word.getBoundingClientRect();
      var left = Math.min(place.left, document.documentElement.clientWidth - box.offsetWidth - 8);
      var above = place.bottom + box.offsetHeight + 8 > innerHeight && place.top > box.offsetHeight + 8;
      box.style.left = Math.max(8, left) + scrollX + "px";
      box.style.top = (above ? place.top - box.offsetHeight - 4 : place.bottom + 4) + scrollY + "px";
    }
    function closeSoon() {
      clearTimeout(leaving);
      leaving = setTimeout(close, 200);
    }
    words.forEach(function (word) {
      word.addEventListener("pointerenter", function () { open(word); });
      word.addEventListener("focus", function () { open(word); });
      word.addEventListener("pointerleave", closeSoon);
      word.addEventListener("blur", closeSoon);
    });
    box.addEventListener("pointerenter", function () { clearTimeout(leaving); });
    box.addEventListener("pointerleave", closeSoon);
    document.addEventListener("keydown", function (event) { if (event.key === "Escape") close(); });
    addEventListener("resize", close);  // its place was that of another width
  }

  plainResults();  // before the first result, or as soon as the search is there
  ready(function () {
    showTerms();
    plainResults();
    document.querySelectorAll("[data-l2m-print]").forEach(function (one) {
      one.addEventListener("click", function () { window.print(); });
    });
    document.querySelectorAll("[data-l2m-fullscreen]").forEach(function (one) {
      one.addEventListener("click", function () { window.toggleFullScreen(); });
    });
    if (document.getElementById("search-results")) {
      var field = document.querySelector("form.bd-search input");
      if (field) field.focus();
    }
    markScrollers();
    addEventListener("resize", markSoon);
    addEventListener("toggle", markSoon, true);
    // Arrows on buttons that say in words what they do.
    addEventListener("load", function () {
      document.querySelectorAll("button.toggle-button").forEach(function (button) {
        var title = button.closest(".admonition-title");
        if (title) button.setAttribute("aria-label", "Open or close: " + title.textContent.trim());
      });
      document.querySelectorAll("svg.tb-icon").forEach(function (arrow) { arrow.setAttribute("aria-hidden", "true"); });
    });
    addEventListener("load", function () { afterFormulas(typesetting()); });
    if (document.fonts) document.fonts.addEventListener("loadingdone", markSoon);  // their widths are known only now
  });
})();
