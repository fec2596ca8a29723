/* Parts of the page that lie in files beside it: each is a script that hands over its content. */

const PARTS = new Map();

/** Called by a part's file. */
globalThis.ladderPart = (name, content) => { PARTS.get(name).arrived(content); };

/** The content of a part, once it is there. */
function part(name) {
  if (!PARTS.has(name)) {
    const entry = {};
    entry.content = new Promise((arrived, failed) => { Object.assign(entry, { arrived, failed }); });
    PARTS.set(name, entry);
    const script = document.createElement("script");
    script.src = `report-data/${name}.js`;
    script.onerror = () => {
      PARTS.delete(name);
      entry.failed(new Error(`report-data/${name}.js cannot be read: it lies beside the page it was made with.`));
    };
    document.head.append(script);
  }
  return PARTS.get(name).content;
}

/** What is going on with a part, for everybody to read and hear. */
function tell(text) {
  const line = document.getElementById("reading");
  line.textContent = text;
  line.hidden = !text;
}

/** Do something with parts; says that they are read, or why they cannot be. */
async function withParts(names, action) {
  if (!names.length) return action([]);
  const slow = setTimeout(() => tell("Reading …"), 150);
  try {
    const found = await Promise.all(names.map(part));
    clearTimeout(slow);
    tell("");
    return action(found);
  } catch (error) {
    clearTimeout(slow);
    tell(error.message);
  }
}
