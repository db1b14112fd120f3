"use strict";
// Asks for the page again and puts what has changed into this one: focus, scroll position, selection and what
// was folded out stay where they are.
(() => {
  const EVERY = 2000; // milliseconds between two looks
  const RARELY = 15000; // at most, where an answer takes long
  const PATIENCE = 10000; // for one answer
  const element = (id) => document.getElementById(id);
  let seen = Date.now(); // when what is shown came
  let asked = 0; // how often it was asked
  let shown = 0; // the look whose answer is shown: that of an earlier one may come after it
  let failing = 0; // since when there is no answer
  let paused = false;
  let timer = 0;
  let title = document.title;

  function attributes(old, fresh) {
    for (const { name } of [...old.attributes]) {
      if (name !== "open" && !fresh.hasAttribute(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
  }

  function patch(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    attributes(old, fresh);
    const wanted = new Set([...fresh.children].map((child) => child.id).filter(Boolean));
    const kept = new Map();
    for (const child of [...old.children]) {
      if (!child.id) continue;
      if (wanted.has(child.id)) kept.set(child.id, child);
      else child.remove();
    }
    let at = old.firstChild;
    for (const next of [...fresh.childNodes]) {
      const same = next.id ? kept.get(next.id) : at && !at.id && at.nodeName === next.nodeName ? at : null;
      if (!same) {
        old.insertBefore(document.importNode(next, true), at);
        continue;
      }
      if (same === at) at = at.nextSibling;
      else old.insertBefore(same, at);
      patch(same, next);
    }
    while (at) {
      const gone = at;
      at = at.nextSibling;
      gone.remove();
    }
  }

  const problems = () => [...document.querySelectorAll("#findings strong")].map((one) => one.textContent);

  function show(page) {
    const before = problems();
    for (const id of ["facts", "made", "main"]) patch(element(id), page.getElementById(id));
    const now = problems();
    const words = now.filter((one) => !before.includes(one)).map((one) => `New problem: ${one}.`);
    words.push(...before.filter((one) => !now.includes(one)).map((one) => `Over: ${one}.`));
    if (failing) words.unshift("The agent answers again.");
    if (words.length) element("said").textContent = words.join(" ");
    title = page.title;
    seen = Date.now();
    failing = 0;
    element("reach").textContent = "";
    document.body.classList.remove("stale");
    document.title = title;
  }

  function missed(why) {
    if (!failing) {
      failing = Date.now();
      const since = new Date(failing).toISOString().slice(11, 19);
      element("reach").textContent =
        `The agent does not answer since ${since} UTC: ${why}. What stands below is what it said last. ` +
        "It is asked again every few seconds. Do: look whether it runs, and into its log.";
    }
    document.body.classList.add("stale");
    document.title = `No answer · ${title}`;
  }

  async function ask(number) {
    // Nothing relative: where the address has user and password in it, fetch refuses that.
    const answer = await fetch(location.origin + location.pathname, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) });
    if (answer.status === 401 || answer.status === 403) throw new Error("it wants its token, load the page anew");
    if (!answer.ok) throw new Error(`it says ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const looks = page.documentElement.dataset.looks;
    if (!looks) throw new Error("something else has its address");
    if (looks !== document.documentElement.dataset.looks) location.reload();
    else if (!paused && number > shown) {
      shown = number;
      show(page);
    }
  }

  async function look() {
    clearTimeout(timer);
    const began = Date.now();
    const number = ++asked;
    try {
      await ask(number);
    } catch (error) {
      if (!paused && number > shown) missed(error instanceof TypeError ? "no connection" : error.message);
    }
    age();
    // An agent for which a page is much work is asked less often; a page that nobody sees asks nothing.
    clearTimeout(timer);
    if (!paused && !document.hidden) timer = setTimeout(look, Math.min(RARELY, Math.max(EVERY, 10 * (Date.now() - began))));
  }

  function age() {
    const seconds = Math.round((Date.now() - seen) / 1000);
    const old = seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
    element("age").textContent = `, ${old} ago${paused ? ", paused" : ""}`;
  }

  const pause = element("pause");
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    age();
    if (paused) clearTimeout(timer);
    else look();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && !paused) look();
  });
  setInterval(age, 1000);
  timer = setTimeout(look, EVERY);
})();
