// The device list and the live picture of one of them. Talks only to the CMS that served it, and
// to the media node whose player and stream the CMS names.

const REFRESH_MS = 3000;
const KEY = "easydarwin-api-key";
const $ = (id) => document.getElementById(id);
const video = $("video");

const STATES = {
  online: "online",
  "media-only": "picture only",
  grace: "reconnecting",
  unknown: "not seen since start",
  offline: "offline",
};

const PLAYER_WORDS = {
  connecting: "Connecting to the media node…",
  buffering: "Waiting for the picture…",
  reconnecting: "The connection was lost; trying again…",
  ended: "The camera has stopped.",
};

/* ---------------------------------------------------------------- asking the CMS */

class Trouble extends Error {}
class KeyNeeded extends Trouble {}

async function ask(path) {
  const key = sessionStorage.getItem(KEY);
  let answer;
  try {
    answer = await fetch(path, {
      headers: key ? { Authorization: `Bearer ${key}` } : {},
      credentials: "omit",
      cache: "no-store",
    });
  } catch {
    throw new Trouble("The CMS cannot be reached. It will be tried again.");
  }
  if (answer.status === 401) throw new KeyNeeded("A key is needed.");
  try {
    return await answer.json();
  } catch {
    throw new Trouble(`The CMS gave an answer that cannot be read (HTTP ${answer.status}).`);
  }
}

const WORDS = {
  403: "This address may look at the list only.",
  404: "The device has no such channel, or it is offline.",
  408: "The camera did not do it in time.",
  501: "The media node serves no picture for browsers.",
  503: "Nobody is there to do it now.",
  603: "The camera is not registered any more.",
};

/** Asks for a stream; it is live when the answer comes. */
async function stream(serial, channel, protocol) {
  const query = new URLSearchParams({ device: serial, channel, protocol });
  const { Header, Body } = (await ask(`/api/v1/getdevicestream?${query}`)).EasyDarwin;
  if (Header.ErrorNum !== "200") {
    const why = Body?.Reason ? ` (${Body.Reason})` : "";
    throw new Trouble((WORDS[Header.ErrorNum] ?? `${Header.ErrorNum} ${Header.ErrorString}.`) + why);
  }
  return Body;
}

/* ---------------------------------------------------------------- the live picture */

let current = null;

async function open(serial, channel, name) {
  close();
  const mine = { serial, channel, player: null };
  current = mine;
  $("stage").hidden = false;
  $("title").textContent = name;
  $("detail").textContent = channel > 1 ? `${serial}, channel ${channel}` : name === serial ? "" : serial;
  $("live").hidden = true;
  say("Asking the camera for its picture…");
  mark();
  history.replaceState(null, "", `#${encodeURIComponent(serial)}/${channel}`);
  $("stage").scrollIntoView({ block: "nearest", behavior: "smooth" });
  try {
    let first = await stream(serial, channel, "WS");
    if (current !== mine) return;
    if (!first.PlayerURL) throw new Trouble(WORDS[501]);
    const { play } = await import(first.PlayerURL).catch(() => {
      throw new Trouble(`The media node cannot be reached from here (${new URL(first.PlayerURL).host}).`);
    });
    if (current !== mine) return;
    // Each new connection needs a fresh right, and may have to wake the camera again.
    const url = async () => {
      const given = first ?? (await stream(serial, channel, "WS"));
      first = null;
      return given.URL;
    };
    mine.player = play(video, url, { onstate: (state, detail) => told(mine, state, detail) });
  } catch (error) {
    if (current === mine) say(error.message);
  }
}

function told(mine, state, detail) {
  if (current !== mine) return;
  $("live").hidden = state !== "playing";
  if (state === "playing") say("");
  else if (state === "error") say(`The picture cannot be shown: ${detail || "unknown reason"}.`);
  else if (PLAYER_WORDS[state]) say(PLAYER_WORDS[state]);
}

function say(text) {
  $("message").textContent = text;
}

function close() {
  current?.player?.stop();
  current = null;
  video.removeAttribute("src");
  video.load();
  $("stage").hidden = true;
  mark();
  history.replaceState(null, "", location.pathname);
}

$("close").onclick = close;
$("full").onclick = () => video.requestFullscreen?.();
$("sound").onclick = () => {
  video.muted = !video.muted;
};
video.onvolumechange = () => {
  $("sound").textContent = video.muted ? "Sound on" : "Sound off";
};
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && current && !document.fullscreenElement) close();
});

/* ---------------------------------------------------------------- the list */

const cards = new Map();
let opened = false;

