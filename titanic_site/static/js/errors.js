// htmx drops error answers, which suits a poll. One that says how it wants to be swapped is meant for the person.
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.isError && detail.xhr.getResponseHeader("HX-Reswap")) {
    detail.shouldSwap = true;
  }
});
