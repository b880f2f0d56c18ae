// Looks at pages in Chromium: takes pictures, tries the keyboard, and fails for whatever the console complains of.
// Usage: node look.mjs PLAYWRIGHT CHROMIUM URL PICTURES < {"pages": {name: path}, "job": label}
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import assert from "node:assert";

const [library, chromium, address, pictures] = process.argv.slice(2);
const { pages, job, hostile } = JSON.parse(readFileSync(0, "utf8"));
const { chromium: engine } = createRequire(import.meta.url)(library);
const browser = await engine.launch({ executablePath: chromium, args: ["--no-sandbox"] });
const complaints = [];
const origin = new URL(address).origin;

async function context(width, scheme, extra = {}) {
  const made = await browser.newContext({ viewport: { width, height: width < 600 ? 800 : 900 }, colorScheme: scheme, ...extra });
  await made.addInitScript(() => {
    window.alerted = false;
    window.alert = () => { window.alerted = true; };
  });
  const page = await made.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(`${page.url()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => complaints.push(`${page.url()}: ${error}`));
  return [made, page];
}

async function shown(page, name, width, scheme) {
  const path = `${pictures}-${name}-${width}-${scheme}.png`;
  await page.screenshot({ path, fullPage: true });
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, `${name} at ${width} is ${wide} pixels too wide`);
  assert.equal(await page.evaluate(() => window.alerted), false, name);
}

for (const [width, scheme] of [[1280, "light"], [1280, "dark"], [400, "light"], [400, "dark"]]) {
  const [made, page] = await context(width, scheme);
  await page.goto(address);
  assert.equal(page.url(), `${origin}/`, "the token has left the address");
  for (const [name, path] of Object.entries(pages)) {
    await page.goto(origin + path);
    if (await page.locator("#status[data-live]").count()) {
      await page.waitForFunction(() => document.getElementById("status").className === "is-live");
    }
    await shown(page, name, width, scheme);
  }
  await made.close();
}

{ // The log grows, and what has the focus keeps it, while the page changes.
  const [made, page] = await context(1280, "light");
  await page.goto(address);
  await page.goto(`${origin}/jobs/${job}`);
  await page.locator(".acts a").first().focus();
  const before = await page.locator("#log").textContent();
  await page.waitForFunction((text) => document.getElementById("log").textContent !== text, before);
  const said = await page.locator("#status").textContent();
  await page.waitForFunction((text) => document.getElementById("status").textContent !== text, said);
  await page.waitForFunction((text) => document.getElementById("status").textContent !== text, await page.locator("#status").textContent());
  assert.ok(await page.evaluate(() => document.activeElement.matches(".acts a")), "the focus stays");
  await made.close();
}

{ // A page that was hidden for a while goes on where it was: no line of the log is missing, none is there twice.
  const [made, page] = await context(1280, "light");
  await page.goto(address);
  await page.goto(`${origin}/jobs/${job}`);
  const hide = (hidden) => page.evaluate((value) => {
    Object.defineProperty(document, "hidden", { value, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, hidden);
  for (let round = 0; round < 2; round += 1) {
    const before = await page.locator("#log").textContent();
    await page.waitForFunction((text) => document.getElementById("log").textContent !== text, before);
    await hide(true);
    await hide(false);
  }
  const epochs = [...(await page.locator("#log span").first().textContent()).matchAll(/^epoch (\d+) /gm)].map((each) => Number(each[1]));
  assert.deepEqual(epochs, epochs.map((_, place) => place));
  await made.close();
}

{ // With the keyboard alone: mark a job, hold it, say yes.
  const [made, page] = await context(1280, "light");
  await page.goto(address);
  const until = async (selector) => {
    for (let step = 0; step < 200; step += 1) {
      await page.keyboard.press("Tab");
      if (await page.evaluate((wanted) => document.activeElement.matches(wanted), selector)) return;
    }
    assert.fail(`${selector} is not reached with Tab`);
  };
  await until(`input[name=job][value="${hostile}"]`);
  await page.keyboard.press("Space");
  await until("button[value=hold]");
  await Promise.all([page.waitForURL("**/ask?**"), page.keyboard.press("Enter")]);
  await until("form.question button");
  await Promise.all([page.waitForURL("**/jobs/**"), page.keyboard.press("Enter")]);
  assert.match(await page.locator(".told").textContent(), new RegExp(`Held job ${hostile}`));
  assert.match(await page.locator(".title .state").textContent(), /held/);
  await made.close();
}

{ // Without script everything is there, and the same can be done.
  const [made, page] = await context(1280, "light", { javaScriptEnabled: false });
  await page.goto(address);
  await page.goto(`${origin}/ask?do=release&job=${hostile}`);
  await page.locator("form.question button").click();
  assert.match(await page.locator(".told").textContent(), new RegExp(`Released job ${hostile}`));
  await page.goto(`${origin}/jobs/${job}`);
  assert.match(await page.locator("#log").textContent(), /epoch/);
  await made.close();
}

{ // Another site can neither read nor frame nor post.
  const [made, page] = await context(1280, "light");
  await page.goto(address);
  const other = await made.newPage();
  await other.route("http://evil.test/**", (route) => route.fulfill({ contentType: "text/html", body: `
    <iframe id=frame src="${origin}/"></iframe>
    <form id=form method=post action="${origin}/do"><input name=do value=cancel><input name=job value=${job}></form>` }));
  await other.goto("http://evil.test/");
  const read = await other.evaluate((url) => fetch(url, { credentials: "include" }).then(() => "read", () => "refused"), `${origin}/`);
  assert.equal(read, "refused");
  const [answer] = await Promise.all([other.waitForResponse(`${origin}/do`), other.evaluate(() => document.getElementById("form").submit())]);
  assert.equal(answer.status(), 403);
  await made.close();
}

await browser.close();
assert.deepEqual(complaints, []);
console.log("web: nothing to complain of");
