// What MathJax finds when it starts: parts without a menu (its entries would be tab stops), no search for formulas before slides.js asks for it.
window.MathJax = {
  loader: { load: ["input/tex", "output/chtml", "a11y/assistive-mml"] },
  options: {
    ignoreHtmlClass: "reveal|notes",
    processHtmlClass: "math",
  },
  chtml: { matchFontHeight: false },
  startup: { typeset: false },
};
