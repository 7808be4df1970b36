// Copies what [data-copy] names, and says so. Without a secure context there is no clipboard: then by selection.
async function copyText(element) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  }
  const details = element.closest("details") ?? {};
  const wasOpen = details.open;
  details.open = true;
  getSelection().selectAllChildren(element);
  const isCopied = document.execCommand("copy");
  details.open = wasOpen || !isCopied;
  return isCopied;
}

document.addEventListener("click", async ({ target }) => {
  const button = target.closest("[data-copy]");
  if (!button) {
    return;
  }
  const status = button.parentElement.querySelector("[role=status]");
  const isCopied = await copyText(document.getElementById(button.dataset.copy)).catch(() => false);
  status.textContent = isCopied ? status.dataset.copied : status.dataset.notCopied;
});

// Without a script there is nothing to press.
document.addEventListener("htmx:load", ({ detail }) => {
  for (const button of detail.elt.querySelectorAll("[data-copy]")) {
    button.hidden = false;
  }
});
