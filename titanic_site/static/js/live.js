// Parts of a page that update themselves: not while nobody sees them, and only where something has changed.

const isRepeated = (elt) => (elt.getAttribute("hx-trigger") ?? "").startsWith("every");

document.addEventListener("htmx:beforeRequest", (event) => {
  if (document.hidden && isRepeated(event.detail.elt)) {
    event.preventDefault();
  }
});

// What reads the same is left alone: a swap would take the focus from its links. Tokens of forms differ each time.
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const { elt, target, xhr } = detail;
  if (detail.isError || !isRepeated(elt)) {
    return;
  }
  const part = new DOMParser().parseFromString(xhr.responseText, "text/html").getElementById(target.id);
  detail.shouldSwap &&= part?.textContent !== target.textContent;
});
