"use strict";

(() => {
  const words = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });

  const valueOf = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();

  // What is undefined stays last in either direction.
  function compare(a, b, isNumeric, direction) {
    if (a === "" || b === "") return (a === "") - (b === "");
    return direction * (isNumeric ? Number(a) - Number(b) : words.compare(a, b));
  }

  function sortBy(heading) {
    const table = heading.closest("table");
    const body = table.tBodies[0];
    const column = heading.cellIndex;
    const rows = [...body.rows];
    const isNumeric = rows.some((row) => row.cells[column].classList.contains("number"));
    const before = heading.getAttribute("aria-sort");
    // Numbers begin with the highest, words with the first.
    const after = before ? (before === "ascending" ? "descending" : "ascending") : isNumeric ? "descending" : "ascending";
    const direction = after === "ascending" ? 1 : -1;
    rows.sort((a, b) => compare(valueOf(a, column), valueOf(b, column), isNumeric, direction));
    body.append(...rows);
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", after);
  }

  for (const button of document.querySelectorAll("table.sortable thead button")) {
    button.addEventListener("click", () => sortBy(button.closest("th")));
  }

  const choice = document.getElementById("shown");
  if (choice) {
    const panels = [...document.querySelectorAll("[data-panel]")];
    const show = () => panels.forEach((panel) => (panel.hidden = panel.dataset.panel !== choice.value));
    choice.addEventListener("change", show);
    show();
  }
})();
