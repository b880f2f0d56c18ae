// Keeps a page up to date: takes fragments from the server and changes only what differs, so that focus, marks and
// selections stay. Without it, reload the page.
"use strict";
(() => {
  const status = document.getElementById("status");
  const log = document.getElementById("log");
  const LONGEST = 400000; // characters of a log that are kept here
  let source = null;

  function morph(now, wanted) {
    if (now.nodeType !== wanted.nodeType || now.nodeName !== wanted.nodeName || now.id !== wanted.id) {
      now.replaceWith(wanted);
      return;
    }
    if (now.nodeType !== Node.ELEMENT_NODE) {
      if (now.nodeValue !== wanted.nodeValue) now.nodeValue = wanted.nodeValue;
      return;
    }
    for (const { name } of [...now.attributes]) {
      if (!wanted.hasAttribute(name) && name !== "open") now.removeAttribute(name);
    }
    for (const { name, value } of [...wanted.attributes]) {
      if (now.getAttribute(name) !== value) now.setAttribute(name, value);
    }
    children(now, wanted);
  }

  function children(now, wanted) {
    let next = now.firstChild;
    for (const child of [...wanted.childNodes]) {
      if (child.id) { // a row that has moved is found by its id
        let same = next;
        while (same && same.id !== child.id) same = same.nextSibling;
        while (same && next !== same) { const gone = next; next = next.nextSibling; gone.remove(); }
      }
      if (!next) {
        now.append(child);
      } else {
        const after = next.nextSibling;
        morph(next, child);
        next = after;
      }
    }
    while (next) { const gone = next; next = next.nextSibling; gone.remove(); }
  }

  function fragment(event) {
    const { name, html } = JSON.parse(event.data);
    const place = document.getElementById("f-" + name);
    if (!place) return;
    const made = document.createElement("template");
    made.innerHTML = html;
    const wanted = document.createElement("div");
    wanted.append(made.content);
    children(place, wanted);
  }

  function grow(event) {
    const { anew, add, rest, at } = JSON.parse(event.data);
    const [lines, open] = log.children;
    const sticks = log.scrollHeight - log.scrollTop - log.clientHeight < 30;
    if (anew) lines.textContent = "";
    if (add) lines.append(add);
    if (lines.textContent.length > LONGEST) lines.textContent = lines.textContent.slice(-LONGEST / 2);
    open.textContent = rest;
    log.dataset.line = at;
    log.hidden = false;
    document.getElementById("no-log")?.remove();
    if (sticks) log.scrollTop = log.scrollHeight;
  }

  function say(text, kind) {
    status.textContent = text;
    status.className = kind;
  }

  function follow() {
    if (source || document.hidden) return;
    const query = new URLSearchParams(location.search);
    if (log && log.dataset.line) query.set("log", log.dataset.line);
    source = new EventSource("/live" + location.pathname + "?" + query);
    source.addEventListener("fragment", fragment);
    source.addEventListener("as-of", (event) => say("live " + JSON.parse(event.data).time, "is-live"));
    if (log && log.dataset.line) source.addEventListener("log", grow);
    source.addEventListener("error", () => {
      const isOver = source && source.readyState === EventSource.CLOSED;
      say(isOver ? "gflowctl web has ended; reload" : "connection lost; trying again", "is-lost");
    });
  }

  function leave() {
    if (source) source.close();
    source = null;
  }

  if (log && log.dataset.line) log.scrollTop = log.scrollHeight;
  if (status && status.dataset.live) {
    // A browser has few connections to one server: a page that is not seen needs none.
    document.addEventListener("visibilitychange", () => (document.hidden ? leave() : follow()));
    window.addEventListener("pagehide", leave);
    window.addEventListener("pageshow", follow);
    follow();
  }
})();
