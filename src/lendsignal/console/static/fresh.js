// Keeps the overview fresh: asks for its inside every few seconds while the page is looked at.
"use strict";

const board = document.querySelector("[data-fresh]");

async function refresh() {
  if (document.hidden) return;
  try {
    const answer = await fetch(board.dataset.fresh);
    if (!answer.ok) return;
    const html = await answer.text();
    const open = [...board.querySelectorAll("details[open]")].map((details) => details.id);
    const scrolled = new Map([...board.querySelectorAll("details[open] .scroll")].map((area) => [area.parentElement.id, area.scrollLeft]));
    board.innerHTML = html;
    for (const id of open) {
      const details = document.getElementById(id);
      if (!details) continue;
      details.open = true;
      details.querySelector(".scroll").scrollLeft = scrolled.get(id) || 0;
    }
  } catch {
    // The service is being started again: the page keeps what it shows.
  }
}

if (board) setInterval(refresh, 5000);