function show(list) {
  const seen = new Set();
  const word = $("search").value.trim().toLowerCase();
  let online = 0;
  for (const device of list.devices) {
    if (device.state === "online") online += 1;
    for (const channel of device.channels) {
      const id = `${device.serial}/${channel.channel}`;
      seen.add(id);
      const card = cards.get(id) ?? make(id, device.serial, channel.channel);
      fill(card, device, channel);
      const text = `${device.serial} ${device.name} ${device.tag} ${channel.name}`.toLowerCase();
      card.element.hidden = !text.includes(word);
    }
  }
  for (const [id, card] of cards) {
    if (seen.has(id)) continue;
    card.element.remove();
    cards.delete(id);
  }
  $("empty").hidden = list.devices.length > 0;
  const nodes = list.nodes === 0 ? ", no media node" : "";
  $("summary").textContent = `${online} of ${list.devices.length} online${nodes}`;
}

function make(id, serial, channel) {
  const element = $("card").content.firstElementChild.cloneNode(true);
  element.dataset.id = id;
  const part = (selector) => element.querySelector(selector);
  const card = { element, part, name: serial, poster: null };
  part("button").onclick = () => open(serial, channel, card.name);
  $("devices").append(element);
  cards.set(id, card);
  return card;
}

function fill(card, device, channel) {
  const { part } = card;
  card.name = channel.name || device.name || device.serial;
  part(".name").textContent = card.name;
  const serial = device.channels.length > 1 ? `${device.serial} · ${channel.channel}` : device.serial;
  part(".serial").textContent = [serial === card.name ? device.kind : serial, device.tag]
    .filter(Boolean)
    .join(" · ");
  const state = device.state === "online" && !channel.online ? "offline" : device.state;
  part(".state").className = `state ${state}`;
  part(".state span").textContent = STATES[state] ?? state;
  part(".state").title = device.why ?? "";
  part(".badge").hidden = !channel.live;
  part("button").disabled = state === "offline" && !channel.live;
  part("button").setAttribute("aria-label", `${card.name}, ${STATES[state] ?? state}`);
  picture(card, device.serial, channel);
}

/** The camera's own snapshot; of a live camera without one the last key frame. */
function picture(card, serial, channel) {
  const img = card.part("img");
  if (channel.snapshot) {
    const stamp = String(channel.snapshotAt);
    if (img.dataset.at !== stamp) {
      img.dataset.at = stamp;
      img.src = channel.snapshot;
      img.onload = () => (img.hidden = false);
      img.onerror = () => (img.hidden = true);
    }
  } else if (channel.live && !card.poster) {
    card.poster = document.createElement("video");
    card.poster.muted = true;
    card.part(".blank").after(card.poster);
    stream(serial, channel.channel, "POSTER")
      .then((body) => (card.poster.src = body.URL))
      .catch(() => card.poster.remove());
  }
}

function mark() {
  const id = current && `${current.serial}/${current.channel}`;
  for (const [other, card] of cards) card.element.classList.toggle("chosen", other === id);
}

/** All devices; the CMS gives them in pages. */
async function everything() {
  const all = await ask("/api/v2/devices");
  for (let next = all.next; next; ) {
    const page = await ask(`/api/v2/devices?cursor=${encodeURIComponent(next)}`);
    all.devices.push(...page.devices);
    next = page.next;
  }
  return all;
}

async function refresh() {
  try {
    show(await everything());
    $("key").hidden = true;
    $("notice").hidden = true;
    mark();
    if (!opened) fromAddress();
    opened = true;
  } catch (error) {
    if (error instanceof KeyNeeded) {
      $("key-error").textContent = sessionStorage.getItem(KEY) ? "This key is not the right one." : "";
      if ($("key").hidden) {
        $("key").hidden = false;
        $("key-text").focus();
      }
    } else {
      $("notice").textContent = error.message;
      $("notice").hidden = false;
    }
  }
}

/** `#SERIAL/CHANNEL` opens that picture, so that it can be linked to. */
function fromAddress() {
  const [serial, channel = "1"] = location.hash.slice(1).split("/").map(decodeURIComponent);
  const card = cards.get(`${serial}/${channel}`);
  if (card) open(serial, Number(channel), card.name);
}

$("key").onsubmit = (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, $("key-text").value.trim());
  refresh();
};
$("search").oninput = refresh;

async function loop() {
  if (!document.hidden) await refresh();
  setTimeout(loop, REFRESH_MS);
}
document.addEventListener("visibilitychange", () => document.hidden || refresh());
loop();
