// Gradio's player has controls without names, which screen readers need. It makes them anew with each video.
() => {
  const name = (selector, label) =>
    document.querySelectorAll(selector).forEach((found) => found.getAttribute("aria-label") || found.setAttribute("aria-label", label));
  const nameAll = () => {
    document.documentElement.lang ||= "en";
    name("#vc-player progress", "Position in the video");
    name("#vc-player video", "The video");
    name("#vc-player input[type=range]", "Volume");
    name("input[type=file]", "Choose a video file");
  };
  nameAll();
  new MutationObserver(nameAll).observe(document.body, { childList: true, subtree: true });
}
