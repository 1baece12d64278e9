// Gradio's player and its examples have controls without names, which screen readers need. They are made anew with each video.
() => {
  const name = (selector, label) =>
    document.querySelectorAll(selector).forEach((found) => found.getAttribute("aria-label") || found.setAttribute("aria-label", label));
  const nameAll = () => {
    document.documentElement.lang ||= "en";
    name("#vc-player progress", "Position in the video");
    name("#vc-player video", "The video");
    name("#vc-player input[type=range]", "Volume");
    name("input[type=file]", "Choose a video file");
    document.querySelectorAll(".empty[aria-label]:not([role])").forEach((empty) => empty.setAttribute("role", "img"));
    document.querySelectorAll(".gallery-item").forEach((example, number) => {
      if (!example.hasAttribute("aria-label")) example.setAttribute("aria-label", `Example ${number + 1}`);
    });
  };
  // Gradio's play button takes any key for a click, Tab too, which is only on its way.
  const isPassing = (event) => event.key === "Tab" && event.target.closest?.("#vc-player [role=button]");
  document.addEventListener("keydown", (event) => isPassing(event) && event.stopPropagation(), true);
  nameAll();
  new MutationObserver(nameAll).observe(document.body, { childList: true, subtree: true });
}
