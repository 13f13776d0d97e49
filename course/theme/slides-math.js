// What MathJax finds when it starts: no menu (its entries would be tab stops), no search for formulas before slides.js asks for it.
window.MathJax = {
  options: {
    enableMenu: false,
    ignoreHtmlClass: "reveal|notes",
    processHtmlClass: "math",
  },
  chtml: { matchFontHeight: false },
  startup: { typeset: false },
};
