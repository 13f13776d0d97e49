// Words upon words within drawings, a line for each drawing: asked of the page as it stands, which is left as it was.
async (tolerance) => {
  // A text of a drawing: one that is text, or one that Matplotlib wrote as outlines.
  const TEXTS = "text, g[id^='text_']";
  const squeezed = (words) => (words || "").replace(/\s+/g, " ").trim();

  const corners = (element) => {
    const box = element.getBBox(), matrix = element.getScreenCTM();
    return [[0, 0], [1, 0], [1, 1], [0, 1]].map(([across, down]) => {
      const [x, y] = [box.x + across * box.width, box.y + down * box.height];
      return [matrix.a * x + matrix.c * y + matrix.e, matrix.b * x + matrix.d * y + matrix.f];
    });
  };

  // How deep two boxes lie in each other, along the side that tells them apart best: they may stand aslant.
  const depth = (one, other) => {
    let least = Infinity;
    for (const box of [one, other])
      for (const side of [0, 1]) {
        const [x, y] = [box[side + 1][0] - box[side][0], box[side + 1][1] - box[side][1]], length = Math.hypot(x, y) || 1;
        const [a, b] = [one, other].map((points) => points.map(([px, py]) => (px * x + py * y) / length));
        least = Math.min(least, Math.max(...a) - Math.min(...b), Math.max(...b) - Math.min(...a));
      }
    return least;
  };

  const said = (text) => {
    const comment = [...text.childNodes].find((node) => node.nodeType === Node.COMMENT_NODE);
    return squeezed(comment ? comment.data : text.textContent).slice(0, 40);
  };

  const within = (drawing, what) => {
    const texts = [...drawing.querySelectorAll(TEXTS)].filter((text) => !text.closest("defs, mjx-container") && !text.parentElement.closest(TEXTS));
    const boxes = texts.filter((text) => text.getBBox().width && text.getScreenCTM()).map((text) => [corners(text), said(text)]);
    const pairs = boxes.flatMap(([one, name], i) => boxes.slice(i + 1).map(([other, next]) => [depth(one, other), name, next]))
      .filter(([deep]) => deep > tolerance).sort(([one], [other]) => other - one);
    return pairs.length ? [`${what}: ${pairs.length} pairs, “${pairs[0][1]}” and “${pairs[0][2]}” ${pairs[0][0].toFixed(1)} px deep`] : [];
  };

  const source = async (address) => {
    if (!address.startsWith("data:")) return (await fetch(address)).text();
    const [head, body] = [address.slice(0, address.indexOf(",")), address.slice(address.indexOf(",") + 1)];
    return head.endsWith(";base64") ? new TextDecoder().decode(Uint8Array.from(atob(body), (one) => one.charCodeAt(0))) : decodeURIComponent(body);
  };

  const lines = [...document.querySelectorAll("svg")].filter((drawing) => !drawing.parentElement.closest("svg, mjx-container")).flatMap((drawing) =>
    within(drawing, `drawing ${squeezed(drawing.getAttribute("aria-label") || drawing.id)}`));
  for (const image of document.querySelectorAll("img")) {
    const address = image.currentSrc || image.src, width = image.getBoundingClientRect().width;
    if (!width || !/^data:image\/svg|[.]svg([?#]|$)/.test(address)) continue;
    const drawing = document.importNode(new DOMParser().parseFromString(await source(address), "image/svg+xml").documentElement, true);
    const place = document.createElement("div"); // its ids stay in a tree of their own
    place.style.cssText = `position: absolute; width: ${width}px`;
    document.body.append(place);
    drawing.setAttribute("width", width);
    drawing.removeAttribute("height");
    place.attachShadow({mode: "open"}).append(drawing);
    lines.push(...within(drawing, `img ${squeezed(address.startsWith("data:") ? image.alt : address.split("/").slice(-2).join("/"))}`));
    place.remove();
  }
  return lines;
}
