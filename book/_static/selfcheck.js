// Self-check questions: adds the button that shows the feedback on the choice that was made.  Without this script the feedback stands in a fold.
(function () {
  "use strict";

  function start(box) {
    var fieldset = box.querySelector("fieldset"), all = box.querySelector("details");
    var items = all.querySelectorAll("li"), radios = fieldset.querySelectorAll("input[type=radio]");
    var button = document.createElement("button"), said = document.createElement("div");
    button.type = "button";
    button.textContent = "Check";
    said.className = "l2m-selfcheck-said";
    said.setAttribute("role", "status");
    said.setAttribute("aria-live", "polite");
    fieldset.appendChild(button);
    fieldset.appendChild(said);
    all.classList.add("l2m-selfcheck-later");  // in print it is shown all the same

    function clear() {
      said.textContent = "";
      said.removeAttribute("data-answer");
    }
    function check() {
      clear();
      for (var i = 0; i < radios.length; i += 1) {
        if (!radios[i].checked) continue;
        // A copy at this moment: formulas have been set by now.
        items[i].childNodes.forEach(function (node) { said.appendChild(node.cloneNode(true)); });
        said.querySelectorAll("[id]").forEach(function (node) { node.removeAttribute("id"); });
        said.setAttribute("data-answer", items[i].classList.contains("l2m-selfcheck-right") ? "right" : "wrong");
        all.classList.remove("l2m-selfcheck-later");  // once answered, what the other choices miss may be read
        return;
      }
      said.textContent = "Choose an answer first.";
    }
    button.addEventListener("click", check);
    radios.forEach(function (radio) {
      radio.addEventListener("change", clear);
      radio.addEventListener("keydown", function (event) { if (event.key === "Enter") check(); });
    });
  }

  document.querySelectorAll(".l2m-selfcheck").forEach(start);
})();
