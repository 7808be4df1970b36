// Copies what [data-copy] names, and says so. Without a secure context there is no clipboard: then by selection.
async function copyText(element) {
  if (navigator.clipboard) {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  }
  const details = element.closest("details");
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

// A mouse opens a field's help by pointing; a press, the keyboard and touch open it without a script.
for (const [kind, isOpen] of [["pointerover", true], ["pointerout", false]]) {
  document.addEventListener(kind, ({ target, pointerType }) => {
    const tip = pointerType === "mouse" && target.closest?.(".tip");
    const text = tip && document.getElementById(tip.getAttribute("popovertarget"));
    if (text && text.matches(":popover-open") !== isOpen) {
      text.togglePopover(isOpen ? { source: tip, force: true } : false);
    }
  });
}

// Says to assistive technology which fields are wrong, as the text beside them does.
function markFields() {
  for (const field of document.querySelectorAll("#passenger .field")) {
    const control = field.querySelector("input, select");
    if (field.querySelector(".field__error")) {
      control.setAttribute("aria-invalid", "true");
    } else {
      control.removeAttribute("aria-invalid");
    }
  }
}

function show(element) {
  for (const button of element.querySelectorAll("[data-copy]")) {
    button.hidden = false;
  }
}

document.addEventListener("htmx:load", ({ detail }) => show(detail.elt));
document.addEventListener("htmx:afterSettle", markFields);
