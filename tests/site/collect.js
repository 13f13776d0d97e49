// What a page is, as the browser sees it: facts for the rules, which decide. Nothing here knows a page, a link or a figure by name.
// Runs before every script of the page; under a Content-Security-Policy too, since the browser's tools are not subject to it.
(() => {
  const policyReports = [];
  window.addEventListener("securitypolicyviolation", (event) =>
    policyReports.push(`${event.effectiveDirective} blocks ${event.blockedURI} at ${event.sourceFile || "the page"}:${event.lineNumber}`), true);

  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const squeezed = (text) => (text || "").replace(/\s+/g, " ").trim();
  const main = () => document.querySelector("main, [role=main]") || document.body;
  const rendered = (element) => element.checkVisibility({visibilityProperty: true});
  const seen = (element) => {
    const box = element.getBoundingClientRect();
    return rendered(element) && box.width > 0 && box.height > 0;
  };

  // Enough for a person to find the element: the nearest name, the tag, the first words.
  function described(element) {
    const named = element.closest("[id]");
    const where = named && named !== element ? `#${named.id} ` : "";
    const own = element.id ? `#${element.id}` : [...element.classList].slice(0, 2).map((name) => `.${name}`).join("");
    const words = squeezed(element.getAttribute("aria-label") || element.getAttribute("alt") || element.textContent).slice(0, 50);
    return `${where}${element.tagName.toLowerCase()}${own}${words ? ` “${words}”` : ""}`;
  }

  // Text that a person may see or hear, with its element: text nodes outside code (a signature is code) and formulas, and the attributes that are read aloud.
  function* spoken() {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      const parent = node.parentElement;
      if (node.data.trim() && !parent.closest("pre, code, .sig-object, script, style, noscript, template, textarea, mjx-container, math")) yield [node.data, parent];
    }
    for (const name of ["alt", "title", "aria-label", "placeholder"])
      for (const element of all(`[${name}]`)) yield [element.getAttribute(name), element];
    yield [document.title, document.head];
  }

  const rawTex = /\\[a-zA-Z]{2,}|\\[()[\]]|\$\$|\$[^$\s][^$]*[\\^_{][^$]*\$/;

  const name = (element) => squeezed(element.getAttribute("aria-label") ||
    (element.getAttribute("aria-labelledby") || "").split(/\s+/).map((id) => id && document.getElementById(id)?.textContent || "").join(" ") ||
    element.getAttribute("alt") || element.getAttribute("title") || element.innerText ||
    all("img[alt], [aria-label]", element).map((inner) => inner.getAttribute("alt") || inner.getAttribute("aria-label")).join(" "));
  const numbered = (caption) => Boolean(caption && squeezed(caption.querySelector(".caption-number")?.textContent) &&
    squeezed(caption.querySelector(".caption-text")?.textContent || caption.textContent));
  const layoutOnly = (element) => ["presentation", "none"].includes(element.getAttribute("role"));

  const beside = (element) => (element.getAttribute("aria-describedby") || "").split(/\s+/).map((id) => id && document.getElementById(id))
    .some((words) => words && rendered(words) && squeezed(words.textContent));

  function pictures() {
    return all("img, svg, canvas, video, object, embed, iframe, [role=img]").filter(rendered)
      .filter((element) => !element.parentElement.closest("svg, [role=img], mjx-container")).map((element) => {
        const svg = element instanceof SVGElement;
        const hidden = Boolean(element.closest("[aria-hidden=true]"));
        const title = svg ? squeezed(element.querySelector("title")?.textContent) : "";
        const box = element.getBoundingClientRect();
        return {
          what: described(element), tag: element.tagName.toLowerCase(), hidden, width: box.width,
          alt: element.hasAttribute("alt") ? element.getAttribute("alt") : name(element) || title || null,
          role: element.getAttribute("role"), src: element.tagName === "IMG" ? element.currentSrc || chosen(element) : element.currentSrc || element.src || element.data || "",
          loaded: element.tagName !== "IMG" || !element.complete || element.naturalWidth > 0,
          control: Boolean(element.closest("a[href], button, summary")),
          content: main().contains(element) && !hidden && (element.tagName !== "svg" || box.width >= 100) && !element.closest("button, nav, summary"),
          // A drawing that a script makes is no figure of the text with a number of its own, but has words beside it all the same.
          captioned: svg || element.tagName === "CANVAS" ? Boolean(squeezed(element.closest("figure")?.querySelector("figcaption")?.textContent) || beside(element)) :
            numbered(element.closest("figure")?.querySelector("figcaption")),
        };
      });
  }

  function formulas() {
    const places = all("span.math, div.math, .amsmath, script[type^='math/tex']");
    return {
      count: all("mjx-container, math:not(mjx-container math)").length, places: places.length,
      unrendered: places.filter((element) => !element.querySelector("mjx-container, math, svg")).map(described),
      wrong: all("mjx-merror, merror, [data-mjx-error]").filter((element) => !element.parentElement.closest("mjx-merror")).map(described),
      stops: all("mjx-container, mjx-container *, math").filter((element) => element.tabIndex >= 0).map(described),
    };
  }

  // The address of a picture that the width of the page asks for.
  function chosen(image) {
    const sources = image.parentElement.matches("picture") ? all("source", image.parentElement) : [];
    const source = sources.find((one) => !one.media || matchMedia(one.media).matches);
    return new URL(source ? source.srcset.trim().split(/\s/)[0] : image.getAttribute("src") || "", document.baseURI).href;
  }

  const folds = () => all("summary, button.toggle-button, [aria-expanded]:not(input, select, textarea)")
    .map((element) => ({what: described(element), says: name(element), reads: squeezed(element.innerText)}));

  function facts() {
    const ids = new Map();
    for (const element of all("[id]")) ids.set(element.id, (ids.get(element.id) || 0) + 1);
    const meta = (wanted) => all(`meta[${wanted}]`).map((element) => element.content);
    return {
      nodes: document.getElementsByTagName("*").length,
      title: document.title,
      descriptions: meta("name=description"),
      policies: meta("http-equiv=Content-Security-Policy"),
      policyReports,
      icons: all("link[rel~=icon]").map((element) => element.href),
      scripts: all("script[src]").map((element) => new URL(element.src).pathname.split("/").pop()),
      ids: [...ids.keys(), ...all("a[name]").map((element) => element.name)],
      doubled: [...ids].filter(([, count]) => count > 1).map(([id, count]) => `#${id}, ${count} times`),
      headings: all("h1, h2, h3, h4, h5, h6, [role=heading]").filter(rendered).map((element) => (
        {level: Number(element.getAttribute("aria-level") || element.tagName[1]), what: described(element)})),
      pictures: pictures(),
      formulas: formulas(),
      texts: [...spoken()].filter(([text]) => rawTex.test(text)).map(([text, element]) => `${described(element)}: ${squeezed(rawTex.exec(text)[0]).slice(0, 40)}`),
      tables: all("table", main()).filter((element) => !layoutOnly(element)).map((element) => (
        // Nor has a table that a script makes a number of its own; a caption it has.
        {what: described(element), captioned: element.closest("[data-widget]") ? Boolean(squeezed(element.caption?.textContent)) :
          numbered(element.caption || element.closest("figure")?.querySelector("figcaption"))})),
      heads: all("th").map((element) => (
        {what: described(element), scope: element.getAttribute("scope"), empty: !name(element) && !element.querySelector("mjx-container")})),
      folds: folds(),
      links: all("a[href], area[href]").map((element) => ({what: described(element), href: element.href.baseVal ?? element.href, raw: element.getAttribute("href")})),
      targets: all("form[action]").map((element) => element.action),
      references: all(".citation, [role=doc-biblioentry]").map((element) => (
        {what: described(element), text: squeezed(element.textContent), links: all("a[href^=http]", element).map((link) => link.href)})),
      code: all(".cell_input pre").map((element) => (
        {what: described(element.closest(".cell") || element), longest: Math.max(...element.textContent.split("\n").map((line) => [...line].length))})),
    };
  }

  // ---- Layout -------------------------------------------------------------------------------------------------------------
  // How far a box sticks out of what can be seen or scrolled to, in CSS pixels.
  function hiddenPart(element) {
    let {left, right} = element.getBoundingClientRect();
    for (let at = element; at && at !== document.documentElement; at = at.parentElement) {
      const style = getComputedStyle(at);
      if (style.display === "inline" || style.overflowX === "visible") continue;
      const box = at.getBoundingClientRect();
      if (["hidden", "clip"].includes(style.overflowX)) {
        const out = Math.max(box.left - left, right - box.right);
        if (out > 1.5) return out;
      } else if (at !== element) [left, right] = [Math.max(left, box.left), Math.min(right, box.right)]; // it scrolls
      if (style.position === "fixed") break;
    }
    return Math.max(-left - scrollX, 0); // to the right the page itself would scroll, which page-fits reports
  }

  // How far to the right an element is drawn, as what scrolls or clips around it allows.
  function shownTo(element) {
    let {right} = element.getBoundingClientRect();
    for (let at = element.parentElement; at && at !== document.body; at = at.parentElement)
      if (getComputedStyle(at).overflowX !== "visible" && getComputedStyle(at).display !== "inline") right = Math.min(right, at.getBoundingClientRect().right);
    return right;
  }

  // What is read, as boxes: each formula's own glyphs, and whatever else holds text or pictures directly.
  function readable() {
    const texts = new Set();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode())
      if (node.data.trim() && !node.parentElement.closest("script, style, noscript, template, mjx-container, svg")) texts.add(node.parentElement);
    const boxes = [...texts, ...all("mjx-container > mjx-math, img, svg, canvas, input, select, button")].filter(seen);
    return boxes.filter((element) => {
      for (let at = element; at; at = at.parentElement) { // for ears only: a pixel wide, or clipped to nothing
        const box = at.getBoundingClientRect(), style = getComputedStyle(at);
        if ((box.width <= 1.5 || box.height <= 1.5) && style.overflowX !== "visible") return false;
        if (style.clipPath.startsWith("inset(50%") || (style.clip !== "auto" && style.position === "absolute") || style.textOverflow === "ellipsis") return false;
        if (style.position === "fixed" || style.visibility === "hidden") return false;
      }
      return true;
    });
  }

  function layout() {
    const page = document.scrollingElement, wide = page.clientWidth;
    const boxes = readable();
    const cut = boxes.map((element) => [hiddenPart(element), element]).filter(([out]) => out > 1.5);
    const over = page.scrollWidth > wide + 1 ? page.scrollWidth - wide : 0;
    const wider = over ? boxes.map((element) => [shownTo(element) + scrollX, element]).filter(([right]) => right > wide + 1)
      .sort(([a], [b]) => b - a).slice(0, 5).map(([right, element]) => `${described(element)} to ${Math.round(right)} px`) : [];
    // A number of a displayed equation that lies on the formula even when the formula is scrolled to its end.
    const covered = all(".eqno").filter(seen).filter((number) => {
      const formula = number.closest("div.math")?.querySelector("mjx-container"), glyphs = formula?.querySelector("mjx-math");
      if (!glyphs || formula.contains(number)) return false;
      let scroller = formula;
      while (scroller !== document.body && scroller.scrollWidth <= scroller.clientWidth) scroller = scroller.parentElement;
      const before = scroller.scrollLeft;
      if (scroller !== document.body) scroller.scrollLeft = 1e6;
      const a = number.getBoundingClientRect(), b = glyphs.getBoundingClientRect(), hides = Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
        Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
      if (scroller !== document.body) scroller.scrollLeft = before;
      return hides;
    });
    const drawn = all("svg text, svg tspan").filter((text) => text.textContent.trim() && seen(text) && !text.closest("mjx-container")).map((text) => {
      const matrix = text.getScreenCTM();
      return {what: described(text), size: parseFloat(getComputedStyle(text).fontSize) * Math.hypot(matrix.b, matrix.d)};
    });
    return {
      over, wider,
      cutFormulas: cut.filter(([, element]) => element.matches("mjx-math")).map(([out, element]) => `${described(element.closest("p, li, dd, td, div") || element)}, ${Math.round(out)} px`),
      cut: cut.filter(([, element]) => !element.matches("mjx-math")).map(([out, element]) => `${described(element)}, ${Math.round(out)} px`),
      covered: covered.map(described), drawn, pictures: pictures(),
      read: boxes.length,
    };
  }

  // ---- Keyboard -----------------------------------------------------------------------------------------------------------
  const interactive = "a[href], area[href], button, input:not([type=hidden]), select, textarea, summary, iframe, audio[controls], video[controls], [contenteditable=''], " +
    "[contenteditable=true], [onclick], [role=button], [role=link], [role=checkbox], [role=radio], [role=slider], [role=spinbutton], [role=switch], [role=tab], [role=menuitem], [role=option], [role=textbox], [tabindex]:not([tabindex='-1'])";
  const marks = ["outlineStyle", "outlineWidth", "outlineColor", "boxShadow", "backgroundColor", "borderTopColor", "borderBottomColor", "borderTopWidth",
    "textDecorationLine", "textDecorationColor", "textDecorationThickness", "color", "opacity", "visibility", "stroke", "strokeWidth", "fill"];
  const around = (element) => [element, ...(element.labels || []), element.nextElementSibling, element.parentElement].filter(Boolean);
  const look = (element) => around(element).map((one) => {
    const style = getComputedStyle(one);
    return marks.map((mark) => style[mark]).join(";");
  }).join("|");
  // Of a group one member is a stop, and arrow keys reach the rest.
  const group = (element) => element.type === "radio" && element.name ? all(`input[type=radio][name="${CSS.escape(element.name)}"]`) :
    element.closest("[role=tablist], [role=radiogroup], [role=menu], [role=listbox], [role=toolbar]")
      ? all(interactive, element.closest("[role=tablist], [role=radiogroup], [role=menu], [role=listbox], [role=toolbar]")) : [element];

  let stops = [];
  function keyboard() {
    const candidates = all(interactive).filter((element) => seen(element) && !element.disabled && !element.closest("[inert], mjx-container"));
    const unreachable = [], invisible = [];
    stops = [];
    for (const element of candidates) {
      document.activeElement?.blur?.();
      const before = look(element);
      element.focus({preventScroll: true});
      const reached = document.activeElement === element && (element.tabIndex >= 0 || group(element).some((one) => one.tabIndex >= 0));
      if (!reached) unreachable.push(described(element));
      else {
        if (look(element) === before) invisible.push(described(element));
        stops.push(element);
      }
    }
    document.activeElement?.blur?.();
    stops = stops.filter((element) => !element.matches("a[href]"));
    return {count: candidates.length, unreachable, invisible, ahead: all("[tabindex]").filter((one) => one.tabIndex > 0).map(described), walk: stops.length};
  }

  window.__site = {
    facts, layout, keyboard,
    focusStop: (index) => stops[index].focus({preventScroll: true}),
    held: (index) => document.activeElement === stops[index] ? described(stops[index]) : null,
    // Of slides that stand one behind the other only one is seen: let them stand below each other, with all that comes step by step.
    spread() {
      if (!window.Reveal?.isReady()) return;
      window.Reveal.configure({fragments: false});
      window.Reveal.toggleScrollView(true);
    },
    // Everything folded is part of the page.
    unfold() {
      for (const element of all("details")) element.open = true;
      for (const element of all("button.toggle-button-hidden, [aria-expanded=false][aria-controls]")) if (main().contains(element)) element.click();
    },
    async scrollToEnd() {
      for (let y = 0; y < document.documentElement.scrollHeight; y += innerHeight) {
        scrollTo(0, y);
        await new Promise((done) => setTimeout(done, 15));
      }
      for (const image of all("img[loading=lazy]")) {
        if (image.naturalWidth || !rendered(image)) continue; // it has come, or never will
        image.scrollIntoView(); // what scrolls may be a part of the page
        for (let wait = 0; wait < 20 && !image.complete; wait++) await new Promise((done) => setTimeout(done, 15));
      }
      scrollTo(0, 0);
    },
    // Formulas are set, fonts and pictures are there, what moves has come to rest; half a minute at most.
    async settled() {
      const end = performance.now() + 30000;
      const until = async (true_) => { while (!true_() && performance.now() < end) await new Promise((done) => setTimeout(done, 50)); };
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      if (document.querySelector("span.math, div.math")) await until(() => window.MathJax?.startup?.promise && document.querySelector("mjx-container"));
      await window.MathJax?.startup?.promise;
      await until(() => !window.Reveal || window.Reveal.isReady());
      await document.fonts.ready;
      await until(() => all("img").every((image) => image.complete || image.loading === "lazy"));
      await until(() => all("picture > img").every((image) => !image.currentSrc || image.currentSrc === chosen(image)));
      await until(() => document.getAnimations().every((one) => one.playState !== "running" || one.effect.getComputedTiming().endTime === Infinity));
      // A tenth of a second after a change of widths the page gives wide formulas a box that scrolls; a timer set later ends later.
      await new Promise((done) => setTimeout(done, 150));
    },
    dark() {
      const root = document.documentElement;
      root.dataset.mode = root.dataset.theme = "dark";
    },
    // How bright the page is, 0 to 1.
    brightness() {
      for (const element of [main(), document.body, document.documentElement]) {
        const [red, green, blue, alpha = 1] = (getComputedStyle(element).backgroundColor.match(/[\d.]+/g) || []).map(Number);
        if (alpha > 0 && red !== undefined) return (red + green + blue) / 765;
      }
      return 1;
    },
    firstPaint: () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null,
  };
})();
