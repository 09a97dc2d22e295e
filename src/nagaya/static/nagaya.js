// What scripts add to pages that work without them: buttons that copy commands, the identifier that a name will get,
// and a fresh look at things that are under way.
"use strict";

function addCopyButtons() {
  if (!navigator.clipboard) return;
  for (const code of document.querySelectorAll("code[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", `Copy: ${code.dataset.copy || "the command"}`);
    button.setAttribute("aria-live", "polite");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 1500);
    });
    code.parentElement.append(button);
  }
}

// As `slug_of` in nagaya/tenants/service.py: the server decides, this only shows what to expect.
function slug(name) {
  const ascii = name.normalize("NFKD").replace(/[^\x00-\x7f]/g, "").toLowerCase();
  const joined = ascii.replace(/[^a-z0-9]+/g, "-").replace(/^[-0-9]+|-+$/g, "");
  return joined.slice(0, 30).replace(/-+$/, "");
}

function showIdentifiers() {
  for (const field of document.querySelectorAll("input[data-slug-of]")) {
    const name = document.getElementById(field.dataset.slugOf);
    const usual = field.placeholder;
    const show = () => { field.placeholder = slug(name.value) || usual; };
    name.addEventListener("input", show);
    show();
  }
}

function lookAgain() {
  if (!document.querySelector("[data-under-way]")) return;
  setTimeout(() => {
    if (document.hidden) lookAgain();
    else location.reload();
  }, 3000);
}

addCopyButtons();
showIdentifiers();
lookAgain();
