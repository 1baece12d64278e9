// Makes the timeline's buttons seek in the player above it, and shows where the player stands.
const player = () => document.querySelector("#vc-player video");

element.addEventListener("click", (event) => {
  const button = event.target.closest(".vc-window");
  if (!button) return;
  const [start, end] = [Number(button.dataset.start), Number(button.dataset.end)];
  const video = player();
  if (video) video.currentTime = start;
  element.querySelectorAll(".vc-window").forEach((other) => other.removeAttribute("aria-current"));
  button.setAttribute("aria-current", "true");
  trigger("select", { start, end });
});

// Left and right arrows go from window to window, as in other players.
element.addEventListener("keydown", (event) => {
  const step = { ArrowRight: "nextElementSibling", ArrowLeft: "previousElementSibling" }[event.key];
  const next = step && event.target.closest(".vc-window")?.[step];
  if (next?.matches(".vc-window")) {
    event.preventDefault();
    next.focus();
  }
});

// The player comes and goes with its video, so its events are heard from the document: they do not bubble.
document.addEventListener(
  "timeupdate",
  (event) => {
    const head = element.querySelector(".vc-head");
    if (event.target !== player() || !head) return;
    const windows = [...element.querySelectorAll(".vc-window")];
    const end = Number(windows.at(-1)?.dataset.until ?? 0);
    head.style.left = `${end ? Math.min((100 * event.target.currentTime) / end, 100) : 0}%`;
  },
  true,
);
