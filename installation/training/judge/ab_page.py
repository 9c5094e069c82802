"""The page of the blind comparison: one constant, no template, nothing fetched from elsewhere."""

from __future__ import annotations

import base64
import hashlib

_SCRIPT = """
const left = document.getElementById("left"), right = document.getElementById("right");
const line = document.getElementById("line"), ask = document.getElementById("ask");
let now = null, busy = true;
function show(state) {
  now = state;
  ask.textContent = state.result === null ? state.question : state.result;
  line.textContent = state.done + " of " + state.total;
  document.body.classList.toggle("over", state.result !== null);
  if (state.result === null) {
    left.src = "/picture/" + state.done + "/0";
    right.src = "/picture/" + state.done + "/1";
  }
  busy = false;
}
function lost(text) { line.textContent = text; busy = false; }
async function say(choice) {
  if (busy || now === null || now.result !== null) return;
  busy = true;
  try {
    const answer = await fetch("/answer", {method: "POST", headers: {"Content-Type": "application/json"},
      body: JSON.stringify({pair: now.done, choice: choice})});
    if (answer.ok) show(await answer.json()); else lost(await answer.text());
  } catch { lost("the program does not answer; nothing is lost"); }
}
left.onclick = () => say("left");
right.onclick = () => say("right");
document.getElementById("same").onclick = () => say("same");
document.onkeydown = (event) => {
  if (event.repeat) return;
  if (event.key === "ArrowLeft") say("left");
  else if (event.key === "ArrowRight") say("right");
  else if (event.key === "ArrowDown" || event.key === " ") { event.preventDefault(); say("same"); }
};
fetch("/state").then((answer) => answer.json()).then(show, () => lost("the program does not answer"));
"""

PAGE = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Which one?</title>
<style>
html, body {{ margin: 0; height: 100%; background: #121214; color: #c8c8cc; font: 16px/1.5 system-ui, sans-serif }}
body {{ display: flex; flex-direction: column; align-items: center; justify-content: center; gap: 20px }}
#pair {{ display: flex; gap: 4vw }}
.over #pair, .over #same {{ display: none }}
img {{ width: min(42vw, 70vh); height: min(42vw, 70vh); object-fit: contain; background: #000; cursor: pointer }}
img:hover {{ outline: 2px solid #77777c }}
button {{ font: inherit; color: inherit; background: none; border: 1px solid #55555a; padding: 4px 16px }}
#line, #keys {{ font-size: 13px; color: #88888e }}
</style></head><body>
<div id="ask"></div>
<div id="pair"><img id="left" alt="left picture"><img id="right" alt="right picture"></div>
<button id="same">no difference</button>
<div id="line"></div>
<div id="keys">Keys: left, right; down or space for no difference</div>
<script>{_SCRIPT}</script></body></html>
"""

_DIGEST = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
CSP = (
    "default-src 'none'; img-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'; "
    f"script-src 'sha256-{_DIGEST}'"
)
