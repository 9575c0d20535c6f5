// The one thing that a page cannot do without a script: say what an anomaly was, by the REST API, and show what was kept.
"use strict";

async function judge(button) {
  const line = button.closest(".judge");
  const status = line.querySelector(".verdict");
  const buttons = line.querySelectorAll("button");
  const body = { metric_name: line.dataset.metric, bucket: line.dataset.bucket, verdict: button.dataset.verdict };
  if (line.dataset.event) body.event_id = line.dataset.event;
  buttons.forEach((each) => (each.disabled = true));
  status.textContent = "saving…";
  try {
    const answer = await fetch(line.closest("[data-feedback]").dataset.feedback, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!answer.ok) {
      const said = await answer.json().catch(() => ({}));
      throw new Error(typeof said.detail === "string" ? said.detail : `the server answered ${answer.status}`);
    }
    buttons.forEach((each) => each.setAttribute("aria-pressed", String(each === button)));
    status.textContent = button.dataset.verdict.replace("_", " ");
  } catch (error) {
    status.textContent = `not kept: ${error.message}`;
  } finally {
    buttons.forEach((each) => (each.disabled = false));
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-verdict]");
  if (button) judge(button);
});
