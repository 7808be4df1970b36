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

// A press, the keyboard and touch open a field's help without a script. With one a mouse opens it by pointing too, and a
// press keeps it open.
const pinned = new WeakSet();
const helpOf = (target) => document.getElementById(target.closest?.(".tip")?.getAttribute("popovertarget"));

for (const [kind, isOpen] of [["pointerover", true], ["pointerout", false]]) {
  document.addEventListener(kind, ({ target, pointerType }) => {
    const help = pointerType === "mouse" && helpOf(target);
    if (help && !pinned.has(help) && help.matches(":popover-open") !== isOpen) {
      help.togglePopover({ source: target, force: isOpen });
    }
  });
}

document.addEventListener("click", (event) => {
  const help = helpOf(event.target);
  if (help?.matches(":popover-open") && !pinned.has(help)) {
    event.preventDefault();
    pinned.add(help);
  }
});

document.addEventListener("toggle", ({ target, newState }) => {
  if (newState === "closed") {
    pinned.delete(target);
  }
}, { capture: true });

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

// Who moves a value knows it.
document.addEventListener("input", ({ target }) => {
  const unknown = target.type === "range" && target.closest(".field").querySelector("[data-unknown]");
  if (unknown) {
    unknown.checked = false;
  }
}, { capture: true });

function show(element) {
  for (const button of element.querySelectorAll("[data-copy]")) {
    button.hidden = false;
  }
}

document.addEventListener("htmx:load", ({ detail }) => show(detail.elt));
document.addEventListener("htmx:afterSettle", markFields);
