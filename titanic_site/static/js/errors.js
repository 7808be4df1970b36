// Says near a form, or a part of the page, that its request failed; shows that one is on its way, and sends none twice.

// The sentences are in the page, in the reader's language.
const sentence = (kind) => document.getElementById("request-errors").content.querySelector(`[data-kind="${kind}"]`);

// Roles are refused with a text of their own: what is left is a form whose cookie is gone.
function kindOfStatus(status, verb) {
  if (status === 403 && verb !== "get") {
    return "session";
  }
  return status >= 500 ? "server" : "refused";
}

// Polls and fragments that repeat keep what they show. What a person does, or a part that loads once, has to be told.
function isNoticed({ elt, requestConfig }) {
  const trigger = elt.getAttribute("hx-trigger") ?? "";
  return requestConfig.verb !== "get" || ["", "load"].includes(trigger);
}

const placeOf = (elt) => elt.closest("form") ?? elt;

function forget(place) {
  place.querySelector("[data-request-error]")?.remove();
}

function tell(detail, kind) {
  const { elt } = detail;
  if (!isNoticed(detail) || !elt.isConnected) {
    return;
  }
  const message = document.createElement("div");
  message.className = "message message--error";
  message.setAttribute("role", "alert");
  message.dataset.requestError = kind;
  message.append(sentence(kind).cloneNode(true));
  const place = placeOf(elt);
  forget(place);
  // A link holds no paragraphs.
  if (place.matches("a, button")) {
    place.after(message);
  } else {
    place.append(message);
  }
}

const submitters = (form) => [...form.elements].filter((element) => element.type === "submit");

function begin(form) {
  form.setAttribute("aria-busy", "true");
  for (const button of submitters(form)) {
    button.disabled = true;
  }
}

function end(form) {
  form.removeAttribute("aria-busy");
  for (const button of submitters(form)) {
    button.disabled = false;
  }
}

// htmx drops error answers. One that says how it wants to be swapped is meant for the person.
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  if (detail.isError && detail.xhr.getResponseHeader("HX-Reswap")) {
    detail.shouldSwap = true;
  }
});

document.addEventListener("htmx:beforeRequest", ({ detail: { elt } }) => {
  forget(placeOf(elt));
  if (elt.matches("form")) {
    begin(elt);
  }
});
document.addEventListener("htmx:afterRequest", ({ detail: { elt } }) => elt.matches("form") && end(elt));
document.addEventListener("htmx:sendError", ({ detail }) => tell(detail, "network"));
document.addEventListener("htmx:timeout", ({ detail }) => tell(detail, "timeout"));
document.addEventListener("htmx:responseError", ({ detail }) => {
  if (!detail.xhr.getResponseHeader("HX-Reswap")) {
    tell(detail, kindOfStatus(detail.xhr.status, detail.requestConfig.verb));
  }
});

// A form that the browser sends itself: its next page takes the place of this one, unless it is a file.
document.addEventListener("submit", (event) => {
  const { target: form, submitter } = event;
  if (event.defaultPrevented || form.method !== "post" || submitter?.hasAttribute("data-download")) {
    return;
  }
  if (form.getAttribute("aria-busy")) {
    event.preventDefault();
    return;
  }
  // Not before it is sent: the pressed button's value goes with it.
  setTimeout(() => begin(form));
});

function endAll() {
  document.querySelectorAll("form[aria-busy]").forEach(end);
}

// Whoever comes back, or stops the page from loading, may send it again.
addEventListener("pageshow", endAll);
addEventListener("keydown", ({ key }) => key === "Escape" && endAll());
