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

document.addEventListener("htmx:afterSettle", markFields);
